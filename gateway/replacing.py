"""A new gateway in the place of one that is lost: new keys, and the old one's logs from the hub.

    names and keys -> the hub's copy of every log of this site -> a new epoch behind a fence

The new writer key must be made known at the hub (`locker-hub site rekey`) before the link works.
What the lost disk held and the hub never heard is gone: that is why the fence stands until somebody
has looked behind every door that is not empty.
"""

import asyncio
import ssl
from pathlib import Path

import aiohttp
import msgspec

from certs.keys import SigningKey, Verifier
from gateway import continuity, identity
from gateway import site as sites
from gateway.errors import GatewayError
from sync.entry import Writer
from sync.origin import Origin, Ring
from sync.pages import Told
from sync.pullclient import Summary, pull
from sync.pullwire import Limits, Peer
from sync.store import Store

Context = ssl.SSLContext | None
"""How the hub is dialled: by mutual TLS, or (None) as its address says."""


class Replaced(msgspec.Struct, frozen=True):
    """What was made: the site, its new epoch and writer key, and how much came from the hub."""

    site: str
    epoch: str
    vkey: str
    entries: int


def replace(  # noqa: PLR0917  # who, where from, and the three keys that come by hand
    data: Path, operator: str, site: str, hub_url: str, writer: str, cosigner: str,
    key_version: int, code_key: bytes, context: Context = None,
) -> Replaced:  # fmt: skip
    """Make the data folder of a replaced gateway out of what the hub holds.

    Raises GatewayError `site.exists`, `site.name`, `replace.unknown` (the hub holds nothing of this
    site), `replace.refused`; `key.vkey`; what pulling raises. Whatever it raises, the folder holds
    no site then, and the command can be given again. Where a kill leaves one half-made it is
    marked, so that it begins behind a fence too. With a TLS `context` the hub was told of a log key
    that is here, which stays.
    """
    for vkey in (writer, cosigner):
        Verifier.from_vkey(vkey)
    name = f"{operator}/site/{site}"
    base = f"{hub_url.rstrip('/')}/sites/{site}/sync/v1"
    told = held(hub_url, name, context)
    if not told:
        raise GatewayError("replace.unknown", "Check the site's id and the hub's address", hub=base)
    epoch = continuity.next_epoch([Origin.parse(log.origin).epoch for log in told])
    who = sites.make(data, operator=operator, site=site, told=context is not None)
    try:
        # Before the epoch that follows the hub's: from there on only the mark asks for a fence.
        continuity.mark(data, "replaced")
        sites.import_code_key(data, key_version, code_key)
        identity.replace(data, epoch=epoch)
        pulled = _fetch(data, base, name, told, writer, cosigner, context)
    except BaseException:
        _unmake(data)
        raise
    vkey = SigningKey.from_seed(name, who.identity.seed).vkey
    return Replaced(name, epoch, vkey, pulled)


def _fetch(  # noqa: PLR0917  # where to, where from, and whom to believe
    data: Path, base: str, name: str, told: list[Told], writer: str, cosigner: str,
    context: Context,
) -> int:  # fmt: skip
    """Fill the new folder's database with the hub's copy; return how many entries came."""
    for log in told:
        former = Verifier(name, Verifier.from_vkey(log.vkey).public)
        continuity.keep_former_key(data, former.vkey)
    ring = Ring(*continuity.former_keys(data), writer)
    done = asyncio.run(_pull(data, base, ring, (Verifier.from_vkey(cosigner),), context))
    if done.refused:
        first = done.refused[0]
        raise GatewayError(
            "replace.refused", "Ask the hub's operator: what it sent was not taken",
            origin=first.origin, cause=first.error.code,
        )  # fmt: skip
    return done.pulled


def _unmake(data: Path) -> None:
    """Take back what makes the folder a site. Its keys signed nothing; the mark harms nobody."""
    for left in sorted(data.glob(f"{identity.database_of(data).name}*")):
        left.unlink(missing_ok=True)
    (data / continuity.FORMER).unlink(missing_ok=True)
    (data / sites.IDENTITY).unlink(missing_ok=True)


def held(hub_url: str, name: str, context: Context = None) -> list[Told]:
    """Return what the hub holds of the logs that a site wrote itself. Raises what pulling does."""
    base = f"{hub_url.rstrip('/')}/sites/{name.rpartition('/')[2]}/sync/v1"
    return [log for log in asyncio.run(_told(base, context)) if _is_of(log.origin, name)]


async def _told(base: str, context: Context) -> list[Told]:
    async with aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(ssl=context or True)
    ) as session:
        return await Peer(session, base, Limits()).logs()


async def _pull(
    data: Path, base: str, ring: Ring, cosigners: tuple[Verifier, ...], context: Context
) -> Summary:
    who = identity.load(data)
    store = await Store.open(identity.database_of(data), who, ring=ring, cosigners=cosigners)
    connector = aiohttp.TCPConnector(ssl=context or True)
    async with store, aiohttp.ClientSession(connector=connector) as session:
        return await pull(session, base, store, push=False)


def _is_of(origin: str, name: str) -> bool:
    named = Origin.parse(origin)
    return named.voice is Writer.SITE and named.signer == name
