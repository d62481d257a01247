"""What a scanned capability means (FORMATS.md 7): who gave which right, and does it hold now.

A site that never heard of it believes it: a signer that the hub names signed it, for this site. The
first use is an entry of this log (`capability.accepted`), and by that entry goes everything after:
so it is used once where it is good for one use, and everybody can see by whose word a door opened.

Nothing of it is charged to the guessing bucket: a signature is not guessed. A kiosk looks at some
twenty a minute.
"""

from dataclasses import dataclass, field, replace

from certs import capability
from certs.capability import Action, Capability
from certs.errors import CertsError
from certs.keys import Verifier
from gateway.core import clocks, deposit, grants, keypad, pickup, promises, quota, technician
from gateway.core.inputs import CapabilityScanned
from gateway.core.outputs import PairingOpened
from gateway.core.screen import Screen
from gateway.core.state import Session, State
from sync import codes, facts
from sync.errors import TheirsInvalid
from sync.join import is_ref
from sync.records import Grant, Parcel
from sync.rights import ONCE

KINDS: dict[Action, str] = {
    Action.COLLECT: "collect", Action.DEPOSIT: "deposit", Action.RETURN: "return",
    Action.COURIER: "courier", Action.SERVICE: "service", Action.INSTALL: "install",
    Action.RESERVATION: "reservation",
}  # fmt: skip
DELIVERS = frozenset({"courier", "deposit", "return", "reservation"})
NOBODY = "reserved"
"""The tenant of a parcel that came by a reservation which names none."""
PAIRING_MINUTES = 10
UTC_MS_MAX = 2**53 - 1
WORDS = {
    "code.revoked": "capability.revoked", "code.retired": "capability.used",
    "code.expired": "capability.expired", "staff.revoked": "capability.revoked",
    "staff.expired": "capability.expired", "staff.cautious": "capability.cautious",
}  # fmt: skip
"""The refusals of typed codes, in the words of what was shown instead."""


@dataclass(frozen=True, slots=True)
class _Shown:
    """What a signature that we believe says, and whose it is."""

    given: Capability
    kid: str
    salt: bytes = field(repr=False)


def scanned(state: State, shown: CapabilityScanned) -> None:
    """Take what somebody showed: do what it is good for, or say why not."""
    wait_s = quota.scan_wait_s(state, shown.kiosk)
    if wait_s:
        _refuse(state, shown.kiosk, "capability.wait", count=wait_s)
        return
    audience = f"{state.settings.operator}/{state.settings.writer}"
    try:
        data = capability.from_text(shown.text)
        given = capability.verify(data, state.signers, audience)
    except CertsError as error:
        known = error.code.startswith("capability.")
        _refuse(state, shown.kiosk, error.code if known else "capability.malformed")
        return
    kid = next(kid_of(one) for one in state.signers if _signed(data, one, audience))
    proof = _Shown(given, kid, shown.salt)
    why = _judge(state, state.sessions[shown.kiosk], proof)
    if why:
        _refuse(state, shown.kiosk, WORDS.get(why, why), given.cti.hex())


def _signed(data: bytes, signer: Verifier, audience: str) -> bool:
    try:
        capability.verify(data, (signer,), audience)
    except CertsError:
        return False
    return True


def kid_of(signer: Verifier) -> str:
    """Return a signer's key id as it is put on record."""
    return capability.kid_of(signer.public).hex()


def _judge(state: State, session: Session, shown: _Shown) -> str:
    """Use a capability that was given by somebody we believe; return why not, or nothing."""
    right = _known(state, shown.given)
    why = _refusal(state, shown.given, right)
    if why:
        return why
    if right.grant == "collect":
        return _collect(state, session, shown, right)
    if right.grant in DELIVERS:
        return _deliver(state, session, shown, right)
    right = _accept(state, shown, right)
    session.clear()
    state.on_site_ms = state.mono
    if right.grant == "service":
        session.service = right.ref
        technician.menu(state, session)
        return ""
    ends = state.settings.pairing_ms
    screen = Screen("service.pairing", count=PAIRING_MINUTES, ends_ms=ends)
    state.show(session.kiosk, screen)
    state.do(PairingOpened(session.kiosk, right.ref))
    return ""


def _known(state: State, given: Capability) -> Grant:
    """Return the right that it became here before, or what it would become (with no reference)."""
    known = state.book.rights.accepted(given.cti.hex())
    if known is not None:
        return known
    return Grant(
        "", KINDS[given.action], given.subject or "", "", "", 0, None,
        min(given.expires_s * 1000, UTC_MS_MAX), cti=given.cti.hex(), room=given.room or "",
    )  # fmt: skip


def _refusal(state: State, given: Capability, right: Grant) -> str:  # noqa: PLR0911  # the order of checks
    """Return why it is not good, whatever it is for."""
    rights = state.book.rights
    end_ms = min(given.expires_s * 1000, UTC_MS_MAX)
    over = clocks.perhaps_over if right.grant in grants.STAFF else clocks.surely_over
    if over(state.now, end_ms) or end_ms <= rights.forgotten_ms:
        return "capability.expired"
    if clocks.surely_before(state.now, given.not_before_s * 1000):
        return "capability.early"
    same = rights.of_cti(right.cti)
    if right.cti in state.denied:
        return "capability.denied"
    if any(one.revoked for one in same):
        return "capability.revoked"
    if rights.is_used(right):
        return "capability.used"
    if any(one.ref in rights.cautious for one in same):
        return "capability.cautious"
    if right.grant != KINDS[given.action] or (given.object and not is_ref(given.object)):
        return "capability.malformed"
    return ""


