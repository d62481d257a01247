"""Options that many commands have, how they reach the hub, and one way to tell what was done."""

import asyncio
import json
import os
import pwd
import ssl
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Final, TypeVar

import aiohttp
import click

from certs import tls
from certs.authority import from_pem
from sync.errors import StoreFailed, TheirsInvalid
from sync.hub import accounts, authority, ca, folder, logs
from sync.hub.config import Config
from sync.hub.doorman import local_token
from sync.hub.rooms import Hub, opened

F = TypeVar("F", bound=Callable[..., Any])
T = TypeVar("T")
CLIENT_S: Final = 30.0
LOCAL: Final = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104  # what a hub listens at


def config(function: F) -> F:
    """Add the option `--config FILE`."""
    return click.option(
        "--config",
        "file",
        required=True,
        envvar="LOCKER_HUB_CONFIG",
        type=click.Path(exists=True, path_type=Path),
        metavar="FILE",
        help="hub.toml, or the folder with it. Or the variable LOCKER_HUB_CONFIG.",
    )(function)


def as_json(function: F) -> F:
    """Add the option `--json`."""
    return click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")(function)


def tell(told: Any, text: str, *, as_json: bool) -> None:
    """Print JSON, or the text."""
    click.echo(json.dumps(told) if as_json else text)


def read(file: Path) -> Config:
    """Return the configuration; from here on log lines are warnings on stderr."""
    logs.configure("text", "error")
    return folder.read(file)


def with_hub(chosen: Config, work: Callable[[Hub], Awaitable[T]]) -> T:
    """Open the hub's storage here, and do this with it."""

    async def main() -> T:
        async with opened(chosen) as hub:
            return await work(hub)

    return asyncio.run(main())


def asked(chosen: Config, method: str, path: str, body: Any = None) -> dict[str, Any]:
    """Ask the running hub; raise its refusal. `hub.not_running` where nobody answers."""

    async def main() -> dict[str, Any]:
        limit = aiohttp.ClientTimeout(total=CLIENT_S)
        base, context, headers = way(chosen)
        async with aiohttp.ClientSession(timeout=limit, headers=headers) as web:
            try:
                url = f"{base}/api/v1{path}"
                async with web.request(method, url, json=body, ssl=context) as answer:
                    told: dict[str, Any] = await answer.json()
            except (aiohttp.ClientError, TimeoutError, ValueError) as error:
                raise TheirsInvalid(
                    "hub.not_running", "Start it with locker-hub run.", listen=chosen.api.listen
                ) from error
        if "code" in told and "remedy" in told:
            raise TheirsInvalid(told["code"], told["remedy"], **told["evidence"])
        return told

    return asyncio.run(main())


def way(chosen: Config) -> tuple[str, ssl.SSLContext | bool, dict[str, str]]:
    """Return URL, TLS and headers by which a command on this machine asks the running hub."""
    host = LOCAL.get(chosen.api.host, chosen.api.host)
    where = f"{f'[{host}]' if ':' in host else host}:{chosen.api.port}"
    if chosen.development.plain:
        return f"http://{where}", True, {}
    data = Path(chosen.data_dir)
    state = authority.read(data)
    if state is None:
        raise ca.no_authority(data)
    token = local_token(chosen, me())
    headers = {"Authorization": f"Bearer {token}"}
    return f"https://{where}", tls.client(from_pem(state.roots)), headers


def me() -> str:
    """Return who runs this command, as the hub writes it down: `local:<user>`.

    Behind `sudo` that is who called it. Nothing rests on it: who reads the key may write any name.
    """
    user = os.environ.get("SUDO_USER", "")
    if not user:
        try:
            user = pwd.getpwuid(os.getuid()).pw_name
        except KeyError:  # a container's user has no name
            user = str(os.getuid())
    return accounts.local_name(user)


def either(chosen: Config, here: Callable[[Hub], Awaitable[T]], there: Callable[[], T]) -> T:
    """Do it on the storage; where a running hub owns that, ask the hub."""
    try:
        return with_hub(chosen, here)
    except StoreFailed as error:
        if error.reason != "busy":
            raise
    return there()
