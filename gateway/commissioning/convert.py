"""From what the boards' floor says to what a draft keeps: profiles, finds, lines. Pure."""

from collections import Counter
from collections.abc import Iterable

from adapters import look, trouble
from adapters.bus import SerialSpec, TcpSpec
from adapters.errors import AdapterError
from adapters.identify import Match
from adapters.profile import Profile
from adapters.profiles import load
from gateway import config, mapfile
from gateway.commissioning import draft as drafts
from gateway.commissioning.draft import FoundBoard, Kind
from gateway.commissioning.findings import Finding
from gateway.errors import GatewayError
from sync.sitemap import LineItem, SiteMap

Spec = SerialSpec | TcpSpec


def kind_of(name: str) -> Kind | None:
    """Return what a profile offers; None where there is none of that name."""
    try:
        return kind(load(name))
    except AdapterError:
        return None


def kind(profile: Profile) -> Kind:
    """Return what a profile offers, as a draft keeps it."""
    commission = profile.commission
    return Kind(
        profile=profile.profile,
        title=profile.title,
        outputs=len(profile.outputs.at()) if profile.outputs else 0,
        inputs=len(profile.inputs.at()) if profile.inputs else 0,
        measures=tuple(measure.name for measure in profile.measures),
        by_hand=commission.by_hand if commission else "",
        settable=commission is not None and commission.unit is not None,
        units=profile.link.units,
        max_on_ms=profile.caps.max_on_ms if profile.caps else mapfile.PULSE_MS_MAX,
    )


def findings(told: Iterable[trouble.Finding]) -> tuple[Finding, ...]:
    """Return findings of the boards' floor as a draft keeps them."""
    return tuple(Finding(one.code, one.about, dict(one.evidence)) for one in told)


def board(found: look.Found) -> FoundBoard:
    """Return a unit that answered."""
    return FoundBoard(
        unit=found.unit,
        matches=tuple(_match(one) for one in found.matches),
        device_id=dict(found.device_id),
        findings=findings(found.findings),
    )


def _match(match: Match) -> drafts.Match:
    known = kind_of(match.profile) or Kind(profile=match.profile, title=match.title)
    return drafts.Match(kind=known, confidence=match.confidence, evidence=tuple(match.evidence))


def line(spec: Spec) -> LineItem:
    """Return the line that ends there, without a name yet."""
    if isinstance(spec, SerialSpec):
        return LineItem(
            name="", serial=spec.device, baud=spec.baud, parity=spec.parity, stop_bits=spec.stop
        )
    if spec.framing == "tcp":
        return LineItem(name="", tcp=_address(spec))
    return LineItem(name="", tcp=_address(spec), framing="rtu", baud=spec.baud)


def _address(spec: TcpSpec) -> str:
    host = f"[{spec.host}]" if ":" in spec.host else spec.host
    return f"{host}:{spec.port}"


def usual(specs: Iterable[Spec]) -> Spec | None:
    """Return the setting that most boards of a line answered at; None where there is none.

    A line has one setting: whoever answers at another one has a finding of its own.
    """
    counts = Counter(specs)
    return max(counts, key=lambda spec: (counts[spec], -spec.baud), default=None)


def tcp(text: str, framing: str | None) -> TcpSpec:
    """Return the address that somebody typed: `HOST[:PORT]`. GatewayError `commission.address`."""
    told = config.split_address(text) or config.split_address(f"{text}:502")
    if told is None or not told[1] or not text.isascii() or not text.isprintable():
        raise GatewayError("commission.address", "Type an address and port, as 192.168.1.200:4196")
    host, port = told
    return TcpSpec(host, port, "rtu_over_tcp" if framing == "rtu" else "tcp")


def site_with_lines(site: SiteMap, chosen: dict[str, config.Line]) -> SiteMap:
    """Return the map with the lines that this machine's configuration names for its boards."""
    used = {one.line for one in site.boards.values()}
    lines = dict(site.lines)
    for name in sorted(used & chosen.keys()):
        one = chosen[name]
        lines[name] = LineItem(
            name=name, serial=one.serial, tcp=one.tcp, framing=one.framing, baud=one.baud,
            parity=one.parity, stop_bits=one.stop_bits,
            local_echo="auto" if one.local_echo is None else "yes" if one.local_echo else "no",
        )  # fmt: skip
    return SiteMap(boards=site.boards, doors=site.doors, lines=lines)
