"""Messages of multicast DNS, made by hand, so that what no library would send can be sent too.

As a program (in a network namespace): `python tests/mdns.py shout ADDRESS` answers with hostile
records, `flood ADDRESS SECONDS` as fast as it can, `watch` prints what a browser of
gateways sees, a line each.
"""

import asyncio
import json
import os
import socket
import struct
import sys
import time
from collections.abc import Iterable, Iterator
from typing import Any

GROUP = ("224.0.0.251", 5353)
A, PTR, TXT, AAAA, SRV = 1, 12, 16, 28, 33
UNIQUE = 0x8001
GATEWAYS = "_locker-gateway._tcp.local"
BOARDS = "_modbus._tcp.local"


def name(text: str | bytes, kind: str = "") -> bytes:
    """Encode an instance name (one label, any bytes) and the labels of its kind."""
    labels = [text if isinstance(text, bytes) else text.encode()] if text else []
    labels += [one.encode() for one in kind.split(".") if one]
    return b"".join(bytes([len(one)]) + one for one in labels) + b"\0"


def record(owner: bytes, kind: int, data: bytes, ttl: int = 120, klass: int = UNIQUE) -> bytes:
    """Encode one record."""
    return owner + struct.pack(">HHIH", kind, klass, ttl, len(data)) + data


def message(records: Iterable[bytes]) -> bytes:
    """Encode an answer that nobody asked for."""
    parts = list(records)
    return struct.pack(">6H", 0, 0x8400, 0, len(parts), 0, 0) + b"".join(parts)


def text(pairs: Iterable[bytes]) -> bytes:
    """Encode the strings of a TXT record."""
    return b"".join(bytes([len(one)]) + one for one in pairs)


def service(
    label: str | bytes,
    pairs: bytes,
    *,
    port: int = 8443,
    addresses: Iterable[str] = ("10.77.0.66",),
    kind: str = GATEWAYS,
    host: str = "evil",
) -> bytes:
    """Encode everything that is said of one instance."""
    owner, where = name(label, kind), name(host, "local")
    found = [
        record(name("", kind), PTR, owner, klass=1),
        record(owner, SRV, struct.pack(">3H", 0, 0, port) + where),
        record(owner, TXT, pairs),
    ]
    for address in addresses:
        six = ":" in address
        packed = socket.inet_pton(socket.AF_INET6 if six else socket.AF_INET, address)
        found.append(record(where, AAAA if six else A, packed))
    return message(found)


GOOD = [b"site=6666", b"version=1", b"state=ready", b"fingerprint=00112233"]


def hostile() -> Iterator[bytes]:
    """Yield messages that each should cost a browser one answer at most."""
    said = text(GOOD)
    yield service(b"\x1b[31mred\x07\r\n", said, host="evil-0")
    yield service("\u202egnol\u2028", said, host="evil-1")
    yield service(b"\xff\xfe\x00\x80", said, host="evil-2")
    for number, address in enumerate(
        ("127.0.0.1", "0.0.0.0", "224.0.0.1", "255.255.255.255", "8.8.8.8", "10.77.0.255", "::1",
         "ff02::1", "::ffff:8.8.8.8", "fe80::1", "2001:4860:4860::8888")
    ):  # fmt: skip
        yield service(f"nowhere-{number}", said, addresses=[address], host=f"nowhere-{number}")
    yield service("no-port", said, port=0, host="evil-3")
    yield service("no-address", said, addresses=[], host="evil-4")
    yield service("huge", text([b"k%d=" % n + b"x" * 240 for n in range(30)]), host="evil-5")
    yield service("cut", b"\xff" + b"site=66", host="evil-6")
    yield service("empty", b"", host="evil-7")
    yield service("state", text([b"site=6667", b"state=\x1b[2J", b"fingerprint=zz"]), host="evil-8")
    yield service("many", said, addresses=[f"10.77.1.{n}" for n in range(200)], host="evil-9")
    yield service("boards\x1b]0;x\x07", b"", port=502, kind=BOARDS, host="evil-10")
    yield service("board \u202e\u200b", b"", port=502, kind=BOARDS, host="evil-11")
    owner = name("loop", GATEWAYS)
    yield message([record(name("", GATEWAYS), PTR, owner), record(owner, PTR, owner)])
    yield message([record(b"\xc0\x0c", SRV, b"\xc0\x0c")])  # points to itself
    yield struct.pack(">6H", 0, 0x8400, 0, 0xFFFF, 0, 0)
    yield from (message([])[:cut] for cut in range(12))
    for number in range(2000):
        yield service(f"crowd-{number}", b"", addresses=[], host="crowd")


def multicast(own: str) -> socket.socket:
    """Return a socket that sends as every speaker of mDNS does, from the interface of `own`."""
    out = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    out.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    out.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    out.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_TTL, 255)
    out.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, socket.inet_aton(own))
    out.bind(("0.0.0.0", 5353))
    return out


def send(out: socket.socket, data: bytes) -> None:
    """Send one message to everybody; a full queue of the kernel is waited for."""
    for _ in range(200):
        try:
            out.sendto(data[:8900], GROUP)
        except OSError:
            time.sleep(0.005)
        else:
            return


def shout(own: str) -> None:
    """Say everything hostile, again and again, until killed."""
    with multicast(own) as out:
        while True:
            for number, data in enumerate(hostile()):
                send(out, data)
                if number % 50 == 0:
                    time.sleep(0.01)
            print("shouted", flush=True)
            time.sleep(0.2)


def flood(own: str, seconds: float) -> None:
    """Send as much as goes: names nobody has, big records, questions."""
    until, count = time.monotonic() + seconds, 0
    big = text([b"k%d=" % n + b"x" * 200 for n in range(6)])
    asked = struct.pack(">6H", 0, 0, 1, 0, 0, 0) + name("", GATEWAYS) + struct.pack(">2H", PTR, 1)
    with multicast(own) as out:
        while time.monotonic() < until:
            send(out, service(f"flood-{count % 50_000}", big, host=f"flood-{count % 50_000}"))
            send(out, asked)
            count += 2
    print(count, flush=True)


async def watch() -> None:
    """Print each appearance, change and end of a gateway: `["Added", name, addresses, state]`."""
    from zeroconf import ServiceStateChange, Zeroconf  # noqa: PLC0415
    from zeroconf.asyncio import AsyncServiceBrowser, AsyncServiceInfo, AsyncZeroconf  # noqa: PLC0415

    tasks = set()

    async def tell(zeroconf: Zeroconf, name: str, change: ServiceStateChange) -> None:
        info = AsyncServiceInfo(f"{GATEWAYS}.", name)
        if change is not ServiceStateChange.Removed:
            await info.async_request(zeroconf, 3000)
        state = (info.decoded_properties or {}).get("state")
        print(json.dumps([change.name, name, info.parsed_addresses(), state]), flush=True)

    def heard(*, zeroconf: Zeroconf, name: str, state_change: ServiceStateChange, **_: Any) -> None:
        tasks.add(asyncio.ensure_future(tell(zeroconf, name, state_change)))

    async with (
        AsyncZeroconf() as zc,
        AsyncServiceBrowser(zc.zeroconf, f"{GATEWAYS}.", handlers=[heard]),
    ):
        print("[]", flush=True)
        await asyncio.Event().wait()


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["shout", own]:
            shout(own)
        case ["flood", own, seconds]:
            flood(own, float(seconds))
        case ["watch"]:
            asyncio.run(watch())
        case _:
            os._exit(2)
