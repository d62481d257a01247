"""Pins what verifying finds: each class of byte changed, by its code and the entry's index."""

import asyncio
import re
import shutil
import sqlite3
from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path

import pytest

from certs.note import Checkpoint, sign_checkpoint
from sync import canonical
from sync.commit import LogState, plan
from sync.entry import Lane, compose
from sync.errors import OursBroken
from sync.findings import FINDINGS_MAX, MEANING
from sync.fsck import verify
from sync.merkle import FullTree, Tree, leaf_hash
from sync.moment import Moment
from sync.reader import LogFile
from sync.roots import Source
from sync.rows import Head, Page
from sync.store import Identity, Record, Store
from tests.fault.logs import IDENTITY, SALT, codes, entry, erasure, fill, filled, fsck, private
from tests.fault.logs import record as rec

EPOCH = "e1-9f2c01ab"
COUNT = 600


def history() -> list[Record]:
    """600 custody entries with 40 annexes, 5 of them erased, and 3 urgent ones."""
    records = [
        private(i, b"annex %d" % i)
        if i % 15 == 5
        else rec(i, of=f"{EPOCH}:sc{i - 1}", prev=f"{EPOCH}:su0")
        if i % 3 == 1
        else rec(i)
        for i in range(COUNT - 5)
    ]
    records += [erasure(COUNT - 5 + n, 5 + 15 * n) for n in range(5)]
    return [rec(n, Lane.URGENT) for n in range(3)] + records


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("whole") / "site.db"
    filled(path, history(), 40)
    assert fsck(path).ok
    return path


@pytest.fixture
def path(whole: Path, tmp_path: Path) -> Path:
    shutil.copy(whole, tmp_path / "site.db")
    return tmp_path / "site.db"


def change(path: Path, *statements: str, values: Sequence[object] = ()) -> None:
    with sqlite3.connect(path) as connection:
        for sql in statements:
            connection.execute(sql, values)
    connection.close()


C = 2 << 40  # custody is the second log


def found(path: Path, code: str) -> list[int | None]:
    return [one.index for one in fsck(path).findings if one.code == f"fsck.{code}"]


def test_a_whole_log_has_its_roots_and_counts(whole: Path) -> None:
    report = fsck(whole)
    assert [(log.entries, log.size) for log in report.logs] == [(3, 3), (COUNT, COUNT), (0, 0)]
    assert all(log.root is not None for log in report.logs)


@pytest.mark.parametrize("index", [0, 7, 255, 256, 599])
def test_a_changed_entry_is_named(path: Path, index: int) -> None:
    change(
        path,
        "UPDATE entry SET bytes = CAST(replace(bytes, 'kind', 'kinb') AS BLOB)"
        f" WHERE id = {C + index}",
    )
    assert found(path, "entry.leaf") == [index]
    assert found(path, "entry.malformed") == [index]


def test_every_byte_of_an_entry_counts(path: Path) -> None:
    good = entry(9)
    for place in range(len(good)):
        bad = good[:place] + bytes([good[place] ^ 1]) + good[place + 1 :]
        change(path, f"UPDATE entry SET bytes = ? WHERE id = {C + 9}", values=[bad])
        assert found(path, "entry.leaf") == [9]
        change(
            path,
            f"UPDATE entry SET bytes = ?1, leaf = ?2 WHERE id = {C + 9}",
            values=[bad, leaf_hash(bad)],
        )
        assert {"node", "checkpoint.root"} <= codes(fsck(path))


def test_an_entry_rewritten_with_its_leaf_is_pinned_to_its_block(path: Path) -> None:
    other = entry(9, door=1)
    change(path, f"UPDATE entry SET bytes = ?1, leaf = ?2 WHERE id = {C + 300}",
           values=[other, leaf_hash(other)])  # fmt: skip
    report = fsck(path)
    nodes = [one.evidence for one in report.findings if one.code == "fsck.node"]
    assert [(seen["first"], seen["last"]) for seen in nodes] == [(256, 511)]
    assert codes(report) == {"node", "checkpoint.root"}


def test_a_changed_leaf_hash_is_named(path: Path) -> None:
    change(path, f"UPDATE entry SET leaf = randomblob(32) WHERE id = {C + 12}")
    assert (codes(fsck(path)), found(path, "entry.leaf")) == ({"entry.leaf"}, [12])


