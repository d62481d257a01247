"""Pins that nobody ends an epoch by words: who holds more of our log shows our own signature.

An authenticated peer that lies (a stolen device key, a hub process gone wrong) is told to a person,
once a link; a disk that really was put back is still noticed at its first contact.
"""

import pytest

from certs.keys import SigningKey
from certs.note import Checkpoint, parse_note, sign_checkpoint
from sync.entry import Writer
from sync.exchange import Found
from sync.frontier import EMPTY, Head
from sync.message import Signed, Trouble
from sync.shown import SHOW_MS, Claims
from tests.pair import (
    HUB,
    HUB_SEED,
    SITE,
    SITE_SEED,
    End,
    both,
    found,
    kinds,
    log_of,
    meet,
    played,
    shelf_of,
    tell,
)
from tests.shelf_memory import MemoryShelf, entry

CUSTODY, URGENT = log_of(SITE, "custody"), log_of(SITE, "urgent")
LATER = log_of(SITE, "custody", "e2-00000002")
HUB_CUSTODY = log_of(HUB, "custody")
CAN = ["annex", "checkpoint"]
LOST = {"rolled_back", "fork", "overtaken"}


def signed(shelf: MemoryShelf, origin: str, place: int = 0) -> Signed:
    """Return what an honest holder of this log shows."""
    held = shelf.held[origin]
    log = held.log()
    line = parse_note(log.note)[1][0].line()
    return Signed(origin=place, size=log.size, root=log.root, lines=line)


def twin_of(size: int, *, first: int = 0, origin: str = CUSTODY) -> MemoryShelf:
    """Return the disk of somebody with our log key, and so many other entries."""
    shelf = shelf_of(SITE)
    if origin not in shelf.held:
        shelf.begin(origin, SITE_SEED)
    shelf.write(origin, *[entry(first + number) for number in range(size)])
    return shelf


def head(shelf: MemoryShelf, origin: str = CUSTODY) -> tuple[str, int, bytes]:
    log = shelf.held[origin].log()
    return origin, log.size, Head.of(log.size, log.root).tag


def site_with(size: int) -> End:
    site, _ = both()
    site.shelf.write(CUSTODY, *[entry(number) for number in range(size)])
    return site


def waits(site: End) -> None:
    site.tick(site.now_ms + SHOW_MS - 1)
    assert found(site) == []
    site.tick(site.now_ms + 1)


@pytest.mark.parametrize(
    ("row", "claims"),
    [
        ((CUSTODY, 9, b"12345678"), "rolled_back"),
        ((CUSTODY, 4, b"12345678"), "fork"),
        ((CUSTODY, 2, b"12345678"), "fork"),
        ((LATER, 3, b"12345678"), "overtaken"),
    ],
)
def test_a_table_that_lies_of_our_own_log_is_told_once_and_ends_nothing(
    row: tuple[str, int, bytes], claims: str
) -> None:
    site = site_with(4)
    played(site, row, can=CAN)
    waits(site)
    assert found(site) == [("unproved", "custody")]
    assert site.found[0].evidence["claims"] == claims
    site.tick(site.now_ms + 10 * SHOW_MS)
    tell(site, Trouble(code="exchange.fork", origin=row[0]))
    site.tick(site.now_ms + 10 * SHOW_MS)
    assert len([one for one in site.found if one.what == "unproved"]) == 1
    assert not LOST & {one.what for one in site.found if one.origin == CUSTODY}
    assert site.closes == []


def test_the_word_fork_alone_is_no_proof_and_stops_only_that_log() -> None:
    site = site_with(4)
    played(site, head(site.shelf), can=CAN)
    tell(site, Trouble(code="exchange.fork", origin=CUSTODY))
    waits(site)
    assert found(site) == [("unproved", "custody")]


def test_what_another_key_signed_or_a_size_that_we_have_proves_nothing() -> None:
    site, more = site_with(4), twin_of(9)
    note = more.held[CUSTODY].log()
    hubs = SigningKey.from_seed(CUSTODY, HUB_SEED)
    forged = sign_checkpoint(Checkpoint(CUSTODY, note.size, note.root), hubs)
    played(site, head(more), can=CAN)
    lines = parse_note(forged)[1][0].line()
    tell(site, Signed(origin=0, size=9, root=note.root, lines=lines))
    tell(site, Signed(origin=0, size=9, root=note.root, lines="not a line"))
    tell(site, Signed(origin=0, size=8, root=note.root, lines=signed(more, CUSTODY).lines))
    tell(site, signed(site.shelf, CUSTODY))
    waits(site)
    assert found(site) == [("unproved", "custody")]


