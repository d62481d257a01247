"""Pins capabilities and denials in each storage: good at one site, told once, revoked for good."""

import asyncio
import base64
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from certs import base45, capability, trust
from certs.capability import Action, Capability
from certs.errors import CapabilityInvalid
from certs.keys import SigningKey, Verifier
from certs.keystore import KeyStore
from sync import facts
from sync.book import Book
from sync.errors import StoreFailed
from sync.hub import denials, grants, issue
from sync.hub.api_types import CapabilityMade
from sync.hub.denials import KIND, NAME
from sync.hub.rooms import Hub, assembled
from sync.hub.voice import Refused
from tests.hub_site import FakeSite
from tests.hub_stage import BY, IDENTITY, KEYS, PARCEL, Stage, clock, config, stage
from tests.hubs import NOW_MS, STORAGES, url_of
from tests.qrread import read

S = "/sites/0042"
HOUR_MS = 3_600_000
UNKNOWN = "e1-00000000:hc7"
COURIER = {
    "action": "courier", "tenant": "acme", "label": "route 7", "until_ms": NOW_MS + HOUR_MS,
}  # fmt: skip


@pytest.fixture(params=STORAGES)
async def hub(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Stage]:
    async with stage(tmp_path, await url_of(request.param, tmp_path)) as made:
        yield made


@pytest.fixture
async def small(tmp_path: Path) -> AsyncIterator[Stage]:
    async with stage(tmp_path, await url_of("sqlite", tmp_path)) as made:
        yield made


async def gives(hub: Stage, _key: str = "", **other: Any) -> Any:
    return await hub.post(f"{S}/capabilities", _key, **COURIER | other)


async def revokes(hub: Stage, ref: str, _key: str = "") -> Any:
    return await hub.post(f"{S}/grants/{ref}/revoke", _key)


async def signers(hub: Hub) -> tuple[Verifier, ...]:
    return (await listed(hub)).verifiers()


async def listed(hub: Hub) -> trust.Denials:
    """The list as a site takes it: by the trust key, whose vkey its root endorses."""
    text = await denials.note(hub)  # the first one makes its key
    seed = KeyStore(Path(hub.config.data_dir) / "keys").read("trust")
    key = SigningKey.from_seed("lockers.example/trust", seed).verifier
    return trust.open_denials(text, key, "lockers.example")


async def opened(hub: Stage, told: Any) -> Capability:
    """What a site reads off the QR code."""
    data = capability.from_text(told["text"])
    return capability.verify(data, await signers(hub.hub), "lockers.example/site/0042")


# --- issuing ------------------------------------------------------------------------------------


async def test_a_capability_is_written_signed_and_told_in_every_form(hub: Stage) -> None:
    told = await gives(hub)
    shown = await opened(hub, told)
    assert shown == Capability(
        audience="lockers.example/site/0042", action=Action.COURIER,
        cti=bytes.fromhex(told["cti"]), not_before_s=(NOW_MS - grants.EARLY_MS) // 1_000,
        expires_s=(NOW_MS + HOUR_MS) // 1_000, subject="acme",
    )  # fmt: skip
    data = capability.from_text(told["text"])
    assert capability.from_text(told["text_base32"]) == data
    assert read(base64.b64decode(told["png"])) == told["text"]
    assert told["svg"].startswith("<svg ")
    [known] = (await hub.book()).book.rights.of_cti(told["cti"])
    assert (known.ref, known.grant, known.tenant, known.tag) == (told["ref"], "courier", "acme", "")
    [grant] = (await hub.get(f"{S}/book", part="grants"))["grants"]
    assert (grant["ref"], grant["cti"], grant["state"]) == (told["ref"], told["cti"], "active")


async def test_each_action_is_issued_for_what_the_book_knows(hub: Stage) -> None:
    here = hub.site.deposits(IDENTITY, 1)
    hub.site.gives("M", 1)
    await hub.push()
    other = PARCEL | {"tracking": "JD0147"}
    awaited = (await hub.post(f"{S}/expected", parcel=other))["ref"]
    promise = (await hub.post(f"{S}/reservations", parcel=other, size="M"))["ref"]
    asked: tuple[tuple[str, dict[str, Any]], ...] = (
        ("collect", {"object": here}),
        ("collect", {"object": awaited}),
        ("deposit", {"tenant": "acme", "room": "M"}),
        ("return", {"tenant": "acme", "object": here}),
        ("service", {}),
        ("install", {}),
        ("reservation", {"object": promise}),
    )
    for action, more in asked:
        body: dict[str, Any] = {"action": action, "label": "a", "until_ms": NOW_MS + HOUR_MS} | more
        shown = await opened(hub, await hub.post(f"{S}/capabilities", **body))
        assert (shown.action.name.lower(), shown.object) == (action, more.get("object"))
        assert shown.room == ("M" if action in {"deposit", "reservation"} else None)
    kinds = [one["grant"] for one in (await hub.get(f"{S}/book", part="grants"))["grants"]]
    assert sorted(kinds) == sorted(action for action, _ in asked)


