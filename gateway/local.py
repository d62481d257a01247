"""A person's command at this machine: to the running gateway, or else to the log itself.

One helper for all commands: over the control socket if somebody listens there; else the lock is
taken, the engine recovered, the command decided, the entries made durable, the answer returned.
Opening a door needs the gateway: without boards nobody could see what happened.
"""

import asyncio
import getpass
from dataclasses import replace
from pathlib import Path
from typing import Any

from gateway import continuity, control, identity, logs, site
from gateway.control import SOCKET, NotRunning
from gateway.core.inputs import Command, Input, Now, SupportChecked, SupportOpens
from gateway.core.outputs import Answer
from gateway.errors import GatewayError
from sync.store import Store

NEEDS_BOARDS = (SupportOpens, SupportChecked)

REMEDIES = {
    "command.malformed": "Shorten the text, and write it without control characters",
    "map.malformed": "Correct the map: an item of it fits no entry",
    "map.in_use": "Empty this compartment first, or keep it in the map",
    "map.size": "A site has 1 to 3,084 compartments",
    "courier.tenant": "A tenant is 1 to 32 of a-z, 0-9 and the dash",
    "courier.unknown": "Take a reference from `courier list`",
    "courier.secret_taken": "Run the command again: it makes another secret",
    "door.unknown": "Take a number from the map",
    "door.busy": "Wait until this door is closed and its business done",
    "door.occupied": "A parcel may be inside: an installer opens empty compartments only",
    "door.silent": "Bring its board back first: `doctor` and the log say what is wrong",
    "door.resting": "Wait until the coil has cooled down",
    "door.no_opening": "Have somebody pull the door while you try again, or use the mechanical key",
    "door.late": "Try again: the lock, its power rail or the disk was busy for too long",
    "door.forced": "Look at this door: it opened before the lock was told to",
    "support.rate": "Wait a minute: more doors at once need somebody on site",
    "check.contradicted": "Look again: the sensor says otherwise",
    "annex.live": "A parcel that is here keeps its name until it is gone",
    "annex.unknown": "Take a reference from `log show`",
    "site.exists": "This site was made already",
    "epoch.parents": "Start the gateway: it names every earlier epoch that it has, and begins anew",
    "fence.unheard": "Wait until the hub was heard: it may know what was lost; or answer for it",
    "fence.none": "Nothing is to be lifted: this site is not fenced",
    "fence.unproved": "Look into these compartments and say so with `support check`",
    "key.unknown": "Make the key first: `key rotate code`; an older one is not taken again",
    "site.holds": "Have what is here collected or taken out first",
    "site.decommissioned": "This site has ended; enrol a new one",
    "log.full": "Free space on this disk",
    "log.failed": "Check the disk; the gateway starts again by itself",
}
"""What a person can do about an answer that is no."""


def nobody() -> Now:
    """Return a moment for commands under way: whoever decides puts the real one in its place."""
    return Now(0, 0, 0)


def whoami() -> str:
    """Return the name of the account that runs this command: a default for `--by`."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return "operator"


def ask(data: Path, command: Command) -> Answer:
    """Have a command done and return its answer. Raises GatewayError with the engine's code."""
    quiet()
    identity.load_names(data)
    answer = asyncio.run(_ask(data, command))
    if answer.code:
        raise GatewayError(
            answer.code,
            REMEDIES.get(answer.code, "See the evidence; `status` shows the site"),
            **dict(answer.evidence),
        )
    return answer


def quiet() -> None:
    """Keep log lines of a short command on stderr, from warnings on."""
    logs.configure("text", "warning")


async def _ask(data: Path, command: Command) -> Answer:
    try:
        return await control.send(data / SOCKET, command)
    except NotRunning:
        if isinstance(command, NEEDS_BOARDS):
            raise
    return await offline(data, command)


async def offline(data: Path, command: Command | None) -> Answer:
    """Decide and store a command without a gateway; None begins the log if it is new."""
    answers = await _settled(data, command)
    assert answers, "every command is answered"
    return answers[-1]


async def noted(data: Path, happened: Input) -> None:
    """Put what happened on record without a gateway; begins the log if it is new."""
    await _settled(data, happened)


async def _settled(data: Path, happened: Input | None) -> list[Answer]:
    with site.locked(data):
        clock = site.start_clock(data)
        who = site.load(data)
        if continuity.broken(data):
            raise GatewayError(
                "site.epoch_over", "Start the gateway: it begins a new epoch behind a fence"
            )
        async with await Store.open(identity.database_of(data), who.identity) as store:
            engine, _ = site.replayed(data, site.settings(who), clock)
            begun = Answer("")
            if site.needs_beginning(engine):
                begun = await site.begin_log(engine, store, clock, data)
            if happened is None:
                return [begun]
            outputs = engine.handle(replace(happened, now=clock.now()))
            return await site.settle(engine, outputs, store, clock)


def status(data: Path) -> dict[str, Any]:
    """Return what the running gateway says of itself. Raises NotRunning."""
    quiet()
    return asyncio.run(control.status(data / SOCKET))
