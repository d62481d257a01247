"""`locker-gateway board scan | address | teach | test | show | act`: commissioning by commands.

Each is what the installer's page does, with the same acts; `act` sends any of them as it stands.
"""

import json
from pathlib import Path
from typing import Any, Final

import click

from gateway.commands import _bench as bench
from gateway.commands import _shared as shared
from gateway.errors import GatewayError

SIZES: Final = ("S", "M", "L", "XL")
ASKS: Final = frozenset({"which", "closing"})


def add_to(group: click.Group) -> None:
    """Give the commands to `locker-gateway board`."""
    for command in (scan, address, teach, test, show, act):
        group.add_command(command)


# --- boards ---------------------------------------------------------------------------------------


@click.command()
@bench.reached
@click.option("--port", "ports", multiple=True, metavar="DEV", help="Only this device; repeatable.")
@click.option("--tcp", metavar="HOST[:PORT]", help="Look at one address instead.")
@click.option("--sweep", metavar="NETWORK", help="Knock at a subnet, as 192.168.9.0/24.")
@click.option("--full", is_flag=True, help="Every unit, rate and parity: minutes, not seconds.")
@click.option("--adopt", is_flag=True, help="Take every board whose make is certain or likely.")
@shared.as_json
def scan(
    *, data: Path | None, site: str | None, ports: tuple[str, ...], tcp: str | None,
    sweep: str | None, full: bool, adopt: bool, as_json: bool,
) -> None:  # fmt: skip
    """Find boards: on the serial ports, at an address, or in a subnet. Nothing is written.

    Takes the boards from the site: its kiosks are out of service until `board act leave`.
    """
    at = bench.reach(data, site)
    view = at.act("begin", **({"from": "map"} if at.view()["state"] == "none" else {}))
    if tcp is not None:
        view = at.act("look", tcp=tcp)
    elif sweep is not None:
        view = at.act("sweep", network=sweep)
    else:
        more = {"ports": list(ports)} if ports else {}
        view = at.act("scan", depth="full" if full else "quick", **more)
    view = bench.done(at, view, quiet=as_json)
    if adopt:
        view = at.act("adopt_all")
    shared.tell(view, "\n".join(_boards(view)), as_json=as_json)


@click.command()
@bench.reached
@click.option("--line", required=True, metavar="NAME", help="A line of the draft, as rs485-1.")
@click.option("--profile", required=True, metavar="NAME", help="What board it is.")
@click.option("--unit", required=True, type=click.IntRange(1, 255), help="Its new unit number.")
@click.option("--baud", type=click.IntRange(1200, 256000), help="Its new rate.")
@shared.as_json
def address(
    *, data: Path | None, site: str | None, line: str, profile: str, unit: int,
    baud: int | None, as_json: bool,
) -> None:  # fmt: skip
    """Give the one new board on a line its number: prove it is alone, write, read back.

    Connect the boards one after the other: two that leave the factory have the same number.
    """
    at = bench.reach(data, site)
    more = {} if baud is None else {"baud": baud}
    view = at.act("address", line=line, profile=profile, unit=unit, **more)
    view = bench.done(at, view, quiet=as_json)
    shared.tell(view, "\n".join(_boards(view)), as_json=as_json)


@click.command()
@bench.reached
@shared.as_json
def show(data: Path | None, site: str | None, *, as_json: bool) -> None:
    """Show how commissioning stands: boards, doors, what is missing, what is wrong."""
    view = bench.reach(data, site).view()
    text = [f"{view['state']}  {view['by'] or 'nobody'}  next: {view['next'] or '-'}"]
    text += _boards(view) + _doors(view) + bench.findings(view["findings"])
    shared.tell(view, "\n".join(text), as_json=as_json)


@click.command()
@click.argument("do")
@click.argument("more", nargs=-1, metavar="[KEY=VALUE]...")
@bench.reached
@shared.as_json
def act(
    do: str, more: tuple[str, ...], data: Path | None, site: str | None, *, as_json: bool
) -> None:
    """Do any act of commissioning, as `begin from=map`, `door number=4 size=L`, `sign`, `close`.

    A value is JSON where it reads as such, else text. Returns when what it began is over.
    """
    fields = dict(_field(one) for one in more)
    at = bench.reach(data, site)
    view = at.act(do, **fields)
    if do != "try":
        view = bench.done(at, view, quiet=as_json)
    shared.tell(view, "\n".join(_boards(view) + _doors(view)), as_json=as_json)


def _field(text: str) -> tuple[str, Any]:
    key, sign, value = text.partition("=")
    if not sign or not key:
        raise click.UsageError(f"{text!r} is no KEY=VALUE.")
    try:
        return key, json.loads(value)
    except (ValueError, RecursionError):
        return key, value


# --- doors ----------------------------------------------------------------------------------------


