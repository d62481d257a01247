"""Pins the hub's API in each storage: what it does to the book, and every refusal by its code."""

import base64
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from certs.keys import Verifier
from certs.note import cosign
from sync import codes, facts, proof
from sync.entry import Lane
from sync.hub.api import ROUTES
from sync.hub.clock import Clock
from sync.hub.issue import OPEN_MS_MAX
from tests.hub_site import FakeSite
from tests.hub_stage import BY, DESCRIBED, IDENTITY, KEYS, PARCEL, Stage, stage
from tests.hubs import NOW_MS, STORAGES, url_of

S = "/sites/0042"
UNKNOWN = "e1-00000000:hc7"


@pytest.fixture(params=STORAGES)
async def hub(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Stage]:
    async with stage(tmp_path, await url_of(request.param, tmp_path)) as made:
        yield made


# --- the description ----------------------------------------------------------------------------


async def test_routes_and_description_are_the_same(hub: Stage) -> None:
    served = {
        (route.method, route.resource.canonical)
        for route in hub.client.app.router.routes()
        if route.resource and route.resource.canonical.startswith("/api/")
    }
    described = {
        (method.upper(), path)
        for path, operations in DESCRIBED["paths"].items()
        for method in operations
    }
    assert served == described
    assert (await hub.call("GET", "/openapi.json"))[1] == DESCRIBED
    names = [route.name for route in ROUTES]
    assert len(names) == len(set(names))


def test_every_path_value_and_reference_of_the_description_exists() -> None:
    for path, operations in DESCRIBED["paths"].items():
        for operation in operations.values():
            named = {p["name"] for p in operation.get("parameters", ()) if p["in"] == "path"}
            assert named == set(re.findall(r"\{(\w+)\}", path))
    known = set(DESCRIBED["components"]["schemas"])
    assert set(re.findall(r"#/components/schemas/(\w+)", str(DESCRIBED))) == known


# --- reading ------------------------------------------------------------------------------------


async def test_a_site_shows_its_keys_logs_link_and_lag(hub: Stage) -> None:
    hub.hub.links.up("0042", "session", 5)
    hub.hub.links.heard("0042", 6, bytes_in=7, bytes_out=8)
    hub.hub.links.behind("0042", {hub.site.origin(Lane.CUSTODY): 3})
    hub.site.write(facts.AlarmRaised(alarm="door.forced", door=1))
    await hub.push()
    [shown] = (await hub.get("/sites"))["sites"]
    assert shown == await hub.get(S)
    assert shown["name"] == "lockers.example/site/0042"
    assert shown["link"] == {
        "up": True, "bearer": "session", "since_ms": 5, "heard_ms": 6, "bytes_in": 7,
        "bytes_out": 8, "connects": 1, "trouble": "",
    }  # fmt: skip
    assert (shown["alarms"], shown["stopped"], shown["fenced"]) == (1, [], False)
    lags = {log["origin"]: log["lag"] for log in shown["logs"]}
    assert lags[hub.site.origin(Lane.CUSTODY)] == 3
    assert Verifier.from_vkey(shown["hub_vkey"]).name == "lockers.example/hub/0042"
    hub.hub.links.down("0042", "exchange.root")
    assert (await hub.get(S))["link"]["trouble"] == "exchange.root"


async def test_sites_come_in_pages(hub: Stage) -> None:
    for name in ("0041", "0043"):
        other = FakeSite(KEYS.code_key(name, 1), site_id=name)
        told = await hub.call("POST", "/sites", {"site": name, "vkey": other.vkey})
        assert told[0] == 200
    page = await hub.get("/sites", count=2)
    assert ([one["site"] for one in page["sites"]], page["next"]) == (["0041", "0042"], "0043")
    page = await hub.get("/sites", count=2, from_=page["next"])
    assert ([one["site"] for one in page["sites"]], page["next"]) == (["0043"], "")


