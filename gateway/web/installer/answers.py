"""Requests read within bounds, and answers made: what every path of the LAN listener shares."""

import asyncio
import ipaddress
import re
from typing import Final, TypeVar

import msgspec
from aiohttp import hdrs, web

from gateway.errors import GatewayError

BODY_S: Final = 5.0
FORM: Final = "application/x-www-form-urlencoded"
_Body = TypeVar("_Body")
_HOST = re.compile(
    r"(?:\[(?P<v6>[0-9A-Fa-f:.]+)(?:%[^\[\]:]+)?\]|(?P<name>[^\[\]:]+))(?::[0-9]{1,5})?"
)


def host_is_ours(request: web.Request, names: frozenset[str]) -> bool:
    """Say whether the one Host header is an address, which no DNS can rebind, or a name of ours."""
    hosts = request.headers.getall(hdrs.HOST, [])
    host = _HOST.fullmatch(hosts[0]) if len(hosts) == 1 else None
    if host is None:
        return False
    name = (host["v6"] or host["name"]).lower()
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return name in {one.lower() for one in names}
    return True


async def read(request: web.Request) -> bytes:
    """Return the body, which has to come at once. GatewayError `installer.slow`, `.body`."""
    try:
        async with asyncio.timeout(BODY_S):
            return await request.read()
    except TimeoutError:
        raise GatewayError("installer.slow", "Send the whole request at once") from None
    except web.RequestPayloadError:  # chunks or a compression that are none
        raise GatewayError("installer.body", "Send what this path takes") from None


async def form(request: web.Request) -> dict[str, str]:
    """Return the fields of a form; another kind of body has none."""
    if request.content_type != FORM:
        raise GatewayError("installer.media_type", "Send a form")
    await read(request)
    try:
        fields = await request.post()
    except (ValueError, LookupError):  # a charset or bytes that are none
        raise GatewayError("installer.body", "Send what this path takes") from None
    return {key: value for key, value in fields.items() if isinstance(value, str)}


async def decoded(request: web.Request, kind: type[_Body]) -> _Body:
    """Return a JSON body. GatewayError `installer.media_type`, `installer.body`."""
    if request.content_type != "application/json":
        raise GatewayError("installer.media_type", "Send application/json")
    try:
        return msgspec.json.decode(await read(request), type=kind)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        raise GatewayError("installer.body", "Send the JSON object of this path") from None


def see_other(path: str) -> web.Response:
    """Send a browser to another page."""
    return web.Response(status=303, headers={hdrs.LOCATION: path})


def html(text: str, status: int = 200) -> web.Response:
    """Answer with a page."""
    return web.Response(text=text, status=status, content_type="text/html", charset="utf-8")


def as_json(value: object, *, status: int = 200) -> web.Response:
    """Answer with JSON."""
    return web.Response(
        body=msgspec.json.encode(value), status=status, content_type="application/json"
    )
