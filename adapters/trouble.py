"""What is wrong with a line, a board or a network, told from the evidence alone.

`about` is a device or HOST:PORT for what concerns a whole line, and "WHERE/UNIT" for one board. A
finding never claims more than its evidence: where two causes look alike the cure names both.
"""

import ipaddress
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final, Literal

from adapters.profile import Profile
from adapters.reading import READ_HOLDING, Read

CURES: Final = {
    "wiring.swapped": "Swap the wires A and B at the adapter; that harms nothing.",
    "wiring.rate": "Set every board of this line to one rate.",
    "wiring.termination": "Fit 120 ohm across A and B at both ends of the line, nowhere between.",
    "board.ascii": "Switch this board from its text protocol to Modbus RTU with the vendor's tool.",
    "board.same_number": "Two boards have this number: disconnect one, number them one by one.",
    "board.linkage": "An input drives an output here: leave locks off until this is put right.",
    "board.firmware": "Update this board's firmware with the vendor's tool, then scan again.",
    "net.routed": "Give the boards a network of their own: no router in between, no internet.",
    "adapter.latency": "Set the adapter's latency timer to 1 ms (udev rule in deploy/udev).",
    "adapter.echo": "Nothing to do: the adapter repeats what is sent, and that is allowed for.",
    "line.silent": "Swap A and B, check the boards' power and the ground, then scan in full.",
    "line.noise": "Check the shield and ground, keep off power cables, stop any other master.",
}
"""What a person does about each finding, in one sentence."""

LATENCY_MS_MAX: Final = 1
HEARD_MIN: Final = 3  # so many nonsense answers, before a pattern is one
_IDLE: Final = frozenset({0x00, 0xFF})  # a line that rests at the wrong level reads as these
_DRIVING: Final = frozenset({"output_mode", "input_mode"})  # settings by which inputs drive outputs


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong, or worth knowing: a stable code, whose, and what shows it."""

    code: str
    about: str
    evidence: dict[str, str | int]


@dataclass(frozen=True, slots=True)
class Heard:
    """What asking many units brought: counts of units, and the bytes where nonsense came."""

    asked: int = 0
    answered: int = 0
    nonsense: tuple[bytes, ...] = ()
    echo: bool | None = None


@dataclass(frozen=True, slots=True)
class Tally:
    """Answers of one length from one unit, repeated: `broken` came with errors, not at all else."""

    length: int
    asked: int
    good: int
    broken: int


@dataclass(frozen=True, slots=True)
class Pattern:
    """How one unit answered when asked again and again.

    `doubled`: bytes came after a good answer; `changed`: what cannot change did.
    """

    tallies: tuple[Tally, ...]
    doubled: int = 0
    changed: int = 0


def line(about: str, heard: Heard) -> tuple[Finding, ...]:
    """Judge a whole line after a scan of it."""
    found = []
    asked = heard.asked
    if heard.echo:
        found.append(Finding("adapter.echo", about, {}))
    if heard.nonsense and not heard.answered:
        sample = heard.nonsense[0][:16].hex(" ")
        count = len(heard.nonsense)
        swapped = all(map(resting, heard.nonsense)) and count >= min(HEARD_MIN, asked)
        code = "wiring.swapped" if swapped else "line.noise"
        found.append(Finding(code, about, {"asked": asked, "nonsense": count, "got": sample}))
    elif asked and not heard.answered:
        found.append(Finding("line.silent", about, {"asked": asked}))
    return tuple(found)


def resting(raw: bytes) -> bool:
    """Whether these bytes are only a line at rest at the wrong level, and nobody's answer."""
    return raw != b"" and all(byte in _IDLE for byte in raw)


def patterns(about: str, units: Mapping[int, Pattern]) -> tuple[Finding, ...]:
    """Judge boards that were asked again and again, by how their answers broke.

    Errors that grow with the length of the answer are reflections: a missing termination. A board
    that is broken from the shortest answer on, while others on the line are sound, or whose good
    answers are followed by more, is two boards. Anything else is noise.
    """
    found = []
    units = {unit: seen for unit, seen in units.items() if seen.tallies}
    bad_ones = [unit for unit, seen in units.items() if _mostly_broken(seen)]
    for unit, seen in sorted(units.items()):
        whose = f"{about}/{unit}"
        broken = sum(tally.broken for tally in seen.tallies)
        evidence: dict[str, str | int] = {
            "asked": sum(tally.asked for tally in seen.tallies),
            "broken": broken,
            "by_length": ", ".join(
                f"{tally.length} bytes: {tally.broken} of {tally.asked}"
                for tally in sorted(seen.tallies, key=lambda tally: tally.length)
            ),
        }
        if seen.doubled >= HEARD_MIN or seen.changed:
            evidence |= {"doubled": seen.doubled, "changed": seen.changed}
            found.append(Finding("board.same_number", whose, evidence))
        elif _grows(seen):
            found.append(Finding("wiring.termination", whose, evidence))
        elif unit in bad_ones and len(bad_ones) * 2 <= max(len(units), 2):
            found.append(Finding("board.same_number", whose, evidence))
        elif broken:
            found.append(Finding("line.noise", whose, evidence))
    return tuple(found)


