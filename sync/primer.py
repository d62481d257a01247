"""The primer: entries that every columnar segment begins as if it had followed (`sync.columns`).

It teaches both ends the shapes, the words and the turns of a working site, so that a segment says
only what is new. **Its bytes are frozen**: another primer is another codec. A kind added later is
not here, and costs its shape once a segment.
"""

from typing import Any, Final

from sync import canonical

_LOG: Final = "e1-00000000:sc"
_HUB: Final = "e1-00000000:hc"
_HASH: Final = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="
_TAG: Final = "AAAAAAAAAAAAAAAA"


class _Story:
    """Entries as a site writes them: each `of` and `prev` fits."""

    def __init__(self) -> None:
        self.entries: list[bytes] = []
        self.last: dict[int, str] = {}
        self.count = 0
        self.mono_ms = 0

    def tell(self, kind: str, *, wait_ms: int = 0, log: str = _LOG, **keys: Any) -> str:
        """Add an entry; `prev` is added where its door has one."""
        self.mono_ms += wait_ms
        body = {"kind": kind, "at": [1, self.mono_ms], **keys}
        door = keys.get("door")
        ref = f"{log}{self.count}"
        if isinstance(door, int) and log == _LOG:
            if door in self.last:
                body["prev"] = self.last[door]
            self.last[door] = ref
        self.entries.append(canonical.encode(body))
        self.count += log == _LOG
        return ref

    def opening(self, door: int, again: int, wait_ms: int = 0, **intent: Any) -> str:
        """Tell an intent and its outcome, after `again` that did not open; return the last one."""
        earlier: dict[str, Any] = {}
        ref = ""
        for attempt in range(1, again + 2):
            ref = self.tell(
                "open.intended", wait_ms=wait_ms, attempt=attempt, deadline=self.mono_ms + 2_000,
                door=door, **earlier, **intent,
            )  # fmt: skip
            wait_ms = 3_450
            if attempt <= again:
                self.tell(
                    "open.ended", wait_ms=wait_ms, of=ref, door=door, outcome="failed",
                    why="door.no_opening",
                )  # fmt: skip
                earlier = {"again": ref, "why": "no_opening"}
        self.tell("open.ended", wait_ms=700, of=ref, door=door, outcome="opened", took_ms=700)
        self.tell("door.opened", of=ref, door=door)
        return ref

    def closed(self, ref: str, door: int, wait_ms: int = 9_000, **keys: Any) -> None:
        self.tell("door.closed", wait_ms=wait_ms, of=ref, door=door, **keys)

    def deposit(self, by: str, door: int, again: int = 0, **more: Any) -> str:
        """Tell how a courier delivers."""
        size = "S"
        root = self.opening(
            door, again, of=by, by=by, purpose="deposit", size=size, private=_HASH, **more
        )
        self.closed(root, door, occupied=True)
        return self.tell(
            "parcel.deposited", of=root, door=door, by=by, size=size, digits=9, counter=0,
            key_version=1, tag=_TAG, basis="sensor", private=_HASH,
        )  # fmt: skip

    def collect(self, parcel: str, door: int, again: int = 0, **more: Any) -> None:
        """Tell how a recipient collects."""
        root = self.opening(door, again, of=parcel, by="code", purpose="collect", **more)
        self.closed(root, door, occupied=False)
        self.tell(
            "parcel.collected", wait_ms=60_000, of=parcel, door=door, by="code", basis="sensor"
        )


def _primer() -> tuple[bytes, ...]:
    story = _Story()
    tell = story.tell
    _begin(story)
    _promise(story)
    by = tell("grant.issued", grant="courier", tenant="a", label="b", tag=_TAG, key_version=1)
    tell("grant.revoked", of=by, by="site")
    for door in (1, 2):
        tell("config.set", item="door", value={"lock": "b1:0", "number": door, "occupancy": "b1:0",
             "rail": "b1", "size": "S", "switch": "b1:0"})  # fmt: skip
        story.deposit(by, door)
        story.deposit(by, door + 10, again=2)
    _trouble(story, by)
    for door in (3, 4):
        parcel = story.deposit(by, door)
        root = story.opening(
            door, 0, of=parcel, by="support:a", purpose="support", case="b", wait_ms=1_000
        )
        tell("door.ajar", wait_ms=60_000, of=root, door=door, open_ms=60_000)
        story.closed(root, door, occupied=True)
        tell("parcel.left", of=parcel, door=door)
        story.collect(parcel, door, again=2)
        tell("code.refused", wait_ms=1_000, form="short", why="code.unknown", charged=True,
             level_ms=0)  # fmt: skip
        tell("code.refused", form="short", why="code.check_digit", count=2)
        tell("code.refused", form="short", why="code.check_digit")
    for door in (5, 6, 5, 6):
        story.collect(story.deposit(by, door), door)
    _measure(story)
    return tuple(story.entries)