async def test_the_book_of_a_site_and_its_parts(hub: Stage) -> None:
    ref = hub.site.deposits(IDENTITY, 1)
    hub.site.gives("M", 1)
    hub.site.write(facts.AlarmRaised(alarm="door.forced", door=2))
    await hub.push()
    book = await hub.get(f"{S}/book")
    assert [one["door"] for one in book["compartments"]] == [1, 2, 3, 4]
    assert book["compartments"][0]["custody"] == "held"
    assert [(one["ref"], one["parcel"]) for one in book["parcels"]] == [(ref, IDENTITY)]
    [m] = [one for one in book["capacity"] if one["kind"] == "M"]
    assert (m["compartments"], m["free"], m["hub_rights"], m["hub_unspent"]) == (2, 2, 1, 1)
    assert [one["alarm"] for one in book["alarms"]] == ["door.forced"]
    part = await hub.get(f"{S}/book", part="compartments", door=2)
    assert part.keys() & book.keys() == part.keys()
    assert not part.keys() & {"parcels", "expected", "grants", "capacity", "alarms", "claims"}
    assert [one["door"] for one in part["compartments"]] == [2]


async def test_the_bank_of_a_site_and_who_signed_it_off(hub: Stage) -> None:
    assert (await hub.get(S))["commissioned"] is None
    ref = hub.site.write(
        facts.SiteCommissioned(
            by="installer:anna", boards=1, doors=4, passed=3, failed=1, report="x"
        )
    )
    await hub.push()
    bank = (await hub.get(f"{S}/book", part="bank"))["bank"]
    assert [one["door"] for one in bank["doors"]] == [1, 2, 3, 4]
    assert {"lock", "switch", "reach", "heated", "column", "rows"} <= bank["doors"][0].keys()
    assert [one.keys() for one in bank["boards"]] == [{"name", "line", "profile", "unit"}] * len(
        bank["boards"]
    )
    assert bank["lines"] == []
    assert bank["commissioned"] == {
        "ref": ref, "by": "installer:anna", "boards": 1, "doors": 4, "passed": 3, "failed": 1,
        "report": "x", "audit": False,
    }  # fmt: skip
    assert (await hub.get(S))["commissioned"] == bank["commissioned"]


async def test_a_name_that_comes_after_its_entry_is_found(hub: Stage) -> None:
    ref = hub.site.deposits(IDENTITY, 1)
    await hub.push(annexes=False)
    assert (await hub.get(f"{S}/book"))["parcels"][0]["parcel"] is None
    await hub.refused("GET", f"{S}/parcels/{ref}/code", "parcel.no_identity", 409)
    await hub.push()
    assert (await hub.get(f"{S}/book"))["parcels"][0]["parcel"] == IDENTITY
    assert (await hub.get(f"{S}/parcels/{ref}/code"))["state"] == "deposited"


async def test_a_stopped_log_is_shown_with_its_reason(hub: Stage) -> None:
    hub.site.write(facts.DoorOpened(door=99))
    await hub.push()
    [stop] = (await hub.get(S))["stopped"]
    assert (stop["log"], stop["code"]) == ("e1-0000abcd:sc", "book.unknown")
    assert (await hub.get(f"{S}/book"))["stopped"] == [stop]


async def test_entries_are_told_byte_for_byte(hub: Stage) -> None:
    log = "e1-0000abcd:sc"
    page = await hub.get(f"{S}/entries", log=log, count=2)
    written = hub.site.written[Lane.CUSTODY]
    assert [one["entry"].encode() for one in page["entries"]] == written[:2]
    assert (page["next"], page["size"]) == (2, len(written))
    page = await hub.get(f"{S}/entries", log=log, from_=len(written))
    assert page["entries"] == []
    await hub.refused("GET", f"{S}/entries?log={log}&from=999", "hub.beyond", 409)
    await hub.refused("GET", f"{S}/entries?log=e9-0000abcd:sc", "hub.unknown_log", 404)
    await hub.refused("GET", f"{S}/entries?log=nonsense", "request.query", 400)
    await hub.refused("GET", f"{S}/entries", "request.query", 400)
    await hub.refused("GET", f"{S}/entries?log={log}&log={log}", "request.query", 400)
    await hub.refused("GET", f"{S}/entries?log={log}&nonsense=1", "request.query", 400)


