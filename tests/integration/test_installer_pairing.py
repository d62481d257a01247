"""Pins pairing over real TLS sockets: pins, one-time secrets, windows, certificates, sessions."""

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from certs import authority, lan, tls
from certs.authority import Authority
from gateway import identity, pairing
from gateway.core.inputs import Trust
from gateway.errors import GatewayError
from gateway.web.installer import serving
from gateway.web.installer.sessions import SESSION_MS
from gateway.web.installer.window import WINDOW_MS
from sync import entry
from sync.facts import AccessJudged, OpenIntended, from_entry
from sync.reader import LogFile
from tests.lan_stage import Browser, LanStand, lan_stand, proof_body

ELSEWHERE = "https://evil.example"


@pytest.fixture
async def stage(tmp_path: Path) -> AsyncIterator[LanStand]:
    async with lan_stand(tmp_path / "data") as stage:
        yield stage


async def refused(gateway: pairing.Gateway, *asked: Any) -> str:
    with pytest.raises(GatewayError) as caught:
        await asyncio.to_thread(gateway.ask, *asked)
    return caught.value.code


async def pair(stage: LanStand, secret: bytes, folder: Path) -> pairing.Kept:
    address, pin = stage.address, stage.office.lan.pin
    return await asyncio.to_thread(pairing.pair, address, pin, secret, folder=folder, name="x")


async def pair_refused(stage: LanStand, secret: bytes, folder: Path) -> str:
    with pytest.raises(GatewayError) as caught:
        await pair(stage, secret, folder)
    assert not (folder / "x").exists()
    return caught.value.code


def later(stage: LanStand, monkeypatch: pytest.MonkeyPatch, ms: int) -> None:
    """Let the monotonic clock of the office be so much further on."""
    now = stage.app._clock.now
    site = stage.office.site
    moved = replace(site, now=lambda: replace(now(), mono_ms=now().mono_ms + ms))
    monkeypatch.setattr(stage.office, "site", moved)


def facts(stage: LanStand, kind: type) -> list[Any]:
    with LogFile.open(identity.database_of(stage.data)) as log:
        records = [record for head in log.heads() for record in log.records(head)]
    found = [from_entry(entry.parse(record.entry)) for record in records]
    return [fact for fact in found if isinstance(fact, kind)]


# --- the computer -----------------------------------------------------------------------------


async def test_a_computer_pairs_by_qr_and_then_asks_over_mutual_tls(
    stage: LanStand, tmp_path: Path
) -> None:
    gateway = await stage.paired(tmp_path / "xdg")
    told = await asyncio.to_thread(gateway.ask, "GET", "/api/me")
    assert (told["name"], told["role"]) == ("anna", "certificate")
    assert await asyncio.to_thread(gateway.ask, "POST", "/api/doors/2/test") == {"door": 2}
    kept = tmp_path / "xdg/anna"
    for name in ("gateway.json", "certificate.pem", "keys/installer"):
        assert (kept / name).stat().st_mode & 0o777 == 0o600
    assert [one.by for one in facts(stage, OpenIntended)] == ["installer:anna"]
    judged = {(one.what, one.by, one.why) for one in facts(stage, AccessJudged)}
    assert {("pair.open", "support:eva", ""), ("pair", "installer:anna", "")} <= judged


async def test_nothing_is_sent_to_a_server_of_another_key(stage: LanStand, tmp_path: Path) -> None:
    received: asyncio.Queue[bytes] = asyncio.Queue()

    async def swallow(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError, ssl.SSLError):
            received.put_nowait(await reader.read(100))
        writer.close()

    key = tls.new_key()
    ca = Authority(lan.make_ca(key, "o", "s", now_s=1_790_000_000, serial=1), key)
    own = tls.new_key()
    leaf = lan.issue_server(
        ca, own.public_key(), "locker://o/site/s/lan", ["127.0.0.1"], now_s=1_790_000_000, serial=2
    )
    context = tls.server(tls.Credentials(authority.pem(leaf), own))
    server = await asyncio.start_server(swallow, "127.0.0.1", 0, ssl=context)
    async with server:
        address = f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
        gateway = pairing.Gateway(address, stage.office.lan.pin)
        assert await refused(gateway, "POST", "/pair/certificate", {}) == "pair.other_key"
        async with asyncio.timeout(10):
            assert await received.get() == b""


