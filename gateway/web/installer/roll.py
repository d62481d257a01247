"""Who is paired: the installers whose certificates count here, by the pin of their key.

A certificate says who somebody was when it was issued; this list says who still is, and how long:
a new gateway, without a network, issues by a clock that nobody vouches for, so the thirty days are
counted here. It is `DATA/trust/installers.json`: names, pins and dates, nothing secret. The calls
block.
"""

from pathlib import Path
from typing import Final

import msgspec

from certs import authority
from gateway.clock import replace_durably
from gateway.core.inputs import Now, Trust
from gateway.errors import GatewayError

FILE: Final = "installers.json"
INSTALLERS_MAX: Final = 64
_BYTES_MAX: Final = 64 * 1024


class Installer(msgspec.Struct, frozen=True):
    """One of them. `by` opened the window; `ends_s` is when the pairing is over (POSIX).

    `dated` is false as long as no clock could tell when that is.
    """

    name: str
    pin: str
    by: str
    paired_ms: int
    ends_s: int
    dated: bool = True

    def seen(self, now: Now) -> "Installer":
        """Return it as of a trusted moment: over thirty days later at most, whoever dated it."""
        latest_s = now.wall_ms // 1000 + authority.INSTALLER_DAYS * authority.DAY_S
        if now.trust is Trust.FLOOR or (self.dated and self.ends_s <= latest_s):
            return self
        return msgspec.structs.replace(self, ends_s=latest_s, dated=True)

    def is_over(self, now: Now) -> bool:
        """Say whether it is surely over."""
        return self.dated and now.wall_ms - now.error_ms >= self.ends_s * 1000


class Roll:
    """The list of one data folder."""

    def __init__(self, data: Path) -> None:
        self._path = data / "trust" / FILE
        self._known = {one.name: one for one in _read(self._path)}

    def add(self, installer: Installer) -> None:
        """Take somebody in; an older certificate of that name counts no more.

        Raises GatewayError `pairing.full`, `pairing.unwritable`.
        """
        known = self._known | {installer.name: installer}
        if len(known) > INSTALLERS_MAX:
            raise GatewayError("pairing.full", "End somebody's pairing first: pairing end NAME")
        self._write(known)

    def end(self, name: str) -> bool:
        """Strike somebody off, at once and for good; say whether they were there."""
        if name not in self._known:
            return False
        self._write({key: one for key, one in self._known.items() if key != name})
        return True

    def find(self, name: str, pin: str) -> Installer | None:
        """Return the installer of this name, if this is the key they were paired with."""
        known = self._known.get(name)
        return known if known is not None and known.pin == pin else None

    def all(self) -> tuple[Installer, ...]:
        """Return all of them, by name."""
        return tuple(self._known[name] for name in sorted(self._known))

    def _write(self, known: dict[str, Installer]) -> None:
        self._path.parent.mkdir(mode=0o700, exist_ok=True)
        replace_durably(self._path, msgspec.json.encode(list(known.values())) + b"\n", _unwritable)
        self._known = known


def _read(path: Path) -> list[Installer]:
    try:
        with path.open("rb") as file:
            return msgspec.json.decode(file.read(_BYTES_MAX), type=list[Installer])
    except FileNotFoundError:
        return []
    except (OSError, msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise GatewayError(
            "pairing.invalid", "Remove this file, and pair installers again", path=path
        ) from error


def _unwritable(path: Path, error: OSError) -> GatewayError:
    return GatewayError(
        "pairing.unwritable", "Check the disk and the folder's owner", path=path, errno=error.errno
    )