@click.command()
@bench.reached
@click.option("--lock", metavar="BOARD:CHANNEL", help="Only this lock.")
@click.option("--number", type=click.IntRange(1, 9999), help="Of the door that will pop.")
@click.option("--size", type=click.Choice(SIZES), help="Its size; otherwise that of the last.")
@shared.as_json
def teach(
    *, data: Path | None, site: str | None, lock: str | None, number: int | None,
    size: str | None, as_json: bool,
) -> None:  # fmt: skip
    """Walk door by door: a lock is pulsed, you say which door popped, and close it.

    With --lock and --number one door is taught without a question: stand at it and close it.
    """
    at = bench.reach(data, site)
    if (lock is None) != (number is None):
        raise click.UsageError("Give --lock and --number together, or neither.")
    if lock is not None:
        view = _taught(at, lock, number, size, quiet=as_json)
        shared.tell(view, "\n".join(_doors(view)), as_json=as_json)
        return
    if as_json:
        raise click.UsageError("With --json give --lock and --number.")
    for row in at.view()["locks"]:
        if not row["door"] and not row["skipped"] and not _walk(at, row["lock"], size):
            break
    click.echo("\n".join(_doors(at.view())))


def _taught(
    at: bench.Bench, lock: str, number: int | None, size: str | None, *, quiet: bool
) -> bench.View:
    """Teach one door: pulse, name it, wait until it was closed."""
    view = _popped(at, lock, quiet=quiet)
    lesson = view["lesson"] or {}
    if not lesson.get("switch"):
        at.act("nothing")
        codes = [one["code"] for one in lesson.get("findings", ())]
        code = codes[0] if codes else "teach.nothing_moved"
        raise GatewayError(code, "See `board show`, and try again", lock=lock)
    asked = {"number": number or lesson["suggest"]} | ({} if size is None else {"size": size})
    return bench.done(at, at.act("popped", **asked), quiet=quiet)


def _popped(at: bench.Bench, lock: str, *, quiet: bool) -> bench.View:
    """Pulse a lock and wait for the person's word. GatewayError where nothing can be taught."""
    view = at.act("try", lock=lock)
    view = bench.follow(
        at, view, quiet=quiet,
        until=lambda seen: seen["job"] is None or (seen["lesson"] or {}).get("phase") in ASKS,
    )  # fmt: skip
    return bench.done(at, view, quiet=quiet) if view["job"] is None else view


def _walk(at: bench.Bench, lock: str, size: str | None) -> bool:
    """Teach one lock with questions; return whether to go on."""
    click.echo(f"opening {lock} ...")
    view = _popped(at, lock, quiet=False)
    lesson = view["lesson"]
    if lesson is None:
        raise GatewayError(view["last"]["code"], "", **view["last"]["evidence"])
    click.echo("\n".join(bench.findings(lesson["findings"])) or f"  {lesson['switch']} moved")
    answer = click.prompt(
        "  door number, n (nothing popped), s (skip), q (stop)", default=str(lesson["suggest"])
    ).strip()
    if answer == "q":
        at.act("stop")
        return False
    if answer == "s":
        at.act("skip", lock=lock)
    elif not answer.isdecimal() or not answer.isascii():
        at.act("nothing")
    else:
        named = at.act("popped", number=int(answer), **({} if size is None else {"size": size}))
        click.echo("  put a hand in, take it out, and close the door")
        bench.done(at, named, quiet=False)
        click.echo(f"  door {int(answer)} is taught")
    return True


# --- proof ----------------------------------------------------------------------------------------


@click.command()
@bench.reached
@click.option("--door", "doors", multiple=True, type=click.IntRange(1, 9999), help="Repeatable.")
@click.option("--sign", is_flag=True, help="Sign it off: the draft becomes the site's map.")
@shared.as_json
def test(
    data: Path | None, site: str | None, doors: tuple[int, ...], *, sign: bool, as_json: bool
) -> None:
    """Prove every lock, sensor and line, the machine and the link. Close what stands open.

    Exit status 0: everything passed. A door that may hold a parcel is compared, never opened.
    """
    at = bench.reach(data, site)
    view = at.act("prove", **({"doors": list(doors)} if doors else {}))
    view = bench.done(at, view, quiet=as_json)
    if sign:
        view = bench.done(at, at.act("sign"), quiet=as_json)
    proof = view["proof"] or {}
    text = [*_doors(view), *bench.findings(proof.get("findings", ()))]
    text.append("passed" if proof.get("passed") else "not passed")
    shared.tell(view, "\n".join(text), as_json=as_json)
    if not proof.get("passed"):
        raise click.exceptions.Exit(1)


def _boards(view: bench.View) -> list[str]:
    lines = []
    for one in view["found"]:
        best = one["matches"][0] if one["matches"] else {"profile": "unknown", "confidence": "-"}
        named = f"  = {one['board']}" if one["board"] else ""
        lines.append(
            f"{one['line']:<12} unit {one['unit']:>3}  {best['confidence']:<8}"
            f" {best['profile']}{named}"
        )
        lines += bench.findings(one["findings"])
    for port in view["ports"]:
        lines += bench.findings(port["findings"])
    return lines or ["no boards yet: locker-gateway board scan"]


def _doors(view: bench.View) -> list[str]:
    rows = []
    for one in view["doors"]:
        tested = one["tested"]
        verdict = "" if tested is None else "passed" if tested["passed"] else tested["code"]
        rows.append(
            f"{one['number']:>4}  {one['size']:<2} {one['reach']:<7} {one['lock']:<14}"
            f" {one['switch']:<14} {one['occupancy'] or '-':<14} {verdict}".rstrip()
        )
    return rows
