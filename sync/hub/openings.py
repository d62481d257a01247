"""Doors that are asked for: counted over all processes, kept for a second person, approved.

What was asked lately is one record of the hub, changed by compare-and-set before anything is
written: two processes together let no more through than one, and a restart forgets nothing. The
decision whether there is one more is `dual`'s.
"""

import secrets
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Final

import msgspec

from sync.book import Book
from sync.hub import dual, issue
from sync.hub.dual import Asked, Limits, Opening
from sync.hub.issue import Decision, Desk
from sync.hub.rooms import Hub
from sync.hub.storage import Moved, Record, Site
from sync.hub.voice import Busy, Decide, Done, Refused

KIND: Final = "approval"
Deciding = Callable[[], Awaitable[Done]]
_RECENT: Final = ("", "opens", "recent")
_TRIES: Final = 16


async def ask(
    hub: Hub, site: Site, *, account: str, by: str, door: int, why: str, case: str, until_ms: int
) -> Done:
    """Ask the site to open one door, or keep the request for a second person.

    Raises `Refused`: `open.second_person` (evidence: its id, its end, which limit), and what
    `issue.ask_open` refuses; `Busy`.
    """
    decide = _decide(door=door, why=why, case=case, until_ms=until_ms)
    await hub.voice.weigh(site, by, decide)  # what would be refused is not counted, and not kept
    limit = await _counted(hub, account, site.site_id, anyway=False)
    if limit is None:
        return await hub.voice.say(site, by, decide)
    now_ms = hub.clock.utc_ms()
    kept = await _kept(
        hub, site.site_id,
        Opening(
            id=dual.opening_id(account, site.site_id, door, why, case), door=door,
            account=account, by=by, why=why, case=case, asked_ms=now_ms,
            lasts_ms=until_ms - now_ms, over=limit,
        ),
    )  # fmt: skip
    raise Refused(
        "open.second_person", "Have another account of support approve it within five minutes.",
        id=kept.id, ends_ms=kept.ends_ms, limit=kept.over,
    )  # fmt: skip


async def waiting(hub: Hub, site_id: str) -> tuple[Opening, ...]:
    """Return the requests of a site that wait for a second person; forget those that are over."""
    found = []
    for record in await hub.storage.records(site_id, KIND):
        opening = dual.read(record.data)
        if opening.ended(hub.clock.utc_ms()):
            if await hub.storage.drop_record(site_id, KIND, record.id) and not opening.ref:
                told = {"id": opening.id, "by": opening.by, "door": opening.door}
                await hub.storage.audit(site_id, "open.not_approved", told)
        elif opening.state == "waiting":
            found.append(opening)
    return tuple(found)


async def approve(hub: Hub, site: Site, *, account: str, by: str, opening_id: str) -> Done:
    """Approve a request, and ask the site to open that door: from now, for as long as was asked.

    Raises `Refused`: `approval.unknown` (there is none, or it is over), `approval.own` (the account
    that asked), `approval.under_way`, and what `issue.ask_open` refuses: then it waits on.
    """
    record = await hub.storage.record(site.site_id, KIND, opening_id)
    opening = dual.read(record.data) if record else None
    if record is None or opening is None or opening.ended(hub.clock.utc_ms()):
        raise Refused("approval.unknown", "Ask for the door again: a request waits five minutes.")
    if opening.account == account:
        raise Refused("approval.own", "Have another account of support approve it.")
    if opening.state == "asked":
        return Done(opening.ref, new=False)
    asking = msgspec.structs.replace(opening, state="asking", second=by, nonce=_nonce())
    try:
        if opening.state == "waiting":
            record = await hub.storage.change_record(site.site_id, record, asking.encoded())
        else:
            raise _under_way()
    except Moved as error:
        raise _under_way() from error
    decide = _decide(
        door=opening.door, why=opening.why, case=opening.case,
        until_ms=hub.clock.utc_ms() + opening.lasts_ms, second=by,
    )  # fmt: skip
    try:
        done = await hub.voice.say(site, opening.by, decide)
    except (Refused, Busy):
        with suppress(Moved):  # it ended meanwhile, and is forgotten
            await hub.storage.change_record(site.site_id, record, opening.encoded())
        raise
    await _counted(hub, opening.account, site.site_id, anyway=True)
    asked = msgspec.structs.replace(asking, state="asked", ref=done.ref)
    with suppress(Moved):
        await hub.storage.change_record(site.site_id, record, asked.encoded())
    return done


def _nonce() -> str:
    return secrets.token_hex(8)


def _under_way() -> Refused:
    return Refused(
        "approval.under_way", "Somebody approves it just now: look whether the door opens."
    )


def _decide(*, door: int, why: str, case: str, until_ms: int, second: str = "") -> Decide:
    def decide(book: Book, desk: Desk) -> Decision:
        return issue.ask_open(
            book, desk, door=door, why=why, case=case, until_ms=until_ms, second=second
        )

    return decide


async def _counted(hub: Hub, account: str, site_id: str, *, anyway: bool) -> dual.Over | None:
    """Count one more request, if it is within the limits or `anyway`; return which it breaks."""
    safety = hub.config.safety
    limits = Limits(safety.opens_per_minute, safety.opens_per_minute_all)
    for _ in range(_TRIES):
        record = await hub.storage.record(*_RECENT)
        recent = dual.read_recent(record.data) if record else ()
        now_ms = hub.clock.utc_ms()
        limit = dual.over(recent, account=account, site=site_id, now_ms=now_ms, limits=limits)
        if limit is not None and not anyway:
            return limit
        data = dual.with_one(recent, Asked(now_ms, account, site_id, _nonce()))
        if await _put(hub, record, data):
            return None
    raise Busy("hub.busy", "Ask again in a moment.", attempts=_TRIES)


async def _put(hub: Hub, record: Record | None, data: bytes) -> bool:
    if record is None:
        return await hub.storage.add_record(*_RECENT, data)
    try:
        await hub.storage.change_record("", record, data)
    except Moved:
        return False
    return True


async def _kept(hub: Hub, site_id: str, opening: Opening) -> Opening:
    """Keep a request, or find the same one waiting."""
    held = await waiting(hub, site_id)
    if not any(one.id == opening.id for one in held) and len(held) >= dual.WAITING_MAX:
        raise Refused("open.too_many", "Approve what waits first.", waiting=len(held))
    for _ in range(_TRIES):
        if await hub.storage.add_record(site_id, KIND, opening.id, opening.encoded()):
            return opening
        record = await hub.storage.record(site_id, KIND, opening.id)
        if record is None:
            continue
        known = dual.read(record.data)
        if known.state != "asked":
            return known
        # The same door for the same reason once more: it is another request.
        await hub.storage.drop_record(site_id, KIND, opening.id)
    raise Busy("hub.busy", "Ask again in a moment.", attempts=_TRIES)
