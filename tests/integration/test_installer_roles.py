"""Pins what each role may do on the LAN: every endpoint, asked by everybody, over real TLS."""

import http.client
import ssl
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from certs import authority, lan, tls
from certs.authority import Authority
from gateway import pairing
from gateway.core.inputs import DoorTested
from gateway.web.installer.listener import RIGHTS
from tests.contract.site_stage import DOORS
from tests.lan_stage import Browser, LanStand, lan_stand

NOW_S = 1_795_000_000
ASKED = {
    ("GET", "/"): "/",
    ("GET", "/commission"): "/commission",
    ("GET", "/service"): "/service",
    ("GET", "/static/{name}"): "/static/installer.css",
    ("POST", "/pair/certificate"): "/pair/certificate",
    ("POST", "/pair/session"): "/pair/session",
    ("POST", "/pair/end"): "/pair/end",
    ("GET", "/api/me"): "/api/me",
    ("GET", "/api/status"): "/api/status",
    ("POST", "/api/doors/{door}/test"): "/api/doors/1/test",
    ("POST", "/api/doors/{door}/service"): "/api/doors/1/service",
    ("GET", "/api/trends"): "/api/trends",
    ("GET", "/api/diagnostics"): "/api/diagnostics",
    ("GET", "/api/commission"): "/api/commission",
    ("POST", "/api/commission"): "/api/commission",
    ("GET", "/api/report"): "/api/report",
    ("GET", "/report"): "/report",
    ("GET", "/map.toml"): "/map.toml",
}
OPEN = 200, 303, 403, 409  # 403, 409: its form or body is missing, but it may be asked
# SECURITY.md 1: the installer tests doors and exports diagnostics; a browser has fewer rights.
MAY: dict[tuple[str, str], tuple[str, ...]] = {
    ("GET", "/"): ("nobody", "session", "certificate"),
    ("GET", "/commission"): ("nobody", "session", "certificate"),
    ("GET", "/service"): ("nobody", "session", "certificate"),
    ("GET", "/static/{name}"): ("nobody", "session", "certificate"),
    ("POST", "/pair/certificate"): ("nobody", "session", "certificate"),
    ("POST", "/pair/session"): ("nobody", "session", "certificate"),
    ("POST", "/pair/end"): ("session",),
    ("GET", "/api/me"): ("session", "certificate"),
    ("GET", "/api/status"): ("session", "certificate"),
    ("POST", "/api/doors/{door}/test"): ("session", "certificate"),
    ("POST", "/api/doors/{door}/service"): ("session", "certificate"),
    ("GET", "/api/trends"): ("session", "certificate"),
    ("GET", "/api/diagnostics"): ("certificate",),
    ("GET", "/api/commission"): ("session", "certificate"),
    ("POST", "/api/commission"): ("session", "certificate"),
    ("GET", "/api/report"): ("session", "certificate"),
    ("GET", "/report"): ("session", "certificate"),
    ("GET", "/map.toml"): ("session", "certificate"),
}
NOT_HERE = (
    "/api/code", "/api/grants", "/api/parcels", "/api/doors/1/open", "/api/command", "/v1/command",
    "/v1/pairing", "/pair/open", "/api/keys", "/sync/v1/logs", "/healthz", "/api/screen",
)  # fmt: skip


@pytest.fixture
async def stage(tmp_path: Path) -> AsyncIterator[LanStand]:
    async with lan_stand(tmp_path / "data") as stage:
        yield stage


def foreign_installer(site_id: str = "0042") -> tls.Credentials:
    """A certificate of another gateway's LAN authority, in the very name of one of ours."""
    ca_key, key = tls.new_key(), tls.new_key()
    made = lan.make_ca(ca_key, "lockers.example", site_id, now_s=NOW_S, serial=1)
    uri = authority.site_uri("lockers.example", site_id)
    ca = Authority(made, ca_key)
    leaf = lan.issue_installer(ca, key.public_key(), uri, "anna", now_s=NOW_S, serial=2)
    return tls.Credentials(authority.pem(leaf, made), key)


def device() -> tls.Credentials:
    """The certificate of this very site, by the operator's own authority."""
    root_key, issuing_key, key = tls.new_key(), tls.new_key(), tls.new_key()
    made = authority.make_root(root_key, "lockers.example", now_s=NOW_S, serial=1)
    root = Authority(made, root_key)
    between = authority.make_issuing(
        root, issuing_key.public_key(), "lockers.example", now_s=NOW_S, serial=2
    )
    issuing = Authority(between, issuing_key)
    uri = authority.site_uri("lockers.example", "0042")
    leaf = authority.issue(issuing, key.public_key(), uri, now_s=NOW_S, days=365, serial=3)
    return tls.Credentials(authority.pem(leaf, between), key)