async def test_a_secret_pairs_once(stage: LanStand, tmp_path: Path) -> None:
    secret = lan.read_offer((await stage.command("open"))["qr"]).secret
    assert (await pair(stage, secret, tmp_path / "one")).name == "installer-1"
    assert await pair_refused(stage, secret, tmp_path / "two") == "pair.used"
    assert (await stage.command("show"))["qr"] == ""


async def test_a_recorded_request_is_good_for_nobody(stage: LanStand, tmp_path: Path) -> None:
    secret = lan.read_offer((await stage.command("open"))["qr"]).secret
    body = proof_body(stage.office.lan.pin, secret)
    json = {"Content_Type": "application/json"}
    first = await Browser(stage.address).ask("POST", "/pair/certificate", body, bare=True, **json)
    again = await Browser(stage.address).ask("POST", "/pair/certificate", body, bare=True, **json)
    assert (first.status, again.status, again.code) == (200, 403, "pair.used")


async def test_a_window_is_over_after_ten_minutes(
    stage: LanStand, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    secret = lan.read_offer((await stage.command("open"))["qr"]).secret
    later(stage, monkeypatch, WINDOW_MS)
    assert await pair_refused(stage, secret, tmp_path) == "pair.closed"
    with pytest.raises(GatewayError, match=r"pair\.closed"):
        await stage.command("show")


async def test_the_sixth_try_finds_the_window_shut(stage: LanStand, tmp_path: Path) -> None:
    secret = lan.read_offer((await stage.command("open"))["qr"]).secret
    codes = [await pair_refused(stage, bytes([n] * 16), tmp_path) for n in range(5)]
    assert codes == ["pair.wrong"] * 4 + ["pair.tries"]
    assert await pair_refused(stage, secret, tmp_path) == "pair.closed"


async def test_a_proof_for_another_key_or_server_is_wrong(stage: LanStand, tmp_path: Path) -> None:
    secret = lan.read_offer((await stage.command("open"))["qr"]).secret
    for body in (
        proof_body("00" * 32, secret),
        proof_body(stage.office.lan.pin, bytes(16)),
    ):
        answer = await Browser(stage.address).ask(
            "POST", "/pair/certificate", body, bare=True, Content_Type="application/json"
        )
        assert answer.code == "pair.wrong"
    assert (await pair(stage, secret, tmp_path)).name == "installer-1"


async def test_a_restart_shuts_the_window_and_keeps_who_is_paired(
    stage: LanStand, tmp_path: Path
) -> None:
    gateway = await stage.paired(tmp_path / "xdg")
    browser = await stage.browser()
    pin = stage.office.lan.pin
    secret = lan.read_offer((await stage.command("open"))["qr"]).secret
    assert await stage.stop() == 0
    stage.start()
    await stage.in_service()
    assert stage.office.lan.pin == pin
    assert await pair_refused(stage, secret, tmp_path) == "pair.closed"
    again = pairing.Gateway(stage.address, pin, gateway.own)
    assert (await asyncio.to_thread(again.ask, "GET", "/api/me"))["name"] == "anna"
    browser.address = stage.address
    assert (await browser.ask("GET", "/api/me")).status == 401


async def test_an_ended_installer_is_refused_at_once_on_an_open_connection_too(
    stage: LanStand, tmp_path: Path
) -> None:
    gateway = await stage.paired(tmp_path / "xdg")
    connection = await asyncio.to_thread(gateway._connect)

    def get() -> int:
        connection.request("GET", "/api/me")
        answer = connection.getresponse()
        answer.read()
        return answer.status

    assert await asyncio.to_thread(get) == 200
    await stage.command("end", "anna")
    assert await asyncio.to_thread(get) == 401
    connection.close()
    assert await refused(gateway, "GET", "/api/me") == "access.ended"
    with pytest.raises(GatewayError, match=r"pairing\.unknown"):
        await stage.command("end", "anna")


async def test_a_certificate_ends_after_thirty_days_of_a_clock_that_is_sure(
    stage: LanStand, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = stage.app._clock.now
    late = authority.INSTALLER_DAYS * 86_400_000
    site = stage.office.site

    def at(error_ms: int, late_ms: int = late) -> Any:
        return lambda: replace(
            now(), wall_ms=now().wall_ms + late_ms, error_ms=error_ms, trust=Trust.SYNCED
        )

    monkeypatch.setattr(stage.office, "site", replace(site, now=at(0, 0)))
    gateway = await stage.paired(tmp_path / "xdg")
    monkeypatch.setattr(stage.office, "site", replace(site, now=at(60_000)))
    assert (await asyncio.to_thread(gateway.ask, "GET", "/api/me"))["name"] == "anna"
    monkeypatch.setattr(stage.office, "site", replace(site, now=at(0)))
    assert await refused(gateway, "GET", "/api/me") == "access.expired"


@pytest.mark.parametrize("years_off", [-3, 10], ids=["from_before", "from_the_future"])
async def test_pairing_by_a_wrong_clock_lasts_thirty_days_of_the_right_one(
    stage: LanStand, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, years_off: int
) -> None:
    # A new gateway has no network, so nobody tells it the time before the installer has paired.
    now, site = stage.app._clock.now, stage.office.site
    off_ms = years_off * 365 * 86_400_000
    days_ms = 0
    trust = Trust.FLOOR

    def clock() -> Any:
        error_ms = 0 if trust is Trust.SYNCED else 10 * 365 * 86_400_000
        wall_ms = now().wall_ms + days_ms + (off_ms if trust is Trust.FLOOR else 0)
        return replace(now(), wall_ms=wall_ms, error_ms=error_ms, trust=trust)

    monkeypatch.setattr(stage.office, "site", replace(site, now=clock))
    gateway = await stage.paired(tmp_path / "xdg")
    assert (await asyncio.to_thread(gateway.ask, "GET", "/api/me"))["name"] == "anna"
    trust = Trust.SYNCED
    assert (await asyncio.to_thread(gateway.ask, "GET", "/api/me"))["name"] == "anna"
    days_ms = 29 * 86_400_000
    assert (await asyncio.to_thread(gateway.ask, "GET", "/api/me"))["name"] == "anna"
    days_ms = 31 * 86_400_000
    assert await refused(gateway, "GET", "/api/me") == "access.expired"


async def test_the_servers_certificate_is_renewed_without_a_restart(
    stage: LanStand, tmp_path: Path
) -> None:
    gateway = await stage.paired(tmp_path / "xdg")
    open_one = await asyncio.to_thread(gateway._connect)
    before = (stage.data / "trust/lan-tls.pem").read_text()
    (stage.data / "trust/lan-tls.pem").unlink()
    await stage.app._installers.refresh()
    assert (stage.data / "trust/lan-tls.pem").read_text() != before
    fresh = await asyncio.to_thread(gateway._connect)
    shown = tls.peer_of(fresh.sock)
    assert shown is not None
    assert authority.pem(shown) == (stage.data / "trust/lan-tls.pem").read_text()
    for connection in (open_one, fresh):
        await asyncio.to_thread(connection.request, "GET", "/api/me")
        assert (await asyncio.to_thread(connection.getresponse)).status == 200
        connection.close()


async def test_another_address_is_in_certificate_and_qr_within_a_look(
    stage: LanStand, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A gateway starts before there is a network; the QR must not keep the address of that moment.
    serving_ = stage.app._installers
    await stage.command("open", "anna")
    monkeypatch.setattr(serving, "hosts_here", lambda *_: ["192.0.2.77", "127.0.0.1"])
    await serving_.refresh()
    told = await stage.command("show")
    assert told["address"].startswith("192.0.2.77:")
    assert told["qr"].startswith("PLG1P:192.0.2.77:")
    assert serving_.url.startswith("https://192.0.2.77:")
    assert stage.office.lan.hosts == {"192.0.2.77", "127.0.0.1"}


async def test_a_disk_that_takes_no_certificate_ends_no_pick_up(
    stage: LanStand, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any) -> bool:
        raise GatewayError("lan.unwritable", "Check the disk and the folder's owner")

    monkeypatch.setattr(stage.office.lan, "renew", full)
    await stage.app._installers.refresh()
    assert not stage.task.done()
    assert (
        await Browser("127.0.0.1:" + stage.address.rpartition(":")[2]).ask("GET", "/")
    ).status == 200


# --- the browser ------------------------------------------------------------------------------


async def test_the_typed_code_signs_a_browser_in_with_a_careful_cookie(stage: LanStand) -> None:
    typed = (await stage.command("open", "ben"))["typed"]
    browser = Browser(stage.address)
    answer = await browser.sign_in(typed)
    cookie = answer.headers["set-cookie"]
    assert cookie.startswith("__Host-installer=")
    flags = {part.strip().lower() for part in cookie.split(";")[1:]}
    assert {"secure", "httponly", "samesite=strict", "path=/", "max-age=28800"} <= flags
    assert "domain" not in cookie.lower()
    assert len(browser.cookie) >= 43
    assert answer.headers["location"] == "/"
    assert "ben" in (await browser.ask("GET", "/")).body.decode()
    assert stage.office.sessions.count(0) == {"ben": 1}
    assert browser.cookie not in str(vars(stage.office.sessions))


async def test_a_typing_mistake_is_no_try_and_a_wrong_code_is(stage: LanStand) -> None:
    typed = (await stage.command("open", "ben"))["typed"]
    browser = Browser(stage.address)
    for _ in range(6):
        answer = await browser.sign_in("X" + typed[1:] if typed[0] != "X" else "Y" + typed[1:])
        assert (answer.status, answer.headers.get("set-cookie")) == (403, None)
        assert typed[1:] not in answer.body.decode()
    for _ in range(4):
        await browser.sign_in(lan.write_code(bytes(10)))
    assert (await browser.sign_in(typed)).status == 303
    assert (await Browser(stage.address).sign_in(typed)).status == 403


async def test_a_stolen_cookie_is_worthless_after_the_end_and_after_signing_out(
    stage: LanStand,
) -> None:
    browser = await stage.browser("ben")
    thief = Browser(stage.address, cookie=browser.cookie, csrf=browser.csrf)
    assert (await thief.ask("GET", "/api/me")).status == 200
    await stage.command("end", "ben")
    assert (await thief.ask("GET", "/api/me")).status == 401
    browser = await stage.browser("ben")
    thief = Browser(stage.address, cookie=browser.cookie, csrf=browser.csrf)
    assert (await browser.form("/pair/end", f"csrf={browser.csrf}")).status == 303
    assert (await thief.ask("GET", "/api/status")).status == 401


async def test_a_session_is_over_after_eight_hours(
    stage: LanStand, monkeypatch: pytest.MonkeyPatch
) -> None:
    browser = await stage.browser()
    later(stage, monkeypatch, SESSION_MS)
    assert (await browser.ask("GET", "/api/me")).status == 401


@pytest.mark.parametrize(
    ("more", "code"),
    [
        ({"Origin": ELSEWHERE}, "access.origin"),
        ({"Origin": "null"}, "access.origin"),
        ({"Sec_Fetch_Site": "cross-site"}, "access.origin"),
        ({"Sec_Fetch_Site": "same-site"}, "access.origin"),
        ({"X_Csrf_Token": "guessed"}, "access.token"),
        ({"X_Csrf_Token": ""}, "access.token"),
        ({"Host": "rebound.example"}, "access.host"),
    ],
)
async def test_no_other_page_acts_in_a_session(
    stage: LanStand, more: dict[str, str], code: str
) -> None:
    browser = await stage.browser()
    answer = await browser.ask("POST", "/api/doors/1/test", b"", bare=False, **more)
    assert (answer.status, answer.code) == (403, code)
    assert (await browser.ask("POST", "/api/doors/1/test", bare=True)).code == "access.origin"
    assert facts(stage, OpenIntended) == []


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("[fe80::1]:8443", 200), ("[fe80::1%eth0]:8443", 200), ("10.0.0.1", 200),
        ("rebound.example", 403), ("[fe80::1%]", 403), ("[rebound.example]", 403),
        ("127.0.0.1.rebound.example", 403), ("127.0.0.1@rebound.example", 403), ("localhost.", 403),
    ],
)  # fmt: skip
async def test_no_name_can_be_rebound_and_every_address_is_one(
    stage: LanStand, host: str, status: int
) -> None:
    assert (await Browser(stage.address).ask("GET", "/", Host=host)).status == status


async def test_no_other_page_signs_a_browser_in(stage: LanStand) -> None:
    typed = (await stage.command("open"))["typed"]
    answer = await Browser(stage.address).sign_in(typed, Origin=ELSEWHERE)
    assert answer.code == "access.origin"
    assert (await Browser(stage.address).sign_in(typed)).status == 303


async def test_the_page_works_without_a_script(stage: LanStand) -> None:
    browser = await stage.browser()
    answer = await browser.form("/api/doors/3/test", f"csrf={browser.csrf}", X_Csrf_Token="")
    assert (answer.status, answer.headers["location"]) == (303, "/?door=3")
    assert "Door 3 has opened" in (await browser.ask("GET", "/?door=3")).body.decode()
    answer = await browser.form("/api/doors/99/test", f"csrf={browser.csrf}", X_Csrf_Token="")
    assert answer.headers["location"] == "/?door=99&code=door.unknown"
    assert "no such door" in (await browser.ask("GET", answer.headers["location"])).body.decode()


async def test_every_answer_has_the_security_headers_and_names_no_version(stage: LanStand) -> None:
    for path in ("/", "/nothing", "/static/installer.css"):
        answer = await Browser(stage.address).ask("GET", path)
        assert "default-src 'self'" in answer.headers["content-security-policy"]
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["cache-control"] == "no-store"
        assert answer.headers["server"] == "locker"


@pytest.mark.parametrize(
    "sent",
    [
        b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nCookie: __Host-installer=CANARY\x01\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nX: " + b"CANARY" * 1000 + b"\r\n\r\n",
        b"CANARY\xff / HTTP/1.1\r\n\r\n", b"GET /CANARY HTTP/1.1\r\n\r\n",
    ],
    ids=["cookie", "long", "method", "no_host"],
)  # fmt: skip
async def test_what_is_no_request_is_not_repeated_and_learns_no_version(
    stage: LanStand, sent: bytes
) -> None:
    def answer() -> bytes:
        host, _, port = stage.address.rpartition(":")
        wire = socket.create_connection((host, int(port)), 5)
        with tls.unchecked_client().wrap_socket(wire, server_hostname=host) as secure:
            secure.settimeout(10)
            secure.sendall(sent)
            told = b""
            while more := secure.recv(4096):
                told += more
            return told

    told = await asyncio.to_thread(answer)
    assert told.startswith(b"HTTP/1.0 400 "), told
    assert b"server: locker" in told.lower()
    for word in (b"CANARY", b"aiohttp", b"Python"):
        assert word not in told


async def test_a_stranger_gets_one_and_the_same_answer_for_everything_else(
    stage: LanStand,
) -> None:
    seen = set()
    for method, path in (
        ("GET", "/api/status"), ("GET", "/api/nothing"), ("POST", "/api/doors/1/test"),
        ("PUT", "/"), ("GET", "/static/x"), ("GET", "/static/../lan.py"), ("DELETE", "/pair/end"),
    ):  # fmt: skip
        answer = await Browser(stage.address).ask(method, path)
        seen.add((answer.status, answer.body))
    assert seen == {(401, b'{"code":"access.unknown","remedy":"Pair this device first"}')}


async def test_the_log_names_refusals_and_no_secret_is_anywhere(
    stage: LanStand, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    told = await stage.command("open", "ben")
    await pair_refused(stage, bytes(16), tmp_path / "x")
    browser = await stage.browser("ben")
    letters = [told["typed"], told["qr"].rpartition(":")[2], browser.cookie, browser.csrf]
    await stage.until(lambda: any(one.why == "pair.wrong" for one in facts(stage, AccessJudged)))
    status = str(stage.app.status())
    written = b"".join(p.read_bytes() for p in stage.data.rglob("*") if p.is_file())
    out = capsys.readouterr()
    for secret in letters:
        assert secret.encode() not in written
        assert secret not in out.out + out.err + status


async def test_no_older_protocol_is_spoken(stage: LanStand) -> None:
    context = tls.unchecked_client()
    context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_2
    with pytest.raises((ssl.SSLError, ConnectionError)):
        await Browser(stage.address, context=context).ask("GET", "/")