def test_two_swapped_entries_are_found(path: Path) -> None:
    change(
        path,
        f"UPDATE entry SET id = -1 WHERE id = {C + 3}",
        f"UPDATE entry SET id = {C + 3} WHERE id = {C + 4}",
        f"UPDATE entry SET id = {C + 4} WHERE id = -1",
    )
    assert {"node", "checkpoint.root"} <= codes(fsck(path))


def test_a_deleted_middle_entry_is_named(path: Path) -> None:
    change(path, f"DELETE FROM entry WHERE id = {C + 100}")
    assert found(path, "entry.gap") == [101]


def test_a_first_entry_gone_is_named(path: Path) -> None:
    change(path, f"DELETE FROM entry WHERE id = {C}")
    assert found(path, "entry.gap") == [1]


@pytest.mark.parametrize("keep", [0, 1, 520, 599])
def test_a_dropped_tail_is_found(path: Path, keep: int) -> None:
    change(path, f"DELETE FROM annex WHERE id >= {C + keep}", f"DELETE FROM entry WHERE id >= {C + keep}")  # fmt: skip  # noqa: E501  # one statement a line
    assert "checkpoint.size" in codes(fsck(path))


def test_an_entry_beyond_the_checkpoint_is_found(path: Path) -> None:
    data = entry(COUNT)
    change(path, f"INSERT INTO entry (id, leaf, bytes) VALUES ({C + COUNT}, ?2, ?1)",
           values=[data, leaf_hash(data)])  # fmt: skip
    assert (codes(fsck(path)), found(path, "entry.beyond")) == ({"entry.beyond"}, [COUNT])


def test_an_entry_of_no_log_is_found(path: Path) -> None:
    change(path, f"UPDATE entry SET id = {(9 << 40) + 1} WHERE id = {C + 599}")
    assert {"log.unknown", "checkpoint.size"} <= codes(fsck(path))


ERASED = "UPDATE annex SET salt = NULL, data = NULL, erased_by = "


@pytest.mark.parametrize(
    ("sql", "expected"),
    [
        ("UPDATE annex SET data = x'00' WHERE id = {id}", "annex.hash"),
        ("UPDATE annex SET salt = zeroblob(16) WHERE id = {id}", "annex.hash"),
        ("UPDATE annex SET id = {id} + 1 WHERE id = {id}", "annex.hash"),
        ("DELETE FROM annex WHERE id = {id}", "annex.missing"),
        (ERASED + "'no' WHERE id = {id}", "annex.mark"),
        (ERASED + "'e1-9f2c01ab:sc200' WHERE id = {id}", "annex.mark"),
        (ERASED + "'e1-9f2c01ab:sc1' WHERE id = {id}", "annex.mark"),
        (ERASED + "'e9-00000000:sc1' WHERE id = {id}", "annex.mark"),
        (ERASED + "'e1-9f2c01ab:sc596' WHERE id = {id}", "annex.mark"),
        ("INSERT INTO annex VALUES (4000000000000, x'{salt}', x'00', NULL)", "annex.stray"),
        (
            "UPDATE annex SET salt = x'{salt}', data = x'00', erased_by = NULL WHERE id = {erased}",
            "annex.kept",
        ),
        ("DELETE FROM annex WHERE id = {erased}", "annex.kept"),
    ],
)
def test_a_changed_annex_is_found(path: Path, sql: str, expected: str) -> None:
    change(path, sql.format(id=C + 95, erased=C + 5, salt="00" * 16))
    assert expected in codes(fsck(path))