def rates(about: str, units: Mapping[int, int], wanted: int = 0) -> tuple[Finding, ...]:
    """Find boards at another rate than `wanted`, or than most of their line (0)."""
    if not units:
        return ()
    counts = sorted(units.values(), key=lambda rate: (-list(units.values()).count(rate), rate))
    usual = wanted or counts[0]
    return tuple(
        Finding("wiring.rate", f"{about}/{unit}", {"rate": rate, "wanted": usual})
        for unit, rate in sorted(units.items())
        if rate != usual
    )


def text_protocol(about: str, unit: int, name: str) -> Finding:
    """Name a board that answered in the text protocol of its factory."""
    return Finding("board.ascii", f"{about}/{unit}", {"name": name})


def firmware(about: str, unit: int, profile: str, needs: str) -> Finding:
    """Name a board that lacks only what a newer firmware brings."""
    return Finding("board.firmware", f"{about}/{unit}", {"profile": profile, "needs": needs})


def setting_reads(profile: Profile) -> tuple[Read, ...]:
    """Return the reads that show whether an input drives an output."""
    return tuple(
        Read(READ_HOLDING, setting.base, setting.span)
        for setting in profile.settings
        if setting.name in _DRIVING
    )


def linkage(
    about: str, profile: Profile, answers: Mapping[Read, tuple[int, ...] | None]
) -> tuple[Finding, ...]:
    """Find inputs that drive outputs, in the answers to `setting_reads`."""
    found = []
    for setting in profile.settings:
        values = answers.get(Read(READ_HOLDING, setting.base, setting.span)) or ()
        wrong = [at for at, value in enumerate(values[:: setting.step]) if value != setting.value]
        if setting.name in _DRIVING and wrong:
            channels = " ".join(map(str, wrong))
            evidence: dict[str, str | int] = {"setting": setting.name, "channels": channels}
            found.append(Finding("board.linkage", about, evidence))
    return tuple(found)


def latency(about: str, latency_ms: int | None) -> tuple[Finding, ...]:
    """Find an adapter that holds bytes back."""
    if latency_ms is None or latency_ms <= LATENCY_MS_MAX:
        return ()
    return (Finding("adapter.latency", about, {"latency_ms": latency_ms}),)


@dataclass(frozen=True, slots=True)
class Route:
    """One line of the kernel's table of routes."""

    interface: str
    network: ipaddress.IPv4Network
    through: bool


Way = Literal["here", "direct", "outward", "routed", "none", "name"]
"""How a board is reached: on this machine; on a network of its own; on one that leads outward too;
behind a router; not at all; unknown, because it is named and not numbered."""


def routes(table: str) -> tuple[Route, ...]:
    """Read the kernel's table (/proc/net/route), the most specific first."""
    found = []
    for row in table.splitlines()[1:]:
        parts = row.split()
        address, gateway, mask = (
            ipaddress.IPv4Address(bytes.fromhex(parts[place])[::-1]) for place in (1, 2, 7)
        )
        network = ipaddress.IPv4Network(f"{address}/{mask}", strict=False)
        found.append(Route(parts[0], network, int(gateway) != 0))
    return tuple(sorted(found, key=lambda route: -route.network.prefixlen))


def way(host: str, table: Iterable[Route]) -> tuple[Way, str]:
    """Return how a board at `host` is reached, and over which interface ("" for none)."""
    known = tuple(table)
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return "name", ""
    if address.is_loopback:
        return "here", ""
    outward = {route.interface for route in known if route.network.prefixlen == 0}
    route = next((one for one in known if address in one.network), None)
    if route is None:
        return "none", ""
    if route.through:
        return "routed", route.interface
    return ("outward" if route.interface in outward else "direct"), route.interface


def routed(host: str, table: Iterable[Route]) -> tuple[Finding, ...]:
    """Find a board that other networks can reach."""
    how, interface = way(host, table)
    if how not in {"routed", "outward"}:
        return ()
    return (Finding("net.routed", host, {"way": how, "interface": interface}),)


def _mostly_broken(seen: Pattern) -> bool:
    shortest = min(seen.tallies, key=lambda tally: tally.length)
    return shortest.asked >= HEARD_MIN and shortest.broken * 2 >= shortest.asked


def _grows(seen: Pattern) -> bool:
    """Whether the share of broken answers at least doubles from the shortest to the longest."""
    short = min(seen.tallies, key=lambda tally: tally.length)
    long = max(seen.tallies, key=lambda tally: tally.length)
    doubles = long.broken * short.asked >= 2 * short.broken * long.asked
    return long.length >= 2 * short.length and long.broken >= HEARD_MIN and doubles
