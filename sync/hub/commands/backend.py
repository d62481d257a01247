"""`locker-hub backend`: who else pulls the sites' logs."""

import base64
from pathlib import Path
from typing import Any

import click
import msgspec
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from certs.authority import CSR_BYTES_MAX
from certs.errors import CertificateInvalid
from sync.errors import StoreFailed
from sync.hub import api_trust
from sync.hub.commands import _shared as shared
from sync.hub.rooms import Hub


@click.group()
def command() -> None:
    """Let a backend pull the logs of sites by a certificate, reading only."""


@command.command("add")
@click.argument("name")
@click.option(
    "--csr", required=True, metavar="FILE",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Its request (PKCS #10, PEM or DER) for a P-256 key.",
)  # fmt: skip
@click.option(
    "--site", "sites", required=True, multiple=True, metavar="SITE", help="May be said again."
)
@click.option(
    "--out", metavar="FILE", type=click.Path(dir_okay=False, path_type=Path),
    help="Where to write the certificate; left out, it is printed.",
)  # fmt: skip
@shared.config
@shared.as_json
def add(  # one option each
    name: str, csr: Path, sites: tuple[str, ...], out: Path | None, file: Path, *, as_json: bool
) -> None:
    """Issue the certificate by which NAME pulls these sites, and register its key."""
    request = _request(csr)

    async def here(hub: Hub) -> dict[str, Any]:
        return _plain(await api_trust.add_backend(hub, name, request, sites, shared.me()))

    chosen = shared.read(file)
    body = {"name": name, "csr": base64.b64encode(request).decode(), "sites": list(sites)}
    told = shared.either(chosen, here, lambda: shared.asked(chosen, "POST", "/backends", body))
    if out is not None:
        out.write_text(told["certificate"], encoding="ascii")
    text = told["certificate"] if out is None else f"{out}: {name} pulls at {told['url']}"
    shared.tell(told, text.rstrip("\n"), as_json=as_json)


@command.command("list")
@shared.config
@shared.as_json
def list_backends(file: Path, *, as_json: bool) -> None:
    """List the backends and what each may read."""

    async def here(hub: Hub) -> dict[str, Any]:
        return _plain(await api_trust.backends(hub))

    chosen = shared.read(file)
    told = shared.either(chosen, here, lambda: shared.asked(chosen, "GET", "/backends"))
    _tell(told, as_json=as_json)


@command.command("end")
@click.argument("name")
@shared.config
@shared.as_json
def end(name: str, file: Path, *, as_json: bool) -> None:
    """Forget the backend NAME: what it has open ends now."""

    async def here(hub: Hub) -> dict[str, Any]:
        return _plain(await api_trust.end_backend(hub, name, shared.me()))

    chosen = shared.read(file)
    path = f"/backends/{name}/end"
    told = shared.either(chosen, here, lambda: shared.asked(chosen, "POST", path, {}))
    _tell(told, as_json=as_json)


def _request(file: Path) -> bytes:
    """Return a request as DER, whichever way it was written."""
    try:
        with file.open("rb") as opened:
            told = opened.read(4 * CSR_BYTES_MAX)
        if not told.startswith(b"-----"):
            return told
        return x509.load_pem_x509_csr(told).public_bytes(Encoding.DER)
    except OSError as error:
        raise StoreFailed("io", "Name a file that can be read.", path=str(file)) from error
    except ValueError:
        raise CertificateInvalid("csr.malformed", "Name a PKCS #10 request") from None


def _tell(told: dict[str, Any], *, as_json: bool) -> None:
    lines = [
        f"{one['name']}  {one['pin'][:16]}  {' '.join(one['sites'])}" for one in told["backends"]
    ]
    shared.tell(told, "\n".join(lines) or "no backends", as_json=as_json)


def _plain(answer: msgspec.Struct) -> dict[str, Any]:
    built: dict[str, Any] = msgspec.to_builtins(answer)
    return built