@pytest.mark.parametrize(
    ("sql", "expected"),
    [
        ("UPDATE log SET note = replace(note, '600', '599') WHERE id = 2", "note"),
        ("UPDATE log SET note = substr(note, 1, 40) WHERE id = 2", "note"),
        ("UPDATE log SET note = (SELECT note FROM log WHERE id = 1) WHERE id = 2", "note"),
        ("UPDATE log SET note = (SELECT note FROM checkpoint WHERE log = 2) WHERE id = 2", "note"),
        ("UPDATE checkpoint SET note = (SELECT note FROM log WHERE id = 2)", "note"),
        ("UPDATE checkpoint SET note = replace(note, '=', 'A=') ", "note"),
        ("UPDATE checkpoint SET size = 100", "note"),
        ("UPDATE log SET vkey = 'x' WHERE id = 2", "vkey"),
        ("UPDATE log SET vkey = (SELECT vkey FROM log WHERE id = 3) WHERE id = 2", "vkey"),
    ],
)  # fmt: skip
def test_a_changed_checkpoint_is_found(path: Path, sql: str, expected: str) -> None:
    change(path, sql)
    assert f"checkpoint.{expected}" in codes(fsck(path))


def test_a_checkpoint_kept_beyond_the_latest_is_found(path: Path) -> None:
    """A rollback of everything but the kept checkpoints."""
    with LogFile.open(path) as file:
        old = file.kept(file.head(Lane.CUSTODY))[0]
    later = (700, sign_checkpoint(Checkpoint(IDENTITY.origin(Lane.CUSTODY), 700, bytes(32)), IDENTITY.key(Lane.CUSTODY)))  # fmt: skip  # noqa: E501  # a vector
    change(path, "INSERT INTO checkpoint VALUES (2, ?, ?)", values=later)
    assert old[0] == 477
    assert codes(fsck(path)) == {"checkpoint.size"}


@pytest.mark.parametrize(
    "sql",
    [
        "UPDATE node SET hash = randomblob(32) WHERE idx = 1",
        "DELETE FROM node WHERE idx = 0",
        "INSERT INTO node VALUES (2, 16, 0, randomblob(32))",
    ],
)
def test_a_changed_subtree_root_is_found(path: Path, sql: str) -> None:
    change(path, sql)
    assert codes(fsck(path)) == {"node"}


def written(folder: Path, records: list[Record]) -> Path:
    filled(folder / "own.db", records)
    return folder / "own.db"


@pytest.mark.parametrize("key", ["of", "prev"])
@pytest.mark.parametrize("ref", ["sc1", "sc2", "su5", "st0"])
def test_a_reference_to_nothing_before_is_found(tmp_path: Path, key: str, ref: str) -> None:
    path = written(tmp_path, [rec(0), rec(1, Lane.CUSTODY, **{key: f"{EPOCH}:{ref}"})])
    assert (codes(fsck(path)), found(path, "entry.reference")) == ({"entry.reference"}, [1])


def test_references_to_logs_that_are_not_here_are_let_be(tmp_path: Path) -> None:
    path = written(tmp_path, [rec(0, of="e1-9f2c01ab:hc5", prev="e7-00000000:sc1")])
    assert fsck(path).ok


def test_an_erasure_without_its_object_is_found(tmp_path: Path) -> None:
    """The store does not erase on its account, so the annex cannot be marked either."""
    data = compose({"kind": "annex.erased", "by": "x"}, at=Moment(1, 1))
    path = written(tmp_path, [Record(Lane.CUSTODY, 0, data)])
    assert codes(fsck(path)) == {"entry.reference"}


def test_erasing_twice_is_in_order(tmp_path: Path) -> None:
    path = written(tmp_path, [private(0, b"x"), erasure(1, 0), erasure(2, 0)])
    assert fsck(path).ok


def test_odd_headers_are_looked_at_in_full(tmp_path: Path) -> None:
    """Text beyond ASCII, lanes seen, critical keys, and a page that cannot be read at one go."""
    records = [
        rec(0, note="é\u2028"),
        rec(1, seen={f"{EPOCH}:hu": 3}),
        rec(2, Lane.CUSTODY, **{"!hold": True}),
    ]
    path = written(tmp_path, records)
    assert fsck(path).ok
    bad = canonical.encode({"at": [1, True], "kind": "door.opened"})
    change(path, f"UPDATE entry SET bytes = ?1 WHERE id = {C + 1}", values=[bad])
    assert found(path, "entry.malformed") == [1]
    change(path, f"UPDATE entry SET bytes = ?1 WHERE id = {C + 2}", values=[b"{}\n{}"])
    assert found(path, "entry.malformed") == [1, 2]


