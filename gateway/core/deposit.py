"""A courier delivers, with no network anywhere: secret, tracking number, size, door, evidence.

The compartment is chosen by size, reach and wear. What the sensor says after the door is closed
decides; where nothing tells, the courier is asked. A parcel that does not fit gets a larger
compartment; own deposits of this session can be taken back.

A parcel that the hub has promised a compartment gets one of its class, and the promise ends with
the deposit. Everybody else gets what the site may give away by itself (`promises.Room`), and never
a compartment with a climate band: those are for promises of that very band.
"""

from base64 import b64encode
from dataclasses import replace

from gateway.core import choice, doors, fence, grants, keypad, promises, takeback, views
from gateway.core.inputs import Button, ButtonPressed, ParcelScanned, StaffCodeEntered
from gateway.core.screen import Screen
from gateway.core.state import Annex, Opening, Phase, Session, State
from sync import canonical, codes, facts
from sync.capacity import Reservation
from sync.custody import Custody
from sync.errors import TheirsInvalid
from sync.join import log_order
from sync.records import Grant
from sync.rights import ONCE

MINE_MAX = 100
"""Own deposits kept for taking back in one session; a courier brings some sixty at one stop."""


def enter(state: State, kiosk: str, why: str = "", count: int = 0) -> None:
    """Ask for the courier's secret."""
    ends, why = state.settings.screen_ms, "site.fenced" if state.book.fenced else why
    state.show(kiosk, Screen("deliver.enter", why=why, count=count, ends_ms=ends))


def secret_entered(state: State, entered: StaffCodeEntered) -> None:
    """Take a courier's secret."""
    if state.book.fenced:
        enter(state, entered.kiosk)
        return
    found = keypad.courier(state, entered.digits)
    if isinstance(found, keypad.Refused):
        enter(state, entered.kiosk, found.why, found.wait_s)
        return
    session = state.sessions[entered.kiosk]
    begin(session, found.ref)
    scan(state, session)


def begin(session: Session, ref: str) -> None:
    """Let somebody deliver by this right; whoever comes back has their own deposits still."""
    kept = session.mine if session.courier == ref else []
    session.clear()
    session.courier, session.mine = ref, kept


def scan(state: State, session: Session, why: str = "", door: int | None = None) -> None:
    """Ask for the next parcel; `door` is where the last one went.

    Who has a right to one parcel is done after it; who has one for a parcel that it names is asked
    for nothing, so the next step back is out.
    """
    session.identity, session.size, session.tried = None, None, []
    right = grants.find(state, session.courier)
    if right is not None and right.grant in ONCE:
        if state.book.rights.is_used(right):
            _done(state, session, door)
            return
        if why and (session.fixed or session.room):
            _refuse(state, session, why)
            return
        if session.fixed:
            _home(state, session)
            return
    _ask(state, session, why, door)


def _ask(state: State, session: Session, why: str, door: int | None = None) -> None:
    ends = state.settings.courier_ms
    state.show(session.kiosk, Screen("deliver.scan", why=why, door=door, ends_ms=ends))


def _done(state: State, session: Session, door: int | None) -> None:
    """The one parcel is in: thanks, and it can be taken back; or it was, and that is all."""
    if not takeback.own(state, session):
        _home(state, session)
        return
    ends = state.settings.result_ms
    state.show(session.kiosk, Screen("deliver.done", door=door, ends_ms=ends))


def _home(state: State, session: Session) -> None:
    session.clear()
    state.show(session.kiosk, Screen("welcome"))


def _refuse(state: State, session: Session, why: str) -> None:
    session.clear()
    ends = state.settings.result_ms
    state.show(session.kiosk, Screen("capability.refused", why=why, ends_ms=ends))


def scanned(state: State, parcel: ParcelScanned) -> None:
    """Take a tracking number."""
    session = state.sessions[parcel.kiosk]
    right = grants.find(state, session.courier)
    if right is None or not _asked_for(session, "deliver.scan"):
        return
    why = keypad.courier_refusal(state, right)
    if why or state.book.fenced:
        session.courier = None
        enter(state, parcel.kiosk, why)
        return
    text = parcel.tracking.strip()
    try:
        identity = codes.parcel_identity(f"{right.tenant}/{text}/1")
    except TheirsInvalid:
        # A slip at the reader ends nobody's visit, also not theirs who may fill one room only.
        _ask(state, session, "parcel.malformed")
        return
    session.identity, session.salt = identity, parcel.salt
    if _is_here(state, identity):
        ends = state.settings.courier_ms
        state.show(session.kiosk, Screen("deliver.again", why="parcel.already_here", ends_ms=ends))
        return
    choose_size(state, session)


def brings(state: State, session: Session, identity: str, salt: bytes) -> None:
    """Take the one parcel that a right is about: nobody has to type its number."""
    session.fixed = session.identity = identity
    session.salt = salt
    if _is_here(state, identity):
        _refuse(state, session, "parcel.already_here")
        return
    choose_size(state, session)


def _asked_for(session: Session, *screens: str) -> bool:
    return session.screen.name in screens