async def callers(stage: LanStand, folder: Path) -> dict[str, Browser]:
    gateway = await stage.paired(folder)
    return {
        "nobody": Browser(stage.address),
        "session": await stage.browser(),
        "certificate": Browser(stage.address, gateway.own),
        "other site": Browser(stage.address, foreign_installer("0043")),
        "same name elsewhere": Browser(stage.address, foreign_installer()),
        "device of the hub": Browser(stage.address, device()),
    }


async def test_everybody_asks_everything(stage: LanStand, tmp_path: Path) -> None:
    assert RIGHTS.keys() == MAY.keys() == ASKED.keys()
    everybody = await callers(stage, tmp_path / "xdg")
    for role, caller in everybody.items():
        for (method, path), may in MAY.items():
            if (role, path) == ("session", "/pair/end"):
                continue  # last
            try:
                answer = await caller.ask(method, ASKED[method, path])
            except (ssl.SSLError, ConnectionError, http.client.HTTPException):
                shut_out = role not in {"nobody", "session", "certificate"}
                assert shut_out, (role, method, path)
                continue
            if role in may:
                assert answer.status in OPEN, (role, path, answer)
                assert not answer.code.startswith("access."), (role, path, answer)
            else:
                assert (answer.status, answer.code) == (
                    (401, "access.unknown") if role == "nobody" else (403, "access.role")
                ), (role, path, answer)
            assert role in {"nobody", "session", "certificate"}, (role, path, answer)
            if path.endswith("/test") and role in may:
                await stage.hands(1)
    session = everybody["session"]
    assert (await session.form("/pair/end", f"csrf={session.csrf}")).status == 303


@pytest.mark.parametrize("role", ["nobody", "session", "certificate"])
async def test_what_an_installer_may_not_do_has_no_path(
    stage: LanStand, tmp_path: Path, role: str
) -> None:
    caller = (await callers(stage, tmp_path / "xdg"))[role]
    for path in NOT_HERE:
        for method in ("GET", "POST", "PUT", "DELETE"):
            answer = await caller.ask(method, path)
            assert answer.status in {401, 404, 405}, (method, path, answer)


async def test_a_certificate_of_the_lan_authority_that_nobody_paired_is_nobodys(
    stage: LanStand,
) -> None:
    key = tls.new_key()
    leaf = stage.office.lan.issue(key.public_key(), "mallory", NOW_S)
    caller = Browser(stage.address, tls.Credentials(authority.pem(leaf), key))
    assert (await caller.ask("GET", "/api/me")).code == "access.ended"
    own = Browser(
        stage.address, tls.Credentials(stage.office.lan.own.chain, stage.office.lan.own.key)
    )
    with pytest.raises((ssl.SSLError, ConnectionError, http.client.HTTPException)):
        await own.ask("GET", "/api/me")  # a server's certificate is no client's


async def test_an_installer_sees_no_parcel_and_opens_no_door_with_one(
    stage: LanStand, tmp_path: Path
) -> None:
    secret, tracking = await stage.courier(), "JD014600006281230704"
    await stage.post("button", button="deliver")
    await stage.post("staff-code", digits=secret)
    await stage.shows("deliver.scan")
    await stage.post("parcel", tracking=tracking)
    await stage.shows("deliver.size")
    await stage.post("button", button="size", argument="M")
    door = int((await stage.shows("deliver.open"))["door"])
    await stage.hands(door, parcel=True)
    await stage.shows("deliver.scan")
    everybody = await callers(stage, tmp_path / "xdg")
    for role in ("session", "certificate"):
        answer = await everybody[role].ask("POST", f"/api/doors/{door}/test")
        assert (answer.status, answer.code) == (409, "door.occupied")
        told = (await everybody[role].ask("GET", "/api/status")).json
        assert {row["door"]: row["custody"] for row in told["doors"]}[door] == "held"
        _sees_nothing(told, secret, tracking)
    bundle = (await everybody["certificate"].ask("GET", "/api/diagnostics")).json
    assert {
        "versions",
        "config",
        "machine",
        "installers",
        "doors",
        "doctor",
        "trends",
        "map",
    } <= bundle.keys()
    _sees_nothing(bundle, secret, tracking)
    _sees_nothing((await everybody["session"].ask("GET", "/")).body.decode(), secret, tracking)


def _sees_nothing(told: Any, *secrets: str) -> None:
    text = str(told)
    for secret in (*secrets, "acme", "parcel': '"):
        assert secret not in text


async def test_the_name_on_record_is_the_certificates_own(stage: LanStand, tmp_path: Path) -> None:
    asked: list[DoorTested] = []
    keep = stage.app._desk.ask
    site = stage.office.site

    async def ask(command: Any) -> Any:
        asked.append(command)
        return await keep(command)

    stage.office.site = replace(site, ask=ask)
    gateway = await stage.paired(tmp_path / "xdg")
    caller = Browser(stage.address, gateway.own)
    await caller.ask("POST", f"/api/doors/{DOORS}/test", b'{"by":"eva"}')
    assert [one.by for one in asked] == ["anna"]
    assert isinstance(gateway, pairing.Gateway)
