"""The figures sync.bytes and sync.signed_event: every message of two sessions, back to back.

A site and its hub that were equal meet again on a new link (hello, want, frames, seals, have; no
receipt, no annex) after the site wrote 1, 100 or 10,000 entries of the workload. Peers in the same
run: JSON lines + zstd, and Yjs (`pycrdt`) where it is importable; it is no dependency.
"""

import importlib
import importlib.util
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import msgspec

from sync.entry import Lane, Writer
from sync.origin import Ring
from sync.rows import Annex
from tests.bench import workload
from tests.bench.sync_codec import base64_of, best_columns
from tests.pair import HUB, HUB_SEED, RING, SITE, SITE_SEED, End, log_of, meet, run
from tests.shelf_memory import MemoryShelf, Private

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

Figure = dict[str, Any]
GOALS = {1: 200, 100: 1_000, 10_000: 55_000}


def ends(items: Sequence[workload.Written], **options: Any) -> tuple[End, End]:
    """Return a site and its hub that both hold what was written before `items`."""
    found = []
    for name, seed, side in ((SITE, SITE_SEED, Writer.SITE), (HUB, HUB_SEED, Writer.HUB)):
        shelf = MemoryShelf(ring=Ring(*RING), instance=f"00000000000000{side.encode().hex()}")
        for lane in Lane:
            shelf.begin(log_of(name, lane, workload.EPOCH), seed)
        found.append(End(side, shelf, dict(options), cosigns=False))
    site, hub = found
    log = workload.written()
    append(site, log[: log.index(items[0])])
    meet(site, hub)
    assert site.holds() == hub.holds()
    return site, hub


def append(site: End, items: Sequence[workload.Written]) -> None:
    """Have the site write, lane by lane."""
    for lane, some in workload.by_lane(items).items():
        if some:
            site.shelf.write(log_of(SITE, lane, workload.EPOCH), *map(_with_annex, some))


def _with_annex(item: workload.Written) -> bytes | Private:
    if item.annex is None:
        return item.entry
    annex, salt = item.annex
    return Private(item.entry, Annex(salt, annex, None))


def contact(count: int, **options: Any) -> int:
    """Return the bytes of the link that brings the hub `count` entries."""
    items = workload.backlog(count)
    site, hub = ends(items, **options)
    append(site, items)
    carried = meet(site, hub)
    assert site.holds() == hub.holds(), "the hub has not caught up"
    return carried


def live(count: int, **options: Any) -> int:
    """Return the bytes that entries cost on a link that is up and caught up."""
    items = workload.backlog(count)
    site, hub = ends(items, **options)
    site.begin(site.now_ms)
    hub.begin(hub.now_ms)
    run(site, hub)
    for lane, some in workload.by_lane(items).items():
        if some:
            site.write(log_of(SITE, lane, workload.EPOCH), *map(_with_annex, some))
    carried = run(site, hub)
    assert site.holds() == hub.holds(), "the hub has not caught up"
    return carried


def bytes_of_contact() -> Iterator[Figure]:
    """Measure each size of a backlog, at two cuts."""
    idle = _idle()
    for count, goal in GOALS.items():
        entries = [item.entry for item in workload.backlog(count)]
        peer = _lines(entries)
        best = best_columns(count)
        for kib in (16, 64):
            options = {"annexes": False, "segment_bytes": kib * 1024}
            ours, up = contact(count, **options), live(count, **options)
            yield {
                "name": f"sync.bytes.{count}", "ours": ours, "limit": best,
                "ratio": round(ours / best, 2), "unit": "bytes", "goal": f"<= {goal}, ratio <= 1.5",
                "how": f"segments of {kib} KiB, all messages of a new link, of which {idle} are"
                f" said on any; on a link that is up {up}; limit: best column coder of the entries"
                f" alone; JSON lines + zstd-19 of them alone {peer}; {_yjs(entries)}",
            }  # fmt: skip


def signed_event() -> Iterator[Figure]:
    """Measure bytes an entry of a backlog of 10,000, and of the first one on a live link."""
    count = 10_000
    ours = contact(count, annexes=False, segment_bytes=64 * 1024)
    secret = sum(map(len, set(base64_of([item.entry for item in workload.backlog(count)]))))
    yield {
        "name": "sync.signed_event", "ours": round(ours / count, 2), "limit": 6,
        "ratio": round(ours / count / 6, 2), "unit": "bytes an entry", "goal": "<= 6, first <= 12",
        "how": f"backlog of {count}, segments of 64 KiB, seals and framing included; hashes and"
        f" keyed tags that nobody can shorten are {secret / count:.2f} of it;"
        f" with annexes {contact(count, segment_bytes=64 * 1024) / count:.1f}",
    }  # fmt: skip


def _idle() -> int:
    """Return the bytes of a link on which nothing is new."""
    site, hub = ends(workload.backlog(1), annexes=False)
    return meet(site, hub)


def _lines(entries: Sequence[bytes]) -> int:
    return len(zstd.compress(b"".join(entry + b"\n" for entry in entries), level=19))


def _yjs(entries: Sequence[bytes]) -> str:
    """Say what Yjs sends: entries as maps in one array, the peer's state vector and the update."""
    if importlib.util.find_spec("pycrdt") is None:
        return "Yjs skipped: pycrdt is not installed here"
    yjs = importlib.import_module("pycrdt")
    doc = yjs.Doc()
    log = doc.get("log", type=yjs.Array)
    log.extend([yjs.Map({"kind": "begin"})])
    before = doc.get_state()
    log.extend([yjs.Map(msgspec.json.decode(entry)) for entry in entries])
    update = doc.get_update(before)
    return f"Yjs {len(before) + len(update)}, {len(zstd.compress(update, level=19))} under zstd-19"


FIGURES: dict[str, Callable[[], Iterator[Figure]]] = {
    "sync.bytes": bytes_of_contact,
    "sync.signed_event": signed_event,
}
