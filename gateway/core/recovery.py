"""After a start: the book from the log, and every unfinished opening taken up again.

Nothing is ever pulsed here. An intent without an outcome waits for its door to be seen: open is an
outcome, closed is *doubt* with what the sensor says; if the door stays unseen for `recover_ms`,
that is doubt too.
"""

from collections.abc import Iterable

from gateway.core import cloud
from gateway.core.engine import Engine
from gateway.core.inputs import Now, Recovered
from gateway.core.outputs import AllOff, Output
from gateway.core.policy import Settings
from gateway.core.state import Annex, Opening, Phase, State
from sync.book import Book
from sync.custody import Custody
from sync.fold import fold
from sync.records import Compartment


def recover(
    entries: Iterable[Recovered], settings: Settings, now: Now
) -> tuple[Engine, list[Output]]:
    """Fold the log and take up what was unfinished; `entries` come as `Book.take` wants them."""
    return take_up(fold(entries), settings, now)


def take_up(book: Book, settings: Settings, now: Now) -> tuple[Engine, list[Output]]:
    """Take up what was unfinished in a book, and switch all coils off.

    The doors are not known yet: `DoorSeen` and `OccupancySeen` for every door must follow.
    """
    engine = Engine(book, settings, now)
    for door in sorted(book.compartments):
        opening = _unfinished(engine.state, book.compartments[door])
        if opening is not None:
            engine.state.openings[door] = opening
            engine.state.timers["door", door] = now.mono_ms + settings.recover_ms
    if book.trials:  # a start writes nothing: the first turn does
        engine.state.timers["trials", 0] = now.mono_ms
    outputs = [AllOff(), *engine.begin()]
    engine.state.full = cloud.full(engine.state)
    engine.state.changed = True  # what the hub is owed goes on in the first turn
    return engine, outputs


def _unfinished(state: State, compartment: Compartment) -> Opening | None:
    """Return the opening of a compartment whose intent was not judged to its end."""
    intent = compartment.intent
    busy = compartment.custody in {Custody.DEPOSITING, Custody.COLLECTING}
    pending = intent is not None and intent.outcome is None
    open_for = intent.purpose if intent is not None and compartment.door_open else "none"
    if intent is None or not (busy or pending or open_for == "support"):
        judged = Opening(compartment.number, "none", Phase.RECOVERING)
        return judged if compartment.door_open else None
    return Opening(
        compartment.number,
        intent.purpose,
        Phase.RECOVERING,
        by=intent.by,
        of=intent.of,
        intent=intent.ref,
        root=intent.ref,
        attempt=intent.attempt,
        deadline=intent.deadline,
        started_ms=state.mono,
        size=intent.size,
        annex=Annex(*intent.annex) if intent.annex else None,
        asked=intent.asked,
        reservation=intent.reservation,
        recovered=True,
    )
