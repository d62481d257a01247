"""Pins the hub's trust over real sockets: enrolment, renewal, revocation, backends, rotation."""

import asyncio
import base64
import os
import subprocess
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import msgspec
import pytest
from aiohttp import web

from certs import authority, claim, enrol, tls
from certs.keys import SigningKey
from sync.errors import StoreFailed, TheirsInvalid
from sync.hub import api_trust, ca, config, folder
from sync.hub.app import App
from sync.hub.authority import HubAuthority
from sync.hub.devices import Device
from sync.hub.dialling import Dialling
from sync.hub.rooms import Hub, opened
from tests.hubs import STORAGES, url_of

OP = "lockers.example"
SITE = "0042"
LIMIT_S = 20
HOUR_MS = 3_600_000


class Gateway:
    """A gateway of the tests: a TLS key, a log key, and what enrolment brought."""

    def __init__(self, stage: "Stage", site: str = SITE) -> None:
        self.stage, self.site = stage, site
        self.key = tls.new_key()
        self.log_key = SigningKey.from_seed(f"{OP}/site/{site}", os.urandom(32)).verifier.public
        self.roots = stage.known.roots
        self.enrolled: enrol.Enrolled | None = None

    @property
    def pin(self) -> str:
        return authority.pin_of(self.key.public_key())

    async def enrol(self, text: str, **more: Any) -> enrol.Enrolled:
        """Go through the machine; raises `Refused` with what the hub answers."""
        invitation = claim.read(text)
        machine = enrol.Enrolling(invitation, self.key, self.log_key, os.urandom(16), **more)
        while (ask := machine.ask()) is not None:
            known = machine.trusted.roots if machine.trusted else ()
            context = tls.client(known) if ask.pinned else tls.unchecked_client()
            url = invitation.url + ask.path
            async with self.stage.web.request(
                ask.method, url, data=ask.body or None, ssl=context
            ) as answer:
                body = await answer.read()
                if answer.status != 200:
                    raise Refused(answer.status, msgspec.json.decode(body), answer.headers)
            machine.hear(body)
        assert machine.enrolled is not None
        self.enrolled = machine.enrolled
        return machine.enrolled

    @property
    def own(self) -> tls.Credentials:
        assert self.enrolled is not None
        return tls.Credentials(self.enrolled.certificate, self.key)

    async def ask(
        self, path: str, *, at: str = "link", method: str = "GET", data: bytes | None = None
    ) -> tuple[int, Any]:
        return await self.stage.ask(tls.client(self.roots, self.own), path, at, method, data)

    async def renew(self, at: str = "renew") -> "Gateway":
        """Return the gateway with a renewed key; the old one stays as it is."""
        fresh = Gateway(self.stage, self.site)
        status, told = await self.ask(
            enrol.RENEW, at=at, method="POST", data=enrol.renewal(fresh.key)
        )
        if status != 200:
            raise Refused(status, told, {})
        assert self.enrolled is not None
        trusted = enrol.open_trust(
            msgspec.json.encode(await self.stage.trust()), known=tuple(self.roots)
        )
        fresh.enrolled = enrol.open_answer(
            msgspec.json.encode(told), trusted, fresh.key, now_s=int(time.time())
        )
        return fresh


class Refused(Exception):  # noqa: N818  # the name says what happened
    def __init__(self, status: int, told: Any, headers: Any) -> None:
        self.status, self.told, self.headers = status, told, headers
        super().__init__(f"{status} {told}")

    @property
    def code(self) -> str:
        return str(self.told["code"])


