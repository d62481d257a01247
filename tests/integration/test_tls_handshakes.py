"""Pins who gets through a handshake with the contexts of certs.tls, and who does not, on sockets.

Each row is one thing wrong and all else right. A client learns of a refusal of its certificate only
when it reads (TLS 1.3), so a row says who refuses; nothing is ever answered to somebody refused.
"""

import asyncio
import base64
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web
from cryptography import x509
from cryptography.hazmat.primitives import serialization

from certs import authority, tls
from certs.authority import CLIENT, DAY_S, SERVER, Authority, PrivateKey
from certs.errors import CertificateInvalid

NOW_S = 1_780_000_000
"""About the time of writing: OpenSSL compares with the machine's own clock, so rows use REAL_S."""
OPERATOR = "lockers.example"
YEARS = 365 * DAY_S
Credentials = tls.Credentials


def real_s() -> int:
    import time  # noqa: PLC0415  # the rows that OpenSSL dates by itself

    return int(time.time())


@dataclass
class Pki:
    """One operator: root, issuing authority, and leaves on demand."""

    begun_s: int
    operator: str = OPERATOR
    serial: int = 100
    keys: dict[str, PrivateKey] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.root_key, self.issuing_key = tls.new_key(), tls.new_key()
        self.root = authority.make_root(
            self.root_key, self.operator, now_s=self.begun_s, serial=self.next()
        )
        self.rooted = Authority(self.root, self.root_key)
        issuing = authority.make_issuing(
            self.rooted, self.issuing_key.public_key(), self.operator,
            now_s=self.begun_s, serial=self.next(),
        )  # fmt: skip
        self.issuing = Authority(issuing, self.issuing_key)

    def next(self) -> int:
        self.serial += 1
        return self.serial

    def leaf(
        self,
        uri: str,
        *,
        usages: tuple[x509.ObjectIdentifier, ...] = (CLIENT,),
        hosts: tuple[str, ...] = (),
        at_s: int | None = None,
        days: int = 365,
    ) -> Credentials:
        key = tls.new_key()
        at_s = self.begun_s if at_s is None else at_s
        leaf = authority.issue(
            self.issuing, key.public_key(), uri,
            now_s=at_s, days=days, serial=self.next(), usages=usages, hosts=hosts,
        )  # fmt: skip
        return Credentials(authority.pem(leaf, *self.issuing.chain), key)

    def hub(self, **changed: object) -> Credentials:
        told = {"usages": (SERVER, CLIENT), "hosts": ("hub.example", "127.0.0.1"), **changed}
        return self.leaf(authority.hub_uri(self.operator), **told)  # type: ignore[arg-type]

    def gateway(self, **changed: object) -> Credentials:
        return self.leaf(authority.site_uri(self.operator, "0042"), **changed)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def ours() -> Pki:
    return Pki(real_s() - 2 * DAY_S)


@pytest.fixture(scope="module")
def theirs() -> Pki:
    return Pki(real_s() - 2 * DAY_S)


class Listener:
    """A server that answers each line with what it saw of the client; counts who got so far."""

    def __init__(self, context: ssl.SSLContext) -> None:
        self.context, self.served, self.port = context, 0, 0

    async def talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while line := await reader.readline():
                self.served += 1
                leaf = tls.peer_of(writer.get_extra_info("ssl_object"))
                name = authority.uri_of(leaf) if leaf is not None else "nobody"
                writer.write(line.strip() + b" " + name.encode() + b"\n")
                await writer.drain()
        writer.close()


@asynccontextmanager
async def listening(context: ssl.SSLContext) -> AsyncIterator[Listener]:
    loop = asyncio.get_running_loop()
    # What a refused handshake leaves is said where it is asserted, not in the loop's log.
    loop.set_exception_handler(lambda *_: None)
    listener = Listener(context)
    server = await asyncio.start_server(listener.talk, "127.0.0.1", 0, ssl=context)
    listener.port = server.sockets[0].getsockname()[1]
    try:
        yield listener
    finally:
        server.close()


async def ask(
    listener: Listener, context: ssl.SSLContext, name: str = "hub.example"
) -> tuple[str, str, BaseException | None]:
    """Return (who refused: "", "client" or "server"; what was answered; the error)."""
    async with asyncio.timeout(20):
        try:
            reader, writer = await asyncio.open_connection(
                "127.0.0.1", listener.port, ssl=context, server_hostname=name
            )
        except ssl.SSLCertVerificationError as error:
            return "client", "", error
        except OSError as error:  # an alert of the server during the handshake
            return "server", "", error
        try:
            writer.write(b"hello\n")
            answer = await reader.readline()
        except OSError as error:
            return "server", "", error
        finally:
            writer.close()
            with suppress(OSError):
                await writer.wait_closed()
        return ("" if answer else "server"), answer.decode().strip(), None


