"""What a running gateway does about its own keys and its own end, when somebody asks for it.

A new log key is made here, by the process that owns the key store. The overlap of a key change ends
in a quiet moment, with this life: the next one begins the epoch that the new key signs. A wipe that
somebody began (`locker-gateway decommission`) is done by this process, the last thing it does.
"""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import replace
from pathlib import Path
from typing import Final

from gateway import identity, logs, rotating, wiping
from gateway.clock import Clock
from gateway.core.inputs import Command, KeyRotates
from gateway.core.outputs import Answer
from gateway.errors import GatewayError
from gateway.runtime import End, Life
from sync.store import Store

WATCH_S: Final = 1.0
"""How soon it is noticed that the folder is to be wiped, or that no door is being opened."""
DUE_MS: Final = 600_000
"""How often it is asked whether the overlap of a key change is over."""

_log = logs.get("keeping")


class Keeper:
    """One a process. `stop` ends the process; `ask` hands a command to the engine."""

    def __init__(
        self,
        data: Path,
        clock: Clock,
        ask: Callable[[Command], Awaitable[Answer]],
        stop: Callable[[], None],
    ) -> None:
        self._data, self._clock, self._ask, self._stop = data, clock, ask, stop
        self._store: Store | None = None

    def begin_life(self, store: Store) -> Callable[[Life], Coroutine[None, None, None]]:
        """A life has this store; return the task that runs beside it."""
        self._store = store
        return self._watch

    def end_life(self) -> None:
        """The store is closed."""
        self._store = None

    async def end_overlap(self) -> bool:
        """Between two lives: take the next log key as the key where that is due; say whether."""
        due = not await asyncio.to_thread(rotating.waits_for, self._data, self._clock.now())
        if due:
            await asyncio.to_thread(rotating.end, self._data)
            _log.warning("key.changed", use="log")
        return due

    async def ask(self, command: Command) -> Answer:
        """Have a local command done. A new log key is made on the way, if it asks for one.

        Raises what the desk raises, and GatewayError `key.rotating`.
        """
        if not isinstance(command, KeyRotates) or command.use != "log":
            return await self._ask(command)
        store = self._store
        if store is None:
            raise GatewayError("site.closed", "Wait until this site is in service again")
        vkey = await asyncio.to_thread(rotating.prepare, self._data)
        who = await asyncio.to_thread(identity.load, self._data)
        assert who.next_seed is not None
        # Before the entry: the commit that holds it is signed by both.
        store.sign_also(who.next_seed)
        answer = await self._ask(replace(command, vkey=vkey))
        if not answer.code:
            now = self._clock.now()
            await asyncio.to_thread(rotating.begun, self._data, answer.ref, now)
            _log.warning("key.rotates", use="log", entry=answer.ref)
        return answer

    async def _watch(self, life: Life) -> None:
        asked_ms, due = 0, False
        while not wiping.is_under_way(self._data):
            now = self._clock.now()
            if not asked_ms or now.mono_ms - asked_ms >= DUE_MS:
                asked_ms = max(now.mono_ms, 1)
                due = not await asyncio.to_thread(rotating.waits_for, self._data, now)
            if due and not life.engine.state.openings:
                life.finish(End.EPOCH)
                return
            await asyncio.sleep(WATCH_S)
        _log.warning("site.ends")
        self._stop()
