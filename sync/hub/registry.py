"""The sites that this hub governs: added, shown, fenced after a restore, and healed.

Who may write what: a site's key comes from its gateway (`locker-gateway log vkey`), by hand, until
enrolment brings it. The hub chooses an epoch of its own for each site, and a new one whenever its
own continuity is broken.
"""

import re
from collections.abc import Callable
from typing import Final

import msgspec

from certs.errors import CertsError
from certs.keys import KIND_NOTE, Verifier
from certs.note import sign_checkpoint
from sync.errors import SyncError, TheirsInvalid
from sync.hub.clock import Clock
from sync.hub.keys import Keys
from sync.hub.storage import HubShelf, Moved, Site, Storage
from sync.origin import Origin, Ring, epoch_order

LABEL_CHARACTERS_MAX: Final = 64
KEYS_MAX: Final = 16
"""Keys of one site: each replaced gateway has another."""
REVIVED: Final = "revived"
"""Records of sites that began again after their end: how far their logs were then."""
_CURRENT: Final = "current"
_TRIES: Final = 5
_site_id = re.compile(r"[a-z0-9-]{1,32}").fullmatch
_url = re.compile(r"https?://[A-Za-z0-9.:\[\]-]{1,255}(?:/[A-Za-z0-9._~/-]{0,255})?").fullmatch


