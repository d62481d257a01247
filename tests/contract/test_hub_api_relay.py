"""Pins deposit receipts: what convinces the hub before the log comes, and what never does."""

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from certs.keys import SigningKey
from certs.note import Checkpoint, sign_checkpoint
from sync import facts
from sync.entry import Lane
from sync.hub import relay
from sync.merkle import Tree, leaf_hash
from tests.hub_site import FakeSite
from tests.hub_stage import IDENTITY, KEYS, PARCEL, Stage, stage
from tests.hubs import STORAGES, url_of

S = "/sites/0042"


@pytest.fixture(params=STORAGES)
async def hub(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Stage]:
    async with stage(tmp_path, await url_of(request.param, tmp_path)) as made:
        yield made


@pytest.fixture
async def small(tmp_path: Path) -> AsyncIterator[Stage]:
    async with stage(tmp_path, await url_of("sqlite", tmp_path)) as made:
        yield made


def receipt(site: FakeSite, ref: str, **other: Any) -> dict[str, Any]:
    """What the QR of a deposit says."""
    entry = site.written[Lane.CUSTODY][int(ref.rpartition("c")[2])].decode()
    return {"entry": entry, "parcel": PARCEL, "proof": site.proof(ref)} | other


async def relayed(hub: Stage, **body: Any) -> Any:
    status, told = await hub.call("POST", "/relay", body)
    assert status == 200, told
    return told


async def test_a_receipt_is_news_until_the_log_confirms_it(hub: Stage) -> None:
    ref = hub.site.deposits(IDENTITY, 1)
    body = receipt(hub.site, ref)
    assert await relayed(hub, **body) == {"ref": ref, "state": "news", "new": True}
    assert await relayed(hub, **body) == {"ref": ref, "state": "news", "new": False}
    [news] = (await hub.get("/news"))["news"]
    assert (news["site"], news["ref"], news["door"]) == ("0042", ref, 1)
    assert (await hub.get("/news", site="0042"))["news"] == [news]
    told = await hub.get(f"{S}/parcels/{ref}/code")
    code = KEYS.code_key("0042", 1).code(IDENTITY, 0)
    assert (told["state"], told["short"], told["long"]) == ("news", code.short(8), code.long)
    assert (await hub.get(f"{S}/book"))["parcels"] == [], "news are not the book"
    await hub.push()
    assert (await hub.get("/news"))["news"] == []
    assert (await hub.get(f"{S}/parcels/{ref}/code"))["state"] == "deposited"
    assert (await relayed(hub, **body))["state"] == "confirmed"


async def test_a_code_that_is_relayed_is_not_told_as_a_first_one(hub: Stage) -> None:
    made = await hub.post(f"{S}/expected", parcel=PARCEL)
    ref = hub.site.deposits(IDENTITY, 1)
    await relayed(hub, **receipt(hub.site, ref))
    await hub.refused("GET", f"{S}/parcels/{made['ref']}/code", "parcel.was_here", 409)


async def test_a_checkpoint_alone_will_do_where_all_before_it_is_held(hub: Stage) -> None:
    hub.site.deposits("acme/N0/1", 2)
    ref = hub.site.deposits(IDENTITY, 1)
    body = receipt(hub.site, ref, checkpoint=hub.site.note(Lane.CUSTODY))
    del body["proof"]
    await hub.refused("POST", "/relay", "relay.proof_needed", 422, body)
    # All but the deposit itself has come.
    last = hub.site.written[Lane.CUSTODY].pop()
    await hub.push(annexes=False)
    hub.site.written[Lane.CUSTODY].append(last)
    assert (await relayed(hub, **body))["state"] == "news"
    other = hub.site.write(facts.DoorClosed(door=1))
    late = receipt(hub.site, ref, checkpoint=hub.site.note(Lane.CUSTODY))
    del late["proof"]
    assert other.endswith(str(len(hub.site.written[Lane.CUSTODY]) - 1))
    await hub.refused("POST", "/relay", "relay.proof_needed", 422, late)


async def test_nothing_convinces_but_the_sites_own_signature(small: Stage) -> None:
    hub = small
    ref = hub.site.deposits(IDENTITY, 1)
    body = receipt(hub.site, ref)
    impostor = replace(hub.site, seed=bytes(32))
    cases: list[tuple[dict[str, Any], str]] = [
        (body | {"proof": impostor.proof(ref)}, "relay.signature"),
        (body | {"entry": body["entry"].replace('"door":1', '"door":2')}, "relay.proof"),
        (body | {"parcel": PARCEL | {"piece": 2}}, "relay.parcel"),
        (body | {"proof": "", "checkpoint": "nonsense"}, "relay.form"),
        (body | {"proof": "nonsense"}, "relay.form"),
        (body | {"proof": ""}, "relay.evidence"),
        (body | {"checkpoint": hub.site.note(Lane.CUSTODY)}, "relay.evidence"),
        (body | {"proof": "", "checkpoint": impostor.note(Lane.CUSTODY)}, "relay.signature"),
    ]
    for asked, code in cases:
        await hub.refused("POST", "/relay", code, 422, asked)
    assert (await hub.get("/news"))["news"] == []