def test_pruned_entries_verify_by_their_leaf_hashes(path: Path) -> None:
    change(
        path,
        f"UPDATE entry SET bytes = NULL WHERE id >= {C} AND id < {C + 300}",
        f"DELETE FROM annex WHERE id >= {C} AND id < {C + 300}",
        "UPDATE log SET oldest = 300 WHERE id = 2",
    )
    assert fsck(path).ok
    change(path, "UPDATE log SET oldest = 299 WHERE id = 2")
    assert found(path, "entry.pruned") == [299]
    change(path, f"UPDATE entry SET leaf = zeroblob(32) WHERE id = {C + 7}")
    assert {"node", "checkpoint.root"} <= codes(fsck(path))


def test_a_leaf_of_the_wrong_length_is_found(path: Path) -> None:
    """Only a file made by hand can hold one."""
    with LogFile.open(path) as file:
        sources = [Source(head) for head in file.heads()]
    report = verify(sources, [Page([(C, b"short", None)], {})])
    assert "entry.leaf" in codes(report)


def test_noise_is_bounded(path: Path) -> None:
    change(path, f"UPDATE entry SET bytes = CAST('{{}}' AS BLOB) WHERE id >= {C}")
    report = fsck(path)
    assert (len(report.findings), report.more) == (FINDINGS_MAX, True)


async def test_a_restored_backup_is_found_by_a_later_checkpoint(tmp_path: Path) -> None:
    path, backup = tmp_path / "site.db", tmp_path / "backup.db"
    early = await fill(path, (rec(i) for i in range(10)))
    shutil.copy(path, backup)
    async with await Store.open(path, IDENTITY, ballast_bytes=4096) as store:
        await store.append([rec(i) for i in range(10, 20)])
        late = store.checkpoint(Lane.CUSTODY)
    assert fsck(path, [late, early[Lane.CUSTODY], early[Lane.URGENT]]).ok
    assert codes(fsck(backup, [late])) == {"held.rolled_back"}
    # The restored one goes on by itself: the same size, another history.
    async with await Store.open(backup, IDENTITY, ballast_bytes=4096) as store:
        await store.append([rec(i, door=7) for i in range(10, 25)])
    assert fsck(backup).ok
    assert codes(fsck(backup, [late])) == {"held.forked"}


def test_other_checkpoints_are_refused_by_name(path: Path) -> None:
    stranger = Identity("other.example", "site/1", EPOCH, bytes(32))
    foreign = sign_checkpoint(Checkpoint(stranger.origin(Lane.CUSTODY), 1, bytes(32)), stranger.key(Lane.CUSTODY))  # fmt: skip  # noqa: E501  # a vector
    assert codes(fsck(path, [foreign])) == {"held.unknown"}
    assert codes(fsck(path, ["nothing"])) == {"held.note"}
    imposter = Identity("lockers.example", "site/0042", EPOCH, SALT * 2)
    forged = sign_checkpoint(Checkpoint(imposter.origin(Lane.CUSTODY), 1, bytes(32)), imposter.key(Lane.CUSTODY))  # fmt: skip  # noqa: E501  # a vector
    assert codes(fsck(path, [forged])) == {"held.note"}


def test_progress_is_told(whole: Path) -> None:
    told: list[int] = []
    with LogFile.open(whole) as file:
        verify([], file.pages(), progress=told.append)
    assert told[-1] == COUNT + 3
    assert SALT


def test_an_erasure_before_its_annex_is_expected_when_that_comes(tmp_path: Path) -> None:
    """A log of a later epoch is lower in the file than the one it erases from, once healed."""
    path = written(tmp_path, [private(0, b"x"), private(1, b"y"), rec(0, Lane.TELEMETRY)])
    erase = compose({"kind": "annex.erased", "of": f"{EPOCH}:sc0"}, at=Moment(1, 0))
    filled_again = Store.open(path, IDENTITY, ballast_bytes=4096)

    async def one() -> None:
        async with await filled_again as store:
            await store.append([Record(Lane.URGENT, 0, erase)])

    asyncio.run(one())
    assert fsck(path).ok
    change(
        path,
        f"UPDATE annex SET salt = zeroblob(16), data = x'00', erased_by = NULL WHERE id = {C}",
    )
    assert {"annex.kept", "annex.hash"} <= codes(fsck(path))
    change(path, f"DELETE FROM annex WHERE id = {C}")
    assert codes(fsck(path)) == {"annex.missing"}
    change(path, f"INSERT INTO annex VALUES ({C}, NULL, NULL, 'e1-9f2c01ab:su0')")
    change(path, f"INSERT INTO annex VALUES ({C + 90}, zeroblob(16), x'00', NULL)")
    assert codes(fsck(path)) == {"annex.stray"}