class Registry:
    """The sites, by their ids. `random` gives that many random bytes."""

    def __init__(
        self, storage: Storage, keys: Keys, clock: Clock, random: Callable[[int], bytes]
    ) -> None:
        self._storage, self._keys, self._clock, self._random = storage, keys, clock, random

    async def add(self, site_id: str, vkey: str, *, url: str = "", label: str = "") -> Site:
        """Add a site; the same one again changes nothing.

        Raises `TheirsInvalid` `site.id`, `site.vkey`, `site.url`, `site.label`, and
        `hub.site_exists` where another key or URL is on record.
        """
        check_site_id(site_id)
        if url and not _url(url):
            raise _refused("url", "Write http://HOST:PORT, or leave it out.")
        if len(label) > LABEL_CHARACTERS_MAX or not label.isprintable():
            raise _refused("label", f"Use at most {LABEL_CHARACTERS_MAX} printable characters.")
        writer = self._writer(site_id, vkey)
        known = await self._storage.site(site_id)
        if known is not None:
            return _same(known, writer.vkey, url)
        site = Site(
            site_id=site_id,
            operator=self._keys.operator,
            label=label,
            vkey=writer.vkey,
            epoch=f"e1-{self._random(4).hex()}",
            created_ms=self._clock.utc_ms(),
            url=url,
        )
        try:
            await self._storage.add_site(site)
        except SyncError as error:
            if error.code != "hub.site_exists":
                raise
            # Another process added it just now, and chose the epoch.
            return _same(await self.get(site_id), writer.vkey, url)
        return site

    async def get(self, site_id: str) -> Site:
        """Return a site; `TheirsInvalid` `hub.unknown_site`."""
        site = await self._storage.site(site_id) if _site_id(site_id) else None
        if site is None:
            raise TheirsInvalid(
                "hub.unknown_site",
                "Take an id from GET /api/v1/sites.",
                site=ascii(site_id)[1:41].rstrip("'"),
            )
        return site

    async def shelf(self, site_id: str) -> HubShelf:
        """Return the shelf of a site, with the keys that may write there."""
        return self.shelf_of(await self.get(site_id))

    def shelf_of(self, site: Site) -> HubShelf:
        """Return the shelf of a site that is known."""
        keys = self._keys
        return self._storage.shelf(
            site.site_id,
            Ring(*site.vkeys, keys.writer(site.site_id).vkey),
            cosigners=(keys.cosigner(site.site_id).verifier,),
            sign=lambda checkpoint: sign_checkpoint(checkpoint, keys.log_key(checkpoint.origin)),
        )

    async def use_key_version(self, site_id: str, version: int) -> Site:
        """Derive new codes and tags of a site by this version of its key; never an earlier one."""
        site = await self.get(site_id)
        if version <= site.key_version:
            return site
        return await self._change(site_id, key_version=version)

    async def rekey(self, site_id: str, vkey: str) -> Site:
        """Take in the key of a gateway that replaces a lost one; one that is known changes nothing.

        What the older keys signed stays good. Raises `TheirsInvalid` `hub.unknown_site`,
        `site.vkey`, `site.keys` (more than 16).
        """
        writer = self._writer(site_id, vkey)
        site = await self.get(site_id)
        if writer.vkey in site.vkeys:
            return site
        if len(site.vkeys) >= KEYS_MAX:
            raise _refused("keys", "Ask why this site was replaced so often.", keys=KEYS_MAX)
        return await self._change(site_id, vkey=" ".join([*site.vkeys, writer.vkey]))

    async def restored(self) -> tuple[Site, ...]:
        """Mark this database as restored from a backup; return the sites, all of them fenced.

        The store gets another name, so that no receipt of the lost one counts.
        """
        await self._storage.renew_instance()
        return tuple([await self.fence(site) for site in await self._storage.sites()])

    async def fence(self, site: Site) -> Site:
        """End the hub's lanes for a site, begin an epoch behind a fence; return the site.

        What is lost of the ended lanes may come back from the gateway. Nothing left unsigned is
        signed: the lost hub may have signed something else there.
        """
        for log in await self.shelf_of(site).logs():
            if log.own:
                await self._storage.disown(site.site_id, log.origin)
        number = epoch_order(site.epoch)[0] + 1
        epoch = f"e{number}-{self._random(4).hex()}"
        return await self._change(site.site_id, fenced=True, epoch=epoch)

    async def hold(self, site_id: str) -> Site:
        """Raise a site's fence in its present epoch: nothing that spends a right is written."""
        return await self._change(site_id, fenced=True)

    async def end(self, site_id: str) -> Site:
        """Switch a site off for good: its own log says that it has ended."""
        return await self._change(site_id, enabled=False)

    async def revive(self, site_id: str) -> Site:
        """Switch a site on again; what its logs of until now say of its end counts no more."""
        site = await self.get(site_id)
        if site.enabled:
            return site
        ended = {log.origin: log.size for log in await self.shelf_of(site).logs() if not log.own}
        data = msgspec.json.encode(ended)
        if not await self._storage.add_record(site_id, REVIVED, _CURRENT, data):
            before = await self._storage.record(site_id, REVIVED, _CURRENT)
            assert before is not None, "records of this kind are never dropped"
            await self._storage.change_record(site_id, before, data)
        return await self._change(site_id, enabled=True)

    async def ended(self, site_id: str, origin: str, index: int) -> bool:
        """Say whether an entry that ends a site still does: none from before it began again."""
        record = await self._storage.record(site_id, REVIVED, _CURRENT)
        over = {} if record is None else msgspec.json.decode(record.data, type=dict[str, int])
        return index >= over.get(origin, 0)

    async def heal(self, site_id: str) -> Site:
        """Lift a site's fence: its gateway holds nothing of this hub that this hub does not."""
        site = await self.get(site_id)
        return await self._change(site_id, fenced=False) if site.fenced else site

    async def _change(self, site_id: str, **fields: object) -> Site:
        for _ in range(_TRIES):
            site = await self.get(site_id)
            try:
                return await self._storage.update_site(msgspec.structs.replace(site, **fields))
            except Moved:
                continue
        raise TheirsInvalid("hub.busy", "Ask again in a moment.", site=site_id)

    def _writer(self, site_id: str, vkey: str) -> Verifier:
        """Return the site's writer key out of a vkey of the writer, or of one of its logs."""
        name = self._keys.site_name(site_id)
        try:
            given = Verifier.from_vkey(vkey.strip())
        except CertsError as error:
            raise _refused("vkey", error.remedy, cause=error.code) from error
        signer = given.name if given.name == name else _signer(given.name)
        if signer != name or given.kind != KIND_NOTE:
            raise _refused(
                "vkey", "Copy the line of this very site.", named=given.name[:80], expected=name
            )
        return Verifier(name, given.public)


def check_site_id(site_id: str) -> None:
    """Raise `TheirsInvalid` `site.id` unless a site may be called so."""
    if not _site_id(site_id):
        raise _refused(
            "id", "A site is 1 to 32 of a-z, 0-9 and dash.", site=ascii(site_id)[1:41].rstrip("'")
        )


def _same(known: Site, vkey: str, url: str) -> Site:
    if known.url != url or vkey not in known.vkeys:
        raise TheirsInvalid(
            "hub.site_exists",
            "This site is on record with another key or URL.",
            site=known.site_id,
        )
    return known


def _signer(name: str) -> str:
    try:
        return Origin.parse(name).signer
    except TheirsInvalid:
        return ""


def _refused(part: str, remedy: str, **evidence: object) -> TheirsInvalid:
    return TheirsInvalid(f"site.{part}", remedy, **evidence)
