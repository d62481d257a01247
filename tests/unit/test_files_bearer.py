"""Pins the file bearer: what one shelf exports another takes in, and nothing of what is broken."""

# ruff: noqa: ASYNC240  # a test's own small files

import asyncio
import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
from backports import zstd
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from certs.note import Checkpoint, sign_checkpoint
from sync import segment
from sync.errors import StoreFailed, TheirsInvalid
from sync.files import MAGIC, Exported, Loaded, export, load
from sync.frontier import Verdict
from sync.merkle import leaf_hash
from tests.property.mutations import spoilt
from tests.pull_server import CUSTODY, ORDERS, URGENT, hub_shelf, sign_receipt, site_shelf
from tests.shelf_memory import MemoryShelf, entry, private

SALT64 = b"AAECAwQFBgcICQoLDA0ODw=="


def a_site(count: int = 700) -> MemoryShelf:
    shelf = site_shelf(CUSTODY, URGENT)
    shelf.write(CUSTODY, private(b"\xff acme/1/1", 1), *(entry(at) for at in range(1, count)))
    shelf.write(CUSTODY, private("caf\u00e9".encode(), count))
    shelf.write(URGENT, entry(1, "epoch.opened"))
    return shelf


@pytest.fixture
def site() -> MemoryShelf:
    return a_site()


@pytest.fixture
def stick(tmp_path: Path) -> Path:
    return tmp_path / "stick.plg"


def held(shelf: MemoryShelf) -> Any:
    return {name: (log.entries, log.annexes) for name, log in shelf.held.items() if log.entries}


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def records(data: bytes) -> list[tuple[dict[str, Any], bytes]]:
    """Take a file apart: (header, bytes)."""
    found = []
    at = len(MAGIC)
    while at < len(data):
        end = data.index(b"\n", at)
        head = json.loads(data[at:end])
        at = end + 1
        body = data[at : at + head["bytes"]] if "bytes" in head else b""
        at += len(body) + ("bytes" in head)
        found.append((head, body))
    return found


def written(made: list[tuple[dict[str, Any], bytes]]) -> bytes:
    """Put a file together, with lengths and the hash at its end as they must be."""
    data = MAGIC
    for head, body in made:
        right: dict[str, Any] = {}
        if head["is"] == "end":
            right["sha256"] = hashlib.sha256(data).hexdigest()
        if "bytes" in head:
            right["bytes"] = len(body)
        data += json.dumps(head | right).encode() + b"\n"
        data += body + b"\n" if "bytes" in head else b""
    return data


@pytest.mark.parametrize("codec", segment.CODECS)
async def test_what_is_exported_is_taken_in_however_often(
    site: MemoryShelf, stick: Path, codec: int
) -> None:
    wrote = await export(site, stick, codec=codec)
    assert wrote == Exported(2, 702, 2, 0, stick.stat().st_size)
    assert (stick.stat().st_mode & 0o777, names(stick.parent)) == (0o600, [stick.name])
    hub = hub_shelf()
    assert await load(hub, stick) == Loaded(entries=702, annexes=2)
    assert held(hub) == held(site)
    assert await load(hub, stick) == Loaded()
    assert held(hub) == held(site)


async def test_only_what_lacks_is_exported_and_a_gap_is_named(
    site: MemoryShelf, stick: Path
) -> None:
    hub = hub_shelf()
    await export(site, stick, since={CUSTODY: 690, URGENT: 1})
    done = await load(hub, stick)
    assert (done.entries, [one.error.code for one in done.refused]) == (0, ["exchange.gap"])
    await export(site, stick)
    await load(hub, stick)
    site.write(CUSTODY, *(entry(at) for at in range(20)))
    small = await export(site, stick, since={CUSTODY: 701, URGENT: 1})
    assert (small.logs, small.entries) == (1, 20)
    assert (await load(hub, stick)).entries == 20
    assert held(hub) == held(site)
    nothing = await export(site, stick, since={CUSTODY: 721, URGENT: 1})
    assert (nothing.logs, await load(hub, stick)) == (0, Loaded())