class Stage:
    """A hub with an authority, its three listeners, and a client."""

    def __init__(self, app: App, hub: Hub, web: aiohttp.ClientSession) -> None:
        self.app, self.hub, self.web = app, hub, web

    @property
    def known(self) -> HubAuthority:
        assert self.hub.authority is not None
        return self.hub.authority

    async def invite(self, site: str = SITE, *, revives: bool = False) -> str:
        made = await self.hub.claims.create(site, by="ops", revives=revives)
        return claim.Invitation(made.claim, self.known.fingerprint, self.hub.url("api")).text()

    async def enrolled(self, site: str = SITE) -> Gateway:
        gateway = Gateway(self, site)
        await gateway.enrol(await self.invite(site))
        return gateway

    async def trust(self) -> Any:
        status, told = await self.ask(tls.client(self.known.roots), enrol.TRUST, "api")
        assert status == 200
        return told

    async def ask(
        self, context: Any, path: str, at: str = "link", method: str = "GET",
        data: bytes | None = None,
    ) -> tuple[int, Any]:  # fmt: skip
        url = f"https://127.0.0.1:{self.hub.ports[at]}{path}"
        async with aiohttp.ClientSession() as fresh, fresh.request(
            method, url, ssl=context, data=data
        ) as answer:  # fmt: skip
            body = await answer.read()
            try:
                return answer.status, msgspec.json.decode(body)
            except msgspec.DecodeError:
                return answer.status, body

    async def audited(self, site: str = SITE) -> list[str]:
        return [one.code for one in await self.hub.storage.audited(site, 0, 1_000)]

    def later(self, ms: int) -> None:
        """Move the hub's wall clock."""
        self.hub.clock._wall_ns = lambda: time.time_ns() + ms * 1_000_000


@asynccontextmanager
async def running(data: Path, url: str) -> AsyncIterator[Stage]:
    made = config.Config(
        data_dir=str(data), operator=OP, storage=url, api=config.Api(listen="127.0.0.1:0")
    )
    app, ready = App(made), asyncio.Event()
    task = asyncio.create_task(app.run(lambda _: ready.set()))
    try:
        waiting = asyncio.create_task(ready.wait())
        await asyncio.wait((task, waiting), return_when=asyncio.FIRST_COMPLETED, timeout=LIMIT_S)
        if task.done():
            task.result()
        assert app.hub is not None
        async with aiohttp.ClientSession() as web:
            yield Stage(app, app.hub, web)
    finally:
        app.stop()
        await asyncio.wait_for(task, LIMIT_S)


def made(tmp_path: Path) -> Path:
    data = tmp_path / "hub"
    folder.make(data, OP)
    ca.init(data, OP, ["127.0.0.1"], int(time.time()))
    return data


@pytest.fixture(params=STORAGES)
async def stage(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Stage]:
    async with running(made(tmp_path), await url_of(request.param, tmp_path)) as stage:
        yield stage


@pytest.fixture
async def small(tmp_path: Path) -> AsyncIterator[Stage]:
    async with running(made(tmp_path), await url_of("sqlite", tmp_path)) as stage:
        yield stage


# --- enrolment ------------------------------------------------------------------------------------


async def test_a_gateway_that_nobody_knew_is_a_site_with_its_keys(stage: Stage) -> None:
    text = await stage.invite()
    gateway = Gateway(stage)
    told = await gateway.enrol(text)
    site = await stage.hub.registry.get(SITE)
    assert site.vkey.startswith(f"{OP}/site/{SITE}+")
    assert told.writer == stage.hub.keys.writer(SITE).vkey
    assert told.cosigner == stage.hub.keys.cosigner(SITE).vkey
    assert told.code_key == stage.hub.keys.code_key(SITE, told.key_version).key
    device = await stage.hub.devices.known(SITE, gateway.pin)
    assert (device.vkey, device.last_seen_ms) == (site.vkey, 0)
    status, trusted = await gateway.ask(f"/sites/{SITE}/trust")
    assert (status, trusted["operator"]) == (200, OP)
    status, logs = await gateway.ask(f"/sites/{SITE}/sync/v1/logs")
    assert (status, len(logs)) == (200, 2)
    assert (await stage.hub.devices.known(SITE, gateway.pin)).last_seen_ms
    assert "device.enrolled" in await stage.audited()
    lines = [one.evidence for one in await stage.hub.storage.audited(SITE, 0, 99)]
    secret = claim.write(claim.read(text).claim)
    assert secret not in str(lines)
    assert secret not in str(await stage.hub.claims.shown())


async def test_a_claim_is_good_once_for_one_gateway_which_may_ask_again(stage: Stage) -> None:
    text = await stage.invite()
    first, second = Gateway(stage), Gateway(stage)
    await first.enrol(text)
    again = await first.enrol(text)
    assert again.site == f"{OP}/site/{SITE}"
    with pytest.raises(Refused) as refused:
        await second.enrol(text)
    assert (refused.value.status, refused.value.code) == (403, "claim.refused")
    other_log = Gateway(stage)
    other_log.key = first.key
    with pytest.raises(Refused) as refused:
        await other_log.enrol(text)
    assert refused.value.code == "claim.refused"
    assert len(await stage.hub.devices.of(SITE)) == 1
    stage.later(HOUR_MS)
    with pytest.raises(Refused) as refused:
        await first.enrol(text)
    assert refused.value.code == "claim.refused"