async def test_a_proof_convinces_without_the_hub(hub: Stage) -> None:
    ref = hub.site.deposits(IDENTITY, 1)
    await hub.push()
    origin = hub.site.origin(Lane.CUSTODY)
    verifier = Verifier(origin, Verifier.from_vkey(hub.site.vkey).public)
    told = await hub.get(f"{S}/proofs/{ref}")
    proof.check(told["entry"].encode(), told["proof"], verifier)
    note = hub.site.note(Lane.CUSTODY)
    cosigner = KEYS.cosigner("0042")
    await hub.hub.storage.keep_cosignature("0042", origin, note + cosign(note, cosigner, 1))
    told = await hub.get(f"{S}/proofs/{ref}")
    proof.check(
        told["entry"].encode(), told["proof"], verifier,
        cosigners=[cosigner.verifier], cosignatures_min=1,
    )  # fmt: skip
    await hub.refused("GET", f"{S}/proofs/e1-0000abcd:sc999", "hub.unknown_entry", 404)
    await hub.refused("GET", f"{S}/proofs/{UNKNOWN}", "hub.unknown_log", 404)
    await hub.refused("GET", f"{S}/proofs/nonsense", "request.value", 400)


async def test_plain_pull_of_a_site_is_mounted(hub: Stage) -> None:
    async with hub.client.get("/sites/0042/sync/v1/logs") as answer:
        assert answer.status == 200
        assert hub.site.origin(Lane.CUSTODY) in [one["origin"] for one in await answer.json()]
    async with hub.client.get("/sites/0077/sync/v1/logs") as answer:
        assert (answer.status, (await answer.json())["code"]) == (404, "exchange.unknown_site")


# --- writing ------------------------------------------------------------------------------------


async def test_a_grant_is_issued_by_its_tag_and_revoked(hub: Stage) -> None:
    made = await hub.post(f"{S}/grants", grant="courier", tenant="acme", label="route 7")
    assert re.fullmatch(r"\d{16}", made["secret"])
    grant = (await hub.book()).book.couriers[made["ref"]]
    name = hub.site.name
    tag = codes.staff_tag(KEYS.code_key("0042", 1).key, name, made["secret"])
    assert base64.b64decode(grant.tag) == tag
    revoked = await hub.post(f"{S}/grants/{made['ref']}/revoke")
    again = await hub.post(f"{S}/grants/{made['ref']}/revoke")
    assert (again["ref"], again["new"]) == (revoked["ref"], False)
    shown = await hub.get(f"{S}/book", part="grants", state="revoked")
    assert [one["ref"] for one in shown["grants"]] == [made["ref"]]
    assert (await hub.get(f"{S}/book", part="grants", state="active"))["grants"] == []


async def test_a_delegate_collects_one_parcel(hub: Stage) -> None:
    ref = hub.site.deposits(IDENTITY, 1)
    await hub.push()
    made = await hub.post(f"{S}/grants", grant="collect", parcel=ref, label="neighbour")
    assert (await hub.book()).book.rights.collects[made["ref"]].of == ref


async def test_a_parcel_is_expected_and_its_code_told_before_it_comes(hub: Stage) -> None:
    made = await hub.post(f"{S}/expected", parcel=PARCEL | {"tracking": "jd0146"}, size="M")
    told = await hub.get(f"{S}/parcels/{made['ref']}/code")
    code = KEYS.code_key("0042", 1).code(IDENTITY, 0)
    assert (told["state"], told["short"], told["long"]) == ("expected", code.short(8), code.long)
    [expected] = (await hub.get(f"{S}/book", part="expected"))["expected"]
    assert (expected["ref"], expected["parcel"]) == (made["ref"], IDENTITY)
    ref = hub.site.deposits(IDENTITY, 1)
    await hub.push()
    assert (await hub.get(f"{S}/parcels/{ref}/code"))["long"] == code.long
    await hub.refused("GET", f"{S}/parcels/{made['ref']}/code", "parcel.unknown", 404)


