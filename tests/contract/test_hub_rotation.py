"""Pins what the hub does about a site's own word on its keys and its end: done once, audited."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from certs.keys import SigningKey
from sync import facts
from sync.errors import TheirsInvalid
from sync.hub.devices import Device
from sync.hub.puller import Puller
from sync.hub.rotation import KIND, NOTE_EVERY, Follower
from tests.hub_site import SEED, FakeSite
from tests.hub_stage import KEYS, Stage, stage
from tests.hubs import url_of

NEXT = bytes(range(70, 102))


@pytest.fixture
async def hub(tmp_path: Path) -> AsyncIterator[Stage]:
    async with stage(tmp_path, await url_of("sqlite", tmp_path)) as made:
        yield made


def vkey(seed: bytes = NEXT, name: str = "lockers.example/site/0042") -> str:
    return SigningKey.from_seed(name, seed).vkey


async def codes(hub: Stage) -> list[str]:
    return [row.code for row in await hub.hub.storage.audited("0042", 0, 100)]


async def test_the_next_log_key_is_known_from_the_entry_that_names_it(hub: Stage) -> None:
    before = FakeSite(KEYS.code_key("0042", 1), epoch="e2-00000002", seed=NEXT)
    before.opens()
    with pytest.raises(TheirsInvalid):
        await before.push(await hub.hub.shelf("0042"))
    hub.site.write(facts.KeyRotated(use="log", vkey=vkey()))
    await hub.push()
    site = await hub.hub.registry.get("0042")
    assert site.vkeys == [vkey(SEED), vkey()]
    assert await codes(hub) == ["key.rotated"]
    await before.push(await hub.hub.shelf("0042"))
    # What the first key signed is taken in as before; nothing is done twice.
    hub.site.write(facts.TimeAnchored(utc_ms=1_800_000_000_000, error_ms=5, source="test"))
    await hub.push()
    await hub.hub.arrived("0042")
    assert (await hub.hub.registry.get("0042")).version == site.version
    assert await codes(hub) == ["key.rotated"]


async def test_keys_of_other_uses_and_other_names_are_none_of_the_log(hub: Stage) -> None:
    hub.site.write(facts.KeyRotated(use="code", key_version=2))
    hub.site.write(facts.KeyRotated(use="tls", pin="00" * 32))
    hub.site.write(facts.KeyRotated(use="log", vkey=vkey(name="lockers.example/site/0077")))
    hub.site.write(facts.KeyRotated(use="log", vkey="nonsense"))
    await hub.push()
    assert (await hub.hub.registry.get("0042")).vkeys == [vkey(SEED)]
    assert await codes(hub) == ["key.refused", "key.refused"]


async def test_a_process_that_died_before_it_looked_looks_at_the_next_start(hub: Stage) -> None:
    hub.site.write(facts.KeyRotated(use="log", vkey=vkey()))
    await hub.site.push(await hub.hub.shelf("0042"))
    site = await Follower(hub.hub.storage, hub.hub.registry).follow("0042")
    assert site.vkeys == [vkey(SEED), vkey()]


async def test_a_restart_reads_on_from_where_it_was_noted(hub: Stage) -> None:
    async def anchors(count: int) -> None:
        for number in range(count):
            hub.site.write(facts.TimeAnchored(utc_ms=number, error_ms=5, source="test"))
        await hub.site.push(await hub.hub.shelf("0042"))

    await anchors(300)
    await anchors(300)
    await hub.hub.arrived("0042")
    noted = await hub.hub.storage.records("0042", KIND)
    assert [one.id for one in noted] == [hub.site.epoch]
    assert int(noted[0].data) > NOTE_EVERY
    await anchors(300)
    await anchors(300)
    hub.site.write(facts.KeyRotated(use="log", vkey=vkey()))
    await hub.site.push(await hub.hub.shelf("0042"))
    other = Follower(hub.hub.storage, hub.hub.registry)
    assert (await other.follow("0042")).vkeys[-1] == vkey()
    assert int((await hub.hub.storage.records("0042", KIND))[0].data) >= 2 * NOTE_EVERY


async def test_a_site_that_ended_is_switched_off_and_its_devices_after_its_link(hub: Stage) -> None:
    pin = "ab" * 32
    device = Device(
        site_id="0042",
        device_id="d1",
        pin=pin,
        vkey=vkey(SEED),
        issued_ms=1,
        ends_s=2,
        enabled=True,
    )
    await hub.hub.devices.enrol(device)
    hub.site.write(facts.SiteDecommissioned(by="support:eva", why="closed"))
    await hub.push()
    assert not (await hub.hub.registry.get("0042")).enabled
    assert await codes(hub) == ["site.decommissioned"]
    # Its receipt goes over the link that stands.
    assert await hub.hub.devices.pins("0042") == {pin}
    await Puller(hub.hub)._after("0042")
    assert await hub.hub.devices.pins("0042") == frozenset()


async def test_a_site_that_began_again_is_not_ended_by_the_old_entry_read_once_more(
    hub: Stage,
) -> None:
    registry = hub.hub.registry
    hub.site.write(facts.SiteDecommissioned(by="support:eva", why="closed"))
    await hub.push()
    assert not (await registry.get("0042")).enabled
    assert (await registry.revive("0042")).enabled
    assert (await registry.revive("0042")).enabled, "twice is as good as once"
    assert (await Follower(hub.hub.storage, registry).follow("0042")).enabled
    hub.site.write(facts.SiteDecommissioned(by="support:eva", why="closed for good"))
    await hub.push()
    assert not (await registry.get("0042")).enabled
    await registry.revive("0042")
    assert (await Follower(hub.hub.storage, registry).follow("0042")).enabled
