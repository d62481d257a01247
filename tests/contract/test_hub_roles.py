"""Pins who may do what at the hub (SECURITY.md 1, requirement 16): every route and command by role.

The table stands here by hand. A route or a command that is not in it fails the test.
"""

import json
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import click
import msgspec
import pytest
from cryptography.hazmat.primitives.hashes import SHA1
from cryptography.hazmat.primitives.twofactor.totp import TOTP

import sync.hub.cli
from sync.hub import accounts, api_accounts, doorman
from sync.hub.accounts import Account
from sync.hub.api import ROUTES
from sync.hub.api_asked import AccountAsked
from sync.hub.api_grants import GIVES
from sync.hub.api_routes import Route
from sync.hub.clock import Clock
from tests import hub_stage
from tests.hub_stage import IDENTITY, PARCEL, Stage, stage
from tests.hubs import NOW_MS, STORAGES, url_of

S = "/sites/0042"
PATH = {"site": "0042", "ref": "e1-0000abcd:sc1", "number": "1", "id": "0" * 16, "name": "nobody"}
STEP_MS = 30_000

TABLE = """
listSites          operator support auditor
showSite           operator support auditor
showBook           operator support auditor dispatch
showCode                    support         dispatch
listEntries                         auditor
showProof                           auditor
listAudit          operator         auditor
listHubAudit       operator         auditor
listNews                    support         dispatch
showHealth         operator support auditor dispatch
addSite            operator
rekeySite          operator
issueGrant         operator support         dispatch
revokeGrant        operator support         dispatch
issueCapability    operator support         dispatch
showDenials        operator support auditor dispatch
expectParcel                                dispatch
endExpectation                              dispatch
reserve                                     dispatch
cancelReservation                           dispatch
relay                                       dispatch
makeClaim                   support         dispatch
handBack           operator
setService         operator support
askOpen                     support
listOpenings                support
approveOpening              support
clearAlarms                 support
switchFold         operator
eraseAnnex         operator
listAccounts       operator
addAccount         operator
endAccount         operator
openSession        operator
endSession         operator
inviteGateway      operator
listInvitations    operator
endInvitation      operator
listDevices        operator support
revokeDevice       operator
enableDevice       operator
listBackends       operator
addBackend         operator
endBackend         operator
"""
MAY = {words[0]: set(words[1:]) for words in map(str.split, TABLE.strip().splitlines())}

# Command -> what it asks a running hub for, as `local`: the roles operator and support. Those with
# nothing work on this machine's files or storage alone: whoever reads the keys there may do all.
COMMANDS: dict[str, tuple[str, ...]] = {
    "account add": ("addAccount",),
    "account end": ("endAccount",),
    "account list": ("listAccounts",),
    "approve": ("approveOpening", "listOpenings"),
    "backend add": ("addBackend",),
    "backend end": ("endBackend",),
    "backend list": ("listBackends",),
    "ca init": (),
    "ca renew": (),
    "ca rotate": (),
    "ca show": (),
    "ca take-root": (),
    "claim create": ("inviteGateway",),
    "claim end": ("endInvitation",),
    "claim list": ("listInvitations",),
    "code-key": ("showSite",),
    "device enable": ("enableDevice",),
    "device list": ("listDevices",),
    "device revoke": ("revokeDevice",),
    "grant denials": ("showDenials",),
    "grant issue": ("issueCapability",),
    "grant list": ("showBook",),
    "grant revoke": ("revokeGrant",),
    "init": (),
    "key check": (),
    "key seal": (),
    "open": ("askOpen",),
    "restored": (),
    "run": (),
    "site add": ("addSite",),
    "site heal": (),
    "site list": ("listSites",),
    "site rekey": ("rekeySite",),
    "site show": ("showSite",),
    "status": ("showHealth", "listSites"),
    "sync export": (),
    "sync import": (),
    "vkey": (),
}
ROLES = ("operator", "support", "auditor", "dispatch")
TURNED_AWAY = {"access.role", "access.unknown", "access.slow", "access.second_factor"}


