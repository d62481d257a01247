"""One object for whoever helps from afar: what goes in, in which order, until it is full. Pure.

Everything is chosen by name: a setting that is added one day is not in it until somebody has
decided that it is no secret. No key, code, claim, parcel or name of a courier is known here.
"""

from collections.abc import Sequence
from typing import Any, Final

import msgspec

from gateway.config import Config

BYTES_MAX: Final = 1024 * 1024 - 1024
"""A computer that asks over the LAN reads a mebibyte; what does not fit is named in `left_out`."""
TREND_DOORS: Final = 100
"""Doors in the bundle's trends: those with warnings, then the most used."""


def settings(config: Config) -> dict[str, Any]:
    """Return what is configured, without what is a secret or leads to one."""
    return {
        "kiosks": list(config.kiosk.kiosks),
        "installer": config.installer.listen,
        "sync_listen": config.sync.listen,
        "development": config.development.plain,
        "log_level": config.log.level,
        "lines": {name: msgspec.to_builtins(line) for name, line in config.lines.items()},
        "timing": msgspec.to_builtins(config.timing),
    }


def fit(parts: Sequence[tuple[str, Any]], limit: int = BYTES_MAX) -> dict[str, Any]:
    """Return an object of these parts, each whole or not at all; the first ones matter most."""
    told: dict[str, Any] = {}
    used = len(msgspec.json.encode({"left_out": [name for name, _ in parts]}))
    for name, value in parts:
        size = len(msgspec.json.encode({name: value})) - len(name)
        if used + size <= limit:
            told[name] = value
            used += size
    return told | {"left_out": [name for name, _ in parts if name not in told]}