async def meet(
    server: ssl.SSLContext, client: ssl.SSLContext, name: str = "hub.example"
) -> tuple[str, str, BaseException | None]:
    async with listening(server) as listener:
        found = await ask(listener, client, name)
        # Whoever was refused was not heard either.
        assert listener.served == (0 if found[0] else 1)
        return found


def stolen(victim: Credentials, thief: PrivateKey, folder: Path) -> ssl.SSLContext:
    """A client that shows the victim's certificate and signs with a key of its own.

    OpenSSL compares a certificate with the public half that a key file claims (RFC 5915): this one
    claims the victim's, beside the thief's private half.
    """
    scalar = thief.private_numbers().private_value.to_bytes(32, "big")
    point = victim.key.public_key().public_bytes(
        serialization.Encoding.X962, serialization.PublicFormat.UncompressedPoint
    )
    inner = b"\x02\x01\x01\x04\x20" + scalar + bytes.fromhex("a00a06082a8648ce3d030107")
    inner += b"\xa1\x44\x03\x42\x00" + point
    der = b"\x30" + bytes([len(inner)]) + inner
    path = folder / "pair.pem"
    body = base64.encodebytes(der).decode()
    path.write_text(
        f"{victim.chain}-----BEGIN EC PRIVATE KEY-----\n{body}-----END EC PRIVATE KEY-----\n"
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.load_cert_chain(path)
    return context


# --- who gets in ----------------------------------------------------------------------------------


async def test_both_ends_of_one_operator_meet_over_tls_1_3(ours: Pki) -> None:
    server = tls.server(ours.hub(), [ours.root], clients="required")
    client = tls.client([ours.root], ours.gateway())
    refused, answer, _ = await meet(server, client)
    assert (refused, answer) == ("", f"hello locker://{OPERATOR}/site/0042")
    refused, answer, _ = await meet(server, client, "127.0.0.1")
    assert (refused, answer) == ("", f"hello locker://{OPERATOR}/site/0042")
    assert server.minimum_version == client.minimum_version == ssl.TLSVersion.TLSv1_3


async def test_the_api_asks_for_no_certificate(ours: Pki) -> None:
    refused, answer, _ = await meet(tls.server(ours.hub()), tls.client([ours.root]))
    assert (refused, answer) == ("", "hello nobody")


async def test_an_optional_certificate_is_still_checked(ours: Pki, theirs: Pki) -> None:
    server = tls.server(ours.hub(), [ours.root], clients="optional")
    assert (await meet(server, tls.client([ours.root])))[1] == "hello nobody"
    assert (await meet(server, tls.client([ours.root], theirs.gateway())))[0] == "server"


# --- the matrix: who refuses when the server is wrong ---------------------------------------------

Row = Callable[[Pki, Pki], Credentials]
SERVERS: dict[str, Row] = {
    "root": lambda _, theirs: theirs.hub(),
    "usage": lambda ours, _: ours.hub(usages=(CLIENT,)),
    "name": lambda ours, _: ours.hub(hosts=("other.example",)),
    "name_in_uri_only": lambda ours, _: ours.hub(hosts=()),
    "expired": lambda ours, _: ours.hub(at_s=ours.begun_s, days=1),
    "not_yet": lambda ours, _: ours.hub(at_s=real_s() + DAY_S),
    "self_signed": lambda _, __: self_signed(),
    "issuing_as_leaf": lambda ours, _: Credentials(
        authority.pem(*ours.issuing.chain), ours.issuing_key
    ),
    "chain_cut": lambda ours, _: cut(ours.hub()),
    "leaf_as_authority": lambda ours, _: issued_by_a_leaf(ours),
}  # fmt: skip


def cut(whole: Credentials) -> Credentials:
    return Credentials(authority.pem(whole.leaf), whole.key)


def self_signed() -> Credentials:
    key = tls.new_key()
    root = Authority(authority.make_root(key, OPERATOR, now_s=real_s() - DAY_S, serial=1), key)
    leaf = authority.issue(
        root, key.public_key(), authority.hub_uri(OPERATOR), now_s=real_s() - DAY_S, days=9,
        serial=2, usages=(SERVER, CLIENT), hosts=("hub.example",),
    )  # fmt: skip
    return Credentials(authority.pem(leaf), key)


def issued_by_a_leaf(ours: Pki) -> Credentials:
    """What somebody who broke into one gateway could sign."""
    stolen, key = ours.gateway(), tls.new_key()
    leaf = authority.issue(
        Authority(stolen.leaf, stolen.key), key.public_key(), authority.hub_uri(OPERATOR),
        now_s=real_s() - 3600, days=9, serial=3, usages=(SERVER, CLIENT), hosts=("hub.example",),
    )  # fmt: skip
    return Credentials(authority.pem(leaf) + stolen.chain, key)


@pytest.mark.parametrize("row", sorted(SERVERS))
async def test_a_client_refuses_a_server_with_the_wrong(row: str, ours: Pki, theirs: Pki) -> None:
    server = tls.server(SERVERS[row](ours, theirs), [ours.root], clients="required")
    refused, _, error = await meet(server, tls.client([ours.root], ours.gateway()))
    assert refused == "client"
    assert error is not None
    assert tls.by_dates(error) == (row in {"expired", "not_yet"})


CLIENTS: dict[str, Row | None] = {
    "root": lambda _, theirs: theirs.gateway(),
    "usage": lambda ours, _: ours.gateway(usages=(SERVER,)),
    "expired": lambda ours, _: ours.gateway(at_s=ours.begun_s, days=1),
    "not_yet": lambda ours, _: ours.gateway(at_s=real_s() + DAY_S),
    "self_signed": lambda _, __: self_signed(),
    "issuing_as_leaf": lambda ours, _: Credentials(
        authority.pem(*ours.issuing.chain), ours.issuing_key
    ),
    "chain_cut": lambda ours, _: cut(ours.gateway()),
    "leaf_as_authority": lambda ours, _: issued_by_a_leaf(ours),
    "nothing": None,
}  # fmt: skip


@pytest.mark.parametrize("row", sorted(CLIENTS))
async def test_a_server_refuses_a_client_with_the_wrong(row: str, ours: Pki, theirs: Pki) -> None:
    wrong = CLIENTS[row]
    own = wrong(ours, theirs) if wrong is not None else None
    server = tls.server(ours.hub(), [ours.root], clients="required")
    refused, _, _ = await meet(server, tls.client([ours.root], own))
    assert refused == "server"


# --- possession -----------------------------------------------------------------------------------


async def test_a_certificate_of_another_key_is_refused_when_loaded(ours: Pki) -> None:
    mine, another = ours.gateway(), ours.gateway()
    swapped = Credentials(another.chain, mine.key)
    with pytest.raises(CertificateInvalid) as caught:
        tls.client([ours.root], swapped)
    assert caught.value.code == "certificate.key"
    # ... and what the context showed before, it still shows.
    client = tls.client([ours.root], mine)
    with pytest.raises(CertificateInvalid):
        tls.use(client, swapped)
    server = tls.server(ours.hub(), [ours.root], clients="required")
    assert (await meet(server, client))[0] == ""


async def test_who_shows_a_certificate_must_hold_its_key(ours: Pki, tmp_path: Path) -> None:
    server = tls.server(ours.hub(), [ours.root], clients="required")
    victim = ours.gateway()
    assert (await meet(server, stolen(victim, victim.key, tmp_path)))[0] == ""
    assert (await meet(server, stolen(victim, tls.new_key(), tmp_path)))[0] == "server"
    # The renewal listener looks at everything but dates.
    renewal = tls.server(ours.hub(), [ours.root], clients="required", dates=False)
    assert (await meet(renewal, stolen(victim, tls.new_key(), tmp_path)))[0] == "server"


# --- dates: whose clock ---------------------------------------------------------------------------


async def test_a_renewal_listener_takes_the_expired_and_nothing_else(
    ours: Pki, theirs: Pki
) -> None:
    server = tls.server(ours.hub(), [ours.root], clients="required", dates=False)
    for row in ("expired", "not_yet"):
        late = CLIENTS[row]
        assert late is not None
        assert (await meet(server, tls.client([ours.root], late(ours, theirs))))[0] == "", row
    for row in sorted(set(CLIENTS) - {"expired", "not_yet"}):
        wrong = CLIENTS[row]
        own = wrong(ours, theirs) if wrong is not None else None
        assert (await meet(server, tls.client([ours.root], own)))[0] == "server", row


async def test_a_bootstrap_client_takes_the_expired_server_and_nothing_else(
    ours: Pki, theirs: Pki
) -> None:
    client = tls.client([ours.root], ours.gateway(), dates=False)
    for row in sorted(SERVERS):
        server = tls.server(SERVERS[row](ours, theirs), [ours.root], clients="required")
        refused, _, _ = await meet(server, client)
        assert refused == ("" if row in {"expired", "not_yet"} else "client"), row


@pytest.mark.parametrize(
    ("at_s", "error_ms", "code"),
    [
        (0, 0, "certificate.not_yet"),  # a clock that died
        (NOW_S - 2 * YEARS, 3_600_000, "certificate.not_yet"),
        (NOW_S, 0, ""),
        (NOW_S + YEARS, 3_600_000, ""),  # over, but not surely
        (NOW_S + YEARS, 0, "certificate.expired"),
        (NOW_S + 10 * YEARS, 3_600_000, "certificate.expired"),
        (0, 100 * YEARS * 1000, ""),  # who knows nothing of the time judges nobody by it
    ],
)
async def test_a_judge_goes_by_the_clock_room_not_by_the_machine(
    at_s: int, error_ms: int, code: str
) -> None:
    pki = Pki(NOW_S - 1)
    server = tls.server(pki.hub(at_s=NOW_S), [pki.root], clients="required", dates=False)
    judge = tls.dated(at_s * 1000, error_ms)
    client = tls.client([pki.root], pki.gateway(), judge=judge)
    refused, answer, error = await meet(server, client)
    if not code:
        assert (refused, error) == ("", None)
        assert answer.startswith("hello")
        return
    assert refused == "client"
    assert isinstance(error, ssl.SSLCertVerificationError)
    assert error.verify_message == code
    assert tls.by_dates(error)


async def test_a_judge_refuses_for_its_own_reasons_too_and_they_are_no_dates(ours: Pki) -> None:
    def judge(_leaf: x509.Certificate) -> None:
        raise CertificateInvalid("device.retired", "Enrol again")

    server = tls.server(ours.hub(), [ours.root], clients="required")
    refused, _, error = await meet(server, tls.client([ours.root], ours.gateway(), judge=judge))
    assert refused == "client"
    assert error is not None
    assert not tls.by_dates(error)
    # A server's judge: nothing is served to whom it refuses.
    judged = tls.server(ours.hub(), [ours.root], clients="required", judge=judge)
    assert (await meet(judged, tls.client([ours.root], ours.gateway())))[0] == "server"


async def test_a_judge_looks_at_blocking_sockets_too(ours: Pki) -> None:
    def judge(_leaf: x509.Certificate) -> None:
        raise CertificateInvalid("certificate.expired", "Renew")

    client = tls.client([ours.root], ours.gateway(), judge=judge)

    def dial(port: int) -> None:
        import socket  # noqa: PLC0415  # the one test that needs a plain one

        with (
            socket.create_connection(("127.0.0.1", port), timeout=20) as raw,
            client.wrap_socket(raw, server_hostname="hub.example"),
        ):
            pass

    async with listening(tls.server(ours.hub(), [ours.root], clients="required")) as listener:
        with pytest.raises(ssl.SSLCertVerificationError, match=r"certificate\.expired"):
            await asyncio.to_thread(dial, listener.port)


async def test_dates_are_recognised_through_aiohttp(ours: Pki) -> None:
    async def answer(_: web.Request) -> web.Response:
        return web.Response()

    app = web.Application()
    app.router.add_get("/", answer)
    runner = web.AppRunner(app)
    await runner.setup()
    try:
        for row, dates in (("expired", True), ("root", False)):
            context = tls.server(SERVERS[row](ours, Pki(ours.begun_s)), [ours.root])
            site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context)
            await site.start()
            port = site._server.sockets[0].getsockname()[1]  # type: ignore[union-attr]
            async with aiohttp.ClientSession() as session:
                for client in (
                    tls.client([ours.root]),
                    tls.client([ours.root], judge=tls.dated(real_s() * 1000, 0)),
                ):
                    with pytest.raises(aiohttp.ClientSSLError) as caught:
                        await session.get(f"https://127.0.0.1:{port}/", ssl=client)
                    assert tls.by_dates(caught.value) == dates, row
            await site.stop()
    finally:
        await runner.cleanup()


