"""Service later, over the LAN: what wears out, a compartment out of service and back, the bundle.

The site decides (`gateway.core.service`), the log tells (`gateway.upkeep`); here is only what is
asked and answered, the same for the page and for the command line.
"""

import re
from collections.abc import Mapping
from typing import Annotated, Any, Final

import msgspec

from gateway import bundle
from gateway.core.inputs import DoorServiced
from gateway.errors import GatewayError
from gateway.web.installer.office import Caller, Office

STATUS_KEYS: Final = ("site", "health", "lines", "boards")
DOOR_KEYS: Final = ("door", "size", "custody", "open", "occupied", "disabled", "openings")
_number = re.compile(r"[1-9][0-9]{0,3}").fullmatch


class ServiceBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`enabled` false: out of service, for a `reason` without names."""

    enabled: bool
    reason: Annotated[str, msgspec.Meta(max_length=200)] = ""


def number(text: str) -> int:
    """Return a door's number as a path or a query writes it. GatewayError `door.unknown`."""
    if not _number(text):
        raise GatewayError("door.unknown", "Take a number from the map")
    return int(text)


def public(status: Mapping[str, Any]) -> dict[str, Any]:
    """Return what an installer sees of `status`: no parcel, no alarm's entry, no hub."""
    told = {key: status[key] for key in STATUS_KEYS if key in status}
    told["doors"] = [{key: row[key] for key in DOOR_KEYS} for row in status.get("doors", ())]
    told["alarms"] = [
        {key: row[key] for key in ("alarm", "door", "about")} for row in status.get("alarms", ())
    ]
    return told


async def trends(office: Office, query: Mapping[str, str]) -> dict[str, Any]:
    """Return what wears out; of one door with `?door=N`. Raises GatewayError."""
    door = number(query["door"]) if "door" in query else None
    return await office.site.upkeep.trends(door)


async def set_service(
    office: Office, caller: Caller, door: int, body: ServiceBody
) -> dict[str, Any]:
    """Take a compartment out of service, or back. Raises GatewayError with the site's reason."""
    answer = await office.site.ask(
        DoorServiced(
            now=office.site.now(),
            token="",
            by=caller.name,
            door=door,
            enabled=body.enabled,
            reason=body.reason,
        )
    )
    if answer.code:
        remedy = (
            "Whoever took it out of service puts it back"
            if answer.code == "service.others"
            else "See the status of this door"
        )
        raise GatewayError(answer.code, remedy, **dict(answer.evidence))
    return {"door": door, "enabled": body.enabled, "entry": answer.ref}


async def diagnostics(office: Office, listener: Mapping[str, int]) -> dict[str, Any]:
    """Return the bundle for whoever helps from afar, bounded as `gateway.bundle` says."""
    status = office.site.status()
    parts = [
        *public(status).items(),
        ("epoch", status.get("epoch")),
        ("hub_up", status.get("hub", {}).get("up")),
        ("installers", office.paired()),
        ("listener", dict(listener)),
    ]
    return bundle.fit([*parts, *await office.site.upkeep.parts()])
