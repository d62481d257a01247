"""Local commands: by a person with access to this machine, each answered once it is durable."""

import hashlib
from base64 import b64encode
from dataclasses import fields

from gateway.core import doors, fence, keypad, quota, views
from gateway.core.inputs import (
    AnnexEraseAsked,
    Command,
    CourierAdded,
    CourierRemoved,
    DoorServiced,
    DoorTested,
    EpochBegun,
    MapImported,
    ServiceSet,
    SupportChecked,
    SupportOpens,
)
from gateway.core.state import Opening, Phase, State
from sync import canonical, codes, facts, sitemap
from sync.book import FOLD
from sync.custody import Custody
from sync.entry import Lane
from sync.errors import TheirsInvalid
from sync.join import log_order

ENTRY_FORMAT = 1
TEXT_MAX = 200
"""Characters of a name, reason or case: a few of the longest fit an entry of 4,096 bytes."""
ITEM_BYTES_MAX = 2_048
"""One board or door of a map as written: leaves an entry room for its header."""

INSTALLERS = "installer: "
"""How the reason begins for which an installer took a compartment out of service."""
STUCK = "door.stuck"
"""Why the site itself takes one out: an installer is called for exactly this."""


def malformed(asked: Command) -> str:
    """Return the name of the first text that no entry should hold, or nothing."""
    for field in fields(asked):
        value = getattr(asked, field.name)
        if isinstance(value, str) and (len(value) > TEXT_MAX or not value.isprintable()):
            return field.name
    return ""


def begin(state: State, begun: EpochBegun) -> None:
    """Open a new log, or a later epoch of one."""
    if state.begun:
        state.answer(begun.token, "site.exists")
        return
    epoch, earlier = state.settings.epoch, _earlier(state)
    parents, last = _custody_of(begun.parents), max(earlier, key=log_order, default=None)
    stopped = state.book.stopped  # it is as far as it will ever come: what is next goes on
    unknown = [
        log for log, size in parents.items() if earlier.get(log, 0) < size and log not in stopped
    ]
    forgotten = last is not None and (last not in parents or log_order(last) >= log_order(epoch))
    if unknown or forgotten:
        state.answer(begun.token, "epoch.parents", epoch=epoch, known=len(earlier))
        return
    ref = state.write(
        facts.EpochOpened(
            site=begun.site,
            version=ENTRY_FORMAT,
            parents=begun.parents,
            why=begun.why,
            snapshot=begun.snapshot,
        )
    )
    if begun.fence:
        fence.begin(state, begun.fence)
    state.answer(begun.token, ref=ref)


def _earlier(state: State) -> dict[str, int]:
    """Return the custody logs of this site's earlier epochs, as far as they are folded."""
    return {log: size for log, size in state.book.sizes.items() if size and log.endswith(":sc")}


def _custody_of(parents: dict[str, tuple[int, str]]) -> dict[str, int]:
    """Return the custody logs among an epoch's parents, as references name logs."""
    found = {}
    for origin, (size, _) in parents.items():
        before, _, lane = origin.rpartition("/")
        if lane == Lane.CUSTODY.value and size:
            found[f"{before.rpartition('/')[2]}:sc"] = size
    return found


def take_snapshot(state: State) -> None:
    """Sign the book as it stands, while its map is whole and nothing came too late for it.

    Not behind a fence: what was lost may come back yet, and then the book is folded again from the
    last one before this epoch; what that covers may be pruned.
    """
    book = state.book
    half = not book.map.doors or book.holdings.reader.head is not None
    if not state.begun or book.stale or book.fenced or half:
        return
    lanes = {log: size for log, size in book.sizes.items() if size}
    data = book.canonical()
    digest = hashlib.sha256(data).digest()
    state.write(facts.SnapshotTaken(fold=FOLD, lanes=lanes, sha256=b64encode(digest).decode()))
    state.snapshot(digest, data)


def import_map(state: State, imported: MapImported) -> None:
    """Replace the map, unless a compartment that holds something would vanish."""
    code, evidence = map_refusal(state, imported.map)
    if code:
        state.answer(imported.token, code, "", **evidence)
        return
    ref = write_map(state, imported.map)
    state.answer(imported.token, ref=ref, doors=len(imported.map.doors))


def map_refusal(state: State, wanted: sitemap.SiteMap) -> tuple[str, dict[str, int]]:
    """Return why this map cannot be the site's, with the evidence; nothing where it can."""
    gone = set(state.book.map.doors) - set(wanted.doors)
    for door in sorted(gone):
        if state.compartment(door).custody is not Custody.FREE or door in state.openings:
            return "map.in_use", {"door": door}
    if not wanted.doors or len(wanted.doors) > codes.DIGITS_BY_COMPARTMENTS[-1][0]:
        return "map.size", {"doors": len(wanted.doors)}
    return ("", {}) if _fits_entries(wanted) else ("map.malformed", {})


