"""`locker-hub grant`: rights as QR codes, and the list of those that are denied."""

import re
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final

import click
import msgspec
from typing_extensions import override

from sync.errors import TheirsInvalid
from sync.hub import api_types as t
from sync.hub import denials, grants, qr
from sync.hub.api_grants import issue, shown
from sync.hub.clock import Clock
from sync.hub.commands import _shared as shared
from sync.hub.keys import write_secret
from sync.hub.rooms import Hub

ACTIONS: Final = tuple(one.name.lower() for one in grants.LASTS_MS)
_UNITS: Final = {"d": "days", "h": "hours", "m": "minutes"}
_later = re.compile(r"\+([0-9]{1,6})([dhm])").fullmatch


@click.group()
def command() -> None:
    """Issue rights as QR codes, list and revoke them, show what is denied."""


class _Moment(click.ParamType[int]):
    """A moment of UTC, or so long from now; milliseconds since 1970."""

    name = "moment"

    @staticmethod
    def _parsed(value: str) -> int:
        later = _later(value)
        if later:
            lasts = timedelta(**{_UNITS[later[2]]: int(later[1])})
            return Clock().utc_ms() + lasts // timedelta(milliseconds=1)
        moment = datetime.fromisoformat(value)
        if moment.tzinfo is None:
            raise ValueError
        return int(moment.timestamp()) * 1_000

    @override
    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Return milliseconds; click's usage error for anything else."""
        try:
            return self._parsed(str(value))
        except (ValueError, OverflowError):
            self.fail("write 2026-12-24T18:00Z, or +30d, +12h, +90m", param, ctx)


@command.command("issue")
@click.argument("site")
@shared.config
@click.option("--action", required=True, type=click.Choice(ACTIONS), help="What it lets one do.")
@click.option("--until", required=True, type=_Moment(), metavar="WHEN", help="Its end.")
@click.option("--from", "begins", type=_Moment(), metavar="WHEN", help="Its beginning, if not now.")
@click.option("--label", required=True, metavar="TEXT", help="What it is for. No names, no codes.")
@click.option("--tenant", metavar="NAME", help="Whose parcels: courier, deposit, return.")
@click.option("--object", "ref", metavar="REF", help="The entry of the parcel, or of the promise.")
@click.option("--room", metavar="CLASS", help="The class of a deposit: M, or 'M cold'.")
@click.option("--png", type=click.Path(path_type=Path), metavar="FILE", help="A picture to make.")
@click.option("--svg", type=click.Path(path_type=Path), metavar="FILE", help="A drawing to make.")
@shared.as_json
def issue_one(  # noqa: PLR0917  # one a word of the command
    site: str, file: Path, action: str, until: int, begins: int | None, label: str,
    tenant: str | None, ref: str | None, room: str | None, png: Path | None, svg: Path | None,
    *, as_json: bool,
) -> None:  # fmt: skip
    """Issue a right at SITE, as a QR code that the site accepts unheard.

    It is shown this once and kept nowhere: whoever has it has the right. A lost one is revoked,
    and another one issued. Files are made with mode 0600, and none is overwritten.

    \b
    WHEN is a moment of UTC, 2026-12-24T18:00Z, or so long from now: +30d, +12h, +90m.
    courier       --tenant              at most 400 days
    deposit       --tenant [--room]     at most 90 days, once
    return        --tenant [--object]   at most 90 days, once
    collect       --object              at most 90 days, once
    reservation   --object              at most 90 days, once
    service, install                    at most 30 days

    \b
    locker-hub grant issue 0042 --action courier --tenant acme --label "route 7" --until +30d
    locker-hub grant issue 0042 --action service --label "lock 3" --until +4h --png lock-3.png
    """  # noqa: D301  # click's own sign for lines that stay as they are
    chosen = shared.read(file)
    for one in (png, svg):
        _free(one)
    asked = _asked(
        {
            "action": action, "label": label, "until_ms": until, "from_ms": begins,
            "object": ref, "tenant": tenant, "room": room,
        }
    )  # fmt: skip

    async def here(hub: Hub) -> dict[str, Any]:
        found = await hub.registry.get(site)
        mine = msgspec.structs.replace(asked, by=shared.me())
        return _plain(await issue(hub, found, mine, what="issueCapability"))

    body = {name: value for name, value in _plain(asked).items() if value is not None}
    del body["by"]  # a running hub knows whose commands these are
    told = shared.either(
        chosen, here, lambda: shared.asked(chosen, "POST", f"/sites/{site}/capabilities", body)
    )
    lines = [qr.terminal(told["text"]), told["text"], f"{told['ref']}  {told['cti']}"]
    shared.tell(told, "\n".join(lines), as_json=as_json)
    if png is not None:
        write_secret(png, msgspec.convert(told["png"], bytes))
    if svg is not None:
        write_secret(svg, told["svg"].encode())


