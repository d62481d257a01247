"""Tell systemd that we are ready and alive. SPEC: sd_notify(3); nothing where nobody listens."""

import os
import socket


def notify(text: str) -> None:
    """Send one state, `READY=1` or `WATCHDOG=1`, to whoever started us."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address:
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as out:
        out.settimeout(1)
        try:
            out.connect("\0" + address[1:] if address.startswith("@") else address)
            out.send(text.encode())
        except OSError:
            # Whoever asked for it has gone; that is theirs to notice.
            return


def watchdog_s() -> float | None:
    """Return how often a sign of life is due (half of what systemd allows), or None."""
    allowed = os.environ.get("WATCHDOG_USEC", "")
    ours = os.environ.get("WATCHDOG_PID", str(os.getpid())) == str(os.getpid())
    if not ours or not allowed.isdigit() or int(allowed) == 0:
        return None
    return int(allowed) / 2_000_000
