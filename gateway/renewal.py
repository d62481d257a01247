"""What keeps a site in its operator's trust, beside each life: time, documents, certificate.

    at each start        whom this site trusts is told to the engine
    link up, or a day    signed time -> the newest trust document -> what changed is told
    a third of a life    a new key -> its certificate -> tried once -> in use, without a restart
    expired, refused     the same at the renewal listener, which leaves dates to the registry

Nothing that people do waits for any of it. A power cut anywhere leaves a pair that works
(`gateway.trust`); what was asked for and never answered is asked for again with the same key.
"""

import asyncio
import contextlib
from collections.abc import Coroutine
from pathlib import Path
from typing import Any, Final

import msgspec
import tenacity

from certs import authority, enrol, tls
from certs.errors import CertsError
from gateway import logs, site, trust
from gateway import wire as wires
from gateway.core.inputs import (
    AccessTold,
    CodeKeyTold,
    Input,
    KeyRotates,
    Trouble,
    Trust,
    TrustTold,
)
from gateway.errors import GatewayError
from gateway.runtime import End, Life
from gateway.wire import LATE, Wire
from sync.codes import CodeKey
from sync.errors import SyncError

LOOK_S: Final = 3_600.0
"""How often time, documents and certificate are looked at, whether or not a link comes up."""
DAY_MS: Final = 86_400_000
HOUR_MS: Final = 3_600_000
"""A link that comes and goes asks no more often: each question costs a handshake of 3 kB, and what
the hub revoked is in its log too."""
AGAIN_MS: Final = 600_000
"""A certificate that the hub refuses is asked to be renewed no more often than this."""
ATTEMPTS: Final = 3
PAUSE_S_MAX: Final = 60.0
LOW_PERCENT: Final = 20
"""Less of a life than this left, and a person should know."""
REVOKED: Final = frozenset({"device.revoked", "device.unknown", "link.unenrolled"})
"""What no renewal mends."""
_log = logs.get("trust")