@command.command("list")
@click.argument("site")
@shared.config
@click.option(
    "--state", type=click.Choice(("active", "revoked", "attempted", "used")),
    help="Only grants in this state.",
)  # fmt: skip
@shared.as_json
def list_grants(site: str, file: Path, state: str | None, *, as_json: bool) -> None:
    """List the grants of SITE: reference, kind, state, tenant and label."""
    chosen = shared.read(file)

    async def here(hub: Hub) -> list[dict[str, Any]]:
        rights = (await hub.book((await hub.registry.get(site)).site_id)).book.rights
        found = [
            t.GrantShown(
                ref=one.ref, grant=one.grant, tenant=one.tenant, label=one.label, of=one.of,
                until_ms=one.until_ms, state=grants.state_of(rights, one), cti=one.cti,
            )
            for one in grants.issued(rights)
        ]  # fmt: skip
        return [_plain(one) for one in found if state in {None, one.state}]

    def there() -> list[dict[str, Any]]:
        only = f"&state={state}" if state else ""
        book = shared.asked(chosen, "GET", f"/sites/{site}/book?part=grants{only}")
        found: list[dict[str, Any]] = book["grants"]
        return found

    told = shared.either(chosen, here, there)
    lines = [
        "  ".join([one["ref"], one["grant"], one["state"], one["tenant"], one["label"]])
        for one in told
    ]
    shared.tell(told, "\n".join(lines) or "no grants", as_json=as_json)


@command.command()
@click.argument("site")
@click.argument("ref")
@shared.config
@shared.as_json
def revoke(site: str, ref: str, file: Path, *, as_json: bool) -> None:
    """Revoke the grant REF of SITE: typed secret or QR code.

    A QR code is put on the list of denials too, for sites that do not hear this hub:
    locker-hub grant denials.
    """
    chosen = shared.read(file)

    async def here(hub: Hub) -> dict[str, Any]:
        found = await hub.registry.get(site)
        done = await denials.revoked(hub, found, shared.me(), ref, what="revokeGrant")
        return {"ref": done.ref, "new": done.new}

    path = f"/sites/{site}/grants/{ref}/revoke"
    told = shared.either(chosen, here, lambda: shared.asked(chosen, "POST", path, {}))
    said = "is revoked" if told["new"] else "was revoked before"
    shared.tell(told, f"{ref} {said}: {told['ref']}", as_json=as_json)


@command.command("denials")
@shared.config
@click.option("--svg", type=click.Path(path_type=Path), metavar="FILE", help="A drawing to make.")
@shared.as_json
def show_denials(file: Path, svg: Path | None, *, as_json: bool) -> None:
    """Show the signed list of denied capabilities, as any visitor may carry it to a site."""
    chosen = shared.read(file)
    _free(svg)

    async def here(hub: Hub) -> dict[str, Any]:
        return _plain(await shown(hub))

    told = shared.either(chosen, here, lambda: shared.asked(chosen, "GET", "/denials"))
    counts = f"list {told['number']}: {told['denied']} denied, {told['left_out']} left out"
    code = [qr.terminal(told["text"])] if told["svg"] else ["too long for one QR code"]
    shared.tell(told, "\n".join([*code, told["text"], counts]), as_json=as_json)
    if svg is not None:
        if not told["svg"]:
            raise TheirsInvalid("denials.too_long", "Carry the text as a file: see --json.")
        write_secret(svg, told["svg"].encode())


def _asked(body: dict[str, Any]) -> t.CapabilityAsked:
    try:
        return msgspec.convert(body, t.CapabilityAsked)
    except msgspec.ValidationError as error:
        where = str(error).rpartition("$.")[2].strip("`")
        raise TheirsInvalid(
            "request.body", "See --help: what is wrong is named.", at=where
        ) from None


def _free(file: Path | None) -> None:
    """Refuse a file that is there, before anything is issued that could not be kept."""
    if file is not None and (file.exists() or not file.absolute().parent.is_dir()):
        raise TheirsInvalid(
            "hub.file_exists", "Name a new file in a folder that is there.", path=str(file)
        )


def _plain(answer: msgspec.Struct) -> dict[str, Any]:
    built: dict[str, Any] = msgspec.to_builtins(answer)
    return built