class Desk:
    """A hub whose door is closed, its accounts, and a clock that the test moves."""

    def __init__(self, made: Stage, now: list[int]) -> None:
        self.stage, self.now = made, now
        self.tokens: dict[str, str] = {}
        self.known: dict[str, Account] = {}

    async def account(self, name: str, role: Any, **more: Any) -> None:
        asked = AccountAsked(name=name, role=role, **more)
        made = await api_accounts.add(self.stage.hub, asked, by="local:test")
        self.tokens[name] = made.token
        await self.read(name)

    async def read(self, name: str) -> Account:
        record = await self.stage.hub.storage.record("", doorman.KIND, name)
        assert record is not None
        account = self.known[name] = accounts.read(record.data)
        return account

    def headers(self, name: str) -> dict[str, str]:
        """What this account shows: an operator the digits of a step of its own."""
        if name == "local":
            return {
                "Authorization": f"Bearer {doorman.local_token(self.stage.hub.config, 'local:t')}"
            }
        headers = {"Authorization": f"Bearer {self.tokens[name]}"}
        if self.known[name].role == "operator":
            self.now[0] += STEP_MS
            headers["Second-Factor"] = self.digits(name)
        return headers

    def digits(self, name: str) -> str:
        key = accounts.totp_key(self.known[name], doorman.own_key(self.data, "second-factor"))
        totp = TOTP(key, 6, SHA1(), 30)
        return totp.generate(self.now[0] // 1_000).decode()

    @property
    def data(self) -> Path:
        return Path(self.stage.hub.config.data_dir)

    async def ask(
        self, name: str, method: str, path: str, body: Any = None, **headers: str
    ) -> tuple[int, Any]:
        given = self.headers(name) | headers
        if method == "GET":
            return await self.stage.call(method, path, headers=given)
        return await self.stage.call(method, path, {} if body is None else body, headers=given)

    async def refused(self, name: str, method: str, path: str, code: str, body: Any = None) -> Any:
        status, told = await self.ask(name, method, path, body)
        assert (status, told["code"]) == (403, code), told
        return told

    async def lines(self, site_id: str = "") -> list[Any]:
        return list(await self.stage.hub.storage.audited(site_id, 0, 10_000))


@pytest.fixture(params=STORAGES)
async def desk(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Desk]:
    now = [NOW_MS]
    monkeypatch.setattr(hub_stage, "clock", lambda: Clock(lambda: now[0] * 1_000_000, lambda: 0))
    url = await url_of(request.param, tmp_path)
    async with stage(tmp_path, url, door=doorman.doorman) as made:
        found = Desk(made, now)
        for role in ROLES:
            await found.account(role, role, tenant="acme" if role == "dispatch" else "")
        yield found


def ways(route: Route) -> str:
    return route.path.format(**PATH)


# --- the table ----------------------------------------------------------------------------------


def test_the_table_has_every_route_and_no_other() -> None:
    assert {route.name for route in ROUTES} == set(MAY)
    assert {name: set(route.roles) for route in ROUTES for name in [route.name]} == MAY


async def test_every_role_does_exactly_its_table(desk: Desk) -> None:
    for route in ROUTES:
        for name in (*ROLES, "local"):
            roles = {"operator", "support"} if name == "local" else {name}
            status, told = await desk.ask(name, route.method, ways(route))
            what = (route.name, name, status, told)
            if roles & MAY[route.name]:
                # A tenant's account may be told that this is not its tenant's: it was let in.
                assert told.get("code") not in TURNED_AWAY, what
            else:
                assert (status, told["code"]) == (403, "access.role"), what


async def test_a_stranger_does_nothing_and_reads_nothing(desk: Desk) -> None:
    for route in ROUTES:
        body: Any = None if route.method == "GET" else {}
        got, told = await desk.stage.call(route.method, ways(route), body)
        assert (got, told["code"]) in {(401, "access.unknown"), (429, "access.slow")}, route.name
    async with desk.stage.client.get("/api/v1/openapi.json") as answer:
        assert answer.status == 429
    desk.now[0] += 60_000
    async with desk.stage.client.get("/api/v1/openapi.json") as answer:
        assert (answer.status, answer.headers["WWW-Authenticate"]) == (401, "Bearer")
    for name in ROLES:
        assert (await desk.ask(name, "GET", "/openapi.json"))[0] == 200


def leaves(command: click.Command, name: str = "") -> Iterator[str]:
    if not isinstance(command, click.Group):
        yield name
        return
    context = click.Context(command)
    for one in command.list_commands(context):
        deeper = command.get_command(context, one)
        assert deeper is not None
        yield from leaves(deeper, f"{name} {one}".strip())


def test_every_command_is_in_the_table_and_asks_for_what_local_may() -> None:
    assert sorted(leaves(sync.hub.cli.main)) == sorted(COMMANDS)
    assert {"operator", "support"} == accounts.LOCAL_ROLES
    for command, asked in COMMANDS.items():
        for name in asked:
            assert MAY[name] & accounts.LOCAL_ROLES, command


# --- who gives which right ----------------------------------------------------------------------


async def test_a_right_is_given_by_whose_it_is(desk: Desk) -> None:
    """Plant: `issue_grant` without its own look at the role."""
    ref = desk.stage.site.deposits(IDENTITY, 1)
    await desk.stage.push()
    courier = {"grant": "courier", "tenant": "acme", "label": "x"}
    collect = {"grant": "collect", "parcel": ref, "label": "x"}
    await desk.refused("operator", "POST", f"{S}/grants", "access.role", collect)
    await desk.refused("support", "POST", f"{S}/grants", "access.role", courier)
    for name, body in (("operator", courier), ("support", collect), ("dispatch", courier)):
        assert (await desk.ask(name, "POST", f"{S}/grants", body))[0] == 201
    assert {
        action: " ".join(sorted(roles)) for action, roles in GIVES.items()
    } == {
        "collect": "dispatch support", "return": "dispatch support",
        "courier": "dispatch operator", "deposit": "dispatch operator",
        "reservation": "dispatch operator", "service": "operator", "install": "operator",
    }  # fmt: skip
    path = f"{S}/capabilities"
    for action, roles in GIVES.items():
        asked = {"action": action, "label": "x", "until_ms": NOW_MS + 1}
        for name in ("operator", "support", "dispatch"):
            _, told = await desk.ask(name, "POST", path, asked)
            assert (told.get("code") == "access.role") == (name not in roles), (action, name)


async def test_a_tenants_account_reaches_its_own_tenant_alone(desk: Desk) -> None:
    other = {"tenant": "other", "tracking": "X1", "piece": 1}
    await desk.account("other", "dispatch", tenant="other")
    desk.stage.site.gives("M", 2)
    ref = desk.stage.site.deposits(IDENTITY, 1)
    await desk.stage.push()
    for path in ("expected", "reservations", "claims"):
        body: Any = {"parcel": other, "size": "M"} if path == "reservations" else {"parcel": other}
        body |= {"says": "lost"} if path == "claims" else {}
        await desk.refused("dispatch", "POST", f"{S}/{path}", "access.scope", body)
    courier = {"grant": "courier", "tenant": "other", "label": "x"}
    await desk.refused("dispatch", "POST", f"{S}/grants", "access.scope", courier)
    collect = {"grant": "collect", "parcel": ref, "label": "x"}
    await desk.refused("other", "POST", f"{S}/grants", "access.scope", collect)
    await desk.refused("other", "GET", f"{S}/parcels/{ref}/code", "access.scope")
    assert (await desk.ask("dispatch", "GET", f"{S}/parcels/{ref}/code"))[0] == 200
    body = {"parcel": PARCEL | {"piece": 2}, "size": "M"}
    _, made = await desk.ask("dispatch", "POST", f"{S}/reservations", body)
    way = f"{S}/reservations/{made['ref']}/cancel"
    await desk.refused("other", "POST", way, "access.scope")
    await desk.refused("other", "POST", way, "access.scope", {"parcel": other})
    await desk.refused("dispatch", "POST", way, "access.scope", {"parcel": PARCEL})
    own = {"parcel": PARCEL | {"piece": 2}}
    assert (await desk.ask("dispatch", "POST", way, own))[0] == 201
    _, made = await desk.ask("other", "POST", f"{S}/expected", {"parcel": other})
    await desk.refused("dispatch", "POST", f"{S}/expected/{made['ref']}/end", "access.scope")
    _, grant = await desk.ask("other", "POST", f"{S}/grants", courier)
    await desk.refused("dispatch", "POST", f"{S}/grants/{grant['ref']}/revoke", "access.scope")
    _, book = await desk.ask("dispatch", "GET", f"{S}/book")
    assert {"parcels", "expected", "grants", "capacity"} == book.keys() & set(BOOK)
    assert [one["parcel"] for one in book["parcels"]] == [IDENTITY]
    assert "other" not in json.dumps(book)
    assert (await desk.ask("other", "POST", f"{S}/expected/{made['ref']}/end"))[0] == 201
    assert (await desk.ask("other", "POST", f"{S}/grants/{grant['ref']}/revoke"))[0] == 201


BOOK = (
    "compartments", "parcels", "expected", "grants", "reservations", "capacity", "deficits",
    "requests", "claims", "alarms", "conflicts",
)  # fmt: skip


async def test_no_name_and_no_code_is_in_what_an_auditor_or_an_operator_reads(desk: Desk) -> None:
    """Plant: `_named` that answers the identity to everybody."""
    ref = desk.stage.site.deposits(IDENTITY, 1)
    await desk.stage.push()
    await desk.ask("dispatch", "POST", f"{S}/expected", {"parcel": PARCEL | {"piece": 7}})
    _, told = await desk.ask("support", "GET", f"{S}/book")
    assert IDENTITY in json.dumps(told)
    _, code = await desk.ask("support", "GET", f"{S}/parcels/{ref}/code")
    for route in ROUTES:
        for name in ("auditor", "operator"):
            if route.method == "GET" and name in MAY[route.name]:
                path = ways(route).replace(PATH["ref"], ref)
                path += "?log=e1-0000abcd:sc" if route.name == "listEntries" else ""
                status, told = await desk.ask(name, "GET", path)
                text = json.dumps(told)
                assert status == 200 or route.name == "showDenials", (route.name, told)
                assert "JD0146" not in text
                assert code["long"] not in text
                assert code["short"] not in text
    _, book = await desk.ask("auditor", "GET", f"{S}/book")
    assert [one["parcel"] for one in book["parcels"] + book["expected"]] == [None, None]
    shown = [one for one in await desk.lines("0042") if one.evidence.get("what") == "showCode"]
    assert [(one.code, one.evidence["by"]) for one in shown] == [("api.did", "support")]


# --- scope, time, secrets -----------------------------------------------------------------------


async def test_an_account_of_a_site_reaches_that_site_alone(desk: Desk) -> None:
    for role in ROLES:
        tenant = "acme" if role == "dispatch" else ""
        await desk.account(f"x-{role}", role, sites=["0043"], tenant=tenant)
    for route in ROUTES:
        for role in MAY[route.name]:
            if "{site}" in route.path:
                await desk.refused(f"x-{role}", route.method, ways(route), "access.scope")
    assert (await desk.ask("x-support", "GET", "/sites"))[1]["sites"] == []
    assert (await desk.ask("x-support", "GET", "/news"))[1]["news"] == []
    assert (await desk.ask("x-auditor", "GET", "/health"))[1]["sites"] == 0
    await desk.refused("x-support", "GET", "/news?site=0042", "access.scope")
    body = {"site": "0099", "vkey": desk.stage.site.vkey}
    await desk.refused("x-operator", "POST", "/sites", "access.scope", body)
    of_all = (
        "listAccounts", "listHubAudit", "endAccount", "listInvitations", "endInvitation",
        "listBackends", "endBackend",
    )  # fmt: skip
    for method, path in ((one.method, ways(one)) for one in ROUTES if one.name in of_all):
        await desk.refused("x-operator", method, path, "access.scope")
    asked = {"name": "new", "role": "operator"}
    await desk.refused("x-operator", "POST", "/accounts", "access.scope", asked)
    await desk.refused("x-operator", "POST", "/invitations", "access.scope", {"site": "0042"})


async def test_a_session_needs_no_second_factor_and_makes_nothing_that_outlives_it(
    desk: Desk,
) -> None:
    """Plant: a session that opens another, one that lives on after its account or its end."""
    status, made = await desk.ask("operator", "POST", "/sessions")
    assert (status, made["ends_ms"]) == (200, desk.now[0] + 15 * 60_000)
    secret = made["token"].partition(".")[2]
    for record in await desk.stage.hub.storage.records("", "session"):
        assert secret.encode() not in record.data

    async def asks(path: str, body: Any = None, token: str = made["token"]) -> tuple[int, str]:
        headers = {"Authorization": f"Bearer {token}"}
        method = "GET" if body is None else "POST"
        status, told = await desk.stage.call(method, path, body, headers=headers)
        return status, told.get("code", "")

    for _ in range(3):
        assert await asks("/accounts") == (200, "")
    for path, body in (("/sessions", {}), ("/accounts", {"name": "x", "role": "operator"})):
        assert await asks(path, body) == (403, "access.second_factor")
    assert await asks("/sites/0042/alarms/clear", {"raises": []}) == (403, "access.role")
    assert (await asks("/accounts", token=f"support.{secret}"))[0] == 401
    assert (await asks("/accounts", token=made["token"][:-1] + "_"))[0] == 401
    assert await asks("/sessions/end", {}) == (200, "")
    assert await asks("/accounts") == (401, "access.unknown")
    assert (await desk.ask("operator", "POST", "/sessions/end"))[1] == {"ended": False}
    _, made = await desk.ask("operator", "POST", "/sessions")
    assert (await asks("/accounts", token=made["token"]))[0] == 200
    desk.now[0] = made["ends_ms"]
    assert await asks("/accounts", token=made["token"]) == (401, "access.unknown")
    _, made = await desk.ask("operator", "POST", "/sessions")
    assert len(await desk.stage.hub.storage.records("", "session")) == 1, "swept"
    await desk.account("second", "operator")
    assert (await desk.ask("second", "POST", "/accounts/operator/end"))[0] == 200
    assert await asks("/accounts", token=made["token"]) == (403, "access.expired")
    did = [one.evidence["what"] for one in await desk.lines() if one.code == "api.did"]
    assert (did.count("openSession"), did.count("endSession")) == (3, 2)


async def test_an_account_ends_by_its_time_and_at_once_by_an_operator(desk: Desk) -> None:
    assert (await desk.ask("support", "GET", S))[0] == 200
    status, told = await desk.ask("operator", "POST", "/accounts/support/end")
    assert (status, told["ended_ms"]) == (200, desk.now[0])
    await desk.refused("support", "GET", S, "access.expired")
    assert (await desk.ask("operator", "POST", "/accounts/support/end"))[0] == 200
    status, told = await desk.ask(
        "operator", "POST", "/accounts", {"name": "support", "role": "support"}
    )
    assert (status, told["code"]) == (409, "account.exists")
    desk.now[0] = NOW_MS + 90 * 86_400_000
    await desk.refused("auditor", "GET", S, "access.expired")
    await desk.refused("operator", "GET", S, "access.expired")


async def test_a_wrong_name_and_a_wrong_secret_are_one_answer(desk: Desk) -> None:
    secret = desk.tokens["support"].partition(".")[2]
    texts = set()
    for token in (f"support.{secret[::-1]}", f"nobody.{secret}", f"auditor.{secret}", "x", ""):
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        status, told = await desk.stage.call("GET", S, headers=headers)
        assert status == 401
        texts.add(json.dumps(told))
    status, told = await desk.stage.call(
        "GET", S, headers={"Authorization": f"Bearer local:root.{secret}"}
    )
    assert len(texts | {json.dumps(told)}) == 1


async def test_an_operator_shows_a_second_factor_each_time_another(desk: Desk) -> None:
    """Plant: a step that is not used up."""
    bare = {"Authorization": f"Bearer {desk.tokens['operator']}"}
    for more in ({}, {"Second-Factor": ""}, {"Second-Factor": "abcdef"}):
        status, told = await desk.stage.call("GET", "/accounts", headers=bare | more)
        assert (status, told["code"]) == (403, "access.second_factor")
    desk.now[0] += STEP_MS
    good = bare | {"Second-Factor": desk.digits("operator")}
    assert (await desk.stage.call("GET", "/accounts", headers=good))[0] == 200
    assert (await desk.stage.call("GET", "/accounts", headers=good))[0] == 403
    # Another process of this hub knows it too: what was used stands in the account.
    assert (await desk.read("operator")).step == desk.now[0] // STEP_MS
    assert (await desk.ask("operator", "GET", "/accounts"))[0] == 200
    # A second factor is not asked for before the role: nobody's step is used up in vain.
    step = (await desk.read("operator")).step
    await desk.refused("operator", "GET", f"{S}/openings", "access.role")
    assert (await desk.read("operator")).step == step


async def test_two_at_once_use_one_step_once(desk: Desk) -> None:
    record = await desk.stage.hub.storage.record("", doorman.KIND, "operator")
    assert record is not None
    headers = desk.headers("operator")
    stale = msgspec.structs.replace(record)
    assert (await desk.stage.call("GET", "/accounts", headers=headers))[0] == 200
    real = desk.stage.hub.storage.record

    async def behind(site_id: str, kind: str, name: str) -> Any:
        desk.stage.hub.storage.record = real  # type: ignore[method-assign]  # once
        return stale

    desk.stage.hub.storage.record = behind  # type: ignore[method-assign]  # another process's look
    status, told = await desk.stage.call("GET", "/accounts", headers=headers)
    assert (status, told["code"]) == (403, "access.second_factor")


# --- what is written down -----------------------------------------------------------------------


async def test_every_refusal_is_written_down_with_who_what_and_whence(desk: Desk) -> None:
    await desk.refused("auditor", "POST", f"{S}/claims", "access.role")
    await desk.refused("auditor", "POST", "/sites", "access.role")
    await desk.stage.refused("GET", S, "access.unknown", 401)
    body = {"by": "ops", "parcel": PARCEL, "says": "lost"}
    await desk.refused("support", "POST", f"{S}/claims", "access.by", body)
    told = [(one.code, dict(one.evidence)) for one in await desk.lines("0042")]
    peer = {"peer": "127.0.0.1"}
    assert ("access.role", {"what": "makeClaim", "by": "auditor"} | peer) in told
    assert ("access.by", {"what": "makeClaim", "by": "support"} | peer) in told
    own = [(one.code, dict(one.evidence)) for one in await desk.lines()]
    assert ("access.role", {"what": "addSite", "by": "auditor"} | peer) in own
    assert ("access.unknown", {"what": "showSite", "by": ""} | peer) in own
    _, page = await desk.ask("auditor", "GET", "/audit")
    assert [one["code"] for one in page["lines"]] == [code for code, _ in own]


async def test_configuring_is_written_down_too(desk: Desk) -> None:
    asked = {"name": "new", "role": "support", "by": "operator.jo"}
    status, made = await desk.ask("operator", "POST", "/accounts", asked)
    assert (status, made["account"]["by"]) == (200, "operator.jo")
    await desk.ask("operator", "POST", f"{S}/rekey", {"vkey": "nonsense"})
    line = (await desk.lines())[-1]
    assert (line.code, line.evidence["what"], line.evidence["by"]) == (
        "api.did", "addAccount", "operator.jo",
    )  # fmt: skip
    line = (await desk.lines("0042"))[-1]
    assert (line.code, line.evidence["what"], line.evidence["by"]) == (
        "site.vkey", "rekeySite", "operator",
    )  # fmt: skip
    written = json.dumps([dict(one.evidence) for one in await desk.lines()])
    assert made["token"].partition(".")[2] not in written


async def test_a_guesser_fills_no_disk_and_keeps_nobody_out(desk: Desk) -> None:
    for _ in range(40):
        await desk.stage.call("GET", S, headers={"Authorization": "Bearer a." + "x" * 32})
    for _ in range(80):
        await desk.refused("auditor", "POST", "/sites", "access.role")
    codes = [one.code for one in await desk.lines()]
    assert codes.count("access.unknown") == 10
    assert codes.count("access.role") == 60
    assert (await desk.ask("support", "GET", S))[0] == 200


async def test_the_local_token_is_good_on_this_machine_alone(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert (await desk.ask("local", "GET", "/accounts"))[0] == 200
    status, _ = await desk.ask("local", "POST", f"{S}/claims", {"parcel": PARCEL, "says": "lost"})
    assert status == 201
    assert (await desk.lines("0042"))[-1].evidence["by"] == "local:t"
    monkeypatch.setattr(doorman, "_on_this_machine", lambda _: False)
    assert (await desk.ask("local", "GET", "/accounts"))[0] == 401


@pytest.mark.parametrize(
    ("ends", "here"),
    [
        ((("127.0.0.1", 1), ("127.0.0.1", 2)), True),
        ((("::1", 1, 0, 0), ("::1", 2, 0, 0)), True),
        ((("10.0.0.5", 1), ("10.0.0.5", 2)), True),
        ((("10.0.0.6", 1), ("10.0.0.5", 2)), False),
        ((None, None), False),
        (("", ""), False),
    ],
)
def test_what_comes_from_this_machine(ends: tuple[Any, Any], here: bool) -> None:
    class Transport:
        def get_extra_info(self, name: str) -> Any:
            return ends[("peername", "sockname").index(name)]

    class Request:
        transport = Transport()

    assert doorman._on_this_machine(Request()) is here  # type: ignore[arg-type]