@pytest.mark.parametrize(
    ("other", "code", "status"),
    [
        ({"tenant": None}, "grant.fields", 422),
        ({"until_ms": NOW_MS}, "request.until", 400),
        ({"until_ms": NOW_MS + 401 * 24 * HOUR_MS}, "grant.too_long", 422),
        ({"label": "a\tb"}, "request.text", 400),
        ({"action": "open"}, "request.body", 400),
        ({"room": "XXL"}, "request.body", 400),
        ({"object": "e1"}, "request.body", 400),
        ({"action": "collect", "tenant": None, "object": UNKNOWN}, "parcel.unknown", 404),
        ({"action": "reservation", "tenant": None, "object": UNKNOWN}, "reservation.unknown", 404),
    ],
)
async def test_refusals(small: Stage, other: dict[str, Any], code: str, status: int) -> None:
    body = BY | COURIER | other
    await small.refused("POST", f"{S}/capabilities", code, status, body)
    book = (await small.book()).book
    assert not book.rights.couriers
    if code != "request.body":
        lines = (await small.get(f"{S}/audit"))["lines"]
        assert lines[-1]["code"] == code


async def test_a_promise_that_is_taken_back_gives_no_right(small: Stage) -> None:
    small.site.gives("M", 1)
    await small.push()
    ref = (await small.post(f"{S}/reservations", parcel=PARCEL, size="M"))["ref"]
    await small.post(f"{S}/reservations/{ref}/cancel")
    body = BY | {"action": "reservation", "object": ref, "label": "a", "until_ms": NOW_MS + 1_000}
    await small.refused("POST", f"{S}/capabilities", "reservation.over", 409, body)


async def test_it_is_told_once_and_stands_nowhere(hub: Stage) -> None:
    """Plant: the text in the audit, in an entry, or in the answer to a repeated request."""
    told = await gives(hub, "order-7")
    again = await gives(hub, "order-7")
    assert again == {"ref": told["ref"], "new": False}
    assert len((await hub.book()).book.rights.couriers) == 1
    await hub.refused(
        "POST", f"{S}/capabilities", "request.key_reused", 409, BY | COURIER | {"label": "x"},
        headers={"Idempotency-Key": "order-7"},
    )  # fmt: skip
    hub.told.clear()
    await hub.get(S)
    await hub.get(f"{S}/book")
    await hub.get(f"{S}/audit")
    for log in (await hub.get(S))["logs"]:
        if log["size"]:
            await hub.get(f"{S}/entries", log=log["log"])
    await hub.get("/denials")
    everything = "".join(hub.told)
    data = capability.from_text(told["text"])
    secret = (told["text"], told["text_base32"], told["png"], base64.b64encode(data).decode())
    parts = [data[-64:].hex(), base64.b64encode(data[-60:]).decode(), base45.encode(data[-60:])]
    for one in (*secret, *parts):
        assert one[5:45] not in everything


def test_an_answer_does_not_show_itself() -> None:
    made = CapabilityMade(ref="e1-00000000:hc7", new=True, cti="00" * 8, text="PLG1:ABC")
    assert "PLG1" not in f"{made!r} {made}"


async def test_nothing_is_written_that_could_not_be_signed(small: Stage, tmp_path: Path) -> None:
    await gives(small)
    (tmp_path / "keys" / "grants").chmod(0o644)
    before = (await small.book()).book.sizes
    status, told = await small.call("POST", f"{S}/capabilities", BY | COURIER)
    assert (status, told["code"]) == (422, "keystore.mode")
    assert (await small.book()).book.sizes == before