async def test_an_expected_parcel_is_named_after_a_restart_too(hub: Stage) -> None:
    made = await hub.post(f"{S}/expected", parcel=PARCEL)
    hub.hub.projections.forget("0042")
    [expected] = (await hub.get(f"{S}/book", part="expected"))["expected"]
    assert (expected["ref"], expected["parcel"]) == (made["ref"], IDENTITY)


async def test_without_a_map_no_code_is_told(hub: Stage) -> None:
    other = FakeSite(KEYS.code_key("0043", 1), site_id="0043")
    await hub.call("POST", "/sites", {"site": "0043", "vkey": other.vkey})
    made = await hub.post("/sites/0043/expected", parcel=PARCEL)
    await hub.refused("GET", f"/sites/0043/parcels/{made['ref']}/code", "site.no_map", 409)


async def test_a_promise_needs_a_right_and_a_cancel_returns_none(hub: Stage) -> None:
    """Plant: a reservation without a right; a cancel that gives the hub its right back."""
    asked = BY | {"parcel": PARCEL, "size": "M"}
    await hub.refused("POST", f"{S}/reservations", "capacity.none", 409, asked)
    hub.site.gives("M", 1)
    await hub.push()
    made = await hub.post(f"{S}/reservations", parcel=PARCEL, size="M")
    other = asked | {"parcel": PARCEL | {"piece": 2}}
    await hub.refused("POST", f"{S}/reservations", "capacity.none", 409, other)
    await hub.post(f"{S}/reservations/{made['ref']}/cancel")
    refusal = await hub.refused("POST", f"{S}/reservations", "capacity.none", 409, other)
    assert refusal["evidence"] == {"kind": "M", "rights": 1, "unspent": 0}
    [shown] = (await hub.get(f"{S}/book", part="reservations"))["reservations"]
    assert (shown["ref"], shown["cancelled"]) == (made["ref"], True)
    hub.site.write(facts.CapacityReleased(of=made["ref"], size="M"))
    await hub.push()
    assert (await hub.get(f"{S}/book", part="reservations"))["reservations"] == []
    await hub.refused("POST", f"{S}/reservations", "capacity.none", 409, other)


async def test_unspent_rights_go_back(hub: Stage) -> None:
    hub.site.gives("S", 1)
    await hub.push()
    await hub.post(f"{S}/capacity/hand-back", size="S", count=1)
    asked = BY | {"size": "S", "count": 1}
    await hub.refused("POST", f"{S}/capacity/hand-back", "capacity.none", 409, asked)


async def test_a_compartment_goes_out_of_service_and_back(hub: Stage) -> None:
    await hub.post(f"{S}/compartments/2/service", out=True, why="hinge")
    assert (await hub.get(f"{S}/book", door=2))["compartments"][0]["disabled"] == "hinge"
    [entry] = (await hub.get(f"{S}/entries", log=(await hub_log(hub)), from_=1))["entries"]
    assert '"seen":{"e1-0000abcd:sc":' in entry["entry"]
    await hub.post(f"{S}/compartments/2/service", out=False)
    assert (await hub.get(f"{S}/book", door=2))["compartments"][0]["disabled"] == ""


async def hub_log(hub: Stage) -> str:
    site = await hub.hub.registry.get("0042")
    return f"{site.epoch}:hc"


async def test_support_asks_for_a_door(hub: Stage) -> None:
    asked: dict[str, Any] = {"why": "stuck", "case": "C-1", "until_ms": NOW_MS + OPEN_MS_MAX}
    made = await hub.post(f"{S}/compartments/2/open", **asked)
    [shown] = (await hub.get(f"{S}/book", part="requests"))["requests"]
    assert (shown["ref"], shown["door"], shown["until_ms"]) == (made["ref"], 2, asked["until_ms"])


async def test_claims_alarms_and_the_fold(hub: Stage) -> None:
    raised = hub.site.write(facts.AlarmRaised(alarm="door.forced", door=1))
    hub.site.deposits(IDENTITY, 1)
    await hub.push()
    made = await hub.post(f"{S}/claims", parcel=PARCEL, says="lost")
    book = await hub.get(f"{S}/book")
    assert [one["ref"] for one in book["claims"]] == [made["ref"]]
    assert [one["what"] for one in book["conflicts"]] == ["claim.contradicted"]
    await hub.post(f"{S}/alarms/clear", raises=[raised])
    assert (await hub.get(f"{S}/book", part="alarms"))["alarms"] == []
    await hub.post(f"{S}/fold", version=1)