def test_nobody_is_asked_of_a_log_that_is_not_ours() -> None:
    site, hub = site_with(1), shelf_of(HUB)
    hub.write(HUB_CUSTODY, entry(1))
    played(site, head(hub, HUB_CUSTODY), ("no origin", 1, b"12345678"), can=CAN)
    tell(site, signed(hub, HUB_CUSTODY), signed(hub, HUB_CUSTODY, 1))
    assert (site.found, site.closes) == ([], [])
    tell(site, signed(hub, HUB_CUSTODY, 2))
    assert site.closes[0].code == "exchange.place"


@pytest.mark.parametrize("first", [0, 1000])
def test_our_own_signature_over_more_is_believed_at_once(first: int) -> None:
    site, more = site_with(4), twin_of(9, first=first)
    played(site, head(more), can=CAN)
    assert found(site) == []
    tell(site, signed(more, CUSTODY))
    assert found(site) == [("rolled_back", "custody")]
    site.tick(site.now_ms + 2 * SHOW_MS)
    assert len(site.found) == 1


@pytest.mark.parametrize("size", [4, 2])
def test_our_own_signature_over_another_root_is_a_fork(size: int) -> None:
    site, other = site_with(4), twin_of(size, first=1000)
    played(site, head(other), can=CAN)
    tell(site, signed(other, CUSTODY))
    assert found(site) == [("fork", "custody")]
    assert site.found[0].evidence["theirs"] == size


def test_our_own_signature_in_a_later_epoch_says_that_we_are_an_old_copy() -> None:
    site, later = site_with(4), twin_of(1, origin=LATER)
    played(site, head(later, LATER), can=CAN)
    tell(site, signed(later, LATER))
    assert found(site) == [("overtaken", "custody")]


def test_an_epoch_of_ours_before_this_one_is_no_claim_and_comes_back() -> None:
    site = site_with(4)
    played(site, (log_of(SITE, "custody", "e1-00000000"), 3, b"12345678"), can=CAN)
    site.tick(site.now_ms + 2 * SHOW_MS)
    assert site.found == []


def test_a_peer_that_cannot_show_anything_is_told_of_at_once_and_not_believed() -> None:
    site = site_with(4)
    played(site, (CUSTODY, 9, b"12345678"))
    assert found(site) == [("unproved", "custody")]


def test_two_ends_show_each_other_what_a_backup_has_lost() -> None:
    site, hub = both()
    site.shelf.write(CUSTODY, *[entry(number) for number in range(5)])
    hub.shelf.write(HUB_CUSTODY, *[entry(number) for number in range(5)])
    meet(site, hub)
    site.shelf.forget_to(3, CUSTODY)
    hub.shelf.forget_to(2, HUB_CUSTODY)
    meet(site, hub)
    assert ("rolled_back", CUSTODY) in [(one.what, one.origin) for one in site.found]
    assert ("rolled_back", HUB_CUSTODY) in [(one.what, one.origin) for one in hub.found]
    assert not [one for one in (*site.found, *hub.found) if one.what == "unproved"]


def test_a_hub_shows_an_old_copy_what_it_wrote_in_a_later_epoch() -> None:
    site, hub = both()
    site.shelf.write(CUSTODY, entry(1))
    meet(site, hub)
    later = End(Writer.SITE, twin_of(2, origin=LATER))
    later.shelf.write(CUSTODY, entry(1))
    later.shelf.instance = "00000000000000dd"
    meet(later, hub)
    assert hub.holds()[LATER][0] == 2
    site.found.clear()
    meet(site, hub)
    assert [(one.what, one.origin) for one in site.found] == [("overtaken", LATER)]


def test_nothing_is_shown_to_a_peer_that_does_not_know_the_message() -> None:
    site, _ = both()
    writer = shelf_of(HUB)
    writer.write(HUB_CUSTODY, entry(1))
    site.shelf.held[HUB_CUSTODY] = writer.held[HUB_CUSTODY]
    site.shelf.held[HUB_CUSTODY].key = None
    played(site, (HUB_CUSTODY, 0, EMPTY.tag))
    assert "Signed" not in kinds(site)
    played(site, (HUB_CUSTODY, 0, EMPTY.tag), can=CAN)
    assert site.closes == []
    assert "Signed" in kinds(site)


def test_a_claim_and_its_proof_may_come_in_any_order() -> None:
    log = twin_of(9).held[CUSTODY].log()
    checkpoint = Checkpoint(CUSTODY, log.size, log.root)
    claims = Claims()
    assert claims.shown(checkpoint) == []
    assert claims.said("fork", CUSTODY, 4, None, {"mine": 4}) == [
        Found("fork", CUSTODY, {"mine": 4})
    ]
    assert claims.said("fork", CUSTODY, 4, None, {}) == []
    assert claims.deadline() is None
    assert claims.overdue(10**9) == []