async def test_of_many_who_burn_one_claim_at_once_one_is_let_in(stage: Stage) -> None:
    text = await stage.invite()
    gateways = [Gateway(stage) for _ in range(5)]
    told = await asyncio.gather(*(one.enrol(text) for one in gateways), return_exceptions=True)
    assert sum(isinstance(one, enrol.Enrolled) for one in told) == 1, told
    assert len(await stage.hub.devices.of(SITE)) == 1


async def test_no_answer_says_what_was_wrong_with_a_claim(small: Stage) -> None:
    foreign = claim.Invitation(os.urandom(16), small.known.fingerprint, small.hub.url("api"))
    ended, expired = await small.invite("0001"), await small.invite("0002")
    await small.hub.claims.end(claim.claim_id(claim.read(ended).claim))
    small.later(24 * HOUR_MS)
    seen = set()
    for text in (foreign.text(), ended, expired):
        with pytest.raises(Refused) as refused:
            await Gateway(small).enrol(text)
        assert (refused.value.status, refused.value.told["evidence"]) == (403, {})
        seen.add(msgspec.json.encode(refused.value.told))
    assert len(seen) == 1
    assert await small.hub.storage.sites() == ()
    assert "claim.refused" in await small.audited("0002"), "the audit says which site it was"


async def test_who_knows_a_claims_id_alone_or_changes_the_log_key_is_refused(
    small: Stage,
) -> None:
    text, gateway, context = await small.invite(), Gateway(small), tls.client(small.known.roots)
    secret = claim.read(text).claim
    csr = authority.make_csr(gateway.key)
    for given in (
        claim.proof(bytes(16), csr, gateway.log_key),
        claim.proof(secret, csr, bytes(32)),
    ):
        request = enrol.EnrolRequest(
            claim_id=claim.claim_id(secret),
            csr=base64.b64encode(csr).decode(),
            proof=base64.b64encode(given).decode(),
            log_key=base64.b64encode(gateway.log_key).decode(),
        )
        body = msgspec.json.encode(request)
        status, told = await small.ask(context, enrol.ENROL, "api", "POST", body)
        assert (status, told["code"]) == (403, "claim.refused")
    assert await small.hub.storage.sites() == ()
    await gateway.enrol(text)


async def test_who_guesses_is_told_to_wait_and_others_are_not(small: Stage) -> None:
    foreign = claim.Invitation(os.urandom(16), small.known.fingerprint, small.hub.url("api"))
    told: list[Refused] = []
    for _ in range(14):
        with pytest.raises(Refused) as refused:
            await Gateway(small).enrol(foreign.text())
        told.append(refused.value)
    assert {one.code for one in told[:10]} == {"claim.refused"}
    assert {one.code for one in told[11:]} == {"request.often"}
    assert told[-1].headers["Retry-After"] == "60"
    assert (await small.audited("")).count("claim.refused") <= 11
    await small.trust()


async def test_a_claim_is_for_its_site_alone_and_a_wrong_one_does_not_burn_it(
    small: Stage,
) -> None:
    text = await small.invite()
    gateway = Gateway(small)
    with pytest.raises(Refused) as refused:
        await gateway.enrol(text, site=f"{OP}/site/0043")
    assert refused.value.code == "claim.other_site"
    assert (await gateway.enrol(text, site=f"{OP}/site/{SITE}")).site == f"{OP}/site/{SITE}"