@given(st.data())
@settings(
    deadline=None, max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_what_is_issued_is_good_at_that_site_and_at_no_other(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    """Also altered in one place, or signed by another, it is good nowhere."""
    key = SigningKey.from_seed(
        "lockers.example/grants", data.draw(st.binary(min_size=32, max_size=32))
    )
    action = data.draw(st.sampled_from([Action.COURIER, Action.DEPOSIT, Action.SERVICE]))
    site = data.draw(st.from_regex(r"[a-z0-9-]{1,32}", fullmatch=True))
    desk = issue.Desk("ops", NOW_MS, KEYS.code_key(site, 1))
    asked = grants.Asked(
        action=action,
        label=data.draw(
            st.text(st.characters(min_codepoint=97, max_codepoint=122), min_size=1, max_size=64)
        ),
        until_ms=NOW_MS + data.draw(st.integers(1_000, grants.LASTS_MS[action])),
        tenant=None
        if action is Action.SERVICE
        else data.draw(st.from_regex(r"[a-z0-9-]{1,32}", fullmatch=True)),
    )
    cti = data.draw(st.binary(min_size=8, max_size=8))
    found = grants.granted(Book(), desk, asked, cti=cti)
    assert isinstance(found, grants.Granted)
    text = capability.to_text(capability.sign(found.capability, key))
    signed = capability.from_text(text)
    shown = capability.verify(signed, [key.verifier], f"lockers.example/site/{site}")
    assert (shown, shown.cti) == (found.capability, cti)
    with pytest.raises(CapabilityInvalid, match="audience"):
        capability.verify(
            signed, [key.verifier], "lockers.example/site/other-one-of-33-characters-xx"
        )
    place = data.draw(st.integers(0, len(signed) - 1))
    altered = bytearray(signed)
    altered[place] ^= 1 << data.draw(st.integers(0, 7))
    with pytest.raises(CapabilityInvalid):
        capability.verify(bytes(altered), [key.verifier], f"lockers.example/site/{site}")
    stranger = SigningKey.from_seed(key.verifier.name, bytes(31) + b"\x01")
    if stranger.verifier.public != key.verifier.public:
        with pytest.raises(CapabilityInvalid):
            capability.verify(signed, [stranger.verifier], f"lockers.example/site/{site}")


# --- revoking -----------------------------------------------------------------------------------


async def test_what_is_revoked_is_denied_and_the_number_rises(hub: Stage) -> None:
    first = await listed(hub.hub)
    assert (first.denied, [one.name for one in first.verifiers()]) == (
        {}, ["lockers.example/grants"],
    )  # fmt: skip
    told, other = await gives(hub), await gives(hub)
    assert (await listed(hub.hub)) == first
    done = await revokes(hub, told["ref"])
    assert (await hub.book()).book.rights.revoked == {told["ref"]: done["ref"]}
    after = await listed(hub.hub)
    assert after.denied == {told["cti"]: (NOW_MS + HOUR_MS) // 1_000}
    assert after.number > first.number
    assert other["cti"] not in after.denied
    assert (await revokes(hub, told["ref"])) == {"ref": done["ref"], "new": False}
    assert (await listed(hub.hub)) == after
    states = {one["ref"]: one["state"] for one in (await hub.get(f"{S}/book"))["grants"]}
    assert states == {told["ref"]: "revoked", other["ref"]: "active"}


async def test_one_that_was_used_is_revoked_by_the_sites_name_for_it_too(hub: Stage) -> None:
    told = await gives(hub, action="service", tenant=None)
    accepted = hub.site.write(
        facts.CapabilityAccepted(
            cti=told["cti"], action="service", kid="00000000", until_ms=NOW_MS + HOUR_MS,
            clock="trusted",
        )
    )  # fmt: skip
    await hub.push()
    await revokes(hub, accepted)
    assert list((await listed(hub.hub)).denied) == [told["cti"]]


async def test_a_typed_grant_is_revoked_and_no_list_changes(small: Stage) -> None:
    typed = await small.post(f"{S}/grants", grant="courier", tenant="acme", label="a")
    before = await listed(small.hub)
    await revokes(small, typed["ref"])
    await small.refused("POST", f"{S}/grants/{UNKNOWN}/revoke", "grant.unknown", 404, BY)
    assert (await listed(small.hub)) == before


async def test_what_stops_between_list_and_log_is_put_right_by_asking_again(
    small: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Plant: the revocation first. Then a crash leaves a capability that no list ever denies."""
    told = await gives(small)

    async def stops(*_: object) -> None:
        raise StoreFailed("busy", "as if the power went")

    with monkeypatch.context() as patch:
        patch.setattr(small.hub.storage, "append", stops)
        status, _ = await small.call("POST", f"{S}/grants/{told['ref']}/revoke", BY)
        assert status == 503
    assert told["cti"] in (await listed(small.hub)).denied
    assert (await small.book()).book.rights.revoked == {}
    await revokes(small, told["ref"])
    assert (await small.book()).book.rights.revoked.keys() == {told["ref"]}


async def test_a_list_that_lost_what_the_log_says_has_it_back_with_the_next(small: Stage) -> None:
    """A hub out of a backup: the log comes back from the gateway, the list from the log."""
    first, second = await gives(small), await gives(small)
    await revokes(small, first["ref"])
    lost = await listed(small.hub)
    await small.hub.storage.drop_record("", KIND, NAME)
    await small.hub.lost("0042")
    forgot = await listed(small.hub)
    assert not forgot.denied
    await small.hub.heal("0042")
    assert (await listed(small.hub)).denied == lost.denied
    await small.hub.storage.drop_record("", KIND, NAME)
    await revokes(small, second["ref"])
    assert (await listed(small.hub)).denied.keys() == {first["cti"], second["cti"]}


async def test_a_restored_hub_gives_its_list_another_number(hub: Stage) -> None:
    before = await listed(hub.hub)
    await hub.hub.restored()
    middle = await listed(hub.hub)
    await hub.hub.lost("0042")
    after = await listed(hub.hub)
    assert before.number < middle.number < after.number
    assert trust.newer(await denials.note(hub.hub), await denials.note(hub.hub)) is False


async def test_two_hubs_never_make_two_lists_of_one_number(hub: Stage, tmp_path: Path) -> None:
    """Plant: a list that is read, changed and put back without looking."""
    other = assembled(config(tmp_path), KEYS, hub.hub.storage, clock())
    told = [await gives(hub, label=f"n{number}") for number in range(12)]
    notes: dict[int, set[str]] = {}

    async def revoked(at: Hub, ref: str) -> None:
        site = await at.registry.get("0042")
        await denials.revoked(at, site, "ops", ref, what="revokeGrant")
        text = await denials.note(at)
        notes.setdefault(int(text.split("\n")[1].partition(" ")[0]), set()).add(text)

    pairs = zip(told, [hub.hub, other] * 6, strict=True)
    await asyncio.gather(*(revoked(at, one["ref"]) for one, at in pairs))
    assert all(len(texts) == 1 for texts in notes.values())
    final = await listed(hub.hub)
    assert final.denied.keys() == {one["cti"] for one in told}
    assert final.number == NOW_MS // 1_000 + 11
    assert await denials.note(other) == await denials.note(hub.hub)


async def test_a_list_that_always_moves_is_given_up(
    small: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def never(*_: object) -> bool:
        return False

    monkeypatch.setattr(denials, "_TRIES", 3)
    monkeypatch.setattr(small.hub.storage, "add_record", never)
    await small.refused("GET", "/denials", "hub.busy", 503)
    told = await gives(small)
    await small.refused("POST", f"{S}/grants/{told['ref']}/revoke", "hub.busy", 503, BY)
    with pytest.raises(Refused):  # and the audit says why
        await small.hub.voice.say(
            await small.hub.registry.get("0042"), "ops", lambda _b, _d: issue.No("x", "y")
        )
    assert (await small.get(f"{S}/audit"))["lines"][-1]["code"] == "hub.busy"


# --- the list, carried --------------------------------------------------------------------------


async def test_a_visitor_carries_the_list_as_text_or_code(hub: Stage) -> None:
    told = await gives(hub)
    await revokes(hub, told["ref"])
    shown = await hub.get("/denials")
    known = await listed(hub.hub)
    assert (shown["number"], shown["denied"], shown["left_out"]) == (known.number, 1, 0)
    assert shown["note"] == await denials.note(hub.hub)
    carried = base45.decode(shown["text"].removeprefix(trust.PREFIX_DENIALS))
    assert carried.decode() == shown["note"]
    assert shown["svg"].startswith("<svg ")
    assert re.fullmatch(r"PLG1D:[0-9A-Z $%*+./:-]+", shown["text"])


async def test_a_list_that_no_code_holds_is_text_alone(small: Stage) -> None:
    many = {number.to_bytes(8).hex(): NOW_MS // 1_000 + 60 for number in range(450)}
    await denials._changed(small.hub, many)
    shown = await small.get("/denials")
    assert (shown["denied"], shown["left_out"], shown["svg"]) == (trust.DENIED_MAX, 50, None)
    assert len((await listed(small.hub)).denied) == trust.DENIED_MAX


async def test_a_new_key_for_capabilities_is_another_list(small: Stage, tmp_path: Path) -> None:
    """What the old key signed is refused by then: its list names it no more."""
    told = await gives(small)
    before = await listed(small.hub)
    KeyStore(tmp_path / "keys").replace("grants", bytes(range(32)))
    after = await listed(small.hub)
    assert after.number > before.number
    assert after.signers != before.signers
    with pytest.raises(CapabilityInvalid, match="signer"):
        await opened(small, told)
    await opened(small, await gives(small))


async def test_each_site_has_its_own_capabilities(small: Stage) -> None:
    other = FakeSite(KEYS.code_key("0043", 1), site_id="0043")
    await small.call("POST", "/sites", {"site": "0043", "vkey": other.vkey})
    told = await gives(small)
    data = capability.from_text(told["text"])
    with pytest.raises(CapabilityInvalid, match="audience"):
        capability.verify(data, await signers(small.hub), "lockers.example/site/0043")
    await small.refused(
        "POST", f"/sites/0043/grants/{told['ref']}/revoke", "grant.unknown", 404, BY
    )
    assert not (await listed(small.hub)).denied