# --- what is older than TLS 1.3 -------------------------------------------------------------------


async def test_tls_1_2_is_refused_by_both_ends(ours: Pki) -> None:
    old_client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    old_client.maximum_version = ssl.TLSVersion.TLSv1_2
    old_client.load_verify_locations(cadata=authority.pem(ours.root))
    refused, _, error = await meet(tls.server(ours.hub()), old_client)
    assert (refused, error is None) == ("server", False)
    old_server = tls.server(ours.hub())
    old_server.minimum_version = ssl.TLSVersion.TLSv1_2
    old_server.maximum_version = ssl.TLSVersion.TLSv1_2
    for client in (tls.client([ours.root]), tls.unchecked_client()):
        assert (await meet(old_server, client))[0] == "server"


async def test_no_session_is_taken_up_again(ours: Pki) -> None:
    # A resumed session would skip the look at the certificate.
    server = tls.server(ours.hub(), [ours.root], clients="required")
    client = tls.client([ours.root], ours.gateway())
    async with listening(server) as listener:
        reader, writer = await asyncio.open_connection(
            "127.0.0.1", listener.port, ssl=client, server_hostname="hub.example"
        )
        writer.write(b"hello\n")
        await reader.readline()
        session = writer.get_extra_info("ssl_object").session
        assert session is None or not session.has_ticket
        writer.close()


