"""Deposit receipts that reach the hub before the site's link returns: news, until the log says so.

A receipt is the deposit's entry, a proof (or the checkpoint that ends with it), and the parcel's
identity. Any phone may carry it, so nothing in it is believed but what is checked, in this order:
(1) form, (2) a known site, (3) the signature of the site's own log key, (4) the entry stands in
what was signed, (5) it is a deposit, (6) the identity is the one whose keyed tag the entry has.
News are not in the book and change no right; they answer one question early: the parcel's code.

When the log comes it confirms the news, or it does not contain them: then somebody signed two
histories, which is kept as evidence of a fork.
"""

from collections.abc import Callable
from typing import Final

import msgspec

from certs.errors import CertsError
from certs.note import Checkpoint, open_checkpoint, parse_note
from sync import entry as entries
from sync import facts, proof
from sync.entry import Lane, Writer
from sync.errors import TheirsInvalid
from sync.hub import parcels
from sync.hub.keys import Keys
from sync.hub.registry import Registry
from sync.hub.storage import HubShelf, News, Site, Storage
from sync.merkle import Tree, leaf_hash
from sync.origin import Origin, Ring

NEWS_MAX: Final = 1_000
"""Unconfirmed news of one site: four days of a large one."""


class Deposit(msgspec.Struct, frozen=True):
    """What is kept of a receipt. `note` is the checkpoint that signs it, of `size`."""

    origin: str
    index: int
    entry: str
    identity: str
    note: str
    size: int

    @property
    def ref(self) -> str:
        """The deposit's reference, which is the parcel's."""
        return f"{Origin.parse(self.origin).log}{self.index}"

    @property
    def fact(self) -> facts.ParcelDeposited:
        """What the entry says."""
        fact = facts.from_entry(entries.parse(self.entry.encode()))
        assert isinstance(fact, facts.ParcelDeposited), "checked when it came"
        return fact


class Told(msgspec.Struct, frozen=True):
    """What became of a receipt."""

    site_id: str
    ref: str
    confirmed: bool
    new: bool