COMING = frozenset({*doors.UNDECIDED, Phase.OPEN, Phase.SETTLING, Phase.ASKING})


def _is_here(state: State, identity: str) -> bool:
    """Return whether this parcel is on record, or is being put behind a door just now."""
    name = _annex_of(identity)
    coming = (
        opening.annex is not None and opening.annex.data == name
        for opening in state.openings.values()
        if opening.purpose == "deposit" and opening.phase in COMING and not opening.too_small
    )
    here = (parcel.identity == identity for parcel in state.book.parcels.values())
    return any(here) or any(coming)


def _annex_of(identity: str) -> bytes:
    tenant, tracking, piece = identity.split("/")
    return canonical.encode({"tenant": tenant, "tracking": tracking, "piece": int(piece)})


def another_piece(state: State, pressed: ButtonPressed) -> None:
    """The number is here already, and this is one more piece of it."""
    session = state.sessions[pressed.kiosk]
    if session.identity is None or not _asked_for(session, "deliver.again"):
        return
    tenant, tracking, _ = session.identity.split("/")
    piece = 1
    while _is_here(state, f"{tenant}/{tracking}/{piece}"):
        piece += 1
    session.identity = f"{tenant}/{tracking}/{piece}"
    choose_size(state, session)


def choose_size(state: State, session: Session, why: str = "") -> None:
    """Ask for the size, with how many can be given of each."""
    size, _, band = session.room.partition(" ")
    if size in facts.SIZES:
        if why:
            scan(state, session, "capability.no_room")
        else:
            _next_compartment(state, session, size)
        return
    found = choice.find(state, session)
    promise = found.promise
    band = promise.band if promise else band
    known = {item.size for item in state.book.map.doors.values() if item.band == band}
    sizes = tuple((size, choice.count(state, found, size)) for size in facts.SIZES if size in known)
    if promise is not None and not found.kept and not any(count for _, count in sizes):
        scan(state, session, "reservation.rerouted")
        return
    ends = state.settings.courier_ms
    state.show(session.kiosk, Screen("deliver.size", why=why, sizes=sizes, ends_ms=ends))


def size_chosen(state: State, pressed: ButtonPressed) -> None:
    """Take the size (`S`, or `S low` for a compartment within everybody's reach)."""
    session = state.sessions[pressed.kiosk]
    size, _, low = pressed.argument.partition(" ")
    if session.identity is None or not _asked_for(session, "deliver.size"):
        return
    if size not in facts.SIZES or low not in {"", "low"}:
        return
    session.size, session.low = size, low == "low"
    _next_compartment(state, session, size)


def larger(state: State, pressed: ButtonPressed) -> None:
    """It does not fit: remember that while the door is open, or move on when it is closed."""
    session = state.sessions[pressed.kiosk]
    if _asked_for(session, "deliver.open", "deliver.ajar"):
        opening = state.openings.get(session.screen.door or 0)
        if opening is not None and opening.kiosk == session.kiosk:
            opening.too_small = True
            views.tell(state, opening, "open", why="parcel.too_small")
    elif _asked_for(session, "deliver.empty"):
        _larger(state, session)


def _larger(state: State, session: Session) -> None:
    rank = facts.SIZES.index(session.size or "S") + 1
    _next_compartment(state, session, facts.SIZES[min(rank, len(facts.SIZES) - 1)])


def _next_compartment(state: State, session: Session, least: facts.Size) -> None:
    """Open the best compartment of at least this size, or say that there is none."""
    if session.identity is None or session.courier is None:
        return
    refused = _refusal(state, session.courier)
    if refused:
        scan(state, session, refused)
        return
    found, rank = choice.find(state, session), facts.SIZES.index(least)
    fitting = [door for door in found.doors if choice.rank(state, door) >= rank]
    free = [door for door in fitting if found.may(state, door)]
    if not free:
        choose_size(state, session, "size.none_free")
        return
    door = free[0]
    session.tried.append(door)
    session.size = state.item(door).size
    _open(state, session, door, "asked", found.promise)


def _refusal(state: State, courier: str) -> str:
    """Return why nothing can be given away by this right at this moment, or nothing.

    Its end counts at each door: a screen can be kept for long. A right to one parcel opens one
    compartment at a time, at whatever kiosk it was shown.
    """
    if state.book.fenced:
        return "site.fenced"
    right = grants.find(state, courier)
    if right is None:
        return "staff.revoked"
    if right.grant in ONCE:
        return once_refusal(state, right)
    return keypad.courier_refusal(state, right)


def once_refusal(state: State, right: Grant) -> str:
    """Return why a right to one parcel cannot open a compartment now, or nothing."""
    if state.book.rights.is_used(right):
        return "capability.used"
    busy = any(
        opening.by == right.ref and opening.purpose == "deposit" and opening.phase is not Phase.LATE
        for opening in state.openings.values()
    )
    return "capability.in_use" if busy else keypad.courier_refusal(state, right)