def _begin(story: _Story) -> None:
    """How a site begins, and what it says of itself now and then."""
    tell = story.tell
    tell("epoch.opened", site="site/0000", version=1)
    tell("time.anchored", utc_ms=1_790_000_000_000, error_ms=10, source="ntp")
    tell("config.set", item="map", value={"boards": 4, "doors": 96})
    tell("config.set", item="board", value={"line": "bus0", "name": "b1", "profile": "", "unit": 1})
    tell("snapshot.taken", fold=1, lanes={_LOG: 0}, sha256=_HASH)
    tell("annex.erased", of=f"{_LOG}0", by="support:a", tags=[_TAG, _TAG])
    tell("fence.set", why="restored")
    tell("fence.lifted", of=f"{_LOG}0", by="support:a")


def _promise(story: _Story) -> None:
    """What the hub says, and what the site answers."""
    tell = story.tell
    seen = {"e1-00000000:hc": 1, "e1-00000000:hu": 1}
    tell("capacity.transferred", size="S", count=10)
    tell("capacity.transferred", size="S", count=10, seen=seen)
    tell("parcel.expected", log=_HUB, tag=_TAG, key_version=1, private=_HASH)
    made = tell("reservation.made", log=_HUB, size="M", tag=_TAG, key_version=1, until_ms=0)
    tell("reservation.cancelled", log=_HUB, of=made, by="api")
    tell("reservation.closed", of=made, outcome="used", size="L", parcel=f"{_LOG}0")
    tell("reservation.closed", of=made, outcome="expired", size="XL", seen=seen)
    tell("capacity.released", of=made, size="S", seen=seen)
    tell("claim.made", log=_HUB, tag=_TAG, says="collected", by="api")
    tell("open.requested", log=_HUB, by="api", why="", case="", door=1, until_ms=0)
    tell("request.declined", of=made, why="door.busy")
    tell("fold.switched", log=_HUB, version=1, lanes={_LOG: 0})


def _trouble(story: _Story, by: str) -> None:
    """What goes wrong."""
    tell = story.tell
    door = 7
    tell("compartment.disabled", door=door, by="site", why="door.stuck")
    tell("compartment.enabled", door=door, by="support:a")
    root = story.opening(door, 0, of=by, by=by, purpose="take_back")
    story.closed(root, door)
    tell("parcel.taken_back", of=by, door=door, by=by, basis="person")
    tell("parcel.claimed", of=by, door=door, by="code")
    tell("open.ended", of=root, door=door, outcome="failed", why="door.silent")
    tell("open.ended", of=root, door=door, outcome="doubt", why="door.unseen", occupied=True)
    tell("open.ended", of=root, door=door, outcome="late", took_ms=700)
    tell("door.proved", door=door, why="relay counter")
    for again in range(2):
        tell("door.forced", door=door)
        tell("door.closed", wait_ms=9_000, door=door, occupied=False)
        tell("compartment.doubted", door=door, why="occupancy.changed", occupied=True)
        tell("compartment.checked", door=door, by="support:a", occupied=False)
        for alarm in ("door.forced", "door.ajar", "occupancy.changed", "door.stuck"):
            raised = tell("alarm.raised", alarm=alarm, door=door + again)
            tell("alarm.cleared", raises=[raised], door=door + again)
        for alarm in ("disk.low", "clock.untrusted", "board.silent"):
            raised = tell("alarm.raised", alarm=alarm, about="b1")
            tell("alarm.cleared", raises=[raised])
    tell("compartment.freed", size="S")


def _measure(story: _Story) -> None:
    """What is sampled."""
    names = (
        "alarms", "boards_crc_errors", "boards_requests", "boards_retries", "boards_timeouts",
        "disk_free_kb", "disk_free_percent", "doors_disabled", "doors_free", "doors_held",
        "log_kb", "memory_kb", "parcels",
    )  # fmt: skip
    lanes = {lane: [0, _HASH] for lane in ("custody", "telemetry", "urgent")}
    story.tell("lanes.tied", lanes=lanes)
    for _ in range(2):
        story.tell("health.sampled", values=dict.fromkeys(names, 0))


PRIMER: Final = _primer()
