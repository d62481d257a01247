"""The end of a site: its last entry, known to a hub or written to a file, and nothing left here.

    1. `site.decommissioned` is the last custody entry: the engine writes nothing after it
    2. a hub has signed a receipt that covers it, or an export file holds it
    3. `decommissioning.json` is durable: from here on only the wipe goes on, whatever is cut
    4. keys, annexes, database, trust: overwritten and unlinked; `decommissioned.json` is left

Until 3 this is a working site that serves nobody: the command can be given again. A running gateway
does 4 itself, the last thing it does; else this process does it.
"""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from gateway import control, identity, local, rotating, site, wiping
from gateway.control import SOCKET, NotRunning
from gateway.core.inputs import Decommissions
from gateway.errors import GatewayError
from gateway.wiping import Last
from sync import files
from sync.entry import Lane, Ref
from sync.reader import LogFile
from sync.rows import Head
from sync.store import Store

RECEIPT_S: Final = 60.0
"""How long the hub's receipt for the last entry is waited for, with the link up."""
WIPE_S: Final = 60.0
_ASK_S: Final = 0.25


@dataclass(frozen=True, slots=True)
class Ended:
    """What is left to say of a site: its name, its last entry, and who has its log."""

    site: str
    entry: str
    kept_by: str


def decommission(data: Path, *, why: str, by: str, force: bool, export: Path | None) -> Ended:
    """End a site for good. Blocks.

    Raises GatewayError: `site.holds` (parcels, without `force`), `decommission.export` (no hub is
    linked, and no file named), `decommission.receipt` (the hub has not signed for it in time),
    `decommission.inside` (a file in the folder that is wiped), `site.busy`, `site.decommissioned`.
    """
    local.quiet()
    site.check_alive(data)
    names = identity.load_names(data)
    if export is not None and data.resolve() in export.resolve().parents:
        raise GatewayError("decommission.inside", "Write the file to another folder", file=export)
    running, linked = _hub(data)
    if running and export is not None:
        raise GatewayError("site.busy", "Stop the gateway first: it holds the log", data=data)
    entry = _written(data)
    if export is None and not linked and not (entry and _has_receipt(data, entry)):
        raise GatewayError(
            "decommission.export",
            "No hub is linked that could keep the log: stop the gateway and give --export FILE, or"
            " start it and wait for its link",
        )
    if not entry:
        asked = Decommissions(now=local.nobody(), token="", by=by, why=why, force=force)
        entry = local.ask(data, asked).ref
    if export is not None:
        _export(data, export)
    else:
        _wait_for_receipt(data, entry, RECEIPT_S)
    with LogFile.open(identity.database_of(data)) as log:
        notes = {head.origin: head.note for head in _own(log) if head.size}
    name = f"{names.operator}/{names.writer}"
    wiping.begin(data, Last(name, entry, notes))
    _wipe(data, running=running)
    return Ended(name, entry, "the hub" if export is None else str(export))


def _hub(data: Path) -> tuple[bool, bool]:
    """Return whether a gateway runs here, and whether its link is up."""
    try:
        told = asyncio.run(control.status(data / SOCKET))
    except NotRunning:
        return False, False
    hub = told.get("hub") or {}
    return True, bool(hub.get("up"))


def _written(data: Path) -> str:
    """Return the reference of the last entry, if this epoch has it already; nothing if not."""
    epoch = identity.load_names(data).epoch
    with LogFile.open(identity.database_of(data)) as log:
        for head in _own(log):
            if head.log.epoch != epoch or head.log.lane is not Lane.CUSTODY or not head.size:
                continue
            for record in log.records(head, head.size - 1):
                if b'"kind":"site.decommissioned"' in record.entry:
                    return f"{head.log}{record.index}"
    return ""


def _own(log: LogFile) -> list[Head]:
    return [head for head in log.heads() if head.own]


def _has_receipt(data: Path, entry: str) -> bool:
    return rotating.has_receipt(data, Ref.parse(entry))


def _wait_for_receipt(data: Path, entry: str, limit_s: float) -> None:
    if not _comes(lambda: _has_receipt(data, entry), limit_s):
        raise GatewayError(
            "decommission.receipt",
            "Its end is written, and the hub has not signed for it yet. Nothing is wiped: give the"
            " command again, or stop the gateway and give --export FILE",
            entry=entry,
        )


def _comes(true: Callable[[], bool], limit_s: float) -> bool:
    """Ask until something holds, or for about `limit_s`; return whether it does."""
    for _ in range(int(limit_s / _ASK_S)):
        if true():
            return True
        time.sleep(_ASK_S)
    return true()


def _export(data: Path, file: Path) -> None:
    who = site.load(data)

    async def run() -> None:
        async with await Store.open(identity.database_of(data), who.identity) as store:
            await files.export(store, file)

    with site.locked(data):
        asyncio.run(run())


def _wipe(data: Path, *, running: bool) -> None:
    if not running:
        try:
            site.check_alive(data)
        except GatewayError as error:
            if error.code != "site.decommissioned":
                raise
        return
    if not _comes(lambda: wiping.is_over(data), WIPE_S):
        raise GatewayError(
            "decommission.slow", "Stop the gateway, and give any command: the wipe goes on"
        )