def _open(state: State, session: Session, door: int, why: str, promise: Reservation | None) -> None:
    assert session.identity is not None
    annex = _annex_of(session.identity)
    opening = Opening(
        door, "deposit", Phase.WAITING, by=session.courier or "", of=session.courier,
        kiosk=session.kiosk, size=session.size, annex=Annex(annex, session.salt),
        unconfirmed=_unsure(state, door), reservation=promise.ref if promise else None,
    )  # fmt: skip
    doors.start(state, opening, why)


def _unsure(state: State, door: int) -> bool:
    """Return whether the courier must look first: nothing tells that it is empty."""
    compartment, epoch = state.compartment(door), state.settings.epoch
    if compartment.custody is Custody.CLAIMED:
        return True
    first = log_order(epoch)[0] == 1
    return not first and not state.item(door).occupancy and compartment.proved != epoch


def closed(state: State, opening: Opening) -> None:
    """The door is closed again: is the parcel inside?"""
    custody = state.compartment(opening.door).custody
    if custody is Custody.FREE and opening.occupied is False:
        _still_empty(state, opening)
    elif custody is not Custody.DEPOSITING:
        doors.drop(state, opening)
    elif opening.occupied:
        _stored(state, opening, "recovered" if opening.phase is Phase.WATCHING else "sensor")
    else:
        opening.phase = Phase.ASKING
        state.timers["door", opening.door] = state.mono + state.settings.ask_ms
        views.tell(state, opening, "confirm")


def _still_empty(state: State, opening: Opening) -> None:
    doors.drop(state, opening)
    session = state.sessions.get(opening.kiosk or "")
    if session is None or session.screen.door != opening.door:
        return
    if session.courier is None:
        enter(state, session.kiosk, "staff.revoked")
    elif opening.too_small:
        _larger(state, session)
    else:
        views.tell(state, opening, "empty")


def _stored(state: State, opening: Opening, basis: facts.Basis) -> None:
    """Put the parcel on record; from here on its code opens."""
    assert opening.annex is not None
    assert opening.size is not None
    if opening.recovered and fence.opened(state, opening):
        doors.drop(state, opening)  # whose parcel the sensor sees is not known any more
        return
    annex = canonical.decode(opening.annex.data)
    identity = f"{annex['tenant']}/{annex['tracking']}/{annex['piece']}"
    told = state.book.unheard().get(opening.reservation or "")
    key = state.settings.code_key
    tag = b64encode(codes.parcel_tag(key.key, key.site, identity)).decode()
    ref = state.write(
        facts.ParcelDeposited(
            of=opening.root,
            door=opening.door,
            by=opening.by,
            size=opening.size,
            digits=keypad.digits(state),
            counter=keypad.next_counter(state, identity, tag),
            key_version=key.version,
            tag=tag,
            basis=basis,
        ),
        opening.annex,
    )
    if opening.reservation is not None:
        promises.used(state, opening.reservation, ref, told)
    session = state.sessions.get(opening.kiosk or "")
    if session is not None and session.courier == opening.by:
        session.mine = [*session.mine[-MINE_MAX + 1 :], ref]
        if session.screen.door == opening.door:
            scan(state, session, door=opening.door)
    elif session is not None and session.courier is None and session.screen.door == opening.door:
        enter(state, session.kiosk, "staff.revoked")  # it ended while the door was open
    doors.drop(state, opening)


def retry(state: State, pressed: ButtonPressed) -> None:
    """Open the same compartment again, or after a fault the next one."""
    session = state.sessions[pressed.kiosk]
    door = session.screen.door
    if session.identity is None or session.courier is None or door is None:
        return
    found = choice.find(state, replace(session, tried=[]))
    again = door in found.doors and found.may(state, door)
    again = again and not _refusal(state, session.courier)
    if _asked_for(session, "deliver.empty") and again:
        _open(state, session, door, "again", found.promise)
    elif _asked_for(session, "deliver.empty", "deliver.fault") and session.size is not None:
        _next_compartment(state, session, session.size)


def answered(state: State, pressed: ButtonPressed) -> None:
    """Yes or no to a question about a compartment."""
    session = state.sessions[pressed.kiosk]
    opening = state.openings.get(session.screen.door or 0)
    yes = pressed.button is Button.YES
    if opening is None or opening.kiosk != session.kiosk:
        return
    if _asked_for(session, "deliver.check") and opening.phase is Phase.OPEN:
        _looked(state, session, opening, empty=yes)
    elif _asked_for(session, "deliver.confirm") and opening.phase is Phase.ASKING:
        if opening.purpose == "take_back":
            takeback.judge(state, opening, inside=yes, basis="person")
        elif yes:
            _stored(state, opening, "person")
        else:
            by = opening.by
            state.write(facts.CompartmentChecked(door=opening.door, by=by, occupied=False))
            _still_empty(state, opening)


def _looked(state: State, session: Session, opening: Opening, *, empty: bool) -> None:
    """The courier looked into a claimed compartment."""
    if empty:
        opening.unconfirmed = False
        views.opened(state, opening)
        return
    state.write(facts.CompartmentDoubted(door=opening.door, why="courier.not_empty"))
    opening.purpose = "none"
    session.screen = Screen("deliver.scan")
    if session.size is not None:
        _next_compartment(state, session, session.size)
