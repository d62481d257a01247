"""Who is let in from the LAN: the window, the roll and the sessions of one process, and their log.

    presence -> `open_window` -> QR, code and words -> `pair` (certificate) or `sign_in` (cookie)
                                                    -> `end` strikes both off at once

It decides nothing about doors: the site does. What happens here goes on record as `access.judged`,
through `Site.tell`, and into the log lines; refusals are counted there, not repeated.
"""

import secrets
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from cryptography import x509

from certs import authority, lan
from certs.errors import CertificateInvalid, CertsError
from gateway import logs
from gateway.core.inputs import Command, Now, Trust
from gateway.core.outputs import Answer
from gateway.errors import GatewayError
from gateway.ports import BenchPort, UpkeepPort
from gateway.web.installer.lan import Lan
from gateway.web.installer.roll import Installer, Roll
from gateway.web.installer.sessions import Session, Sessions
from gateway.web.installer.window import SHUT, Pairing, PairRefused, Window

TOKEN_BYTES: Final = 32
LAN: Final = "lan"
"""Who somebody on the LAN is, as long as nobody knows more."""

_log = logs.get("installer")


@dataclass(frozen=True, slots=True)
class Site:
    """What the listener needs of the site. All is called on the event loop.

    `ask` has the engine decide, and raises GatewayError. `status` is what `locker-gateway status`
    shows. `tell(what, by, why)` puts an attempt on record (`access.judged`). `bench` is where
    installers work at the boards, `upkeep` knows what wears out.
    """

    now: Callable[[], Now]
    ask: Callable[[Command], Awaitable[Answer]]
    status: Callable[[], Mapping[str, Any]]
    tell: Callable[[str, str, str], None]
    bench: BenchPort
    upkeep: UpkeepPort


