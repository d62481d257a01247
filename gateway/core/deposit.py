"""A courier delivers, with no network anywhere: secret, tracking number, size, door, evidence.

The compartment is chosen by size, reach and wear. What the sensor says after the door is closed
decides; where nothing tells, the courier is asked. A parcel that does not fit gets a larger
compartment; own deposits of this session can be taken back.
"""

from base64 import b64encode

from gateway.core import doors, keypad, views
from gateway.core.inputs import Button, ButtonPressed, ParcelScanned, StaffCodeEntered
from gateway.core.screen import Screen
from gateway.core.state import Annex, Opening, Phase, Session, State
from sync import canonical, codes, facts
from sync.custody import Custody
from sync.errors import TheirsInvalid
from sync.records import Parcel

MINE_MAX = 100
"""Own deposits kept for taking back in one session; a courier brings some sixty at one stop."""


def enter(state: State, kiosk: str, why: str = "", count: int = 0) -> None:
    """Ask for the courier's secret."""
    ends = state.settings.screen_ms
    state.show(kiosk, Screen("deliver.enter", why=why, count=count, ends_ms=ends))


def secret_entered(state: State, entered: StaffCodeEntered) -> None:
    """Take a courier's secret."""
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
    """Ask for the size, with how many are free of each."""
    known = {item.size for item in state.book.map.doors.values()}
    sizes = tuple(
        (size, len(_free(state, session, size, exactly=True)))
        for size in facts.SIZES
        if size in known
    )
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
    free = _free(state, session, least)
    if session.identity is None or session.courier is None:
        return
    if not free:
        choose_size(state, session, "size.none_free")
        return
    door = free[0]
    session.tried.append(door)
    session.size = state.item(door).size
    _open(state, session, door, "asked")


def _open(state: State, session: Session, door: int, why: str) -> None:
    assert session.identity is not None
    tenant, tracking, piece = session.identity.split("/")
    annex = canonical.encode({"tenant": tenant, "tracking": tracking, "piece": int(piece)})
    opening = Opening(
        door, "deposit", Phase.WAITING, by=session.courier or "", of=session.courier,
        kiosk=session.kiosk, size=session.size, annex=Annex(annex, session.salt),
        unconfirmed=state.compartment(door).custody is Custody.CLAIMED,
    )  # fmt: skip
    doors.start(state, opening, why)


def _free(state: State, session: Session, least: facts.Size, *, exactly: bool = False) -> list[int]:
    """Return the compartments that can be given, best first: size, reach, wear, number.

    What is claimed comes last: there the courier must look first.
    """
    rank = facts.SIZES.index(least)
    found = []
    for door, item in state.book.map.doors.items():
        size = facts.SIZES.index(item.size)
        fits = size == rank if exactly else size >= rank
        if fits and door not in session.tried and assignable(state, door):
            reach = 0 if (item.reach == "low") == session.low else 1
            compartment = state.compartment(door)
            claimed = compartment.custody is Custody.CLAIMED
            found.append((claimed, size, reach, compartment.openings, door))
    return [door for *_, door in sorted(found)]


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
    if opening.too_small:
        _larger(state, session)
    else:
        views.tell(state, opening, "empty")


def _stored(state: State, opening: Opening, basis: facts.Basis) -> None:
    """Put the parcel on record; from here on its code opens."""
    assert opening.annex is not None
    assert opening.size is not None
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
    session = state.sessions.get(opening.kiosk or "")
    if session is not None and session.courier == opening.by:
        session.mine = [*session.mine[-MINE_MAX + 1 :], ref]
        if session.screen.door == opening.door:
            scan(state, session, door=opening.door)
    doors.drop(state, opening)


def retry(state: State, pressed: ButtonPressed) -> None:
    """Open the same compartment again, or after a fault the next one."""
    session = state.sessions[pressed.kiosk]
    door = session.screen.door
    if session.identity is None or session.courier is None or door is None:
        return
    if _asked_for(session, "deliver.empty") and assignable(state, door):
        _open(state, session, door, "again")
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
    refused, _ = doors.refusal(state, parcel.door)
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
