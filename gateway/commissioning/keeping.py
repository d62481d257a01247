"""The draft and the reports on the disk: one file, and the last few signed ones.

    DATA/commissioning.json       the draft; durable before an act is answered
    DATA/reports/<hash>.json      the bytes whose SHA-256 a `site.commissioned` states

Neither is the site's map: whatever is lost here, the log has what counts. A wipe takes both.
"""

import re
from hashlib import sha256
from pathlib import Path
from typing import Final

from gateway.clock import replace_durably
from gateway.errors import GatewayError

DRAFT: Final = "commissioning.json"
REPORTS: Final = "reports"
REPORTS_MAX: Final = 8
NAME_HEX: Final = 16
BYTES_MAX: Final = 4 * 1024 * 1024
_report = re.compile(r"[0-9a-f]{16}\.json").fullmatch


class Shelf:
    """Reads and writes them; every call may block for an fsync."""

    def __init__(self, data: Path) -> None:
        self._draft = data / DRAFT
        self._reports = data / REPORTS

    def read(self) -> bytes | None:
        """Return the draft's bytes; None where there is none. GatewayError `commission.disk`."""
        return _read(self._draft)

    def write(self, data: bytes) -> None:
        """Keep the draft, durably. GatewayError `commission.disk`."""
        replace_durably(self._draft, data, _unwritable)

    def drop(self) -> None:
        """Throw the draft away."""
        try:
            self._draft.unlink(missing_ok=True)
        except OSError as error:
            raise _unwritable(self._draft, error) from error

    def keep_report(self, data: bytes) -> None:
        """Keep a report, durably; the oldest beyond the last eight go."""
        try:
            self._reports.mkdir(mode=0o700, exist_ok=True)
        except OSError as error:
            raise _unwritable(self._reports, error) from error
        path = self._reports / f"{sha256(data).hexdigest()[:NAME_HEX]}.json"
        replace_durably(path, data, _unwritable)
        others = sorted(
            (one for one in self._reports.iterdir() if _report(one.name) and one != path),
            key=lambda one: one.stat().st_mtime_ns,
        )
        for old in others[: max(0, len(others) - REPORTS_MAX + 1)]:
            old.unlink(missing_ok=True)

    def report(self, digest: bytes) -> bytes:
        """Return the report of this SHA-256; GatewayError `report.none` where it is not kept."""
        data = _read(self._reports / f"{digest.hex()[:NAME_HEX]}.json")
        if data is None or sha256(data).digest() != digest:
            raise GatewayError("report.none", "Prove and sign this site again, for a new report")
        return data


def _read(path: Path) -> bytes | None:
    try:
        if path.stat().st_size > BYTES_MAX:
            raise GatewayError("commission.disk", "Remove this file: it is none of ours", path=path)
        return path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise _unwritable(path, error) from error


def _unwritable(path: Path, error: OSError) -> GatewayError:
    return GatewayError(
        "commission.disk",
        "Check the disk, its free space and the owner of the data folder",
        path=path,
        errno=error.errno,
    )
