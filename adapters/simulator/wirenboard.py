"""Wiren Board WB-MR6C v3: six relays, seven inputs, watchdog, safe state. HARDWARE.md 1.9, [B] V1.

What the source does not tell is [M]: input mode 0 flips its relay at each press, behaviour 0 takes
the safe position when polls stop and 1 keeps the state. So is register 128, which holds the unit
number, and that it and the rate count at once.
"""

from functools import partial
from typing import ClassVar

from typing_extensions import override

from adapters.simulator.boards import ON, Board, Point

_REAL, _CMD_OFF, _CMD_ON, _CMD_TOGGLE = 96, 100, 108, 116
_LEGACY, _POWER_ON, _POLL_LOSS_S, _POLL_TRIGGER, _BAUD, _ADDRESS = 5, 6, 8, 19, 110, 128
_MODE, _MODE_0, _DEBOUNCE, _DEBOUNCE_0 = 9, 16, 20, 27
_COUNTER, _COUNTER_0, _INPUT_0 = 32, 39, 7
_SAFE, _BEHAVIOUR, _RESTART, _TIMER, _ON_TIME = 930, 938, 1736, 1760, 1784
_STEP_MS, _SECOND_MS = 100, 1000
_BY_PRESS, _BY_LEVEL = 0, 1
_TIMED_ON = 3
_POWER_LAST = 1
_RELAYS = 6
_ZERO = 6
"""Channel number of the seventh input, which the maker calls input 0."""