def write_map(state: State, wanted: sitemap.SiteMap) -> str:
    """Write a whole map; return its first entry."""
    refs = [
        state.write(facts.ConfigSet(item=item, value=value))
        for item, value in sitemap.items(wanted)
    ]
    return refs[0]


def _fits_entries(site: sitemap.SiteMap) -> bool:
    """Return whether the items can be written, and are found again under their names."""
    named = all(name == board.name for name, board in site.boards.items())
    named = named and all(name == line.name for name, line in site.lines.items())
    numbered = all(1 <= number == door.number for number, door in site.doors.items())
    try:
        lengths = [len(canonical.encode(value)) for _, value in sitemap.items(site)]
    except TheirsInvalid:
        return False
    return named and numbered and max(lengths) <= ITEM_BYTES_MAX


def add_courier(state: State, added: CourierAdded) -> None:
    """Give a courier the right to deliver."""
    try:
        codes.parcel_identity(f"{added.tenant}/A/1")
    except TheirsInvalid:
        state.answer(added.token, "courier.tenant")
        return
    if any(known.tag == added.tag for known in state.book.couriers.values()):
        state.answer(added.token, "courier.secret_taken")
        return
    version = state.settings.code_key.version
    ref = state.write(
        facts.GrantIssued(
            grant="courier",
            tenant=added.tenant,
            label=added.label,
            tag=added.tag,
            key_version=version,
        )
    )
    state.answer(added.token, ref=ref)


def remove_courier(state: State, removed: CourierRemoved) -> None:
    """End a courier's right; a session of theirs ends with it."""
    known = state.book.couriers.get(removed.grant)
    if known is None or known.revoked:
        state.answer(removed.token, "courier.unknown", grant=removed.grant)
        return
    ref = state.write(facts.GrantRevoked(of=removed.grant, by=removed.by))
    for session in state.sessions.values():
        if session.courier == removed.grant:
            session.courier = None
    state.answer(removed.token, ref=ref)


def support_opens(state: State, asked: SupportOpens) -> None:
    """Open one door for a reason; at most a few doors a minute."""
    door = asked.door
    if door not in state.book.map.doors:
        state.answer(asked.token, "door.unknown", door=door)
        return
    if quota.rate_reached(state):
        limit = state.settings.support_doors_per_minute
        state.answer(asked.token, "support.rate", doors=limit)
        return
    refused, wait_s = doors.refusal(state, door)
    if refused:
        state.answer(asked.token, refused, door=door, wait_s=wait_s)
        return
    state.support_times.append(state.mono)
    state.on_site_ms = state.mono
    parcel = state.book.parcel_in(door)
    opening = Opening(
        door, "support", Phase.WAITING, by=f"support:{asked.by}",
        of=parcel.ref if parcel else None, token=asked.token, case=f"{asked.case}: {asked.reason}",
    )  # fmt: skip
    doors.start(state, opening)


def door_tested(state: State, asked: DoorTested) -> None:
    """Open one door for an installer's test: never one behind which a parcel may be.

    The opening is support's in every respect, but for who answers for it.
    """
    door = asked.door
    if door not in state.book.map.doors:
        state.answer(asked.token, "door.unknown", door=door)
        return
    if may_hold(state, door) or fence.holds(state, door):
        state.answer(asked.token, "door.occupied", door=door)
        return
    refused, wait_s = doors.refusal(state, door)
    if refused:
        state.answer(asked.token, refused, door=door, wait_s=wait_s)
        return
    by = f"installer:{asked.by}"
    doors.start(
        state, Opening(door, "support", Phase.WAITING, by=by, token=asked.token, case="test")
    )


def may_hold(state: State, door: int) -> bool:
    """Return whether somebody's parcel may be behind this door: on record, or seen by a sensor.

    A doubt without a parcel on record may be looked into once the compartment is out of service.
    """
    compartment = state.compartment(door)
    known = {Custody.FREE, Custody.DOUBT} if compartment.disabled else {Custody.FREE}
    recorded = compartment.parcel is not None or compartment.custody not in known
    return recorded or bool(state.look(door).occupied)


