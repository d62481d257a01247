"""`locker-gateway pair`: pair this computer with a gateway on the LAN."""

import sys

import click

from certs import lan
from gateway import pairing
from gateway.commands import _shared as shared
from gateway.errors import GatewayError


@click.command()
@click.argument("offer", default="", metavar="[OFFER|-]")
@click.option("--address", default="", metavar="HOST:PORT", help="Where it is, without a QR.")
@click.option("--pin", default="", metavar="HEX", help="Its pin, as `pairing open` shows it.")
@click.option("--as", "name", default="", metavar="NAME", help="What to call it here.")
@shared.as_json
def command(offer: str, address: str, pin: str, name: str, *, as_json: bool) -> None:
    """Pair this computer with a gateway on the LAN.

    OFFER is the text of the QR (PLG1P:...), or - to read it from standard input, where no other
    user of this machine sees it. Or it is the text of the gateway's sticker (https://...), or its
    address (HOST:PORT): then compare the words, and type the code. --address and --pin say the same
    as a sticker.
    """
    if name:
        pairing.folder_of(name)
    if address or pin:
        if offer or not (address and pin):
            raise GatewayError("pair.usage", "Give the QR's text, or both --address and --pin")
        meant = lan.Sticker(lan.check_address(address), lan.check_pin(pin)).text()
    else:
        meant = sys.stdin.readline() if offer in {"", "-"} else offer
    where, known, secret = _read(meant.strip())
    kept = pairing.pair(where, known, secret, folder=pairing.home(), name=name)
    told = {"site": kept.site, "name": kept.name, "address": kept.address}
    called = name or kept.site.rpartition("/")[2]
    text = f"paired with {kept.site} as {kept.name}: locker-gateway remote status --site {called}"
    shared.tell(told, text, as_json=as_json)


def _read(meant: str) -> tuple[str, str, bytes]:
    """Return address, pin and one-time secret; asks for the typed code where there is no secret."""
    if meant.startswith(lan.PREFIX) or not meant:
        offer = lan.read_offer(meant)
        return offer.address, offer.pin, offer.secret
    if meant.startswith(lan.STICKER):
        sticker = lan.read_sticker(meant)
        where, known, hint = sticker.address, sticker.pin, ""
    else:
        where, hint = lan.check_address(meant), "  (compare them with those at the gateway)"
        known = lan.check_pin(pairing.Gateway(where, "").shown())
    words = " ".join(lan.words_of(known))
    click.echo(f"Words: {words}{hint}\nCode that the gateway shows:", err=True)
    return where, known, lan.read_code(sys.stdin.readline())
