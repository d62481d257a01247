"""A courier delivers, with no network anywhere: secret, tracking number, size, door, evidence.

The compartment is chosen by size, reach and wear. What the sensor says after the door is closed
decides; where nothing tells, the courier is asked. A parcel that does not fit gets a larger
compartment; own deposits of this session can be taken back.

A parcel that the hub has promised a compartment gets one of its class, and the promise ends with
the deposit. Everybody else gets what the site may give away by itself (`promises.Room`), and never
a compartment with a climate band: those are for promises of that very band.
"""

from base64 import b64encode
from dataclasses import dataclass, replace

from gateway.core import doors, fence, keypad, promises, views
from gateway.core.inputs import Button, ButtonPressed, ParcelScanned, StaffCodeEntered
from gateway.core.screen import Screen
from gateway.core.state import Annex, Opening, Phase, Session, State
from sync import canonical, codes, facts
from sync.capacity import Reservation
from sync.custody import Custody
from sync.errors import TheirsInvalid
from sync.join import log_order
from sync.records import Parcel

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
    if session.courier != found.ref:
        session.courier, session.mine = found.ref, []
    scan(state, session)


def scan(state: State, session: Session, why: str = "", door: int | None = None) -> None:
    """Ask for the next parcel; `door` is where the last one went."""
    session.identity, session.size, session.tried = None, None, []
    ends = state.settings.courier_ms
    state.show(session.kiosk, Screen("deliver.scan", why=why, door=door, ends_ms=ends))


def scanned(state: State, parcel: ParcelScanned) -> None:
    """Take a tracking number."""
    session = state.sessions[parcel.kiosk]
    courier = state.book.couriers.get(session.courier or "")
    if courier is None or courier.revoked or not _asked_for(session, "deliver.scan"):
        return
    why = keypad.courier_refusal(state, courier)
    if why or state.book.fenced:
        session.courier = None
        enter(state, parcel.kiosk, why)
        return
    text = parcel.tracking.strip()
    try:
        identity = codes.parcel_identity(f"{courier.tenant}/{text}/1")
    except TheirsInvalid:
        scan(state, session, "parcel.malformed")
        return
    session.identity, session.salt = identity, parcel.salt
    if _is_here(state, identity):
        ends = state.settings.courier_ms
        state.show(session.kiosk, Screen("deliver.again", why="parcel.already_here", ends_ms=ends))
        return
    choose_size(state, session)


def _asked_for(session: Session, *screens: str) -> bool:
    return session.screen.name in screens


def _is_here(state: State, identity: str) -> bool:
    return any(parcel.identity == identity for parcel in state.book.parcels.values())


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
    choice = _choice(state, session)
    band = choice.promise.band if choice.promise else ""
    known = {item.size for item in state.book.map.doors.values() if item.band == band}
    sizes = tuple((size, _count(state, choice, size)) for size in facts.SIZES if size in known)
    promise = choice.promise
    if promise is not None and not choice.kept and not any(count for _, count in sizes):
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
    if state.book.fenced:
        scan(state, session, "site.fenced")
        return
    choice, rank = _choice(state, session), facts.SIZES.index(least)
    free = [door for door in choice.doors if _rank(state, door) >= rank and choice.may(state, door)]
    if not free:
        choose_size(state, session, "size.none_free")
        return
    door = free[0]
    session.tried.append(door)
    session.size = state.item(door).size
    _open(state, session, door, "asked", choice.promise)


def _open(state: State, session: Session, door: int, why: str, promise: Reservation | None) -> None:
    assert session.identity is not None
    tenant, tracking, piece = session.identity.split("/")
    annex = canonical.encode({"tenant": tenant, "tracking": tracking, "piece": int(piece)})
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


@dataclass(frozen=True, slots=True)
class _Choice:
    """What there is for this parcel: compartments, best first, and whose rights they need.

    `kept`: its promise is among those that its class has room for.
    """

    doors: list[int]
    promise: Reservation | None
    kept: bool
    room: promises.Room

    def may(self, state: State, door: int) -> bool:
        """Return whether a compartment may be given to this parcel.

        A claimed one is not among the free that rights are counted by: it takes nobody's.
        """
        kind, claimed = state.book.kind_of(door), _is_claimed(state, door)
        promised = self.promise is not None and self.promise.kind == kind
        if promised and (claimed or self.kept):
            return True
        return self.room.own(kind) >= (0 if claimed else 1)


def _is_claimed(state: State, door: int) -> bool:
    return state.compartment(door).custody is Custody.CLAIMED


def _rank(state: State, door: int) -> int:
    return facts.SIZES.index(state.item(door).size)