async def test_a_stick_there_and_back_is_an_exchange_with_receipts(
    site: MemoryShelf, stick: Path
) -> None:
    hub = hub_shelf(ORDERS)
    hub.write(ORDERS, entry(1), private(b"acme/2/1", 2))
    await export(site, stick)
    await load(hub, stick)
    back = await export(hub, stick, cosign=sign_receipt)
    assert (back.logs, back.receipts) == (3, 2)
    done = await load(site, stick)
    assert (done.entries, done.annexes, done.receipts) == (2, 1, 2)
    assert (done.found, done.refused) == ([], [])
    assert held(site) == held(hub)
    assert site.receipts[0][2] == hub.instance
    log = await site.log(CUSTODY)
    assert log is not None
    assert log.cosigned == log.size


async def test_without_annexes_none_leaves_and_an_erased_one_never_does(
    site: MemoryShelf, stick: Path
) -> None:
    await export(site, stick, annexes=False)
    assert b"caf" not in stick.read_bytes()
    site.erase(CUSTODY, 0)
    assert (await export(site, stick)).annexes == 1
    hub = hub_shelf()
    await load(hub, stick)
    assert sorted(hub.held[CUSTODY].annexes) == [700]


async def test_a_rollback_and_a_fork_of_our_own_logs_are_found_on_a_stick(
    site: MemoryShelf, stick: Path
) -> None:
    await export(site, stick)
    site.forget_to(300, CUSTODY)
    done = await load(site, stick)
    assert [one[:4] for one in done.found] == [(Verdict.ROLLED_BACK, CUSTODY, 300, 701)]
    site.write(CUSTODY, *(entry(at, "door.closed") for at in range(500)))
    done = await load(site, stick)
    assert [one[:2] for one in done.found] == [(Verdict.FORK, CUSTODY)]
    assert len(site.held[CUSTODY].entries) == 800
    assert (done.entries, done.refused) == (0, [])


async def test_a_fork_of_anothers_log_is_refused_and_the_other_logs_go_on(
    site: MemoryShelf, stick: Path
) -> None:
    hub = hub_shelf()
    await export(site, stick)
    await load(hub, stick)
    before = held(hub)
    site.forget_to(300, CUSTODY)
    site.write(CUSTODY, *(entry(at, "door.closed") for at in range(500)))
    site.write(URGENT, entry(2))
    await export(site, stick)
    done = await load(hub, stick)
    assert [(one.origin, one.error.code) for one in done.refused] == [(CUSTODY, "exchange.differs")]
    assert done.entries == 1
    assert held(hub)[CUSTODY] == before[CUSTODY]


async def test_an_unknown_writer_is_left_and_named(site: MemoryShelf, stick: Path) -> None:
    stranger = "lockers.example/site/0077/e1-00000001/custody"
    site.begin(stranger, bytes(32))
    site.write(stranger, entry(1))
    await export(site, stick)
    hub = hub_shelf()
    done = await load(hub, stick)
    assert [one.error.code for one in done.refused] == ["exchange.unknown_origin"]
    assert done.entries == 702


async def test_a_torn_file_gives_what_is_whole_in_it_and_says_where_it_ends(
    stick: Path,
) -> None:
    site = a_site(90)
    await export(site, stick)
    whole = stick.read_bytes()
    marks = sorted({0, 1, len(MAGIC) - 1, *range(0, len(whole) - 1, 37), len(whole) - 1})
    for at in marks:
        stick.write_bytes(whole[:at])
        hub = hub_shelf()
        with pytest.raises(TheirsInvalid) as caught:
            await load(hub, stick)
        code = "exchange.file_torn" if at >= len(MAGIC) else "exchange.file_unknown"
        assert caught.value.code == code
        assert caught.value.evidence["offset"] <= at
        got = hub.held[CUSTODY].entries if CUSTODY in hub.held else []
        assert got == site.held[CUSTODY].entries[: len(got)]
        stick.write_bytes(whole)
        await load(hub, stick)
        assert held(hub) == held(site)