async def test_what_lost_power_after_burning_goes_on_for_the_same_gateway(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def dies(*_: Any, **__: Any) -> None:
        raise StoreFailed("busy")

    for step in ("add_site", "devices.enrol"):
        site = {"add_site": "0001", "devices.enrol": "0002"}[step]
        text, gateway = await stage.invite(site), Gateway(stage, site)
        owner: Any = stage.hub.devices if "." in step else Hub
        with monkeypatch.context() as patched:
            patched.setattr(owner, step.rpartition(".")[2], dies)
            with pytest.raises(Refused) as refused:
                await gateway.enrol(text)
            assert refused.value.status == 503
        with pytest.raises(Refused):
            await Gateway(stage, site).enrol(text)
        await gateway.enrol(text)
        assert (await gateway.ask(f"/sites/{site}/trust"))[0] == 200


async def test_a_code_key_that_is_in_use_there_is_given_a_higher_version(small: Stage) -> None:
    told = await Gateway(small).enrol(await small.invite(), key_versions=(1, 4))
    assert told.key_version == 5
    assert (await small.hub.registry.get(SITE)).key_version == 5
    assert (await Gateway(small).enrol(await small.invite())).key_version == 5


async def test_a_site_has_one_gateway_and_what_the_older_one_signed_stays_good(
    stage: Stage,
) -> None:
    older = await stage.enrolled()
    newer = await stage.enrolled()
    assert (await newer.ask(f"/sites/{SITE}/trust"))[0] == 200
    status, told = await older.ask(f"/sites/{SITE}/trust")
    assert (status, told["code"], told["evidence"]["why"]) == (403, "device.revoked", "replaced")
    assert len((await stage.hub.registry.get(SITE)).vkeys) == 2
    assert {"device.replaced", "device.revoked"} <= set(await stage.audited())


async def test_a_site_that_ended_begins_again_only_where_that_is_meant(stage: Stage) -> None:
    hub = stage.hub
    await stage.enrolled()
    before = await stage.invite()
    await hub.registry.end(SITE)
    with pytest.raises(TheirsInvalid) as caught:
        await stage.invite()
    assert caught.value.code == "claim.site_ended"
    # A claim of before the end is not burnt, and lets nobody in.
    for _ in range(2):
        with pytest.raises(Refused) as refused:
            await Gateway(stage).enrol(before)
        assert (refused.value.status, refused.value.code) == (409, "claim.site_ended")
    assert not (await hub.registry.get(SITE)).enabled
    gateway = Gateway(stage)
    again = await stage.invite(revives=True)
    await gateway.enrol(again)
    assert (await hub.registry.get(SITE)).enabled
    assert (await gateway.ask(f"/sites/{SITE}/trust"))[0] == 200
    audit = await stage.audited()
    assert audit.count("site.revived") == 1
    await hub.registry.end(SITE)
    with pytest.raises(Refused) as refused:
        await Gateway(stage).enrol(again)
    assert refused.value.code == "claim.refused", "once"


async def test_bad_requests_are_bounded_and_named(small: Stage) -> None:
    context = tls.client(small.known.roots)
    for body, code, status in (
        (b"{}", "enrol.request", 422),
        (b"x" * 70_000, "request.too_large", 413),
        (b'{"claim_id":"0000000000000000","csr":"AA==","proof":"AA==","log_key":"%s"}'
         % base64.b64encode(bytes(32)), "csr.malformed", 422),
    ):  # fmt: skip
        got, told = await small.ask(context, enrol.ENROL, "api", "POST", body)
        assert (got, told["code"]) == (status, code)
    for nonce in ("", "?nonce=00", "?nonce=" + "g" * 32, f"?nonce={'00' * 16}&nonce={'00' * 16}"):
        got, told = await small.ask(context, enrol.TIME + nonce, "api")
        assert (got, told["code"]) == (400, "request.query")


async def test_cacerts_is_read_by_openssl(small: Stage, tmp_path: Path) -> None:
    status, body = await small.ask(tls.client(small.known.roots), enrol.CACERTS, "api")
    assert status == 200
    file = tmp_path / "cacerts.p7"
    file.write_bytes(base64.b64decode(body))
    shown = await asyncio.to_thread(
        subprocess.run, ["openssl", "pkcs7", "-inform", "DER", "-print_certs", "-in", str(file)],
        capture_output=True, check=True, text=True,
    )  # fmt: skip
    found = authority.from_pem(
        "".join(
            line + "\n"
            for line in shown.stdout.split("\n")
            if not line.startswith(("subject", "issuer"))
        )
    )
    assert authority.fingerprint_of(small.known.root) in map(authority.fingerprint_of, found)
    assert len(found) == 2


# --- who is connected -----------------------------------------------------------------------------


async def test_a_link_demands_a_certificate_of_this_very_site(small: Stage) -> None:
    gateway = await small.enrolled()
    await small.enrolled("0043")
    status, told = await gateway.ask("/sites/0043/trust")
    assert (status, told["code"]) == (403, "device.other_site")
    with pytest.raises((aiohttp.ClientError, OSError)):
        await small.ask(tls.client(small.known.roots), f"/sites/{SITE}/trust")
    key = tls.new_key()
    now_s = int(time.time())
    chain = small.known.issue_device(key.public_key(), SITE, now_s)
    stranger = tls.client(small.known.roots, tls.Credentials(chain, key))
    status, told = await small.ask(stranger, f"/sites/{SITE}/trust")
    assert (status, told["code"]) == (403, "device.unknown"), "issued, and on no record"
    hub = tls.client(small.known.roots, small.known.credentials())
    assert (await small.ask(hub, f"/sites/{SITE}/trust"))[1]["code"] == "device.unknown"
    codes = await small.audited() + await small.audited("")
    assert {"device.other_site", "device.unknown", "handshake.refused"} <= set(codes)


async def test_nothing_of_a_link_is_on_the_api_and_nothing_of_the_api_on_a_link(
    small: Stage,
) -> None:
    gateway = await small.enrolled()
    context = tls.client(small.known.roots)
    for path in (f"/sites/{SITE}/trust", f"/sites/{SITE}/sync/v1/logs", f"/sites/{SITE}/link"):
        assert (await small.ask(context, path, "api"))[0] == 404
    for at in ("link", "renew"):
        assert (await gateway.ask("/api/v1/health", at=at))[0] == 404
    assert (await gateway.ask(f"/sites/{SITE}/trust", at="renew"))[0] == 404
    assert (await small.ask(context, enrol.RENEW, "api", "POST", b"{}"))[0] in {404, 405}


async def test_a_revoked_gateway_is_cut_off_now_and_let_in_again(stage: Stage) -> None:
    gateway = await stage.enrolled()
    url = f"https://127.0.0.1:{stage.hub.ports['link']}"
    context = tls.client(gateway.roots, gateway.own)
    log = (await gateway.ask(f"/sites/{SITE}/sync/v1/logs"))[1][0]
    poll = f"{url}/sites/{SITE}/sync/v1/logs/{log['origin']}/entries?from={log['size']}&wait=50"
    async with aiohttp.ClientSession() as web:
        async with web.ws_connect(f"{url}/sites/{SITE}/link", ssl=context) as link:
            polling = asyncio.create_task(_polled(web, poll, context))
            await asyncio.sleep(0.5)
            assert not link.closed
            began = time.monotonic()
            await stage.hub.revoke(SITE, gateway.pin[:16], "ops")
            async with asyncio.timeout(LIMIT_S):
                while (await link.receive()).type is aiohttp.WSMsgType.BINARY:
                    pass
                # The library asks once more after a cut: that is refused.
                assert await polling in {"cut", "answered 403"}
            assert time.monotonic() - began < 5
        with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
            await web.ws_connect(f"{url}/sites/{SITE}/link", ssl=context)
        assert refused.value.status == 403
    assert (await gateway.ask(f"/sites/{SITE}/trust"))[1]["code"] == "device.revoked"
    with pytest.raises(Refused) as shut:
        await gateway.renew()
    assert (shut.value.status, shut.value.code) == (403, "device.revoked")
    await stage.hub.devices.enable(SITE, gateway.pin[:8])
    assert (await gateway.ask(f"/sites/{SITE}/trust"))[0] == 200


async def _polled(web: aiohttp.ClientSession, url: str, context: Any) -> str:
    try:
        async with web.get(url, ssl=context) as answer:
            await answer.read()
            return f"answered {answer.status}"
    except (aiohttp.ClientError, OSError):
        return "cut"


async def test_a_revoked_gateway_does_not_come_back_by_the_claim_that_it_burnt(
    small: Stage,
) -> None:
    text, gateway = await small.invite(), Gateway(small)
    await gateway.enrol(text)
    await small.hub.revoke(SITE)
    with pytest.raises(Refused) as refused:
        await gateway.enrol(text)
    assert refused.value.code == "device.revoked"


async def test_another_process_that_revokes_ends_the_link_here(tmp_path: Path) -> None:
    url = await url_of("postgres", tmp_path)
    async with running(made(tmp_path), url) as here:
        gateway = await here.enrolled()
        at = f"https://127.0.0.1:{here.hub.ports['link']}/sites/{SITE}/link"
        context = tls.client(gateway.roots, gateway.own)
        async with opened(here.app.config) as there, aiohttp.ClientSession() as web:
            async with web.ws_connect(at, ssl=context) as link:
                await asyncio.sleep(0.2)
                await there.revoke(SITE, by="ops")
                async with asyncio.timeout(LIMIT_S):
                    while (await link.receive()).type is aiohttp.WSMsgType.BINARY:
                        pass
            with pytest.raises(aiohttp.WSServerHandshakeError):
                await web.ws_connect(at, ssl=context)


# --- renewal --------------------------------------------------------------------------------------


async def test_a_renewed_key_takes_the_place_of_the_old_one_once_it_was_used(stage: Stage) -> None:
    older = await stage.enrolled()
    unused = await older.renew(at="link")
    newer = await older.renew()
    assert await stage.hub.devices.pins(SITE) == {older.pin, newer.pin}
    assert (await older.ask(f"/sites/{SITE}/trust"))[0] == 200, "until the new one was used"
    assert (await unused.ask(f"/sites/{SITE}/trust"))[1]["code"] == "device.unknown"
    assert (await newer.ask(f"/sites/{SITE}/trust"))[0] == 200
    status, told = await older.ask(f"/sites/{SITE}/trust")
    assert (status, told["evidence"]["why"]) == (403, "retired")
    assert await stage.hub.devices.pins(SITE) == {newer.pin}
    assert "device.renewed" in await stage.audited()
    assert newer.enrolled is not None
    assert newer.enrolled.code_key == stage.hub.keys.code_key(SITE, 1).key


async def test_a_certificate_that_is_over_renews_and_does_nothing_else(stage: Stage) -> None:
    gateway = await stage.enrolled()
    assert gateway.enrolled is not None
    years_ago = int(time.time()) - 3 * 365 * authority.DAY_S
    chain = stage.known.issue_device(gateway.key.public_key(), SITE, years_ago)
    over = Gateway(stage)
    over.key = gateway.key
    over.enrolled = enrol.Enrolled(OP, gateway.enrolled.site, chain, "", "", "", "", 1, bytes(32))
    with pytest.raises((aiohttp.ClientError, OSError)):
        await over.ask(f"/sites/{SITE}/trust")
    fresh = await over.renew()
    assert (await fresh.ask(f"/sites/{SITE}/trust"))[0] == 200
    lines = [one.evidence for one in await stage.hub.storage.audited("", 0, 99)]
    assert any("expired" in str(line.get("why")) for line in lines), lines
    await stage.hub.revoke(SITE)
    with pytest.raises(Refused) as refused:
        await over.renew()
    assert refused.value.code == "device.revoked"


# --- backends and reachable sites -----------------------------------------------------------------


async def test_a_backend_reads_its_sites_and_nothing_else(stage: Stage) -> None:
    await stage.enrolled()
    await stage.enrolled("0043")
    key = tls.new_key()
    made = await api_trust.add_backend(stage.hub, "erp", authority.make_csr(key), (SITE,), "ops")
    context = tls.client(stage.known.roots, tls.Credentials(made.certificate, key))
    pull = f"/sites/{SITE}/sync/v1"
    status, logs = await stage.ask(context, f"{pull}/logs")
    assert (status, len(logs)) == (200, 2)
    entries = f"{pull}/logs/{logs[0]['origin']}/entries"
    for path, method, at, code in (
        ("/sites/0043/sync/v1/logs", "GET", "link", "backend.scope"),
        (entries, "POST", "link", "backend.read_only"),
        (f"/sites/{SITE}/link", "GET", "link", "backend.read_only"),
        (f"/sites/{SITE}/trust", "GET", "link", "backend.read_only"),
        (enrol.RENEW, "POST", "link", "backend.read_only"),
        (enrol.RENEW, "POST", "renew", "device.unknown"),
    ):
        status, told = await stage.ask(
            context, path, at, method, b"{}" if method == "POST" else None
        )
        assert (status, told["code"]) == (403, code), path
    await api_trust.end_backend(stage.hub, "erp", "ops")
    assert (await stage.ask(context, f"{pull}/logs"))[1]["code"] == "backend.unknown"


async def test_a_reachable_site_is_dialled_only_where_its_own_gateway_is(small: Stage) -> None:
    gateway = await small.enrolled()
    await small.enrolled("0043")
    stranger, now_s = tls.new_key(), int(time.time())
    unknown = small.known.issue_device(stranger.public_key(), SITE, now_s)
    misnamed = small.known.issue_device(gateway.key.public_key(), "0043", now_s)
    over = small.known.issue_device(gateway.key.public_key(), SITE, now_s - 2 * 365 * 86_400)
    for own, right in (
        (gateway.own, True),
        (tls.Credentials(unknown, stranger), False),
        (tls.Credentials(misnamed, gateway.key), False),
        (tls.Credentials(over, gateway.key), False),
    ):
        async with _serving(own, small.known.roots) as url:
            found = msgspec.structs.replace(await small.hub.registry.get(SITE), url=url)
            dialling = Dialling(small.hub, found)
            try:
                session = await dialling.session()
                if right:
                    async with session.get(url) as answer:
                        assert await answer.text() == "hello"
                    assert await dialling.session() is session
                else:
                    with pytest.raises(aiohttp.ClientError):
                        await session.get(url)
            finally:
                await dialling.close()
    plain = msgspec.structs.replace(await small.hub.registry.get(SITE), url="http://127.0.0.1:1")
    with pytest.raises(TheirsInvalid, match=r"link\.plain"):
        await Dialling(small.hub, plain).session()
    await small.hub.revoke(SITE)
    with pytest.raises(TheirsInvalid, match=r"device\.unknown"):
        await Dialling(small.hub, msgspec.structs.replace(plain, url="https://x")).session()


@asynccontextmanager
async def _serving(own: tls.Credentials, roots: Any) -> AsyncIterator[str]:
    async def hello(_: web.Request) -> web.Response:
        return web.Response(text="hello")

    served = web.Application()
    served.router.add_get("/", hello)
    runner = web.AppRunner(served)
    await runner.setup()
    context = tls.server(own, roots, clients="required")
    await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context).start()
    try:
        yield f"https://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


