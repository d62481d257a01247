"""Pins a site's trust over real sockets: claim, mutual TLS, renewal, wrong clocks, revocation."""

import asyncio
import shutil
import ssl
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import aiohttp
import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from certs import authority, tls
from certs import trust as documents
from certs.claim import Invitation
from certs.errors import CertsError
from gateway import doctor, identity, site, trust
from gateway.core.inputs import Trust
from gateway.enrolling import EnrolFailed
from gateway.errors import GatewayError
from gateway.wire import LATE
from sync.hub.devices import Device
from sync.reader import LogFile
from tests.trust_stage import OPERATOR, YEAR_S, Governed, Hands, governed, hands

__all__ = ["hands"]

NOW_S = int(time.time())
DAY_MS = 86_400_000
pytestmark = pytest.mark.usefixtures("hands")


@pytest.fixture
async def stage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    async with governed(tmp_path, monkeypatch) as made:
        yield made


async def test_a_stand_alone_site_enrols_links_over_mutual_tls_and_syncs(stage: Governed) -> None:
    before = site.load(stage.data)
    done = await stage.enrol()
    after = site.load(stage.data)
    assert (done.made, done.known.site) == (False, f"{OPERATOR}/site/0042")
    assert after.identity == before.identity
    assert after.key_version == done.key_version == 2
    assert dict(after.older)[1] == before.code_key
    for path in (stage.data / trust.FOLDER).iterdir():
        assert path.stat().st_mode & 0o777 == 0o600
    await stage.begin()
    await stage.linked()
    await stage.synced()
    assert stage.app.status()["certificate"]["ends_s"] == authority.ends_s(stage.leaf)  # type: ignore[index]
    secret = await stage.courier()
    door = await stage.deposit("JD014200001", secret)
    await stage.pick_up(stage.code("JD014200001"), door)
    await stage.synced()
    # Whom it believes was told to the engine at once.
    assert stage.app._life is not None
    signers = stage.app._life.engine.state.signers
    assert [one.name for one in signers] == [f"{OPERATOR}/grants"]