async def test_the_first_entry_of_a_process_says_what_time_it_is(hub: Stage) -> None:
    await hub.post(f"{S}/expected", parcel=PARCEL)
    await hub.post(f"{S}/expected", parcel=PARCEL | {"piece": 2})
    entries = (await hub.get(f"{S}/entries", log=await hub_log(hub)))["entries"]
    kinds = [re.search(r'"kind":"([a-z.]+)"', one["entry"]) for one in entries]
    assert [kind[1] for kind in kinds if kind] == ["time.anchored"] + ["parcel.expected"] * 2
    assert f'"utc_ms":{NOW_MS}' in entries[0]["entry"]


async def test_a_lane_that_is_written_to_is_told_the_time_once_a_week(
    hub: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By that, what it gave out ends: a process may run for months."""
    for piece, days in enumerate((0, 6, 7, 8, 14), 1):
        monkeypatch.setattr(Clock, "utc_ms", lambda _, at=days: NOW_MS + at * 86_400_000)
        await hub.post(f"{S}/expected", parcel=PARCEL | {"piece": piece})
    entries = (await hub.get(f"{S}/entries", log=await hub_log(hub)))["entries"]
    assert sum('"time.anchored"' in one["entry"] for one in entries) == 3


# --- refusals -----------------------------------------------------------------------------------

LATER = {"until_ms": NOW_MS + 60_000}
REFUSALS: list[tuple[str, dict[str, Any], str, int]] = [
    (f"{S}/grants", {"grant": "courier", "label": "x"}, "grant.fields", 422),
    (f"{S}/grants", {"grant": "collect", "label": "x", "tenant": "acme"}, "grant.fields", 422),
    (f"{S}/grants", {"grant": "collect", "label": "x", "parcel": UNKNOWN}, "parcel.unknown", 404),
    (f"{S}/grants", {"grant": "courier", "label": "x\n", "tenant": "a"}, "request.text", 400),
    (
        f"{S}/grants",
        {"grant": "courier", "label": "x", "tenant": "a", "until_ms": 1},
        "request.until",
        400,
    ),
    (f"{S}/grants/{UNKNOWN}/revoke", {}, "grant.unknown", 404),
    (f"{S}/grants/nonsense/revoke", {}, "request.value", 400),
    (f"{S}/reservations/{UNKNOWN}/cancel", {}, "reservation.unknown", 404),
    (f"{S}/expected/{UNKNOWN}/end", {}, "expected.unknown", 404),
    (f"{S}/compartments/9/service", {"out": True, "why": "x"}, "door.unknown", 404),
    (f"{S}/compartments/1/service", {"out": True}, "request.text", 400),
    (f"{S}/compartments/x/service", {"out": True}, "request.value", 400),
    (f"{S}/compartments/9/open", {"why": "x", "case": "x"} | LATER, "door.unknown", 404),
    (f"{S}/compartments/1/open", {"why": "x", "case": "x", "until_ms": 1}, "open.until", 422),
    (f"{S}/alarms/clear", {"raises": [UNKNOWN]}, "alarm.unknown", 404),
    (f"{S}/alarms/clear", {"raises": []}, "request.body", 400),
    (f"{S}/fold", {"version": 7}, "fold.unknown", 404),
    (f"{S}/expected", {"parcel": PARCEL | {"tenant": "A"}}, "request.body", 400),
    (f"{S}/expected", {"parcel": PARCEL, "size": "XXL"}, "request.body", 400),
    (f"{S}/expected", {"parcel": PARCEL, "stray": 1}, "request.body", 400),
    (f"{S}/claims", {"parcel": PARCEL, "says": "eaten"}, "request.body", 400),
    (f"{S}/claims", {"parcel": PARCEL, "says": "lost", "by": "Jane Doe"}, "request.body", 400),
    ("/sites/0077/claims", {"parcel": PARCEL, "says": "lost"}, "hub.unknown_site", 404),
    ("/sites/UPPER/claims", {"parcel": PARCEL, "says": "lost"}, "hub.unknown_site", 404),
    ("/nonsense", {}, "request.path", 404),
]


@pytest.mark.parametrize(("path", "body", "code", "status"), REFUSALS)
async def test_each_refusal_has_its_code(
    tmp_path: Path, path: str, body: dict[str, Any], code: str, status: int
) -> None:
    async with stage(tmp_path, await url_of("sqlite", tmp_path)) as hub:
        await hub.refused("POST", path, code, status, BY | body)


async def test_a_site_is_added_once_and_only_under_its_own_key(hub: Stage) -> None:
    other = FakeSite(KEYS.code_key("0043", 1), site_id="0043", seed=bytes(32))
    again = {"site": "0042", "vkey": hub.site.vkey}
    assert (await hub.call("POST", "/sites", again))[0] == 200
    renamed = FakeSite(hub.site.key, seed=bytes(32))
    known = {"site": "0042", "vkey": renamed.vkey}
    await hub.refused("POST", "/sites", "hub.site_exists", 409, known)
    await hub.refused("POST", "/sites", "site.vkey", 422, {"site": "0042", "vkey": other.vkey})
    await hub.refused("POST", "/sites", "site.vkey", 422, {"site": "0042", "vkey": "nonsense"})
    cosigner = {"site": "0043", "vkey": KEYS.cosigner("0043").vkey}
    await hub.refused("POST", "/sites", "site.vkey", 422, cosigner)
    url = {"site": "0043", "vkey": other.vkey, "url": "file:///etc/passwd"}
    await hub.refused("POST", "/sites", "site.url", 422, url)
    label = {"site": "0043", "vkey": other.vkey, "label": "a\nb"}
    await hub.refused("POST", "/sites", "site.label", 422, label)


async def test_a_fenced_hub_promises_nothing_until_it_is_healed(hub: Stage) -> None:
    hub.site.gives("M", 1)
    await hub.push()
    before = (await hub.get("/health"))["instance"]
    grant = await hub.post(f"{S}/grants", grant="courier", tenant="acme", label="x")
    [site] = await hub.hub.restored()
    assert site.epoch.startswith("e2-")
    assert (await hub.get("/health"))["instance"] != before
    assert (await hub.get("/health"))["fenced"] == ["0042"]
    asked = BY | {"parcel": PARCEL, "size": "M"}
    await hub.refused("POST", f"{S}/reservations", "hub.fenced", 409, asked)
    revoked = await hub.post(f"{S}/grants/{grant['ref']}/revoke")
    assert revoked["ref"].startswith(f"{site.epoch}:hu")
    await hub.hub.heal("0042")
    assert (await hub.post(f"{S}/reservations", parcel=PARCEL, size="M"))["new"]


async def test_what_a_restore_lost_comes_back_from_the_gateway(hub: Stage) -> None:
    """The hub's lost suffix is no longer its own to write: whoever holds it may bring it."""
    hub.site.gives("M", 1)
    await hub.push()
    log = await hub_log(hub)
    await hub.post(f"{S}/reservations", parcel=PARCEL, size="M")
    site = await hub.hub.registry.get("0042")
    origin = hub.hub.voice.origin(site, Lane.CUSTODY)
    shelf = await hub.hub.shelf("0042")
    held = await shelf.log(origin)
    assert held is not None
    assert held.own
    await hub.hub.restored()
    held = await shelf.log(origin)
    assert held is not None
    assert not held.own
    book = (await hub.book()).book
    assert book.sizes[log] == 2, "what is still there counts"
    assert book.rights.escrow.hub_free("M") == 0


def test_the_readme_lists_every_route_as_the_description_does() -> None:
    readme = (Path(__file__).resolve().parents[2] / "sync/hub/README.md").read_text()
    listed = re.findall(r"^\| `(GET|POST) (\S+)` \| (.+) \|$", readme, re.MULTILINE)
    assert listed == [(route.method, route.path, route.text) for route in ROUTES]