class AccessRefused(GatewayError):  # noqa: N818  # a refusal is an answer
    """Somebody may not do this; `status` is what HTTP calls it."""

    def __init__(self, code: str, remedy: str, *, status: int, **evidence: object) -> None:
        super().__init__(code, remedy, **evidence)
        self.status = status


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks: an installer with a certificate, one in a browser (`session`), or nobody."""

    name: str = ""
    session: Session | None = None

    @property
    def role(self) -> str:
        """Return `nobody`, `session` or `certificate`."""
        if not self.name:
            return "nobody"
        return "certificate" if self.session is None else "session"


NOBODY: Final = Caller()


class Office:
    """Pairing of one gateway. Made when the listener starts: nothing of it outlives the process."""

    def __init__(self, data: Path, site: Site) -> None:
        self.site = site
        self.lan = Lan(data)
        self.roll = Roll(data)
        self.sessions = Sessions()
        self.pairing = Pairing()

    # --- at the gateway ---------------------------------------------------------------------------

    def open_window(self, by: str, name: str = "") -> Window:
        """Open pairing for ten minutes: somebody (`by`) stands at the gateway.

        `name` is whom it is for; a new one otherwise. Raises TrustInvalid `pairing.name`.
        """
        window = self.pairing.open(
            self._mono,
            name=name or self._free_name(),
            by=by,
            secret=secrets.token_bytes(lan.SECRET_BYTES),
            code=secrets.token_bytes(lan.CODE_BYTES),
        )
        self._judged("pair.open", by, name=window.name)
        return window

    def close_window(self, by: str) -> bool:
        """Shut it; say whether it was open."""
        was = self.pairing.close()
        if was:
            self._judged("pair.close", by)
        return was

    def shown(self, address: str) -> dict[str, Any]:
        """Return what the gateway shows of its open window; GatewayError `pair.closed`.

        `qr` is the text of the QR. It and `typed` are secrets for as long as the window is open.
        """
        window = self.pairing.current(self._mono)
        if window is None:
            raise PairRefused("pair.closed", SHUT)
        offer = lan.Offer(address, self.lan.pin, window.secret)
        return {
            "name": window.name,
            "number": window.number,
            "address": address,
            "pin": self.lan.pin,
            "words": list(lan.words_of(self.lan.pin)),
            "qr": "" if "secret" in window.spent else offer.text(),
            "typed": "" if "code" in window.spent else lan.write_code(window.code),
            "ends_in_s": (window.ends_ms - self._mono) // 1000,
        }

    def where(self, address: str) -> dict[str, Any]:
        """Return what may be printed on the gateway for good: nothing of it is a secret."""
        pin = self.lan.pin
        words = list(lan.words_of(pin))
        return {"site": self.lan.site_id, "address": address, "pin": pin, "words": words}

    def paired(self) -> list[dict[str, Any]]:
        """Return who is paired: certificates, and browsers that are signed in."""
        browsers = self.sessions.count(self._mono)
        known = {
            one.name: {"name": one.name, "pin": one.pin, "ends_s": one.ends_s, "by": one.by}
            for one in self.roll.all()
        }
        rows = {name: {"name": name} | known.get(name, {}) for name in (*known, *browsers)}
        return [row | {"browsers": browsers.get(name, 0)} for name, row in sorted(rows.items())]

    def end(self, name: str, by: str) -> None:
        """End a pairing: certificate and browsers, at once. GatewayError `pairing.unknown`."""
        signed_out = self.sessions.end_all(name)
        window = self.pairing.current(self._mono)
        if window is not None and window.name == name:
            self.pairing.close()
        if not self.roll.end(name) and not signed_out:
            raise GatewayError("pairing.unknown", "Take a name from `pairing list`", name=name[:32])
        self._judged("pair.end", by, name=name)

    # --- from the LAN -----------------------------------------------------------------------------

    def pair(self, csr: bytes, proof: bytes) -> tuple[str, x509.Certificate]:
        """Return name and certificate for a request that a one-time secret proves.

        Raises PairRefused, CertificateInvalid `csr.*`, GatewayError. Blocks for one fsync.
        """
        try:
            key = authority.read_csr(csr)
            pin = authority.pin_of(key)
            window = self.pairing.prove(self._mono, self.lan.pin, pin, proof)
            now = self.site.now()
            leaf = self.lan.issue(key, window.name, now.wall_ms // 1000)
            ends_s, dated = authority.ends_s(leaf), now.trust is not Trust.FLOOR
            self.roll.add(Installer(window.name, pin, window.by, now.wall_ms, ends_s, dated))
        except (CertsError, GatewayError) as error:
            self._refused("pair", LAN, error.code)
            raise
        self._judged("pair", f"installer:{window.name}")
        return window.name, leaf

    def sign_in(self, typed: str) -> str:
        """Return the token of a new session for a typed code. PairRefused, TrustInvalid."""
        try:
            window = self.pairing.type(self._mono, lan.read_code(typed))
        except (CertsError, GatewayError) as error:
            self._refused("sign_in", LAN, error.code)
            raise
        token, csrf = secrets.token_urlsafe(TOKEN_BYTES), secrets.token_urlsafe(TOKEN_BYTES)
        self.sessions.begin(
            self._mono, name=window.name, window=window.number, token=token, csrf=csrf
        )
        self._judged("sign_in", f"installer:{window.name}")
        return token

    def sign_out(self, caller: Caller, token: str) -> None:
        """End one browser's session."""
        self.sessions.end(token)
        self._judged("sign_out", f"installer:{caller.name}")

    def who(self, leaf: x509.Certificate | None, token: str) -> Caller:
        """Return who shows this certificate (proved in the handshake), or this cookie.

        Raises AccessRefused `access.unknown`, `access.ended`, `access.expired`. Blocks for one
        fsync when a clock can be trusted for the first time.
        """
        if leaf is None:
            session = self.sessions.find(self._mono, token) if token else None
            return NOBODY if session is None else Caller(session.name, session)
        now = self.site.now()
        try:
            name = lan.installer_of(leaf, self.lan.uri)
        except CertificateInvalid:
            raise AccessRefused("access.unknown", "Pair this device again", status=401) from None
        known = self.roll.find(name, authority.pin_of(authority.public_key(leaf)))
        if known is None:
            raise AccessRefused("access.ended", "Pair this device again", status=401)
        seen = known.seen(now)
        if seen != known:
            self.roll.add(seen)
        if seen.is_over(now):
            raise AccessRefused("access.expired", "Pair this device again", status=401)
        return Caller(name)

    def refused(self, what: str, caller: Caller, code: str) -> None:
        """Put on record that somebody was refused."""
        self._refused(what, f"installer:{caller.name}" if caller.name else LAN, code)

    def did(self, what: str, caller: Caller) -> None:
        """Put on record that somebody did something."""
        self._judged(what, f"installer:{caller.name}")

    # --- parts ------------------------------------------------------------------------------------

    @property
    def _mono(self) -> int:
        return self.site.now().mono_ms

    def _free_name(self) -> str:
        taken = {row["name"] for row in self.paired()}
        return next(name for n in range(1, 1000) if (name := f"installer-{n}") not in taken)

    def _judged(self, what: str, by: str, **more: object) -> None:
        _log.info(what, by=by, **more)
        self.site.tell(what, by, "")

    def _refused(self, what: str, by: str, code: str) -> None:
        _log.warning(what, by=by, code=code)
        self.site.tell(what, by, code)