class WirenBoardMr6c(Board):
    """WB-MR6C v3. Input channels 0..5 are inputs 1..6; channel 6 is input 0."""

    model: ClassVar[str] = "wirenboard-wb-mr6c-v3"
    outputs_count: ClassVar[int] = _RELAYS
    inputs_count: ClassVar[int] = 7
    functions: ClassVar[frozenset[int]] = frozenset((1, 2, 3, 4, 5, 6, 0x0F, 0x10))
    hears_broadcast: ClassVar[bool] = True

    def __init__(self, unit: int = 1, *, baud: int | None = None) -> None:
        super().__init__(unit, baud=baud)
        self.safe_mode = False
        self._steady = [False] * self.inputs_count
        self._settles_at: list[int | None] = [None] * self.inputs_count
        self._counts = [0] * self.inputs_count
        self._wanted = [0] * _RELAYS
        self._off_since: list[int | None] = [None] * _RELAYS
        self._last = [False] * _RELAYS
        self._heard_at: int | None = None
        self._map_relays()
        self._map_inputs()
        self._cells(
            {_LEGACY: (0, range(4)), _POWER_ON: (0, range(3)), _POLL_TRIGGER: (0, range(2))}
        )
        self._cells({_POLL_LOSS_S: (10, range(65535))})
        self.memory[_BAUD] = 96
        self.holding[_BAUD] = Point(lambda: self.memory[_BAUD], self._set_rate, range(12, 1153))
        self.holding[_ADDRESS] = Point(lambda: self.unit, self._readdress, range(1, 248))

    def _set_rate(self, hundreds: int, _now_ms: int) -> None:
        self.memory[_BAUD], self.baud = hundreds, 100 * hundreds

    def _readdress(self, unit: int, _now_ms: int) -> None:
        self.unit = unit

    def _cells(self, cells: dict[int, tuple[int, range]]) -> None:
        for address, (initial, allowed) in cells.items():
            self.holding[address] = self.cell(address, initial, allowed)

    def _map_relays(self) -> None:
        for relay in range(_RELAYS):
            self.coils[relay] = Point(
                partial(self._wanted.__getitem__, relay), partial(self._switch, relay)
            )
            self.coils[_CMD_OFF + relay] = Point(lambda: 0, partial(self._command, relay, 0))
            self.coils[_CMD_ON + relay] = Point(lambda: 0, partial(self._command, relay, 1))
            self.coils[_CMD_TOGGLE + relay] = Point(lambda: 0, partial(self._command, relay, -1))
            self.discretes[_REAL + relay] = Point(partial(self.contacts.reported, relay))
            self._cells(
                {
                    _SAFE + relay: (0, range(2)),
                    _BEHAVIOUR + relay: (0, range(2)),
                    _RESTART + relay: (0, range(1000)),
                    _TIMER + relay: (0, range(4)),
                    _ON_TIME + relay: (30, range(1, 65536)),
                }
            )

    def _map_inputs(self) -> None:
        for channel in range(self.inputs_count):
            zero = channel == _ZERO
            steady, counter = partial(self._level, channel), partial(self._count, channel)
            self.discretes[_INPUT_0 if zero else channel] = Point(steady)
            self.input_words[_COUNTER_0 if zero else _COUNTER + channel] = Point(counter)
            self._cells(
                {
                    _MODE_0 if zero else _MODE + channel: (_BY_PRESS, range(4)),
                    _DEBOUNCE_0 if zero else _DEBOUNCE + channel: (50, range(2001)),
                }
            )

    # -- relays

    def _switch(self, relay: int, value: int, now_ms: int) -> None:
        self._want(relay, int(value == ON), now_ms)

    def _command(self, relay: int, wanted: int, value: int, now_ms: int) -> None:
        if value == ON:
            self._want(relay, 1 - self._wanted[relay] if wanted < 0 else wanted, now_ms)

    def _want(self, relay: int, on: int, now_ms: int) -> None:
        self._wanted[relay] = on
        if not on:
            self._turn_off(relay, now_ms)
            return
        since = self._off_since[relay]
        start = now_ms
        if since is not None and not self.contacts.commanded[relay]:
            start = max(now_ms, since + self.memory[_RESTART + relay] * _STEP_MS)
        # While the restart delay runs the coil says on and the real state says off.
        ends: tuple[tuple[int, bool], ...] = ()
        if self.memory[_TIMER + relay] == _TIMED_ON:
            ends = ((start + self.memory[_ON_TIME + relay] * _STEP_MS, False),)
        if start == now_ms:
            self.contacts.command(relay, True, now_ms, *ends)
        else:
            self.contacts.plan(relay, (start, True), *ends)

    def _turn_off(self, relay: int, now_ms: int) -> None:
        if self.contacts.commanded[relay]:
            self._off_since[relay] = now_ms
        self.contacts.command(relay, False, now_ms)

    # -- time

    @override
    def hear(self, unit: int, pdu: bytes, now_ms: int) -> tuple[int, bytes] | None:
        reply = super().hear(unit, pdu, now_ms)
        if reply is not None:
            self._heard_at, self.safe_mode = now_ms, False
        return reply

    @override
    def next_at(self) -> int | None:
        times = [at for at in self._settles_at if at is not None]
        times += [at for at in (self.contacts.next_at(), self._trips_at()) if at is not None]
        return min(times, default=None)

    def _trips_at(self) -> int | None:
        timeout = self.memory[_POLL_LOSS_S]
        if self._heard_at is None or self.safe_mode or not timeout or not self.powered:
            return None
        return self._heard_at + timeout * _SECOND_MS

    @override
    def advance(self, now_ms: int) -> None:
        while (at := self.next_at()) is not None and at <= now_ms:
            change = self.contacts.fire(at)
            if change is not None:
                if not change.on:
                    self._wanted[change.channel], self._off_since[change.channel] = 0, at
                continue
            if self._trips_at() == at:
                self.trip(at)
            self._settle_inputs(at)

    def trip(self, now_ms: int) -> None:
        """Go to the safe state, as after a loss of polls."""
        self.safe_mode = True
        for relay in range(_RELAYS):
            if self.memory[_BEHAVIOUR + relay] == 0:
                self._want(relay, self.memory[_SAFE + relay], now_ms)

    # -- inputs

    def _level(self, channel: int) -> int:
        return int(self._steady[channel])

    def _count(self, channel: int) -> int:
        return self._counts[channel]

    @override
    def input_changed(self, channel: int, now_ms: int) -> None:
        address = _DEBOUNCE_0 if channel == _ZERO else _DEBOUNCE + channel
        changed = self.levels[channel] != self._steady[channel]
        self._settles_at[channel] = now_ms + self.memory[address] if changed else None
        self._settle_inputs(now_ms)

    def _settle_inputs(self, now_ms: int) -> None:
        for channel, at in enumerate(self._settles_at):
            if at is not None and at <= now_ms:
                self._settles_at[channel] = None
                self._steady[channel] = self.levels[channel]
                self._counts[channel] = (self._counts[channel] + self._level(channel)) & 0xFFFF
                if channel != _ZERO:
                    self._act_on_input(channel, now_ms)

    def _act_on_input(self, channel: int, now_ms: int) -> None:
        mode, active = self.memory[_MODE + channel], self._level(channel)
        if mode == _BY_LEVEL:
            self._want(channel, active, now_ms)
        elif mode == _BY_PRESS and active:
            self._want(channel, 1 - self._wanted[channel], now_ms)

    # -- supply

    @override
    def power_off(self, now_ms: int) -> None:
        self._last = list(self.contacts.commanded)
        super().power_off(now_ms)

    @override
    def booted(self, now_ms: int) -> None:
        self._wanted[:] = [0] * _RELAYS
        self._off_since = [None] * _RELAYS
        self._heard_at, self.safe_mode = None, False
        self._settles_at = [None] * self.inputs_count
        self._steady = list(self.levels)
        if self.memory[_POWER_ON] == _POWER_LAST:
            for relay, on in enumerate(self._last):
                self._want(relay, int(on), now_ms)
