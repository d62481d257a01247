"""What every fact is made of: the base type, and the words that several kinds share."""

from typing import Literal, get_args

import msgspec

__all__ = ["SIZES", "Basis", "Fact", "Outcome", "Purpose", "Scalar", "Size"]

Scalar = str | int | bool
Size = Literal["S", "M", "L", "XL"]
Purpose = Literal["collect", "deposit", "take_back", "support"]
Outcome = Literal["opened", "failed", "doubt", "late"]
Basis = Literal["sensor", "person", "recovered"]
"""What a custody fact rests on: the sensor, a person's word, or the sensor after a restart."""

SIZES: tuple[Size, ...] = get_args(Size)
"""Compartment sizes, small to large."""


class Fact(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, tag_field="kind"):
    """What every fact may carry: the object it is about, and the compartment."""

    of: str | None = None
    door: int | None = None
