"""What taking in somebody else's entries writes, computed before anything is written. Pure.

The entries were accepted already (`sync.intake`): here they become rows. An entry that erases is
obeyed wherever it stands, in a hub's log and in a lost piece of an own one that has come back: a
restored database would otherwise show again what was promised to be gone. What it erases may come
later, or stand in a log that nobody here has: the mark waits for it.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from certs.errors import CertsError
from certs.keys import Verifier
from certs.note import Checkpoint, open_checkpoint
from sync import commit
from sync import entry as entries
from sync.commit import ERASES, Changes
from sync.entry import LaneRef, Ref
from sync.errors import StoreFailed
from sync.intake import Accepted
from sync.merkle import Nodes, Tree, peaks_of
from sync.origin import Origin
from sync.rows import INDEX_BITS, LEVEL_STEP, Head, row_id

_MARKS: Final = (b'"private":', b'"annex.erased"')
"""Canonical bytes write a key and a kind in one way only: an entry without either needs no look."""


@dataclass(frozen=True, slots=True)
class Held:
    """A log that somebody else writes, as it is durably; `tree` has the head's size."""

    head: Head
    tree: Tree


def begin(origin: Origin, vkey: str, *, number: int, own: bool) -> Held:
    """Return a log of which nothing is here yet; its first checkpoint comes with its entries."""
    return Held(Head(number, str(origin), origin.log, own, vkey, 0, 0, ""), Tree())


def resume(head: Head, stored: int, nodes: Nodes) -> Held:
    """Return the log as stored, if entries, hashes, checkpoint and key agree.

    `stored` is the number of entries found. `StoreFailed` torn when anything differs.
    """
    if stored != head.size:
        raise StoreFailed("torn", origin=head.origin, entries=stored, size=head.size)
    try:
        checkpoint = open_checkpoint(head.note, Verifier.from_vkey(head.vkey))
    except CertsError as error:
        raise StoreFailed("torn", origin=head.origin, cause=error.code) from error
    tree = Tree.from_peaks(head.size, [nodes(level, at) for level, at in peaks_of(head.size)])
    if checkpoint != Checkpoint(head.origin, head.size, tree.root()):
        raise StoreFailed("torn", origin=head.origin, size=head.size, what="root differs")
    return Held(head, tree)


def grow(held: Held, accepted: Accepted, logs: Mapping[LaneRef, int]) -> tuple[Changes, Held]:
    """Return what storing the accepted entries writes, and the log as it is then.

    `logs` are the row numbers of every log that is here. Every checkpoint that came stays: a
    segment of a relayed log ends where somebody signed.
    """
    head, changes = held.head, Changes()
    known = dict(logs)
    if head.log not in known:
        known[head.log] = head.id
        log = head.log
        voice, lane = log.writer.value, log.lane.letter
        named = (head.id, head.origin, log.epoch, voice, lane)
        changes.begun.append((*named, int(head.own), head.vkey, 0, accepted.note))
    elif head.size:
        changes.kept.append((head.id, head.size, head.note))
    for place, (data, leaf) in enumerate(zip(accepted.entries, accepted.leaves, strict=True)):
        number = row_id(head.id, accepted.first + place)
        changes.entries.append((number, leaf, data))
        if _MARKS[0] in data or _MARKS[1] in data:
            _annexes(changes, number, _ref(head.log, accepted.first + place), data, known)
    changes.nodes += [
        (head.id, level, index, node)
        for level, index, node in accepted.completed
        if level % LEVEL_STEP == 0
    ]
    size = accepted.tree.size
    changes.heads.append((size, accepted.note, head.id))
    return changes, Held(head.grown(size, accepted.note), accepted.tree)


def keep(held: Held, size: int, note: str) -> Changes:
    """Return what keeping one more checkpoint of known entries writes."""
    changes = Changes()
    if 0 < size < held.head.size:
        changes.kept.append((held.head.id, size, note))
    return changes


def _annexes(
    changes: Changes, number: int, ref: Ref, data: bytes, logs: Mapping[LaneRef, int]
) -> None:
    entry = entries.parse(data)
    if entry.private is not None:
        changes.awaited.append((number,))
    if entry.kind != ERASES or entry.of is None or entry.of.index >> INDEX_BITS:
        return
    of = entry.of
    if not entries.may_erase(ref.writer, of.log):
        return
    if of.log in logs:
        commit.erase(changes, [(row_id(logs[of.log], of.index), ref)])
    else:
        changes.foretold.append((of.epoch, of.writer.value, of.lane.letter, of.index, str(ref)))


def _ref(log: LaneRef, index: int) -> Ref:
    return Ref(log.epoch, log.writer, log.lane, index)