async def test_every_part_that_lies_is_refused_by_its_code(stick: Path) -> None:
    site = a_site(90)
    await export(site, stick)
    right = records(stick.read_bytes())
    assert written(right)[-70:] != b""
    kinds = [head["is"] for head, _ in right]
    assert kinds == ["log", "segment", "annexes", "log", "segment", "end"]
    held_key = site.held[CUSTODY].key
    assert held_key is not None
    forged = sign_checkpoint(Checkpoint(CUSTODY, 91, leaf_hash(b"")), held_key)
    lies: list[tuple[int, dict[str, Any], bytes | None, str]] = [
        (1, {"count": 90}, None, "exchange.segment"),
        (1, {"count": 513}, None, "exchange.segment"),
        (1, {"codec": 1}, None, "exchange.segment"),
        (1, {"codec": 9}, None, "exchange.codec"),
        (1, {"first": 1}, None, "exchange.gap"),
        (1, {"note": ""}, None, "exchange.note"),
        (1, {"note": forged}, None, "exchange.root"),
        (1, {"codec": 1}, zstd.compress(b"0" * (1 << 28)), "exchange.bomb"),
        (1, {"codec": 0}, b"null\n" * 91, "exchange.segment"),
        (1, {"note": 7}, None, "exchange.file_malformed"),
        (1, {"more": 7}, None, "exchange.file_malformed"),
        (1, {"is": "other"}, None, "exchange.file_malformed"),
        (0, {"origin": "../../x"}, None, "exchange.unknown_origin"),
        (2, {}, b"x\n", "exchange.file_malformed"),
        (2, {}, b'{"annex":"AA==","index":3,"salt":"%s"}\n' % SALT64, "exchange.annex"),
        (2, {}, b'{"annex":"AA==","index":3,"salt":"AA=="}\n', "exchange.file_malformed"),
        (2, {}, b"{}", "exchange.file_malformed"),
    ]  # fmt: skip
    for place, change, body, code in lies:
        made = list(right)
        head, data = made[place]
        made[place] = (head | change, data if body is None else body)
        stick.write_bytes(written(made))
        hub = hub_shelf()
        try:
            codes = {one.error.code for one in (await load(hub, stick)).refused}
        except TheirsInvalid as error:
            codes = {error.code}
        assert codes == {code}, (place, change)
        entries = hub.held[CUSTODY].entries if CUSTODY in hub.held else []
        assert entries in ([], site.held[CUSTODY].entries)
        assert not entries or place == 2
    for data, code in (
        (written(right[1:]), "malformed"), (written(right) + b"\n", "malformed"),
        (written(right).replace(b'"is": "end"', b'"is":"end" ', 1)[:-9] + b'00000"}\n', "altered"),
        (MAGIC + b"x" * 99_999, "malformed"), (MAGIC + b"[" * 9_999 + b"\n", "malformed"),
        (b"SQLite format 3\0", "unknown"),
        (written(right).replace(b"SYNC/1", b"SYNC/2"), "unknown"),
    ):  # fmt: skip
        stick.write_bytes(data)
        with pytest.raises(TheirsInvalid) as caught:
            await load(hub_shelf(), stick)
        assert caught.value.code == f"exchange.file_{code}", data[-80:]
    with pytest.raises(TheirsInvalid, match=r"exchange\.file_unknown"):
        await load(hub_shelf(), stick.with_name("nothing"))


async def test_an_export_that_fails_leaves_the_old_file_and_no_half_one(
    site: MemoryShelf, stick: Path
) -> None:
    await export(site, stick)
    before = stick.read_bytes()
    site.fail_next("read")
    with pytest.raises(StoreFailed):
        await export(site, stick)
    assert (stick.read_bytes(), names(stick.parent)) == (before, [stick.name])
    with pytest.raises(StoreFailed, match=r"store\.io"):
        await export(site, stick / "below" / "x")


@pytest.fixture(scope="module")
def example(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path = tmp_path_factory.mktemp("stick") / "stick.plg"
    asyncio.run(export(a_site(60), path, codec=segment.LINES))
    return path.read_bytes()


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(data=st.data())
async def test_any_bytes_are_taken_in_only_as_they_were_signed(
    tmp_path: Path, example: bytes, data: st.DataObject
) -> None:
    path = tmp_path / "stick.plg"
    path.write_bytes(data.draw(spoilt([example], [b"\n", b"}", b'"bytes":9', b"\0" * 99])))
    hub, site = hub_shelf(), a_site(60)
    try:
        codes = {one.error.code for one in (await load(hub, path)).refused}
    except TheirsInvalid as error:
        codes = {error.code}
    assert all(code.startswith(("exchange.", "origin.")) for code in codes)
    for origin, log in hub.held.items():
        assert log.entries == site.held[origin].entries[: len(log.entries)]
        assert all(site.held[origin].annexes[at] == one for at, one in log.annexes.items())
