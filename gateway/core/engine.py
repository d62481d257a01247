"""The engine: one input in, a list of outputs back. It returns; it never calls out.

The rooms (`pickup`, `deposit`, `service`, `doors`) decide; here is who hears what, and the order:
an effect leaves only when everything written before it is durable, and a pulse only inside its
deadline. After `PersistFailed` nothing leaves any more: the shell recovers a new engine.
"""

from dataclasses import replace
from typing import assert_never

from gateway.core import (
    access,
    capabilities,
    cloud,
    deposit,
    doors,
    fence,
    installing,
    keypad,
    pickup,
    service,
    takeback,
    technician,
)
from gateway.core.inputs import (
    AccessTold,
    AnnexEraseAsked,
    BoardBack,
    BoardSilent,
    Button,
    ButtonPressed,
    CapabilityScanned,
    ClockAnchored,
    CodeEntered,
    CodeKeyTold,
    Command,
    CourierAdded,
    CourierRemoved,
    Decommissions,
    DoorSeen,
    DoorServiced,
    DoorsWitnessed,
    DoorTested,
    EntriesArrived,
    EpochBegun,
    FenceLiftAsked,
    FenceRaised,
    HealthMeasured,
    HistorySettled,
    Input,
    KeyRotates,
    LanesMeasured,
    LinkDown,
    LinkUp,
    MapImported,
    Now,
    OccupancySeen,
    ParcelScanned,
    Persisted,
    PersistFailed,
    PulseDone,
    ServiceSet,
    SnapshotAsked,
    StaffCodeEntered,
    SupportChecked,
    SupportOpens,
    TimePassed,
    Trouble,
    TrustTold,
)
from gateway.core.outputs import AllOff, Answer, Output, Pulse, Show
from gateway.core.policy import Settings
from gateway.core.screen import Screen
from gateway.core.state import Session, State, TimerKey
from sync import facts
from sync.book import Book

doors.JUDGES.update(
    collect=pickup.closed,
    deposit=deposit.closed,
    take_back=takeback.closed,
    support=service.support_closed,
    grace=pickup.grace_over,
)

ENDINGS = {"full": "log.full"}
"""Why the log failed, in the words of the screens; anything else is `log.failed`."""

DECOMMISSIONED = "site.decommissioned"
Person = CodeEntered | StaffCodeEntered | ParcelScanned | CapabilityScanned | ButtonPressed
"""What somebody does at a kiosk."""
ASIDE = frozenset({"help", "capability.refused"})
"""Screens that end nobody's work: whoever was at it goes on from there."""
EVIDENCE = (DoorSeen, OccupancySeen, BoardSilent, BoardBack, PulseDone)
"""What the boards tell is heard before a timer of the same moment judges without it."""


