"""The site hears the cloud: what to do because of what the hub wrote, decided from the book alone.

`react` runs at the end of every turn in which something changed that a promise, a request or an
alarm depends on, and in the first turn after a start. It says everything at most once, because what
it says is in the book then; so a restart continues where this left off.

To drive it: store the hub's entries, then send `EntriesArrived(entries=...)` with what
`sync.fold.read(log, index, bytes, annex)` gives for each. Everything else comes by itself.

What the hub is owed and what it may ask:

- An opening that support asks for is this site's own decision: one door a request, inside its time
  by a trusted clock, at most a few a minute, occupied ones at most so many an hour and account.
- A promise that was taken back, kept or has run out is ended, unless a courier is at it.
- Rights go to the hub from what the site has above its floor, in batches.
"""

from gateway.core import clocks, doors, fence, grants, promises, quota
from gateway.core.screen import Screen
from gateway.core.state import Opening, Phase, State
from sync import facts
from sync.capacity import name_of
from sync.custody import Custody
from sync.fold import Taken
from sync.join import log_order, ref_order
from sync.records import Request

TEXT_MAX = 100
"""Characters of a text of the hub's that are written again: three of the longest fit an entry."""
ABOUT_MAX = 64
FLOOR = 1
"""Compartments of each class that the site keeps for walk-ins (setting `capacity.floor`)."""
BATCH = 4
"""Rights go over when a quarter of those wanted, or more, is missing and can be given."""
HELD_ALARMS = (
    "capacity.deficit", "rights.conflict", "log.poisoned", "entry.critical", "code.key_missing",
)  # fmt: skip
"""Alarms that stand exactly as long as their reason is in the book, one for each (`about`)."""


def arrived(state: State, entries: tuple[Taken, ...]) -> None:
    """Fold what came, and end what a revocation ends at once. `react` does the rest.

    Entries of this very epoch that we do not have, or of a later one: somebody knows more of us
    than we do. They are not folded: nothing of ours could follow them.
    """
    epoch, ahead = state.settings.epoch, False
    for taken in entries:
        log, index = taken[0], taken[1]
        if ":s" not in log or log_order(log) < log_order(epoch):
            state.book.take(*taken)
        elif index >= state.book.sizes.get(log, 0):
            ahead = True
    if ahead:
        fence.raised(state, "peer.ahead")
    state.changed = True
    end_sessions(state)
    if state.begun:
        _clear_stuck(state)


def end_sessions(state: State) -> None:
    """Whoever's right has ended is told so, unless a door waits for them."""
    ends = state.settings.screen_ms
    for session in state.sessions.values():
        if grants.ended(state, session.courier):
            session.courier = None
            if session.screen.name.startswith("deliver") and session.screen.door is None:
                screen = Screen("deliver.enter", why="staff.revoked", ends_ms=ends)
                state.show(session.kiosk, screen)
        if grants.ended(state, session.service):
            session.service = None
            if session.screen.name.startswith("service") and session.screen.name != "service.open":
                screen = Screen("capability.refused", why="capability.revoked", ends_ms=ends)
                state.show(session.kiosk, screen)


def _clear_stuck(state: State) -> None:
    """A stuck door is out of service; one that was put back is not stuck any more."""
    stuck = {alarm.door for alarm in state.book.alarms.values() if alarm.alarm == "door.stuck"}
    for door in sorted(state.book.compartments.keys() & stuck):
        if not state.compartment(door).disabled:
            state.clear_alarm("door.stuck", door)


def react(state: State) -> None:
    """Do what the book now asks for. Called again until it asks for nothing more."""
    state.changed = False
    if not state.begun:
        return
    fence.step(state)
    state.timers.pop(("cloud", ""), None)
    if state.hub:
        _answer_requests(state)
        if not state.book.fenced:
            promises.settle(state)
            _transfer(state)
        _tell_freed(state)
        _set_timer(state)
    _hold_alarms(state)


# --- requests ---------------------------------------------------------------------------------


def _answer_requests(state: State) -> None:
    requests = state.book.rights.requests
    for ref in sorted(requests, key=ref_order):
        request = requests[ref]
        if _waits(state, request):
            continue
        why = _refusal(state, request)
        if why:
            state.write(facts.RequestDeclined(of=ref, why=why))
        else:
            _open(state, request)


def _waits(state: State, request: Request) -> bool:
    """Return whether this door has only not been seen yet since the start."""
    early = state.mono - state.started_ms < state.settings.recover_ms
    known = request.door in state.book.map.doors
    return early and known and state.look(request.door).open is None