def support_closed(state: State, opening: Opening) -> None:
    """The door that support opened is closed again."""
    compartment = state.compartment(opening.door)
    if fence.opened(state, opening):
        doors.drop(state, opening)
        return
    if compartment.custody is Custody.COLLECTING and opening.of is not None:
        if opening.occupied:
            state.write(facts.ParcelLeft(of=opening.of, door=opening.door))
        elif opening.occupied is False:
            state.write(
                facts.ParcelCollected(
                    of=opening.of, door=opening.door, by=opening.by, basis="sensor"
                )
            )
        else:
            state.write(facts.CompartmentDoubted(door=opening.door, why="support.unseen"))
    views.tell(state, opening, "door", why="service.tested")
    doors.drop(state, opening)


def support_checked(state: State, checked: SupportChecked) -> None:
    """Somebody looked: their word stands unless the sensor says otherwise."""
    door, by = checked.door, f"support:{checked.by}"
    code, ref = check(state, door, occupied=checked.occupied, by=by)
    if code == "check.contradicted":
        state.answer(checked.token, code, door=door, occupied=int(not checked.occupied))
    elif code:
        state.answer(checked.token, code, door=door)
    else:
        state.answer(checked.token, ref=ref)


def check(state: State, door: int, *, occupied: bool, by: str) -> tuple[str, str]:
    """Put on record what somebody saw; return (why not, reference)."""
    if door not in state.book.map.doors:
        return "door.unknown", ""
    look = state.look(door)
    if door in state.openings or look.open:
        return "door.busy", ""
    if look.occupied is not None and look.occupied is not occupied:
        return "check.contradicted", ""
    ref = state.write(facts.CompartmentChecked(door=door, by=by, occupied=occupied))
    state.clear_alarm("occupancy.changed", door)
    state.clear_alarm("door.forced", door)
    return "", ref


def set_service(state: State, asked: ServiceSet) -> None:
    """Take a compartment out of service, or back."""
    if asked.door not in state.book.map.doors:
        state.answer(asked.token, "door.unknown", door=asked.door)
        return
    by, why = f"support:{asked.by}", "" if asked.enabled else asked.reason or "asked"
    state.answer(asked.token, ref=flag(state, asked.door, by, why))


def door_serviced(state: State, asked: DoorServiced) -> None:
    """Take a compartment out of service for an installer, or back: never what others took out.

    The book knows the writer and the reason of a flag. Back comes what an installer took out, or
    the site because the door was stuck; a flag of the hub, of support or of a technician stays, and
    no second reason is written over it, which would make it an installer's.
    """
    door = asked.door
    if door not in state.book.map.doors:
        state.answer(asked.token, "door.unknown", door=door)
        return
    register = state.book.rights.service.get(door)
    standing = register.standing() if register else {}
    whys = {voice: why for voice, why in standing.items() if why}
    own = whys.get("s", "")
    if "h" in whys or (own and own != STUCK and not own.startswith(INSTALLERS)):
        state.answer(asked.token, "service.others", door=door, why=state.compartment(door).disabled)
    elif asked.enabled is not bool(whys):  # it is so already
        state.answer(asked.token, door=door)
    else:
        why = "" if asked.enabled else INSTALLERS + (asked.reason or "asked")
        state.answer(asked.token, ref=flag(state, door, f"installer:{asked.by}", why), door=door)


def flag(state: State, door: int, by: str, why: str) -> str:
    """Take a compartment out of service and say why, or with no reason put it back."""
    if why:
        return state.write(facts.CompartmentDisabled(door=door, by=by, why=why))
    state.clear_alarm("door.stuck", door)
    return state.write(facts.CompartmentEnabled(door=door, by=by))


def erase(state: State, asked: AnnexEraseAsked) -> None:
    """Erase what names a parcel that is gone: here, and in every entry with the same annex.

    One of them may be the parcel itself, or an intent that a restart must still understand.
    """
    holders = next((refs for refs in state.book.holders.values() if asked.ref in refs), [])
    if not holders:
        state.answer(asked.token, "annex.unknown", ref_of=asked.ref)
        return
    unfinished = {opening.intent for opening in state.openings.values()}
    if not unfinished.union(state.book.parcels).isdisjoint(holders):
        state.answer(asked.token, "annex.live", ref_of=asked.ref)
        return
    refs = list(holders)
    gone = {parcel.ref: parcel for parcel in state.book.retired}
    for ref in refs:
        known = keypad.tags_of(state, gone[ref]) if ref in gone else ()
        tags = tuple(b64encode(tag).decode() for tag in known)
        state.erase(ref)
        state.write(facts.AnnexErased(of=ref, by=f"support:{asked.by}", tags=tags))
    state.answer(asked.token, ref=refs[0], entries=len(refs))