class Relay:
    """Takes receipts for all sites."""

    def __init__(self, storage: Storage, registry: Registry, keys: Keys) -> None:
        self._storage, self._registry, self._keys = storage, registry, keys

    async def take(
        self,
        entry: str,
        identity: str,
        *,
        note: str = "",
        proof_text: str = "",
        seen: Callable[[str], None] = lambda _site: None,
    ) -> Told:
        """Check a receipt and keep it as news, or find it confirmed.

        `seen` hears whose site it says it is of, and refuses what is none of the caller's.
        Raises `TheirsInvalid`: `relay.evidence` (neither proof nor checkpoint, or both),
        `relay.form`, `hub.unknown_site`, `relay.signature`, `relay.proof`, `relay.proof_needed`,
        `relay.not_a_deposit`, `relay.parcel`, `relay.fork`, `relay.too_many`.
        """
        if bool(note) == bool(proof_text):
            raise _refused("evidence", "Send either a proof or a checkpoint.")
        origin, site = await self._site(note, proof_text, seen)
        shelf = self._registry.shelf_of(site)
        deposit = await self._proved(site, shelf, origin, entry, identity, note, proof_text)
        self._check_parcel(site, deposit)
        match await self._is_in_log(shelf, deposit):
            case True:
                return Told(site.site_id, deposit.ref, confirmed=True, new=False)
            case False:
                raise await self._fork(site, deposit)
            case None:
                return await self._keep(site, deposit)

    async def settle(self, site: Site) -> None:
        """Compare a site's news with its log, as far as it came."""
        shelf = self._registry.shelf_of(site)
        for news in await self._storage.news(site.site_id):
            deposit = decoded(news)
            held = await self._is_in_log(shelf, deposit)
            if held is None:
                continue
            if not held:
                await self._fork(site, deposit)
            # The log names the parcel from here on, and forgets it where somebody asks it to.
            nameless = msgspec.json.encode(msgspec.structs.replace(deposit, identity=""))
            await self._storage.settle_news(
                site.site_id, news.key, "confirmed" if held else "refused", nameless
            )

    async def unconfirmed(self, site: Site) -> list[tuple[News, Deposit]]:
        """Return a site's news that its log has not confirmed."""
        await self.settle(site)
        return [(news, decoded(news)) for news in await self._storage.news(site.site_id)]

    # --- the checks ---------------------------------------------------------------------------

    async def _site(
        self, note: str, proof_text: str, seen: Callable[[str], None]
    ) -> tuple[Origin, Site]:
        """(1), (2): whose log the checkpoint says it is."""
        try:
            signed = proof.Proof.parse(proof_text).checkpoint if proof_text else note
            origin = Origin.parse(Checkpoint.parse(parse_note(signed)[0]).origin)
        except (CertsError, TheirsInvalid) as error:
            raise _refused("form", "Scan the receipt again.", cause=error.code) from error
        seen(origin.site)
        site = await self._registry.get(origin.site)
        if origin.voice is not Writer.SITE or origin.lane is not Lane.CUSTODY:
            raise _refused("not_a_deposit", "Only a site's custody lane holds deposits.")
        if origin.operator != site.operator:
            raise TheirsInvalid("hub.unknown_site", "This hub governs no such site.")
        return origin, site

    async def _proved(  # noqa: PLR0917  # the parts of a receipt
        self,
        site: Site,
        shelf: HubShelf,
        origin: Origin,
        entry: str,
        identity: str,
        note: str,
        proof_text: str,
    ) -> Deposit:
        """(3), (4): the site signed it."""
        signed = proof.Proof.parse(proof_text).checkpoint if proof_text else note
        verifier = Ring(*site.vkeys).verifier(origin, signed)
        assert verifier is not None, "a site is recorded under its own name"
        data = entry.encode("utf-8", "surrogatepass")
        try:
            if proof_text:
                parsed = proof.Proof.parse(proof_text)
                index, note = parsed.index, parsed.checkpoint
                checkpoint = proof.check(data, parsed, verifier).checkpoint
            else:
                checkpoint = open_checkpoint(note, verifier)
                index = checkpoint.size - 1
        except TheirsInvalid as error:
            unsigned = error.code == "proof.checkpoint"
            raise _refused(
                "signature" if unsigned else "proof", "Scan the receipt again.", cause=error.code
            ) from error
        except CertsError as error:
            raise _refused("signature", "Scan the receipt again.", cause=error.code) from error
        if not proof_text and not await _ends_with(shelf, checkpoint, data):
            raise _refused(
                "proof_needed", "Send a proof: this hub does not hold what comes before it.",
                size=checkpoint.size,
            )  # fmt: skip
        return Deposit(str(origin), index, entry, identity, note, checkpoint.size)

    def _check_parcel(self, site: Site, deposit: Deposit) -> None:
        """(5), (6): it is a deposit of this very parcel."""
        try:
            fact = facts.from_entry(entries.parse(deposit.entry.encode()))
        except TheirsInvalid as error:
            raise _refused("not_a_deposit", "Scan the receipt again.", cause=error.code) from error
        if not isinstance(fact, facts.ParcelDeposited):
            raise _refused("not_a_deposit", "Scan a deposit's receipt.")
        try:
            key = self._keys.code_key(site.site_id, fact.key_version)
        except TheirsInvalid as error:
            raise _refused("parcel", "The site uses another code key.", cause=error.code) from error
        if parcels.parcel_tag(key, deposit.identity) != fact.tag:
            raise _refused(
                "parcel", "This receipt is another parcel's, or the site uses another code key."
            )

    async def _is_in_log(self, shelf: HubShelf, deposit: Deposit) -> bool | None:
        """Return whether the log as held agrees with the receipt; None while it is not so far."""
        log = await shelf.log(deposit.origin)
        if log is None or log.size <= deposit.index:
            return None
        for item in await shelf.read(deposit.origin, deposit.index, deposit.index + 1):
            return item.entry == deposit.entry.encode()
        root = await shelf.root(deposit.origin, min(deposit.size, log.size))
        return root == Checkpoint.parse(parse_note(deposit.note)[0]).root

    async def _keep(self, site: Site, deposit: Deposit) -> Told:
        told = await self._storage.news(site.site_id)
        if len(told) >= NEWS_MAX:
            raise _refused("too_many", "Bring the site's link back first.", news=len(told))
        payload = msgspec.json.encode(deposit)
        new = await self._storage.put_news(site.site_id, deposit.ref, payload)
        same = [one for one in told if one.key == deposit.ref]
        if not new and same and decoded(same[0]).entry != deposit.entry:
            raise await self._fork(site, deposit)
        return Told(site.site_id, deposit.ref, confirmed=False, new=new)

    async def _fork(self, site: Site, deposit: Deposit) -> TheirsInvalid:
        """Keep the evidence that the site's key signed two histories; return the refusal."""
        evidence = {"origin": deposit.origin, "index": deposit.index}
        if await self._storage.keep_fork(site.site_id, deposit.origin, deposit.note):
            await self._storage.audit(site.site_id, "relay.fork", evidence)
        return _refused(
            "fork", "The site's key signed two histories: keep both, look at the site.", **evidence
        )


def decoded(news: News) -> Deposit:
    """Return what was kept of a receipt."""
    return msgspec.json.decode(news.payload, type=Deposit)


async def _ends_with(shelf: HubShelf, checkpoint: Checkpoint, data: bytes) -> bool:
    """Say whether the entry is the last one of the checkpoint, by what is held before it."""
    before = checkpoint.size - 1
    log = await shelf.log(checkpoint.origin)
    if before < 0 or (before and (log is None or log.size < before)):
        return False
    peaks = await shelf.peaks(checkpoint.origin, before) if before else []
    tree = Tree.from_peaks(before, peaks)
    tree.append(leaf_hash(data))
    return tree.root() == checkpoint.root


def _refused(what: str, remedy: str, **evidence: object) -> TheirsInvalid:
    return TheirsInvalid(f"relay.{what}", remedy, **evidence)