def _refusal(state: State, request: Request) -> str:  # noqa: PLR0911  # the order of checks
    late = clocks.refusal(state.now, request.until_ms)
    if late:
        return "clock.untrusted" if late == "untrusted" else "request.late"
    door = request.door
    if door not in state.book.map.doors:
        return "door.unknown"
    if state.book.cautious(door) or request.ref in state.book.rights.cautious:
        return "door.cautious"
    if fence.holds(state, door):
        return "door.fenced"  # only with somebody on site: `SupportOpens`
    refused, _ = doors.refusal(state, door)
    if refused:
        return refused
    if quota.rate_reached(state) and not _agreed(request) and not quota.on_site(state):
        return "support.rate"
    occupied = state.compartment(door).custody is not Custody.FREE
    by = (_authority(request), quota.SUPPORT)
    if occupied and any(quota.occupied_reached(state, one) for one in by):
        return "support.occupied"
    return ""


def _agreed(request: Request) -> bool:
    """Return whether two accounts stand behind it: more doors than one may open alone."""
    return request.second not in {"", request.by}


def _authority(request: Request) -> str:
    return f"support:{_text(request.by)}"


def _text(told: str) -> str:
    return "".join(mark if mark.isprintable() else " " for mark in told[:TEXT_MAX])


def _open(state: State, request: Request) -> None:
    door, authority = request.door, _authority(request)
    state.support_times.append(state.mono)
    if state.compartment(door).custody is not Custody.FREE:
        for one in (authority, quota.SUPPORT):
            quota.count_occupied(state, one)
    parcel = state.book.parcel_in(door)
    opening = Opening(
        door, "support", Phase.WAITING, by=authority, of=parcel.ref if parcel else None,
        case=f"{_text(request.case)}: {_text(request.why)}", asked=request.ref,
    )  # fmt: skip
    doors.start(state, opening)


# --- capacity ---------------------------------------------------------------------------------


def _transfer(state: State) -> None:
    """Give the hub rights out of what the site has above its floor.

    Wanted is the setting `capacity.share` (or `capacity.share.<class>`); without one, half of what
    can be given away at all, so that couriers with and without a promise both find something. They
    go over when the hub has half of them or less, and a quarter at least can be given: so not every
    deposit writes an entry.
    """
    if state.book.standing("disk.low", None):
        return
    classes = {(item.size, item.band) for item in state.book.map.doors.values()}
    room, escrow = promises.room(state), state.book.rights.escrow
    for size, band in sorted(classes):
        kind = name_of(size, band)
        has = max(0, escrow.hub_free(kind))
        above = room.own(kind) - _number(state, "capacity.floor", kind, FLOOR)
        wanted = _number(state, "capacity.share", kind, (has + max(0, above) + 1) // 2)
        count = min(wanted - has, above)
        if count > 0 and 2 * has <= wanted and (BATCH * count >= wanted or has == 0):
            state.write(facts.CapacityTransferred(size=size, band=band, count=count))


def _number(state: State, key: str, kind: str, default: int) -> int:
    """Return a setting that is a number, for a class or for all."""
    for name in (f"{key}.{kind}", key):
        value = state.book.rights.setting(name)
        if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
            return value
    return default


def full(state: State) -> frozenset[str]:
    """Return the classes that have no compartment free."""
    free = state.book.free()
    return frozenset(
        state.book.kind_of(door)
        for door in state.book.map.doors
        if not free[state.book.kind_of(door)]
    )


def _tell_freed(state: State) -> None:
    """Say at once when a class that had none free has one again."""
    before, state.full = state.full, full(state)
    classes = {(item.size, item.band) for item in state.book.map.doors.values()}
    for size, band in sorted(classes):
        if name_of(size, band) in before - state.full:
            state.write(facts.CompartmentFreed(size=size, band=band))


# --- alarms and the timer ---------------------------------------------------------------------


def _hold_alarms(state: State) -> None:
    """Raise what stands now and did not, clear what is gone.

    An alarm that somebody cleared although its reason stands is not raised again in this life.
    """
    wanted = _reasons(state)
    standing = {
        (alarm.alarm, alarm.about)
        for alarm in state.book.alarms.values()
        if alarm.alarm in HELD_ALARMS and alarm.door is None
    }
    for alarm, about in sorted(wanted - standing - state.surfaced):
        state.raise_alarm(alarm, about=about)
    for alarm, about in sorted(standing - wanted):
        state.clear_alarm(alarm, about=about)
    state.surfaced = wanted


def _reasons(state: State) -> set[tuple[str, str]]:
    book = state.book
    found = {("log.poisoned", log) for log in book.stopped}
    found |= {("entry.critical", ref) for ref in book.rights.cautious.values()}
    versions = {parcel.key_version for parcel in book.parcels.values()}
    found |= {("code.key_missing", str(one)) for one in versions if state.key(one) is None}
    if state.hub:
        found |= {("rights.conflict", one.ref) for one in book.conflicts()}
        found |= {
            ("capacity.deficit", f"{one.kind[:ABOUT_MAX]} {len(one.reroute)}")
            for one in book.deficits()
        }
    return found


def _set_timer(state: State) -> None:
    """Look again when a promise runs out, or when a door should have been seen."""
    moments = [] if state.book.fenced else promises.ends(state)
    if state.book.rights.requests:
        moments.append(max(state.started_ms + state.settings.recover_ms, state.mono + 1))
    if moments:
        state.timers["cloud", ""] = min(moments)
