"""How the hub dials a site that it can reach: by mutual TLS, to that site's own gateway alone.

The gateway's certificate names no host, so what is checked is who it is: chained to our roots, in
time by the hub's clock, for the URI of this site, its pin a device that may connect. `http://` is
dialled in development alone.
"""

import ssl

import aiohttp
from cryptography import x509

from certs import authority, tls
from certs.errors import CertificateInvalid
from sync.errors import TheirsInvalid
from sync.hub.authority import HubAuthority
from sync.hub.clock import ERROR_MS
from sync.hub.rooms import Hub
from sync.hub.storage import Site


class Dialling:
    """The connections to one reachable site. `session` is asked before each round."""

    def __init__(self, hub: Hub, site: Site) -> None:
        self._hub, self._site = hub, site
        self._session: aiohttp.ClientSession | None = None
        self._for: tuple[frozenset[str], HubAuthority | None] = (frozenset(), None)

    async def session(self) -> aiohttp.ClientSession:
        """Return the session to ask by; another one once the site's devices or our keys changed.

        Raises `TheirsInvalid` `link.plain` (an `http://` site out of development), `device.unknown`
        (nobody enrolled), StoreFailed.
        """
        hub, site = self._hub, self._site
        known = hub.authority
        if not site.url.startswith("https://"):
            if known is not None:
                raise TheirsInvalid("link.plain", "Give the site an https:// address.")
            if self._session is None:
                self._session = aiohttp.ClientSession()
            return self._session
        if known is None:
            raise TheirsInvalid("hub.no_authority", "Make one with locker-hub ca init.")
        pins = await hub.devices.pins(site.site_id)
        if not pins:
            raise TheirsInvalid("device.unknown", "Enrol this gateway with a claim.")
        if self._session is None or self._for != (pins, known):
            await self.close()
            connector = aiohttp.TCPConnector(ssl=self._context(known, pins))
            self._session, self._for = aiohttp.ClientSession(connector=connector), (pins, known)
        return self._session

    async def close(self) -> None:
        """Close what is open."""
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    def _context(self, known: HubAuthority, pins: frozenset[str]) -> ssl.SSLContext:
        hub, uri = self._hub, authority.site_uri(known.operator, self._site.site_id)

        def judge(leaf: x509.Certificate) -> None:
            tls.dated(hub.clock.utc_ms(), ERROR_MS)(leaf)
            if authority.uri_of(leaf) != uri:
                raise CertificateInvalid("certificate.name", "Another site's gateway is there")
            if authority.pin_of(authority.public_key(leaf)) not in pins:
                raise CertificateInvalid("device.unknown", "Enrol this gateway with a claim")

        context = tls.client(known.roots, known.credentials(), judge=judge)
        # A gateway's certificate names its site, not where it stands: `judge` looks at that.
        context.check_hostname = False
        return context