async def _until(true: Callable[[], bool]) -> None:
    async with asyncio.timeout(LIMIT_S):
        while not true():  # noqa: ASYNC110  # what changes tells nobody
            await asyncio.sleep(0.1)


# --- the hub's own certificate --------------------------------------------------------------------


async def test_a_root_rotates_under_a_running_hub_and_everybody_still_chains(
    small: Stage,
) -> None:
    before = await small.enrolled()
    old_roots, now_s = small.known.roots, int(time.time())
    await asyncio.to_thread(ca.rotate_root, small.hub.data, now_s)
    await _until(lambda: len(small.known.roots) == 2)
    assert (await before.ask(f"/sites/{SITE}/trust"))[0] == 200, "it knows only the old root"
    told = enrol.open_trust(msgspec.json.encode(await small.trust()), known=old_roots)
    assert len(told.roots) == 2
    after = await small.enrolled("0043")
    assert after.roots == small.known.roots
    assert (await after.ask("/sites/0043/trust"))[0] == 200
    assert after.enrolled is not None
    leaf, issuing, *_ = authority.from_pem(after.enrolled.certificate)
    short = tls.client(after.roots, tls.Credentials(authority.pem(leaf, issuing), after.key))
    assert (await small.ask(short, "/sites/0043/trust"))[0] == 200, "it chains to the new root"
    after.roots = old_roots
    assert (await after.ask("/sites/0043/trust"))[0] == 200


async def test_the_hubs_certificate_renews_itself_while_links_stay(small: Stage) -> None:
    gateway = await small.enrolled()
    shown = small.known.credentials().leaf
    at = f"https://127.0.0.1:{small.hub.ports['link']}/sites/{SITE}/link"
    async with aiohttp.ClientSession() as web_:
        context = tls.client(gateway.roots, gateway.own)
        async with web_.ws_connect(at, ssl=context) as link:
            small.later(130 * 24 * HOUR_MS)
            await _until(lambda: small.known.credentials().leaf != shown)
            assert not link.closed
    assert small.known.state.hosts == ("127.0.0.1", "localhost", "::1")


async def test_devices_that_were_switched_off_are_not_kept_for_ever(small: Stage) -> None:
    devices = small.hub.devices
    for number in range(12):
        made = Device(
            site_id=SITE, device_id=f"{number}", pin=f"{number:064x}", enabled=True, vkey="",
            issued_ms=number, ends_s=0,
        )  # fmt: skip
        await devices.enrol(made)
    assert len(await devices.of(SITE)) <= 6
    assert await devices.pins(SITE) == {f"{11:064x}"}