def _accept(state: State, shown: _Shown, right: Grant) -> Grant:
    """Put the first use on record, before anything happens by it."""
    if right.ref:
        return right
    ref = state.write(
        facts.CapabilityAccepted(
            of=right.of,
            cti=right.cti,
            action=right.grant,
            kid=shown.kid,
            until_ms=right.until_ms or 0,
            clock=state.now.trust.value,
            tenant=right.tenant,
            room=right.room,
        )
    )
    accepted = state.book.rights.find(ref)
    assert accepted is not None
    return accepted


def _refuse(state: State, kiosk: str, why: str, cti: str | None = None, count: int = 0) -> None:
    """Say why, and put it on record: the first at once, more of them together a little later."""
    if ("unscanned", "") in state.timers:
        state.unscanned += 1
        state.unscanned_why = why
    else:
        state.write(facts.CapabilityRefused(why=why, cti=cti))
        _count_more(state)
    ends = state.settings.result_ms
    state.show(kiosk, Screen("capability.refused", why=why, count=count, ends_ms=ends))


def write_unscanned(state: State) -> None:
    """Put the refusals counted since the last one on record together, once a minute."""
    if state.unscanned:
        why, count = state.unscanned_why, state.unscanned
        state.write(facts.CapabilityRefused(why=why, count=count))
        state.unscanned = 0
        _count_more(state)


def _count_more(state: State) -> None:
    state.timers["unscanned", ""] = state.mono + state.settings.refusals_ms


# --- collecting -------------------------------------------------------------------------------


def _collect(state: State, session: Session, shown: _Shown, right: Grant) -> str:
    """Open the parcel's door, as its code would."""
    if not right.ref:
        parcel = _parcel(state, shown.given.object or "")
        if parcel is None:
            return "capability.no_parcel"
        right = replace(right, of=parcel.ref)
    why = keypad.grant_refusal(state, right) or keypad.capped(state, right)
    if why:
        return why
    right = _accept(state, shown, right)
    session.clear()
    session.parcel, session.grant = right.of, right.ref
    pickup.open_for(state, session.kiosk, state.book.parcels[right.of or ""], "asked")
    return ""


def _parcel(state: State, named: str) -> Parcel | None:
    """Return the live parcel that an entry of ours is, or that an entry of the hub speaks of."""
    own = state.book.parcels.get(named)
    tag = state.book.rights.named.get(named)
    if own is not None or tag is None:
        return own
    return next(
        (one for one in state.book.parcels.values() if tag in promises.tags(state, one)), None
    )


# --- delivering -------------------------------------------------------------------------------


def _deliver(state: State, session: Session, shown: _Shown, right: Grant) -> str:
    """Let somebody put in one parcel, or a courier as many as they bring."""
    if state.book.fenced:
        return "site.fenced"
    if not right.ref:
        right = replace(right, of=shown.given.object, tenant=right.tenant or _tenant(right))
    identity = _identity(state, right)
    why = "capability.malformed" if identity is None else _one_parcel(state, right)
    if why:
        return why
    right = _accept(state, shown, right)
    for other in state.sessions.values():
        if right.grant in ONCE and other is not session and other.courier == right.ref:
            other.courier = None  # one parcel, one screen: the one where it was shown last
    deposit.begin(session, right.ref)
    session.room = right.room
    if identity:
        deposit.brings(state, session, identity, shown.salt)
    else:
        deposit.scan(state, session)
    return ""


def _tenant(right: Grant) -> str:
    return NOBODY if right.grant == "reservation" else ""


def _identity(state: State, right: Grant) -> str | None:
    """Return the parcel that a right is about; "" where its number is asked for; None for none.

    A return has no number that anybody could type: it is named by the capability itself, and so is
    what a reservation brings that names no tenant.
    """
    named = f"{right.tenant}/R{right.cti.upper()}/1"
    try:
        codes.parcel_identity(named)
    except TheirsInvalid:
        return None
    expected = state.book.rights.expected.get(right.of or "")
    if right.grant in ONCE and expected is not None and expected.identity is not None:
        return expected.identity
    unnamed = right.grant == "return" or (right.grant == "reservation" and right.tenant == NOBODY)
    return named if unnamed else ""


def _one_parcel(state: State, right: Grant) -> str:
    """Return why a right that is good for one parcel brings none now, or nothing."""
    if right.grant not in ONCE:
        return ""
    if right.grant != "reservation":
        return deposit.once_refusal(state, right)
    of, standing = right.of or "", state.book.rights.escrow.promises
    if ":h" not in of or not right.room:
        return "capability.malformed"
    heard = standing.get(of)
    if (state.book.known(of) and heard is None) or of in state.book.rights.escrow.unheard:
        return "capability.used"
    if heard is not None and heard.cancelled:
        return "capability.revoked"
    return deposit.once_refusal(state, right)