# --- nobody is checked: the one answer that proves itself -----------------------------------------


async def test_the_unchecked_client_meets_anybody_and_shows_nothing(ours: Pki, theirs: Pki) -> None:
    for row in sorted(SERVERS):
        refused, answer, _ = await meet(
            tls.server(SERVERS[row](ours, theirs)), tls.unchecked_client()
        )
        assert (refused, answer) == ("", "hello nobody"), row
    asks = tls.server(ours.hub(), [ours.root], clients="required")
    assert (await meet(asks, tls.unchecked_client()))[0] == "server"


# --- rotation -------------------------------------------------------------------------------------


async def test_a_new_certificate_is_shown_at_once_and_open_connections_stay(ours: Pki) -> None:
    server = tls.server(ours.hub(), [ours.root], clients="required")
    client = tls.client([ours.root], ours.gateway())

    def shown(writer: asyncio.StreamWriter) -> str:
        leaf = tls.peer_of(writer.get_extra_info("ssl_object"))
        assert leaf is not None
        return authority.fingerprint_of(leaf)

    async with listening(server) as listener, asyncio.timeout(20):
        to = ("127.0.0.1", listener.port)
        reader, writer = await asyncio.open_connection(
            *to, ssl=client, server_hostname="hub.example"
        )
        writer.write(b"one\n")
        assert (await reader.readline()).startswith(b"one ")
        tls.use(server, renewed := ours.hub())
        tls.use(client, ours.gateway(at_s=real_s() - 60))
        with pytest.raises(CertificateInvalid):
            tls.use(server, Credentials("no certificate", renewed.key))
        later, other = await asyncio.open_connection(*to, ssl=client, server_hostname="hub.example")
        other.write(b"new\n")
        assert (await later.readline()).startswith(b"new ")
        writer.write(b"two\n")
        assert (await reader.readline()).startswith(b"two ")
        assert shown(other) == authority.fingerprint_of(renewed.leaf) != shown(writer)
        for one in (writer, other):
            one.close()


