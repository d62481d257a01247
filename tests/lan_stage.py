"""A site with its LAN listener on a stage, and the ways in: a browser's manners, a computer."""

import asyncio
import base64
import http.client
import re
import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
from typing_extensions import override

from certs import authority, lan, tls
from gateway import config, control, pairing
from gateway.control import SOCKET
from tests.contract.site_stage import Stand, stand

LIMIT_S = 20.0


class LanStand(Stand):
    """The stage of a whole site, with `[installer] listen` on loopback."""

    @override
    def config(self) -> config.Config:
        plain = super().config()
        # What is announced is the business of the tests of that: here it would only take time.
        lan = config.Installer(listen="127.0.0.1:0", announce=False)
        return msgspec.structs.replace(plain, installer=lan)

    @property
    def office(self) -> Any:
        """The open office: tests look inside for the moment and the window."""
        return self.app._installers._open.office  # type: ignore[union-attr]

    @property
    def address(self) -> str:
        """Where the listener is."""
        return self.app._installers._open.address  # type: ignore[union-attr]

    async def command(self, do: str, name: str = "", by: str = "eva") -> dict[str, Any]:
        """Do what `locker-gateway pairing` does, over the control socket."""
        return await control.pairing(self.data / SOCKET, do=do, by=by, name=name)

    async def paired(self, folder: Path, name: str = "anna") -> pairing.Gateway:
        """Pair a computer by QR; return it ready to ask."""
        offer = lan.read_offer((await self.command("open", name))["qr"])
        await asyncio.to_thread(
            pairing.pair, offer.address, offer.pin, offer.secret, folder=folder, name=name
        )
        return pairing.load(folder / name)[1]

    async def browser(self, name: str = "ben") -> "Browser":
        """Sign a browser in by the typed code."""
        typed = (await self.command("open", name))["typed"]
        browser = Browser(self.address)
        answer = await browser.sign_in(typed)
        assert answer.status == 303, answer
        return browser


@dataclass
class Reply:
    """An answer: status, headers by lower-case name, body."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> dict[str, Any]:
        return msgspec.json.decode(self.body, type=dict[str, Any])

    @property
    def code(self) -> str:
        """The code of a refusal, nothing where it is none."""
        return str(self.json.get("code", "")) if self.body.startswith(b"{") else ""


@dataclass
class Browser:
    """Asks as a browser does: cookies, Origin, Sec-Fetch-Site; every part can be left out."""

    address: str
    own: tls.Credentials | None = None
    cookie: str = ""
    csrf: str = ""
    context: ssl.SSLContext = field(default_factory=tls.unchecked_client)

    def _send(self, method: str, path: str, body: bytes, headers: Mapping[str, str]) -> Reply:
        host, _, port = self.address.rpartition(":")
        if self.own is not None:
            tls.use(self.context, self.own)
        connection = http.client.HTTPSConnection(host, int(port), timeout=10, context=self.context)
        try:
            connection.request(method, path, body=body or None, headers=dict(headers))
            answer = connection.getresponse()
            told = {key.lower(): value for key, value in answer.getheaders()}
            return Reply(answer.status, told, answer.read())
        finally:
            connection.close()

    async def ask(
        self, method: str, path: str, body: bytes = b"", *, bare: bool = False, **more: str
    ) -> Reply:
        """Send one request; `bare` leaves out what this page of the gateway would send."""
        headers = {} if bare else {"Sec-Fetch-Site": "same-origin"}
        if method == "POST" and not bare:
            headers |= {"Origin": f"https://{self.address}", "X-Csrf-Token": self.csrf}
        if self.cookie:
            headers["Cookie"] = f"__Host-installer={self.cookie}"
        headers |= {name.replace("_", "-"): value for name, value in more.items()}
        return await asyncio.to_thread(self._send, method, path, body, headers)

    async def form(self, path: str, text: str, **more: str) -> Reply:
        """Send a form."""
        more = {"Content_Type": "application/x-www-form-urlencoded"} | more
        return await self.ask("POST", path, text.encode(), bare=False, **more)

    async def sign_in(self, typed: str, **more: str) -> Reply:
        """Type the code; keep cookie and token."""
        answer = await self.form("/pair/session", f"code={typed}", **more)
        found = re.match(r"__Host-installer=([^;]+);", answer.headers.get("set-cookie", ""))
        if found:
            self.cookie = found[1]
            self.csrf = (await self.ask("GET", "/api/me")).json["csrf"]
        return answer


def proof_body(pin: str, secret: bytes, key: authority.PrivateKey | None = None) -> bytes:
    """Return the body of a pairing request."""
    own = key or tls.new_key()
    proof = lan.proof(secret, pin, authority.pin_of(own.public_key()))
    csr = authority.make_csr(own)
    return msgspec.json.encode(
        {"csr": base64.b64encode(csr).decode(), "proof": base64.b64encode(proof).decode()}
    )


@asynccontextmanager
async def lan_stand(data: Path) -> AsyncIterator[LanStand]:
    """Lend a running site with its LAN listener."""
    async with stand(data, made=LanStand) as stage:
        assert isinstance(stage, LanStand)
        stage.start()
        await stage.in_service()
        yield stage