def test_an_annex_marked_by_the_erasure_of_another_is_found(path: Path) -> None:
    mark = f"{EPOCH}:sc{COUNT - 5}"
    change(path, f"UPDATE annex SET salt = NULL, data = NULL, erased_by = '{mark}'"
           f" WHERE id = {C + 95}", f"DELETE FROM annex WHERE id = {C + 5}")  # fmt: skip
    assert {"annex.mark", "annex.kept"} <= codes(fsck(path))


def test_a_log_cut_between_the_lanes_is_followed(tmp_path: Path) -> None:
    """One page holds the end of one lane, whole lanes, and the beginning of another."""
    lanes = [rec(i, lane) for lane in Lane for i in range(3)]
    assert fsck(written(tmp_path, lanes)).ok


def test_the_second_stored_level_counts_too() -> None:
    """65,536 pruned entries, fed by hand: the roots at levels 8 and 16 are both compared."""
    size, key = 1 << 16, IDENTITY.key(Lane.CUSTODY)
    leaves = [sha256(b"%d" % index).digest() for index in range(size)]
    tree = FullTree(leaves)
    nodes = [(8, index, tree(8, index)) for index in range(256)] + [(16, 0, tree(16, 0))]
    note = sign_checkpoint(Checkpoint(key.name, size, tree.root()), key)
    head = Head(2, key.name, IDENTITY.log(Lane.CUSTODY), True, key.vkey, size, size, note)
    page = Page([(C + index, leaf, None) for index, leaf in enumerate(leaves)], {})
    assert verify([Source(head, (), nodes)], [page]).ok
    nodes[-1] = (16, 0, bytes(32))
    assert codes(verify([Source(head, (), nodes)], [page])) == {"node"}


def test_many_kinds_odd_references_and_a_pruned_entry_with_its_annex(path: Path) -> None:
    change(path, f"UPDATE entry SET bytes = NULL WHERE id = {C + 95}")
    change(path, "UPDATE log SET oldest = 96 WHERE id = 2")
    assert fsck(path).ok
    odd = canonical.encode({"at": [1, 1], "kind": "door.opened", "of": f"{EPOCH}:scx"})
    change(path, f"UPDATE entry SET bytes = ? WHERE id = {C + 300}", values=[odd])
    assert found(path, "entry.malformed") == [300]


def test_more_kinds_than_are_remembered_are_still_read(tmp_path: Path) -> None:
    records = [
        Record(Lane.CUSTODY, i, compose({"kind": f"a.b{i}"}, at=Moment(1, i))) for i in range(1003)
    ]
    filled(tmp_path / "own.db", records, 200)
    assert fsck(tmp_path / "own.db").ok


def test_a_plan_with_a_gap_is_a_bug() -> None:
    key = IDENTITY.key(Lane.CUSTODY)
    state = LogState(2, IDENTITY.log(Lane.CUSTODY), key, Tree(), "")
    with pytest.raises(OursBroken, match=r"store\.index_gap"):
        plan({Lane.CUSTODY: state}, [rec(1)])


def test_each_finding_has_its_words_and_no_words_are_left_over() -> None:
    sync = Path(__file__).resolve().parents[2] / "sync"
    text = "".join((sync / name).read_text() for name in ("fsck.py", "roots.py"))
    named = set(re.findall(r'_?add\(\s*"([a-z._]+)"', text))
    named |= set(
        re.findall(r'"(held\.[a-z_]+|checkpoint\.[a-z]+|receipt\.[a-z]+|entry\.[a-z]+)"', text)
    )
    assert {f"fsck.{code}" for code in named} | {"fsck.key", "fsck.checkpoint.writer"} == set(
        MEANING
    )
