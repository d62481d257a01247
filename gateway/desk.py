"""Where people and the engine meet: what they do goes in, the latest screens and answers come out.

The queue is bounded. Boards, disk and clock are never refused: there is a bounded number of doors,
and a queue that long means that this loop stands still, which is a bug. People are refused before
(`runtime.overloaded`), with room left for everything that has to follow from what they began.
"""

import asyncio
import secrets
from collections import deque
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import replace
from typing import Final

from gateway.core.inputs import (
    AccessTold,
    ButtonPressed,
    CapabilityScanned,
    CodeEntered,
    Command,
    Input,
    Now,
    ParcelScanned,
    StaffCodeEntered,
)
from gateway.core.outputs import Answer, PairingOpened
from gateway.core.screen import Screen
from gateway.errors import GatewayError, Overloaded
from gateway.web import kiosk

PEOPLE_MAX: Final = 128
HOUSE_MAX: Final = 16_384
"""Twice what the largest bank says at once: 3,084 doors with occupancy, told anew twice."""
COMMANDS_MAX: Final = 16
ANSWER_S: Final = 30.0
"""A support opening is answered when its door opened or was given up, pulses and rests included."""
SALT_BYTES: Final = 16


class Inbox:
    """The one queue of the site. `wake` is set whenever there is something to do."""

    def __init__(self, wake: asyncio.Event) -> None:
        self._waiting: deque[Input] = deque()
        self._wake = wake

    def __len__(self) -> int:
        return len(self._waiting)

    def put(self, inp: Input) -> None:
        """Take what boards, disk or clock say."""
        assert len(self._waiting) < HOUSE_MAX, "the engine stands still"
        self._waiting.append(inp)
        self._wake.set()

    def put_person(self, inp: Input) -> None:
        """Take what a person does, or refuse with Overloaded (`runtime.overloaded`)."""
        if len(self._waiting) >= PEOPLE_MAX:
            raise Overloaded(
                "runtime.overloaded", "Try again in a moment", waiting=len(self._waiting)
            )
        self.put(inp)

    def take(self) -> Input | None:
        """Return the oldest, or None."""
        return self._waiting.popleft() if self._waiting else None