async def test_receipts_of_others_and_of_other_things_are_refused(small: Stage) -> None:
    hub = small
    ref = hub.site.deposits(IDENTITY, 1)
    door = hub.site.write(facts.DoorClosed(door=1))
    await hub.refused("POST", "/relay", "relay.not_a_deposit", 422, receipt(hub.site, door))
    alarm = hub.site.note(Lane.URGENT)
    urgent = {"entry": "{}", "parcel": PARCEL, "checkpoint": alarm}
    await hub.refused("POST", "/relay", "relay.not_a_deposit", 422, urgent)
    for stranger in (
        replace(hub.site, site_id="0077"),
        replace(hub.site, operator="other.example"),
    ):
        body = receipt(stranger, ref, proof=stranger.proof(ref))
        await hub.refused("POST", "/relay", "hub.unknown_site", 404, body)


async def test_another_code_key_than_the_hubs_is_said(small: Stage) -> None:
    hub = small
    fact = facts.ParcelDeposited(
        door=1, by="x", size="M", digits=8, counter=0, key_version=70_000, tag="AAAA",
        basis="sensor",
    )  # fmt: skip
    ref = hub.site.write(fact)
    await hub.refused("POST", "/relay", "relay.parcel", 422, receipt(hub.site, ref))
    broken = hub.site.write(facts.DoorClosed(door=1), kind="parcel.deposited")
    await hub.refused("POST", "/relay", "relay.not_a_deposit", 422, receipt(hub.site, broken))


async def test_a_log_that_does_not_contain_the_news_is_a_fork(hub: Stage) -> None:
    before = list(hub.site.written[Lane.CUSTODY])
    ref = hub.site.deposits(IDENTITY, 1)
    body = receipt(hub.site, ref)
    await relayed(hub, **body)
    hub.site.written[Lane.CUSTODY] = before
    while len(before) <= int(ref.rpartition("c")[2]):
        hub.site.write(facts.DoorClosed(door=1))
    await hub.push(annexes=False)
    assert (await hub.get("/news"))["news"] == []
    assert (await hub.get(S))["forks"] == 1
    await hub.refused("POST", "/relay", "relay.fork", 409, body)
    lines = (await hub.get(f"{S}/audit"))["lines"]
    assert [one["code"] for one in lines] == ["relay.fork"]
    assert (await hub.get(S))["forks"] == 1


async def test_two_receipts_for_one_place_are_a_fork(small: Stage) -> None:
    hub = small
    before = list(hub.site.written[Lane.CUSTODY])
    ref = hub.site.deposits(IDENTITY, 1)
    await relayed(hub, **receipt(hub.site, ref))
    hub.site.written[Lane.CUSTODY] = before
    assert hub.site.deposits(IDENTITY, 2) == ref
    await hub.refused("POST", "/relay", "relay.fork", 409, receipt(hub.site, ref))
    assert (await hub.get(S))["forks"] == 1


async def test_news_have_a_bound(small: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(relay, "NEWS_MAX", 1)
    ref = small.site.deposits(IDENTITY, 1)
    await relayed(small, **receipt(small.site, ref))
    other = small.site.deposits("acme/N2/1", 2)
    body = receipt(small.site, other) | {"parcel": {"tenant": "acme", "tracking": "N2"}}
    await small.refused("POST", "/relay", "relay.too_many", 409, body)


async def test_an_empty_checkpoint_ends_with_no_entry(small: Stage) -> None:
    origin = small.site.origin(Lane.CUSTODY).replace("0000abcd", "0000aaaa")
    key = SigningKey.from_seed(origin, small.site.seed)
    ref = small.site.deposits(IDENTITY, 1)
    body = receipt(small.site, ref)
    body["proof"] = ""
    empty = sign_checkpoint(Checkpoint(origin, 0, Tree().root()), key)
    await small.refused("POST", "/relay", "relay.proof_needed", 422, body | {"checkpoint": empty})
    tree = Tree()
    tree.append(leaf_hash(body["entry"].encode()))
    first = sign_checkpoint(Checkpoint(origin, 1, tree.root()), key)
    assert (await relayed(small, **(body | {"checkpoint": first})))["ref"] == "e1-0000aaaa:sc0"


async def test_entries_that_are_pushed_confirm_the_news(small: Stage) -> None:
    ref = small.site.deposits(IDENTITY, 1)
    await relayed(small, **receipt(small.site, ref))
    origin, log = small.site.origin(Lane.CUSTODY), small.site.written[Lane.CUSTODY]
    held = await (await small.hub.shelf("0042")).log(origin)
    assert held is not None
    body = {
        "from": held.size,
        "entries": [one.decode() for one in log[held.size :]],
        "checkpoint": small.site.note(Lane.CUSTODY),
    }
    path = f"/sites/0042/sync/v1/logs/{origin}/entries"
    async with small.client.post(path, json=body) as answer:
        assert answer.status < 300, await answer.text()
    assert [one.key for one in await small.hub.storage.news("0042", "confirmed")] == [ref]