async def test_who_knows_the_old_root_only_chains_to_a_hub_under_the_new_one(ours: Pki) -> None:
    new = Pki(real_s() - DAY_S)
    crossed = authority.cross_sign(ours.rooted, new.root, now_s=real_s() - DAY_S, serial=77)
    key = tls.new_key()
    leaf = authority.issue(
        new.issuing, key.public_key(), authority.hub_uri(OPERATOR), now_s=real_s() - 3600, days=9,
        serial=78, usages=(SERVER, CLIENT), hosts=("hub.example",),
    )  # fmt: skip
    chain = authority.pem(leaf, *Authority(new.issuing.certificate, key, (crossed,)).chain)
    # The hub knows both roots: its sites' certificates are still the old one's.
    server = tls.server(Credentials(chain, key), [ours.root, new.root], clients="required")
    for roots in ([ours.root], [new.root], [ours.root, new.root], [new.root, ours.root]):
        for own in (ours.gateway(), new.gateway()):
            refused, answer, error = await meet(server, tls.client(roots, own))
            assert (refused, error) == ("", None)
            assert answer.endswith("/site/0042")
    # Without the old root's word for the new one, nobody who missed it would.
    bare = tls.server(Credentials(authority.pem(leaf, *new.issuing.chain), key), [ours.root])
    assert (await meet(bare, tls.client([ours.root])))[0] == "client"
    # A gateway under the new root shows the same to a hub that missed the rotation.
    old_hub = tls.server(ours.hub(), [ours.root], clients="required")
    renewed = new.gateway()
    crossing = Credentials(renewed.chain + authority.pem(crossed), renewed.key)
    assert (await meet(old_hub, tls.client([ours.root], crossing)))[0] == ""
