"""One way from an object to bytes and back, or refuse (FORMATS.md 2, on RFC 8785).

An object is a dict with ASCII text keys; values are text, booleans, integers below 2^53 either way,
lists and objects, nested at most 8 deep, at most 4,096 bytes as written. Bytes are read only if
they are exactly what `encode` would write.

Codes of `TheirsInvalid`: `canonical.too_long`, `.malformed`, `.not_object`, `.too_deep`,
`.bad_type` (null, float, anything else), `.bad_number` (2^53 and beyond), `.bad_key` (not ASCII),
`.bad_text` (a lone surrogate), `.differs` (order, spaces, escapes, duplicate keys, -0, 1.0).
"""

from collections.abc import Iterable, Sequence
from typing import Annotated, Any, Final

import msgspec

from sync.errors import TheirsInvalid

BYTES_MAX: Final = 4096
DEPTH_MAX: Final = 8
NUMBER_MAX: Final = 2**53 - 1

Object = dict[str, Any]
"""A JSON object in plain Python values; only text, bool, int, list and dict are in it."""

_REMEDY: Final = "Ask the writer of this entry which program wrote it."


def _typed() -> Any:
    """Return the type of an object of depth 8, spelled out: msgspec has no recursive aliases.

    It makes the C decoder refuse null, fractions, large numbers and depth in the same pass.
    """
    number = Annotated[int, msgspec.Meta(ge=-NUMBER_MAX, le=NUMBER_MAX)]
    value: Any = str | bool | number
    for _ in range(DEPTH_MAX - 1):
        value = str | bool | number | list[value] | dict[str, value]
    return dict[str, value]


_strict = msgspec.json.Decoder(_typed())
_plain = msgspec.json.Decoder()
_encoder = msgspec.json.Encoder(order="sorted")


def encode(obj: Object) -> bytes:
    """Return the one way to write `obj`; `TheirsInvalid` if the format cannot hold it."""
    _check_object(obj)
    data = _encoder.encode(obj)
    if len(data) > BYTES_MAX:
        raise TheirsInvalid("canonical.too_long", _REMEDY, bytes=len(data), limit=BYTES_MAX)
    return data


def decode(data: bytes) -> Object:
    """Return the object that `data` writes; `TheirsInvalid` unless `encode` gives `data` again."""
    # The quick way decides nothing alone: whatever it does not accept, `_refusal` names. A key
    # beyond ASCII in ASCII bytes is escaped, and so differs from what `encode` writes.
    if len(data) > BYTES_MAX:
        raise _refusal(data)
    try:
        obj: Object = _strict.decode(data)
    except ValueError:
        raise _refusal(data) from None
    if _encoder.encode(obj) != data:
        raise _refusal(data)
    if not data.isascii():
        _check_object(obj)
    return obj


def decode_lines(data: bytes) -> list[Object]:
    """Return the objects of NDJSON bytes; lines end at 0A only, the last one too."""
    if data and not data.endswith(b"\n"):
        raise TheirsInvalid("canonical.malformed", _REMEDY, reason="last line has no end")
    return [decode(line) for line in data.split(b"\n")[:-1]]


def decode_many(items: Sequence[bytes]) -> list[Object] | None:
    """Return `decode` of each item, all in one go, or None if any would be refused.

    For whoever reads a whole log: it is twice as quick. Then call `decode` on each to know why.
    """
    joined = b"\n".join((*items, b""))
    if len(max(items, key=len, default=b"")) > BYTES_MAX:
        return None
    try:
        objects: list[Object] = _strict.decode_lines(joined)
    except (ValueError, RecursionError):
        return None
    # What is written holds no raw 0A. So if as many objects as items give the same bytes, each
    # line is one item, whatever 0A an item may have tried to hide.
    if len(objects) != len(items) or _encoder.encode_lines(objects) != joined:
        return None
    if not joined.isascii():
        for obj in objects:
            try:
                _check_object(obj)
            except TheirsInvalid:
                return None
    return objects


def _refusal(data: bytes) -> TheirsInvalid:
    """Say what is wrong with `data`, types first: re-encoding alone lets null and 1.0 pass."""
    if len(data) > BYTES_MAX:
        return TheirsInvalid("canonical.too_long", _REMEDY, bytes=len(data), limit=BYTES_MAX)
    try:
        obj = _plain.decode(data)
    except RecursionError:
        return TheirsInvalid("canonical.too_deep", _REMEDY, limit=DEPTH_MAX)
    except ValueError as error:
        return TheirsInvalid("canonical.malformed", _REMEDY, reason=str(error))
    try:
        _check_object(obj)
    except TheirsInvalid as refusal:
        return refusal
    return TheirsInvalid("canonical.differs", _REMEDY, bytes=len(data))


def _check_object(obj: object) -> None:
    if type(obj) is not dict:
        raise TheirsInvalid("canonical.not_object", _REMEDY, type=type(obj).__name__)
    _check(obj, 1)


def _check(value: Any, depth: int) -> None:
    kind = type(value)
    if kind is str:
        _check_text(value)
    elif kind is int:
        if abs(value) > NUMBER_MAX:
            raise TheirsInvalid("canonical.bad_number", _REMEDY, limit=NUMBER_MAX)
    elif kind is dict:
        _check_keys(value)
        _check_items(value.values(), depth)
    elif kind is list:
        _check_items(value, depth)
    elif kind is not bool:
        raise TheirsInvalid("canonical.bad_type", _REMEDY, type=kind.__name__)


def _check_items(values: Iterable[Any], depth: int) -> None:
    if depth > DEPTH_MAX:
        raise TheirsInvalid("canonical.too_deep", _REMEDY, limit=DEPTH_MAX)
    for value in values:
        _check(value, depth + 1)


def _check_keys(obj: dict[Any, Any]) -> None:
    for key in obj:
        if type(key) is not str or not key.isascii():
            raise TheirsInvalid("canonical.bad_key", _REMEDY, key=ascii(key)[:80])


def _check_text(text: str) -> None:
    try:
        text.encode()
    except UnicodeEncodeError:
        raise TheirsInvalid("canonical.bad_text", _REMEDY, text=ascii(text)[:80]) from None