async def test_a_claim_is_repeated_after_lost_power_with_the_same_keys(
    stage: Governed, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Power is lost at each durable step in turn; the same claim brings it to its end."""
    steps = [(site, "import_code_key"), (trust, "keep_next"), (trust, "save"), (trust, "promote")]
    given = await stage.hubbub.invitation()
    for room, name in steps:
        with monkeypatch.context() as patch:
            patch.setattr(room, name, _lost_power)
            with pytest.raises(_LostPowerError):
                await stage.enrol(given)
        assert (trust.load(stage.data) is None) is (name != "promote")
    pins = {one.pin for one in await stage.hubbub.hub.devices.of("0042")}
    await stage.enrol(given)
    assert pins == {stage.pin}
    await stage.begin()
    await stage.linked()


class _LostPowerError(Exception):
    pass


def _lost_power(*_args: Any) -> None:
    raise _LostPowerError


async def test_what_does_not_fit_is_refused_and_nothing_is_believed(
    stage: Governed, tmp_path: Path
) -> None:
    good = await stage.hubbub.invitation()
    other = await stage.hubbub.invitation("0043")
    cases = [
        (Invitation(good.claim, "0" * 64, good.url), "trust.pin"),
        (Invitation(bytes(16), good.root, good.url), "claim.refused"),
        (Invitation(good.claim, good.root, "https://127.0.0.1:1"), "link.unreachable"),
        (other, "claim.other_site"),
    ]
    for invitation, code in cases:
        with pytest.raises(EnrolFailed) as caught:
            await stage.enrol(invitation)
        assert caught.value.code == code
        assert caught.value.remedy
        assert good.text().split(":")[1] not in str(caught.value)
    assert trust.load(stage.data) is None
    await stage.enrol(good)
    pin, held = stage.pin, trust.load(stage.data)
    again = await stage.enrol(good)  # power was lost before it could say so: it is said now
    assert (again.made, again.known, stage.pin) == (False, held, pin)
    other = await stage.hubbub.invitation()
    await stage.enrol(other)
    assert stage.pin != pin
    with pytest.raises(EnrolFailed, match=r"claim\.refused"):  # burnt, and our keys are others now
        await stage.enrol(good)


async def test_renewal_needs_no_restart_and_loses_no_batch(stage: Governed) -> None:
    await stage.enrol()
    began = NOW_S - YEAR_S // 2
    stage.age(began)
    old = stage.pin
    await stage.begin()
    await stage.linked()
    await stage.until(lambda: stage.app._exchange.renewal.renewed == 1)
    assert stage.pin != old
    assert authority.begins_s(stage.leaf) > began + 86_400
    secret = await stage.courier()
    await stage.deposit("JD014200001", secret)
    await stage.linked()
    await stage.synced()
    devices = {one.pin: one for one in await stage.hubbub.hub.devices.of("0042")}
    assert devices[stage.pin].good
    assert not devices[old].good  # the new one has worked
    assert trust.KEY_NEXT not in identity.keys_of(stage.data).names()
    with LogFile.open(identity.database_of(stage.data)) as log:
        written = b"".join(r.entry for head in log.heads() if head.own for r in log.records(head))
    assert b'"key.rotated"' in written
    assert stage.pin.encode() in written


async def test_a_cut_in_renewal_leaves_a_pair_that_works(
    stage: Governed, monkeypatch: pytest.MonkeyPatch
) -> None:
    await stage.enrol()
    stage.age(NOW_S - YEAR_S // 2)
    old = stage.pin
    with monkeypatch.context() as patch:
        patch.setattr(trust, "promote", _no_disk)
        await stage.begin()
        await stage.until(lambda: stage.app._exchange.renewal.failed)
        assert stage.pin == old
        await stage.stop()
    await stage.begin()  # the hub has retired the old key by now; the new one is here
    await stage.until(lambda: stage.app._exchange.renewal.renewed)
    await stage.linked()
    assert stage.pin != old


def _no_disk(*_args: Any) -> None:
    raise GatewayError("site.unwritable", "Check the disk")


async def test_two_years_in_a_cupboard(stage: Governed, hands: type[Hands]) -> None:
    await stage.enrol()
    stage.age(NOW_S - 3 * YEAR_S)
    # A clock without a battery: it stands where it was when the power went.
    hands.wrong_ms, hands.kernel = -2 * YEAR_S * 1000, None
    await stage.begin()
    await stage.linked()
    await stage.synced()
    assert authority.ends_s(stage.leaf) > NOW_S + YEAR_S // 2
    assert stage.app._exchange.renewal.renewed == 1
    assert stage.app._clock.now().trust is Trust.DRIFTING


@pytest.mark.parametrize(
    ("wrong_ms", "kernel"),
    [
        (-56 * YEAR_S * 1000, None),
        (-56 * YEAR_S * 1000, 5),
        (10 * YEAR_S * 1000, None),
        (10 * YEAR_S * 1000, 5),
        (-15 * DAY_MS, 5),
    ],
)
async def test_a_wrong_clock_locks_nobody_out(
    stage: Governed, hands: type[Hands], wrong_ms: int, kernel: int | None
) -> None:
    await stage.enrol()
    hands.wrong_ms, hands.kernel = wrong_ms, kernel
    await stage.begin()
    await stage.linked()
    await stage.until(lambda: stage.app._clock.now().trust is Trust.DRIFTING)
    await stage.synced()
    now = stage.app._clock.now()
    assert abs(now.wall_ms - time.time() * 1000) < 60_000
    assert stage.app._clock.disputed is (kernel is not None)
    # Jumping while it runs changes nothing any more.
    hands.wrong_ms, hands.kernel = -wrong_ms, kernel
    assert abs(stage.app._clock.now().wall_ms - time.time() * 1000) < 60_000


async def test_what_an_earlier_life_did_not_know_of_the_time_is_no_alarm_for_ever(
    stage: Governed,
) -> None:
    await stage.enrol()
    await stage.begin()
    await stage.linked()
    assert stage.app._life is not None
    stage.app._life.trouble("clock.floor", standing=True)
    await stage.until(lambda: "clock.floor" in stage.alarms)
    assert await stage.stop() == 0
    await stage.begin()
    await stage.until(lambda: "clock.floor" not in stage.alarms)


async def test_once_the_hub_has_told_the_time_it_is_in_the_log_at_once(stage: Governed) -> None:
    await stage.enrol()
    await stage.begin()
    await stage.linked()
    life = stage.app._life
    assert life is not None
    life._anchored = replace(life.clock.now(), trust=Trust.FLOOR)  # as before the hub was heard
    life.trouble("clock.floor", standing=True)
    await stage.app._exchange.renewal._learn(life)
    await stage.until(lambda: "clock.floor" not in stage.alarms)
    assert life._anchored.trust is life.clock.now().trust


async def test_revoked_is_out_at_once_and_told_in_words(stage: Governed) -> None:
    await stage.enrol()
    await stage.begin()
    await stage.linked()
    await stage.synced()
    await stage.hubbub.hub.revoke("0042", by="eva")
    words = await stage.says("device.revoked")
    assert "enrol again" in words
    await stage.has(lambda: LATE in stage.alarms)
    secret = await stage.courier()  # people go on
    await stage.deposit("JD014200001", secret)
    await stage.stop()
    await stage.enrol()
    await stage.begin()
    await stage.linked()
    await stage.has(lambda: LATE not in stage.alarms)
    await stage.synced()


async def test_a_restored_disk_with_an_older_key_says_what_to_do(
    stage: Governed, tmp_path: Path
) -> None:
    await stage.enrol()
    stage.save_keys(tmp_path / "backup")
    stage.age(NOW_S - YEAR_S // 2)
    await stage.begin()
    await stage.until(lambda: stage.app._exchange.renewal.renewed)
    await stage.linked()
    await stage.stop()
    stage.restore_keys(tmp_path / "backup")
    await stage.begin()
    assert "enrol again" in await stage.says("device.revoked")


async def test_another_sites_certificate_opens_nothing_here(stage: Governed) -> None:
    """The folder of 0043 in the place of ours, and its certificate shown for our site."""
    await stage.enrol()
    own = trust.pairs(stage.data)[0]
    key = ec.generate_private_key(ec.SECP256R1())
    hub = stage.hubbub
    chain = hub.authority.issue_device(key.public_key(), "0043", NOW_S)
    other = tls.Credentials(chain, key)
    # Registered or not: the name in it is another site's.
    await hub.hub.devices.enrol(
        Device(
            site_id="0042", device_id="x" * 16, pin=authority.pin_of(key.public_key()),
            enabled=True, vkey="", issued_ms=0, ends_s=authority.ends_s(other.leaf),
        )
    )  # fmt: skip
    assert own.leaf != other.leaf
    trust.keep_next(stage.data, chain)
    keys = identity.keys_of(stage.data)
    keys.replace(trust.KEY, authority.key_bytes(key))
    await stage.begin()
    assert await stage.says("device.unknown")


async def test_a_hub_of_another_root_is_not_believed(
    stage: Governed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await stage.enrol()
    known = trust.load(stage.data)
    assert known is not None
    own = authority.make_root(
        key := ec.generate_private_key(ec.SECP256R1()), OPERATOR, now_s=NOW_S, serial=9
    )
    leaf = authority.issue(
        authority.Authority(own, key), key.public_key(), authority.hub_uri(OPERATOR),
        now_s=NOW_S, days=9, serial=10, usages=(authority.SERVER,), hosts=["127.0.0.1"],
    )  # fmt: skip
    context = tls.server(tls.Credentials(authority.pem(leaf), key), [], clients="none")
    heard = asyncio.Event()

    async def served(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heard.set()
        writer.close()

    async with await asyncio.start_server(served, "127.0.0.1", 0, ssl=context) as server:
        port = server.sockets[0].getsockname()[1]
        false = msgspec.structs.replace(known, link_url=f"https://127.0.0.1:{port}")
        trust.save(stage.data, false)
        await stage.begin()
        assert "not this operator's hub" in await stage.says("link.untrusted")
        assert not heard.is_set()


async def test_the_pull_listener_lets_in_the_hub_and_the_backends_it_names_alone(
    stage: Governed, tmp_path: Path
) -> None:
    await stage.enrol()
    stage.listen = "127.0.0.1:0"
    await stage.begin()
    known = stage.hubbub.authority
    url = stage.app._exchange.pull_url
    assert url.startswith("https://")
    key = ec.generate_private_key(ec.SECP256R1())
    roots = known.roots
    hub = tls.client(roots, known.credentials())
    backend, unnamed = (
        tls.client(roots, tls.Credentials(known.issue_backend(key.public_key(), name, NOW_S), key))
        for name in ("acme", "ended")
    )
    other = tls.client(
        roots, tls.Credentials(known.issue_device(key.public_key(), "0043", NOW_S), key)
    )
    for context in (hub, backend, unnamed, other):
        context.check_hostname = False
    async with aiohttp.ClientSession() as session:
        for context in (hub, backend):
            async with session.get(f"{url}/logs", ssl=context) as answer:
                assert answer.status == 200
        for context in (unnamed, other):
            async with session.get(f"{url}/logs", ssl=context) as answer:
                assert (answer.status, (await answer.json())["code"]) == (403, "exchange.stranger")
        nobody = tls.client(roots)
        nobody.check_hostname = False
        for refused in (nobody, ssl.create_default_context()):
            with pytest.raises(aiohttp.ClientError):
                await session.get(f"{url}/logs", ssl=refused)
        with pytest.raises(aiohttp.ClientError):
            await session.get(f"{url.replace('https', 'http')}/logs")
    with pytest.raises((GatewayError, CertsError)):
        trust.take_denials(stage.data, "PLG1D:nothing")


async def test_a_lost_gateway_is_replaced_by_a_claim_in_an_empty_folder(stage: Governed) -> None:
    await stage.enrol()
    await stage.begin()
    await stage.linked()
    secret = await stage.courier()
    door = await stage.deposit("JD014200001", secret)
    code = stage.code("JD014200001")
    await stage.synced()
    await stage.stop()
    shutil.rmtree(stage.data)
    stage.data.mkdir(mode=0o700)
    done = await stage.enrol()
    assert done.made
    assert done.fetched > 0
    await stage.begin()
    await stage.linked()
    await stage.has(lambda: stage.book.fences)  # nothing proves what happened since
    assert stage.epoch.startswith("e2-")
    await stage.synced()
    # The code of the lost gateway was derived with the hub's key: it opens once somebody looked.
    await stage.check(door, occupied=True)
    await stage.lift(trust_history=True)
    await stage.pick_up(code, door)
    await stage.synced()


async def test_doctor_sees_certificate_modes_and_hub(stage: Governed) -> None:
    assert list(doctor.certificate(stage.data)) == []
    await stage.enrol()
    (known,) = doctor.hub(stage.config())
    assert known.text.startswith("enrolled as lockers.example/site/0042")
    (good,) = doctor.certificate(stage.data)
    assert (good.check, good.level) == ("certificate", "ok")
    stage.age(NOW_S - YEAR_S * 9 // 10)
    (low,) = doctor.certificate(stage.data)
    assert low.level == "note"
    (stage.data / trust.FOLDER / trust.DEVICE).chmod(0o644)
    (readable, _) = doctor.certificate(stage.data)
    assert (readable.check, readable.level) == ("trust.mode", "bad")
    identity.keys_of(stage.data).remove(trust.KEY)
    assert list(doctor.certificate(stage.data))[-1].level == "bad"


async def test_denials_come_by_link_and_by_a_visitor(stage: Governed) -> None:
    await stage.enrol()
    await stage.begin()
    await stage.linked()
    office, signer = stage.app._exchange, stage.hubbub.authority.trust
    known = office.wire.known()
    now = known.denied()
    newer = documents.Denials(
        OPERATOR, now.number + 5, NOW_S, now.signers, {"00112233445566aa": NOW_S + 9}
    )
    text = trust.carried(documents.sign(newer, signer))
    assert await office.take_denials(text)
    assert not await office.take_denials(text)
    await stage.until(lambda: stage.app._life and stage.app._life.engine.state.denied)
    # What the hub still says is older: it is not taken, and a life after this one knows the newer.
    with pytest.raises(CertsError, match=r"trust\.older"):
        await office.wire.refresh()
    await stage.stop()
    await stage.begin()
    await stage.has(lambda: stage.app._life.engine.state.denied)  # type: ignore[union-attr]