def _choice(state: State, session: Session) -> _Choice:
    """Find what can be given, best first: size, reach, wear, number.

    What is claimed comes last: there the courier must look first.
    """
    promise = promises.match(state, session.identity) if session.identity is not None else None
    band, found = promise.band if promise else "", []
    for door, item in state.book.map.doors.items():
        if item.band == band and door not in session.tried and assignable(state, door):
            reach = 0 if (item.reach == "low") == session.low else 1
            wear = state.compartment(door).openings
            found.append((_is_claimed(state, door), _rank(state, door), reach, wear, door))
    room = promises.room(state)
    kept = promise is not None and room.keeps(promise)
    return _Choice([door for *_, door in sorted(found)], promise, kept, room)


def _count(state: State, choice: _Choice, size: facts.Size) -> int:
    """Return how many compartments of exactly this size can be given one after the other."""
    there = [door for door in choice.doors if state.item(door).size == size]
    given = [door for door in there if choice.may(state, door)]
    claimed = sum(_is_claimed(state, door) for door in given)
    own = choice.room.own(state.book.kind_of(there[0])) if there else 0
    return min(len(given), max(own, 0) + claimed) or min(len(given), 1)


def assignable(state: State, door: int) -> bool:
    """Return whether a compartment can be given to a parcel now (ARCHITECTURE, invariant 6)."""
    compartment, look = state.compartment(door), state.look(door)
    if compartment.custody is Custody.CLAIMED:
        boot, mono = compartment.claimed_at or state.now.at
        since = mono if boot == state.now.boot else state.started_ms
        if state.mono - since <= state.settings.claimed_ms:
            return False
    elif compartment.custody is not Custody.FREE:
        return False
    if state.book.fenced or state.book.cautious(door):
        return False
    has_sensor = state.item(door).occupancy != ""
    return (
        not compartment.disabled
        and compartment.door_open is not True
        and look.open is False
        and (look.occupied is False if has_sensor else True)
        and doors.refusal(state, door)[0] == ""
        and door not in state.openings
    )


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
        promises.used(state, opening.reservation, ref)
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
    choice = _choice(state, replace(session, tried=[]))
    again = door in choice.doors and choice.may(state, door)
    if _asked_for(session, "deliver.empty") and again:
        _open(state, session, door, "again", choice.promise)
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
            _judge_take_back(state, opening, inside=yes, basis="person")
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


# --- taking back ------------------------------------------------------------------------------


def mine(state: State, pressed: ButtonPressed) -> None:
    """Show the own deposits of this session that are still here."""
    session = state.sessions[pressed.kiosk]
    if session.courier is not None and _asked_for(session, "deliver.scan", "deliver.took"):
        _show_mine(state, session)


def _show_mine(state: State, session: Session, why: str = "") -> None:
    here = tuple(parcel.door for parcel in _own(state, session))
    ends = state.settings.courier_ms
    state.show(session.kiosk, Screen("deliver.mine", doors=here, why=why, ends_ms=ends))


def _own(state: State, session: Session) -> list[Parcel]:
    """Return the own deposits of this session that no recipient has had open."""
    found = [state.book.parcels[ref] for ref in session.mine if ref in state.book.parcels]
    claimed = Custody.CLAIMED
    return [parcel for parcel in found if state.compartment(parcel.door).custody is not claimed]


def take_back(state: State, pressed: ButtonPressed) -> None:
    """Open the compartment of an own deposit of this session."""
    session = state.sessions[pressed.kiosk]
    if session.courier is None or not _asked_for(session, "deliver.mine"):
        return
    own = {str(parcel.door): parcel for parcel in _own(state, session)}
    parcel = own.get(pressed.argument)
    if parcel is None or parcel.by != session.courier:
        return
    refused = "door.fenced" if fence.holds(state, parcel.door) else ""
    refused = refused or doors.refusal(state, parcel.door)[0]
    if not refused and parcel.door in state.openings:
        refused = "door.busy"
    if refused:
        _show_mine(state, session, refused)
        return
    opening = Opening(
        parcel.door, "take_back", Phase.WAITING, by=session.courier, of=parcel.ref,
        kiosk=session.kiosk,
    )  # fmt: skip
    doors.start(state, opening)


def take_back_closed(state: State, opening: Opening) -> None:
    """The door is closed again: is the parcel out?"""
    if state.compartment(opening.door).custody is not Custody.COLLECTING:
        doors.drop(state, opening)
    elif opening.occupied is None:
        opening.phase = Phase.ASKING
        state.timers["door", opening.door] = state.mono + state.settings.ask_ms
        views.tell(state, opening, "confirm")
    else:
        _judge_take_back(state, opening, inside=opening.occupied, basis="sensor")


def _judge_take_back(state: State, opening: Opening, *, inside: bool, basis: facts.Basis) -> None:
    if inside:
        state.write(facts.ParcelLeft(of=opening.of, door=opening.door))
        views.tell(state, opening, "fault", why="parcel.left")
    else:
        state.write(
            facts.ParcelTakenBack(of=opening.of, door=opening.door, by=opening.by, basis=basis)
        )
        views.tell(state, opening, "took")
    doors.drop(state, opening)