class Renewal:
    """One for a process; `run` beside each life, `linked` whenever the hub answers a dial."""

    def __init__(self, wire: Wire, data: Path) -> None:
        self.renewed = self.failed = 0
        self.reason = ""
        self.words = ""
        self._wire, self._data = wire, data
        self._wake = asyncio.Event()
        self._link = False
        self._refused = ""
        self._lates = 0
        self._asked_ms: dict[str, int] = {}
        self._standing: dict[str, bool] = {}

    # --- beside a life --------------------------------------------------------------------------

    def linked(self, code: str) -> None:
        """Hear how a dial went: the hub took us in, or the code of why not."""
        self._lates = self._lates + 1 if code == LATE else 0
        self._link, self._refused = not code, code
        if not code or code == LATE:
            self._wake.set()

    async def run(self, life: Life) -> None:
        """Look now and then until cancelled."""
        self._standing = {}
        self.tell(life)
        while True:
            await self.look(life)
            self._wake.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(LOOK_S):
                    await self._wake.wait()

    def tell(self, life: Life) -> None:
        """Tell the engine whom this site trusts."""
        if self._wire.trust is None:
            return
        list_now = self._wire.trust.denied()
        denied, signers = frozenset(list_now.denied), list_now.verifiers()
        now = life.clock.now()
        life.inbox.put(TrustTold(now=now, signers=signers, denied=denied, number=list_now.number))

    async def look(self, life: Life) -> None:
        """Do what is due; what fails is counted, said, and tried again later."""
        if self._wire.trust is None:
            return
        link, self._link = self._link, False
        apart_ms = HOUR_MS if link else DAY_MS
        if self._wire.needs_time or self._is_due("time", life, apart_ms):
            await self._carefully("time", self._learn(life))
        if self._is_due("trust", life, apart_ms):
            await self._carefully("trust", self._refresh(life))
        if self._must_renew(life):
            await self._carefully("renew", self._renew_with_patience(life))
        self._say_trouble(life)

    def _is_due(self, what: str, life: Life, apart_ms: int) -> bool:
        last_ms = self._asked_ms.get(what)
        return last_ms is None or life.clock.now().mono_ms - last_ms >= apart_ms

    async def _carefully(self, what: str, work: Coroutine[Any, Any, None]) -> None:
        try:
            await work
        except (GatewayError, CertsError, SyncError) as error:
            _log.warning("trust.failed", what=what, code=error.code)

    async def _learn(self, life: Life) -> None:
        await self._wire.learn_time()
        self._asked_ms["time"] = life.clock.now().mono_ms
        life.anchor()

    async def _refresh(self, life: Life) -> None:
        changed = await self._wire.refresh()
        self._asked_ms["trust"] = life.clock.now().mono_ms
        if changed:
            _log.info("trust.changed", denials=self._wire.known().denied().number)
            self.tell(life)

    # --- the certificate ------------------------------------------------------------------------

    def _must_renew(self, life: Life) -> bool:
        """Say whether it is time: a third of its life is over, or the hub took us for expired."""
        leaf, now = self._wire.leaf, life.clock.now()
        if leaf is None:
            return False
        asked_ms = self._asked_ms.get("renew")
        if asked_ms is not None and now.mono_ms - asked_ms < AGAIN_MS:
            return False
        sure_ms = now.floor_ms if now.trust is Trust.FLOOR else now.wall_ms
        due_s = authority.renews_s(leaf, trust.jitter(leaf))
        return sure_ms // 1000 >= due_s or self._refused == LATE or len(self._pairs()) > 1

    def _pairs(self) -> list[tls.Credentials]:
        return trust.pairs(self._data)

    async def _renew_with_patience(self, life: Life) -> None:
        self._asked_ms["renew"] = life.clock.now().mono_ms
        retrying = tenacity.AsyncRetrying(
            stop=tenacity.stop_after_attempt(ATTEMPTS),
            wait=tenacity.wait_random_exponential(multiplier=1, max=PAUSE_S_MAX),
            retry=tenacity.retry_if_exception(_may_pass),
            reraise=True,
        )
        try:
            async for attempt in retrying:
                with attempt:
                    await self.renew(life)
        except (GatewayError, CertsError, SyncError) as error:
            self.failed += 1
            self.reason, self.words = error.code, _words(error)
            if not _may_pass(error):
                self._post(life, AccessTold(
                    now=life.clock.now(), what="renew", by="hub", why=error.code
                ))  # fmt: skip
            raise
        self.renewed += 1
        self.reason = self.words = ""

    async def renew(self, life: Life) -> None:
        """Get a certificate for a new key, try it, and use it from then on.

        Raises Refusal (the hub's code, or one of `wire.WORDS`), CertsError, GatewayError.
        """
        waiting = self._pairs()[1:]
        new = waiting[0] if waiting else await self._asked(life)
        try:
            await self._wire.ask("GET", f"{wires.site_url(self._wire.known())}/trust", own=new)
        except wires.Refusal as error:
            if error.code in {*REVOKED, LATE}:
                await asyncio.to_thread(trust.drop_next, self._data)
            raise
        await asyncio.to_thread(trust.promote, self._data, new)
        self._wire.show(new)
        pin = authority.pin_of(new.key.public_key())
        _log.info("certificate.renewed", pin=pin[:16], ends_s=authority.ends_s(new.leaf))
        now = life.clock.now()
        self._post(life, KeyRotates(now=now, token="", by="renewal", use="tls", pin=pin))

    async def _asked(self, life: Life) -> tls.Credentials:
        """Return a new certificate, kept beside the one in use."""
        key = await asyncio.to_thread(trust.next_key, self._data)
        versions = await asyncio.to_thread(site.code_keys, self._data)
        body = enrol.renewal(key, tuple(version for version, _ in versions))
        try:
            answer = await self._ask_to_renew(life, body)
        except wires.Refusal as error:
            if error.code == "device.key_known":
                await asyncio.to_thread(trust.drop_next, self._data)
            raise
        got = self._wire.read_answer(answer, key)
        # The certificate last: what it came with is asked for again if power is lost before.
        await self._take(life, got)
        await asyncio.to_thread(trust.keep_next, self._data, got.certificate)
        return tls.Credentials(got.certificate, key)

    async def _ask_to_renew(self, life: Life, body: bytes) -> bytes:
        """Ask where links are served; and where dates do not count, if they are in the way."""
        known, leaf = self._wire.known(), self._wire.leaf
        now = life.clock.now()
        over = leaf is not None and now.wall_ms >= authority.ends_s(leaf) * 1000
        if not over and self._refused != LATE:
            try:
                return await self._wire.ask("POST", f"{known.link_url}{enrol.RENEW}", body)
            except wires.Refusal as error:
                if error.code != LATE:
                    raise
        return await self._wire.ask("POST", f"{known.renew_url}{enrol.RENEW}", body)

    async def _take(self, life: Life, got: enrol.Enrolled) -> None:
        """Take in what came with a certificate: where the hub is, its keys, the code key."""
        before = await self._wire.read_again()
        known = msgspec.structs.replace(
            before,
            link_url=got.link_url,
            renew_url=got.renew_url,
            writer=got.writer,
            cosigner=got.cosigner,
        )
        if known != before:
            await asyncio.to_thread(trust.save, self._data, known)
            self._wire.take(known)
        held = dict(await asyncio.to_thread(site.code_keys, self._data))
        if held.get(got.key_version) != got.code_key:
            await asyncio.to_thread(site.import_code_key, self._data, got.key_version, got.code_key)
            now, code = life.clock.now(), CodeKey(known.site, got.key_version, got.code_key)
            self._post(life, CodeKeyTold(now=now, key=code))
            self._post(life, KeyRotates(
                now=now, token="", by="renewal", use="code", key_version=got.key_version
            ))  # fmt: skip
        if (known.writer, known.cosigner) != (before.writer, before.cosigner):
            # Whose entries are taken in is decided when the store is opened.
            life.finish(End.KEYS)

    # --- what people hear -----------------------------------------------------------------------

    def _say_trouble(self, life: Life) -> None:
        leaf, now = self._wire.leaf, life.clock.now()
        low = leaf is None or trust.share_left(leaf, now.wall_ms // 1000) < LOW_PERCENT
        self._trouble(life, "certificate.ends", standing=low and now.trust is not Trust.FLOOR)
        self._trouble(life, "clock.disputed", standing=life.clock.disputed)

    def link_trouble(self, life: Life) -> None:
        """Say that the hub keeps us out, or no longer does; a server that hung up once may not."""
        out = self._refused in REVOKED or self._lates > 1
        if out or not self._refused:
            self._trouble(life, LATE, standing=out)

    def _trouble(self, life: Life, alarm: str, *, standing: bool) -> None:
        """Say it once a life; that it is over too, for an earlier life may have said it."""
        if self._standing.get(alarm) is not standing:
            self._standing[alarm] = standing
            now = life.clock.now()
            self._post(life, Trouble(now=now, alarm=alarm, standing=standing))

    def _post(self, life: Life, inp: Input) -> None:
        life.inbox.put(inp)

    def status(self) -> dict[str, object]:
        """Return what `status` shows of the certificate."""
        leaf = self._wire.leaf
        if self._wire.trust is None:
            return {}
        return {
            "ends_s": None if leaf is None else authority.ends_s(leaf),
            "renews_s": None if leaf is None else authority.renews_s(leaf, trust.jitter(leaf)),
            "pin": None if leaf is None else authority.pin_of(authority.public_key(leaf)),
            "renewed": self.renewed,
            "failed": self.failed,
            "reason": self.reason,
            "words": self.words,
            "denials": self._wire.trust.denied().number,
        }


def _may_pass(error: BaseException) -> bool:
    """Say whether trying again soon may help: nobody answered, or an answer that was cut off."""
    return isinstance(error, wires.Refusal) and error.code in {"link.unreachable", LATE}


def _words(error: GatewayError | CertsError | SyncError) -> str:
    return wires.WORDS.get(error.code, error.remedy)