class Engine:
    """The decisions of one site. `book` is what is on record; the rest of `state` is volatile."""

    def __init__(self, book: Book, settings: Settings, now: Now) -> None:
        self.state = State(book, settings, now)

    @property
    def book(self) -> Book:
        """Return the book: what is written, durable or about to be."""
        return self.state.book

    def begin(self) -> list[Output]:
        """Return the outputs of a start: every kiosk goes home, timers are set."""
        for session in self.state.sessions.values():
            self._home(session)
            if self.state.over:
                self.state.show(session.kiosk, self._out_of_service(DECOMMISSIONED))
        return self._end_turn(starting=True)

    def handle(self, happened: Input) -> list[Output]:
        """Decide on one input; raise only when a promise of this program is broken."""
        state = self.state
        state.now = happened.now
        if state.stopped:
            return self._refuse_all(happened, state.stopped)
        if isinstance(happened, PersistFailed):
            return self._stop(happened)
        if state.over:
            return self._after_the_end(happened)
        if isinstance(happened, TimePassed):
            state.woken()  # too early perhaps: then the same moment is asked for again
        if isinstance(happened, EVIDENCE):
            self._dispatch(happened)
            self._run_timers()
        else:
            self._run_timers()
            self._dispatch(happened)
        return self._end_turn()

    def _run_timers(self) -> None:
        for key in self.state.due():
            self._timer(key)

    def _end_turn(self, *, starting: bool = False) -> list[Output]:
        """Hand over what was written, then whatever is durable; late pulses become facts.

        A start writes nothing: whoever only reads may recover an engine.
        """
        state, outputs = self.state, list[Output]()
        while True:
            while state.changed and not starting and not state.over:
                cloud.react(state)
            outputs += state.hand_over()
            if state.over:
                self._open_nothing()
            while (effect := state.next_durable()) is not None:
                if not isinstance(effect, Pulse) or doors.may_leave(state, effect):
                    outputs.append(effect)
            if not state.pending and (starting or state.over or not state.changed):
                return outputs + state.wake()

    # --- stopping -----------------------------------------------------------------------------

    def _stop(self, failed: PersistFailed) -> list[Output]:
        """Nothing after the last durable entry has happened: open nothing, say so."""
        state = self.state
        state.stopped = ENDINGS.get(failed.reason, "log.failed")
        waiting = [effect for _, effect in state.gated if isinstance(effect, Answer)]
        state.gated.clear()
        screens = [Show(kiosk, self._out_of_service(state.stopped)) for kiosk in state.sessions]
        answers = [Answer(answer.token, state.stopped) for answer in waiting]
        return [AllOff(), *screens, *answers]

    def _out_of_service(self, why: str) -> Screen:
        return Screen("out_of_service", why=why)

    def _refuse_all(self, happened: Input, why: str) -> list[Output]:
        if isinstance(happened, Person):
            return [Show(happened.kiosk, self._out_of_service(why))]
        return [Answer(happened.token, why)] if isinstance(happened, Command) else []

    def _after_the_end(self, happened: Input) -> list[Output]:
        """The last entry is written: only what waits for the disk still comes."""
        if isinstance(happened, Persisted):
            self._durable(happened)
            return self._end_turn()
        return self._refuse_all(happened, DECOMMISSIONED)

    def _open_nothing(self) -> None:
        """Take back every pulse that waits, and every moment to come: nothing may follow."""
        state = self.state
        kept = [one for one in state.gated if not isinstance(one[1], Pulse)]
        state.gated.clear()
        state.gated.extend(kept)
        state.timers.clear()

    def _durable(self, happened: Persisted) -> None:
        assert self.state.durable <= happened.upto <= self.state.written
        self.state.durable = happened.upto

    # --- inputs -------------------------------------------------------------------------------

    def _dispatch(self, happened: Input) -> None:  # noqa: C901, PLR0912  # one line an input
        state = self.state
        match happened:
            case _ if isinstance(happened, Person):
                if happened.kiosk in state.sessions:
                    self._person(happened)
            case DoorSeen() if happened.door in state.book.map.doors:
                self._seen()
                doors.door_seen(state, happened.door, is_open=happened.open)
            case OccupancySeen() if happened.door in state.book.map.doors:
                self._seen()
                doors.occupancy_seen(state, happened.door, occupied=happened.occupied)
            case PulseDone():
                doors.pulse_done(state, happened)
            case BoardSilent() | BoardBack():
                self._board(happened)
            case EntriesArrived() | LinkUp() | LinkDown() | HistorySettled() | SnapshotAsked():
                self._cloud(happened)
            case FenceRaised():
                fence.raised(state, happened.why)
            case DoorsWitnessed():
                fence.witnessed(state, happened)
            case TrustTold() | AccessTold() | CodeKeyTold():
                access.heard(state, happened)
            case Persisted():
                self._durable(happened)
            case Command():
                self._command(happened)
            case _:
                self._note(happened)

    def _cloud(
        self, happened: EntriesArrived | LinkUp | LinkDown | HistorySettled | SnapshotAsked
    ) -> None:
        state = self.state
        match happened:
            case EntriesArrived():
                cloud.arrived(state, happened.entries)
            case LinkUp():
                state.linked = True
            case LinkDown():
                state.linked = False
            case HistorySettled():
                state.settled_by, state.changed = happened.by, True
            case SnapshotAsked():
                service.take_snapshot(state)
            case _:
                assert_never(happened)

    def _person(self, happened: Person) -> None:
        state = self.state
        if not state.book.map.doors:
            state.show(happened.kiosk, Screen("out_of_service", why="site.no_map"))
            return
        match happened:
            case CodeEntered():
                pickup.code_entered(state, happened)
            case StaffCodeEntered():
                deposit.secret_entered(state, happened)
            case ParcelScanned():
                deposit.scanned(state, happened)
            case CapabilityScanned():
                capabilities.scanned(state, happened)
            case ButtonPressed():
                self._button(happened)
            case _:
                assert_never(happened)

    def _button(self, pressed: ButtonPressed) -> None:  # noqa: C901, PLR0912  # one line a button
        state, session = self.state, self.state.sessions[pressed.kiosk]
        match pressed.button:
            case Button.HOME if session.screen.name in ASIDE and session.courier is not None:
                deposit.scan(state, session)  # asking for help ends no courier's round
            case Button.HOME if session.screen.name in ASIDE and session.service is not None:
                technician.menu(state, session)
            case Button.HOME:
                self._home(session)
            case Button.COLLECT:
                self._home(session)
                pickup.enter(state, pressed.kiosk)
            case Button.DELIVER if session.courier is None:
                deposit.enter(state, pressed.kiosk)
            case Button.NEXT if session.service is not None:
                technician.menu(state, session)
            case Button.DELIVER | Button.NEXT:
                if session.courier is not None:
                    deposit.scan(state, session)
            case Button.STAY:
                self._stay(session)
            case Button.HELP:
                ends = state.settings.screen_ms
                state.show(pressed.kiosk, Screen("help", ends_ms=ends))
            case Button.OPEN_AGAIN:
                pickup.open_again(state, pressed)
            case Button.SIZE:
                deposit.size_chosen(state, pressed)
            case Button.ANOTHER_PIECE:
                deposit.another_piece(state, pressed)
            case Button.TOO_SMALL:
                deposit.larger(state, pressed)
            case Button.RETRY:
                deposit.retry(state, pressed)
            case Button.YES | Button.NO:
                deposit.answered(state, pressed)
            case Button.MINE:
                takeback.mine(state, pressed)
            case Button.TAKE_BACK:
                takeback.take_back(state, pressed)
            case _:
                technician.pressed(state, pressed)

    def _home(self, session: Session) -> None:
        """End a session: nobody's rights stay at the screen."""
        session.clear()
        self.state.show(session.kiosk, Screen("welcome"))

    def _stay(self, session: Session) -> None:
        """The person asked for more time."""
        screen = session.screen
        if screen.ends_ms:
            self.state.show(session.kiosk, _with_warning(screen, warn=False))

    def _command(self, asked: Command) -> None:  # noqa: C901, PLR0912  # one line a command
        state = self.state
        field = service.malformed(asked)
        if field:
            state.answer(asked.token, "command.malformed", field=field)
            return
        match asked:
            case EpochBegun():
                service.begin(state, asked)
            case MapImported():
                service.import_map(state, asked)
            case CourierAdded():
                service.add_courier(state, asked)
            case CourierRemoved():
                service.remove_courier(state, asked)
            case SupportOpens():
                service.support_opens(state, asked)
            case DoorTested():
                service.door_tested(state, asked)
            case SupportChecked():
                service.support_checked(state, asked)
            case ServiceSet():
                service.set_service(state, asked)
            case DoorServiced():
                service.door_serviced(state, asked)
            case AnnexEraseAsked():
                service.erase(state, asked)
            case FenceLiftAsked():
                fence.lift_asked(state, asked)
            case KeyRotates():
                access.key_rotates(state, asked)
            case Decommissions():
                access.decommission(state, asked)
            case _ if isinstance(asked, installing.Wish):
                installing.decide(state, asked)
            case _:
                state.answer(asked.token, "command.unknown")

    def _seen(self) -> None:
        """A fence or a request may have waited to see this door."""
        book = self.state.book
        self.state.changed |= book.fenced or bool(book.rights.requests)

    def _board(self, happened: BoardSilent | BoardBack) -> None:
        """A board is lost or back: what it told is not known any more, or will be told anew."""
        state = self.state
        if isinstance(happened, BoardBack):
            state.silent.discard(happened.board)
            state.clear_alarm("board.silent", about=happened.board)
            return
        state.silent.add(happened.board)
        state.raise_alarm("board.silent", about=happened.board)
        for number in happened.doors:
            item = state.book.map.doors.get(number)
            if item is not None and item.switch.partition(":")[0] == happened.board:
                state.look(number).open = None
            if item is not None and item.occupancy.partition(":")[0] == happened.board:
                state.look(number).occupied = None

    def _note(self, happened: Input) -> None:
        """What only goes on record."""
        state = self.state
        match happened:
            case ClockAnchored():
                state.write(
                    facts.TimeAnchored(
                        utc_ms=happened.now.wall_ms,
                        error_ms=happened.now.error_ms,
                        source=happened.source,
                    )
                )
            case LanesMeasured():
                state.write(facts.LanesTied(lanes=happened.lanes))
            case HealthMeasured():
                state.write(facts.HealthSampled(values=happened.values))
            case Trouble(standing=True):
                state.raise_alarm(happened.alarm, about=happened.about)
            case Trouble():
                state.clear_alarm(happened.alarm, about=happened.about)
            case TimePassed() | DoorSeen() | OccupancySeen():
                pass  # timers ran before; a door that is not in the map is nobody's
            case _:
                raise AssertionError(happened)

    # --- timers -------------------------------------------------------------------------------

    def _timer(self, key: TimerKey) -> None:  # noqa: C901, PLR0912  # one line a timer
        state, (what, which) = self.state, key
        match what:
            case "door":
                doors.door_timer(state, int(which))
            case "ajar":
                doors.ajar(state, int(which))
            case "rail":
                doors.rail_free(state, str(which))
            case "refusals":
                keypad.write_uncharged(state)
            case "unscanned":
                capabilities.write_unscanned(state)
            case "access":
                access.again(state, str(which))
            case "home":
                self._home(state.sessions[str(which)])
            case "cloud":
                state.changed = True
            case "trials":
                installing.take_up(state)
            case "trial":
                installing.untold(state, str(which))
            case "warn":
                session = state.sessions[str(which)]
                left = state.timers.get(("home", session.kiosk))
                if left is not None and left > state.mono:
                    state.warn(session, _with_warning(session.screen, warn=True))
            case _:
                raise AssertionError(key)


def _with_warning(screen: Screen, *, warn: bool) -> Screen:
    return replace(screen, warn=warn)
