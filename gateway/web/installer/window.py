"""Pairing as a machine: a window of ten minutes, opened by somebody at the gateway. Pure.

    shut --open--> open --proof of the secret--> the secret is spent (a certificate)
                        --the typed code-------> the code is spent (a certificate or a session)
    open --both spent | ten minutes | fifth wrong try | close | restart--> shut

One secret pairs once. Whoever guesses has five tries at 80 bits, and each ends up in the log; the
window is then shut, and only presence opens another one. What was paired through a window bears the
name that whoever opened it gave.
"""

import hmac
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Final, Literal

from certs import lan
from gateway.errors import GatewayError

WINDOW_MS: Final = 600_000
WRONG_MAX: Final = 5
SHUT: Final = "At the gateway: locker-gateway pairing open"

Kind = Literal["secret", "code"]
KINDS: Final[tuple[Kind, ...]] = ("secret", "code")


class PairRefused(GatewayError):  # noqa: N818  # a refusal is an answer
    """No pairing: `pair.closed`, `pair.used`, `pair.wrong`, `pair.tries`."""


@dataclass(frozen=True, slots=True)
class Window:
    """One window: for whom, by whom, until when (monotonic ms), and its two one-time secrets."""

    number: int
    name: str
    by: str
    ends_ms: int
    secret: bytes = field(repr=False)
    code: bytes = field(repr=False)
    spent: frozenset[Kind] = frozenset()
    wrong: int = 0


class Pairing:
    """The window of one process. Times are monotonic milliseconds."""

    def __init__(self) -> None:
        self._window: Window | None = None
        self._count = 0

    def open(self, now_ms: int, *, name: str, by: str, secret: bytes, code: bytes) -> Window:
        """Open a window; one that was open is over."""
        assert len(secret) == lan.SECRET_BYTES
        assert len(code) == lan.CODE_BYTES
        self._count += 1
        self._window = Window(
            self._count, lan.check_name(name), by, now_ms + WINDOW_MS, secret, code
        )
        return self._window

    def close(self) -> bool:
        """Shut the window; say whether one was open."""
        was, self._window = self._window, None
        return was is not None

    def current(self, now_ms: int) -> Window | None:
        """Return the window that is open now."""
        if self._window is not None and now_ms >= self._window.ends_ms:
            self._window = None
        return self._window

    def prove(self, now_ms: int, server_pin: str, own_pin: str, proof: bytes) -> Window:
        """Spend the secret or the code that `proof` proves; raises PairRefused."""
        return self._try(now_ms, lambda known: lan.proves(known, server_pin, own_pin, proof), KINDS)

    def type(self, now_ms: int, code: bytes) -> Window:
        """Spend the code that somebody typed; raises PairRefused. The QR's secret is none."""
        return self._try(now_ms, lambda known: hmac.compare_digest(known, code), ("code",))

    def _try(self, now_ms: int, fits: Callable[[bytes], bool], kinds: tuple[Kind, ...]) -> Window:
        window = self.current(now_ms)
        if window is None:
            raise PairRefused("pair.closed", SHUT)
        known: dict[Kind, bytes] = {"secret": window.secret, "code": window.code}
        found = [kind for kind in kinds if fits(known[kind])]
        if not found:
            return self._wrong(window)
        if found[0] in window.spent:
            raise PairRefused("pair.used", "Each code pairs once. " + SHUT)
        spent = window.spent | {found[0]}
        self._window = replace(window, spent=spent) if len(spent) < len(KINDS) else None
        return replace(window, spent=spent)

    def _wrong(self, window: Window) -> Window:
        tries = window.wrong + 1
        if tries >= WRONG_MAX:
            self._window = None
            raise PairRefused("pair.tries", "Too many wrong codes. " + SHUT, tries=tries)
        self._window = replace(window, wrong=tries)
        raise PairRefused("pair.wrong", "Type the code that is shown now", left=WRONG_MAX - tries)
