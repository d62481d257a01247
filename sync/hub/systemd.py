"""Tell systemd that we are ready. SPEC: sd_notify(3); nothing where nobody listens."""

import os
import socket


def notify(text: str) -> None:
    """Send one state, `READY=1` or `STOPPING=1`, to whoever started us."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address:
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as out:
        out.settimeout(1)
        try:
            out.connect("\0" + address[1:] if address.startswith("@") else address)
            out.send(text.encode())
        except OSError:
            return  # whoever asked for it has gone; that is theirs to notice