class Desk:
    """Satisfies `KioskPort`, and finds the answers to commands. It outlives the lives of engines.

    `open_with` connects it to a running engine's inbox; while it is closed people see
    `out_of_service` and are refused.
    """

    def __init__(self, kiosks: tuple[str, ...], now: Callable[[], Now]) -> None:
        self._now = now
        self._inbox: Inbox | None = None
        self._health: Callable[[], Mapping[str, object]] = dict
        self._screens = dict.fromkeys(kiosks, Screen("out_of_service", why="site.starting"))
        self._apart = ""
        self._changed = {name: asyncio.Event() for name in kiosks}
        self._asked: dict[str, asyncio.Future[Answer]] = {}
        self._count = 0
        self.pairing: Callable[[PairingOpened], None] = lambda _: None
        """Called when somebody with the right to install showed it at a kiosk: set by the app."""
        self.carried: Callable[[str], None] = lambda _: None
        """Called with a list of denials (`PLG1D:` and so on) that a visitor carried in."""

    def open_with(
        self, inbox: Inbox, health: Callable[[], Mapping[str, object]], *, apart: str = ""
    ) -> None:
        """Let people in. With `apart` (why) only commands: every kiosk stays out of service."""
        self._inbox, self._health = inbox, health
        self.keep_apart(apart)

    def keep_apart(self, why: str) -> None:
        """From now on take nothing that people do at a kiosk, and show there why."""
        self._apart = why
        if why:
            for name in self._screens:
                self.show(name, Screen("out_of_service", why=why))

    def close(self, why: str) -> None:
        """Let nobody in; every kiosk shows why, and who waits for an answer is told."""
        self._inbox = None
        self._apart = ""
        for name in self._screens:
            self.show(name, Screen("out_of_service", why=why))
        for token in list(self._asked):
            self.answer(Answer(token, why))

    # --- screens ------------------------------------------------------------------------------

    def show(self, name: str, screen: Screen) -> None:
        """Put a screen on a kiosk."""
        if self._apart:
            screen = Screen("out_of_service", why=self._apart)
        self._screens[name] = screen
        changed, self._changed[name] = self._changed[name], asyncio.Event()
        changed.set()

    async def watch(self, kiosk: str) -> AsyncIterator[Screen]:
        """Yield the current screen, then each new one; whoever is slow gets the latest only."""
        self._known(kiosk)
        while True:
            changed = self._changed[kiosk]
            yield self._screens[kiosk]
            await changed.wait()

    def health(self) -> Mapping[str, object]:
        """Return what the site says of itself; `ok` false while nobody is let in."""
        if self._inbox is None:
            return {"ok": False, "code": "site.closed"}
        return self._health()

    def submit(self, inp: kiosk.KioskInput) -> None:
        """Queue what somebody did at a kiosk."""
        self._known(inp.kiosk)
        if self._inbox is None or self._apart:
            code = self._apart or "site.closed"
            raise kiosk.Overloaded(code, "Wait until this site is in service again")
        try:
            self._inbox.put_person(self._meant(inp))
        except Overloaded as error:
            raise kiosk.Overloaded(error.code, error.remedy, **error.evidence) from None

    def carry(self, text: str) -> None:
        """Hand a list of denials on, whether or not the site is in service."""
        self.carried(text)

    def _known(self, name: str) -> None:
        if name not in self._screens:
            raise kiosk.UnknownKiosk(name)

    def _meant(self, inp: kiosk.KioskInput) -> Input:
        now = self._now()
        match inp:
            case kiosk.CodeTyped():
                return CodeEntered(now=now, kiosk=inp.kiosk, digits=inp.digits)
            case kiosk.StaffCodeTyped():
                return StaffCodeEntered(now=now, kiosk=inp.kiosk, digits=inp.digits)
            case kiosk.Scanned():
                salt = secrets.token_bytes(SALT_BYTES)
                return ParcelScanned(now=now, kiosk=inp.kiosk, tracking=inp.tracking, salt=salt)
            case kiosk.Shown():
                salt = secrets.token_bytes(SALT_BYTES)
                return CapabilityScanned(now=now, kiosk=inp.kiosk, text=inp.text, salt=salt)
            case kiosk.Pressed():
                return ButtonPressed(
                    now=now, kiosk=inp.kiosk, button=inp.button, argument=inp.argument
                )

    def tell_access(self, what: str, by: str, why: str) -> None:
        """Put an attempt to get in on record, where a site lives that can write it down."""
        if self._inbox is not None and len(self._inbox) < PEOPLE_MAX:
            self._inbox.put(AccessTold(now=self._now(), what=what, by=by, why=why))

    # --- commands -----------------------------------------------------------------------------

    async def ask(self, command: Command) -> Answer:
        """Queue a local command and return its answer, within `ANSWER_S`.

        Its token is replaced by one of ours. Raises Overloaded, GatewayError (`site.closed`,
        `command.unanswered`).
        """
        if self._inbox is None:
            raise GatewayError("site.closed", "Wait until this site is in service again")
        if len(self._asked) >= COMMANDS_MAX:
            raise Overloaded("runtime.overloaded", "Try again in a moment", asked=len(self._asked))
        self._count += 1
        token = f"c{self._count}"
        asked: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self._asked[token] = asked
        try:
            self._inbox.put_person(replace(command, token=token))
            async with asyncio.timeout(ANSWER_S):
                return await asked
        except TimeoutError:
            raise GatewayError(
                "command.unanswered", "Look at the status: it may still be done"
            ) from None
        finally:
            del self._asked[token]

    def answer(self, answer: Answer) -> None:
        """Hand an answer to whoever waits for it."""
        asked = self._asked.get(answer.token)
        if asked is not None and not asked.done():
            asked.set_result(answer)
