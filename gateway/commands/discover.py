"""`locker-gateway discover`: which gateways are on this network?"""

import asyncio
import ipaddress
from typing import Any

import click
import msgspec

from gateway import discover
from gateway.commands import _shared as shared
from gateway.errors import GatewayError
from gateway.nearby import Board, Gateway


@click.command()
@click.option(
    "--seconds",
    default=discover.SECONDS,
    show_default=True,
    type=click.FloatRange(0.5, 60),
    help="How long to listen.",
)
@click.option(
    "--on",
    default=discover.ANY,
    metavar="ADDRESS",
    help="Ask only on the interface of this computer that has this address.",
)
@click.option("--boards", is_flag=True, help="List boards on Modbus TCP that announce themselves.")
@shared.as_json
def command(seconds: float, on: str, *, boards: bool, as_json: bool) -> None:
    """Which gateways are on this network?

    What is listed is what they say of themselves, and proves nothing: pairing does.
    """
    try:
        ipaddress.ip_address(on)
    except ValueError:
        raise GatewayError("discover.address", "Give an address of this computer") from None
    told: dict[str, Any]
    if boards:
        found = asyncio.run(discover.browse_modbus(seconds, on))
        told = {"boards": [msgspec.to_builtins(one) for one in found]}
        text = _boards(found)
    else:
        seen = asyncio.run(discover.browse(seconds, on))
        told = {"gateways": [_row(one) for one in seen.gateways], "left_out": seen.left_out}
        text = _gateways(seen)
    shared.tell(told, text, as_json=as_json)


def _row(one: Gateway) -> dict[str, Any]:
    row: dict[str, Any] = msgspec.to_builtins(one)
    return row | {"words": list(one.words)}


def _gateways(seen: discover.Found) -> str:
    lines = [
        f"{one.site:<32}  {one.state:<13}  {one.address:<24}  {one.version:<10}  "
        f"{' '.join(one.words)} ..." + ("" if one.addresses else "  (another network)")
        for one in seen.gateways
    ]
    if seen.left_out:
        lines.append(f"{seen.left_out} more answers were left out: they made no sense here")
    if seen.gateways:
        lines += ["", "At the gateway:  locker-gateway pairing open   (QR, code and words)"]
        lines += [f"Here:            locker-gateway pair {seen.gateways[0].address}"]
        return "\n".join(lines)
    return "\n".join(
        [
            *lines,
            "No gateway is announced here. Does it listen ([installer] listen), on this network?",
            "Where multicast does not cross, scan its sticker, or type the address:",
            "    locker-gateway pair HOST:PORT",
        ]
    )


def _boards(found: tuple[Board, ...]) -> str:
    rows = [f"{f'{one.host}:{one.port}':<24}  {one.name}" for one in found]
    return "\n".join(rows) or "no board announces itself here; most do not: scan for them"
