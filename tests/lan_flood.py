"""Whoever wants to drown the LAN listener: `python -m tests.lan_flood PORT`, until killed.

From twenty addresses at once: connections that say nothing, garbage instead of a handshake,
requests that come letter by letter, bodies without end, and strangers' requests as fast as they go.
"""

import socket
import ssl
import sys
import threading
import time
from contextlib import suppress

THREADS = 20


def _wire(port: int, address: str) -> socket.socket:
    wire = socket.socket()
    wire.settimeout(5)
    wire.bind((address, 0))
    wire.connect(("127.0.0.1", port))
    return wire


def _context() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def flood(port: int, number: int) -> None:
    """Play one address, one kind of trouble after the other."""
    context, address, kind = _context(), f"127.0.0.{number + 2}", number
    kept: list[socket.socket] = []
    while True:
        kind += 1
        with suppress(OSError):
            wire = _wire(port, address)
            match kind % 5:
                case 0:
                    kept.append(wire)  # says nothing
                    continue
                case 1:
                    wire.sendall(b"\x16\x03\x01" + bytes(400))
                case _:
                    with context.wrap_socket(wire) as secure:
                        _talk(secure, kind % 5)
            wire.close()
        if len(kept) > 4:
            kept.pop(0).close()
        time.sleep(0.002)


def _talk(secure: ssl.SSLSocket, kind: int) -> None:
    head = b"POST /pair/session HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: "
    if kind == 2:
        for letter in head.decode()[:40]:
            secure.sendall(letter.encode())
            time.sleep(0.05)
    elif kind == 3:
        secure.sendall(head + b"application/json\r\nContent-Length: 100000000\r\n\r\n")
        for _ in range(50):
            secure.sendall(bytes(16_384))
    else:
        for _ in range(100):
            secure.sendall(b"GET /api/status HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n" * 20)
            secure.recv(65_536)


def main() -> None:
    """Flood until killed."""
    port = int(sys.argv[1])
    for number in range(THREADS):
        threading.Thread(target=flood, args=(port, number), daemon=True).start()
    print("flooding", flush=True)
    threading.Event().wait()


if __name__ == "__main__":
    main()
