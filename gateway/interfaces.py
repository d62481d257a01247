"""The addresses that this computer has at this moment. One door to the library that asks for it."""

import ipaddress

import ifaddr

from gateway.nearby import Interface


def here() -> tuple[Interface, ...]:
    """Return each address of each interface that is up, loopback among them. A system call."""
    return tuple(
        Interface(adapter.index or 0, found)
        for adapter in ifaddr.get_adapters()
        for ip in adapter.ips
        if (found := _interface(ip.ip, ip.network_prefix)) is not None
    )


def _interface(
    ip: str | tuple[str, int, int], prefix: int
) -> ipaddress.IPv4Interface | ipaddress.IPv6Interface | None:
    bare = ip if isinstance(ip, str) else ip[0]
    try:
        return ipaddress.ip_interface(f"{bare.partition('%')[0]}/{prefix}")
    except ValueError:
        return None
