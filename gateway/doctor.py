"""Is this machine fit for a site? One finding a question, with what a person can do.

`ok`, `note` (know this), `bad` (do not put it into service so). Looks at everything and changes
nothing, except that boards are brought into their safe state (all coils off) when no gateway runs.
"""

import sqlite3
import stat
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Final, Literal

from adapters.errors import AdapterError
from adapters.ports import serial_ports
from adapters.trouble import Route, Way, way
from adapters.trouble import routes as read_routes
from certs import authority
from certs.errors import CertsError
from gateway import continuity, health, identity, site, trust, wired
from gateway.clock import DISPUTE_MS, Machine
from gateway.clock import read as saved_clock
from gateway.config import Config, loopback, split_address
from gateway.errors import GatewayError
from gateway.wired import Finding, Known
from sync.errors import SyncError

OURS: Final = ("certs", "sync", "adapters", "gateway")
DISTRIBUTION: Final = "parcel-locker-gateway"
FLUSH_MS_MAX: Final = 100
"""A pick-up waits for one flush before its pulse: above this people notice."""
FREE_PERCENT_MIN: Final = 20
FREE_KB_MIN: Final = 64 * 1024
LIFE_PERCENT_MIN: Final = 20
SQLITE_FIXED: Final = (3, 51, 3)
SQLITE_BACKPORTS: Final = ((3, 50, 7), (3, 44, 6))


def examine(config: Config, known: Known | None = None) -> list[Finding]:
    """Look at everything; no check stops another.

    `known` is for a gateway that runs: its own book needs no folding of the log.
    """
    data = Path(config.data_dir)

    @cache
    def book() -> Known:
        return Known.of(site.read_book(data)) if known is None else known

    def lined() -> Config:
        """Return the configuration with the map's lines, where there is a book to tell them."""
        try:
            return wired.lined(config, book().map)
        except (GatewayError, SyncError):
            return config

    checks: tuple[Callable[[], Iterator[Finding]], ...] = (
        names_alone,
        lambda: kiosk(config.kiosk.listen),
        lambda: folder(data),
        lambda: keys(data),
        lambda: fence(data, book),
        lambda: hub(config),
        lambda: certificate(data),
        lambda: space(data),
        lambda: flush(data),
        lambda: clock(data),
        lambda: sqlite(sqlite3.sqlite_version_info),
        lambda: networks(lined(), routes()),
        lambda: wired.serials(lined(), serial_ports()),
        lambda: wired.commissioning(book()),
        lambda: wired.boards(config, data, book()),
    )
    found = []
    for check in checks:
        try:
            found += list(check())
        except (GatewayError, SyncError, CertsError, AdapterError) as error:
            trouble = Finding(error.code, "bad", str(error))
            found += [] if trouble in found else [trouble]
        except OSError as error:
            found.append(Finding("doctor.io", "bad", f"{error.strerror}: {error.filename}"))
    return found


def names_alone() -> Iterator[Finding]:
    """Say whether each of our top-level names belongs to us alone in this environment."""
    owners = metadata.packages_distributions()
    for name in OURS:
        others = sorted(set(owners.get(name, ())) - {DISTRIBUTION})
        if others:
            yield Finding(
                "names", "bad", f"{name} is also in {', '.join(others)}: use an environment of ours"
            )
            return
    yield Finding("names", "ok", "certs, sync, adapters and gateway are ours alone")


def kiosk(listen: str) -> Iterator[Finding]:
    """Say whether the kiosk can be reached from outside."""
    inside = loopback(listen)
    yield Finding("kiosk", "ok" if inside else "bad", f"kiosk page on {listen}, loopback only")


def folder(data: Path) -> Iterator[Finding]:
    """Say whether others can look into the data folder."""
    mode = stat.S_IMODE(data.stat().st_mode)
    if mode & 0o077:
        yield Finding("data.mode", "bad", f"{data} has mode {mode:04o}: chmod 0700 {data}")
    else:
        yield Finding("data.mode", "ok", f"{data} is closed to others")


def keys(data: Path) -> Iterator[Finding]:
    """Every key is looked at as `run` does: whole, this user's, nobody else's; wrapped or not."""
    who = site.load(data)
    identity.check_keys(data)
    store = identity.keys_of(data)
    plain = [name for name in store.names() if not store.is_wrapped(name)]
    yield Finding("keys", "ok", f"keys of {who.name}, code key version {who.key_version}")
    if plain and store.wraps:
        yield Finding("keys.wrapped", "note", f"not wrapped: {', '.join(plain)}; give `key seal`")
    elif plain:
        yield Finding(
            "keys.wrapped", "note", "plain files: whoever takes the disk has them (`key seal`)"
        )


def fence(data: Path, known: Callable[[], Known] | None = None) -> Iterator[Finding]:
    """Say whether continuity is broken, or a fence stands because it was."""
    book = known or (lambda: Known.of(site.read_book(data)))
    if why := continuity.broken(data):
        yield Finding(
            "fence", "note", f"continuity is not proved ({why}): the next start begins an epoch"
        )
    elif identity.database_of(data).exists() and (whys := book().fences):
        yield Finding("fence", "note", f"fenced ({', '.join(whys)}): see locker-gateway fence show")
    else:
        yield Finding("fence", "ok", "no fence, and nothing that asks for one")


def hub(config: Config) -> Iterator[Finding]:
    """Say which hub governs this site, and how it is known."""
    told, known = config.hub, trust.load(Path(config.data_dir))
    if config.development.plain:
        yield Finding(
            "development", "bad", "plain = true: links have no TLS, and nobody is authenticated"
        )
    if known is not None and not told.url:
        yield Finding("hub", "ok", f"enrolled as {known.site}, links to {known.link_url}")
    elif not (told.url or config.sync.listen):
        yield Finding("hub", "note", "no hub: this site is alone, and nothing is ever pruned")
    elif missing := [name for name in ("writer", "cosigner") if not getattr(told, name)]:
        yield Finding(
            "hub", "bad", f"not enrolled, and no {' and no '.join(missing)} in [hub]: its entries "
            "or receipts are refused; locker-gateway enrol",
        )  # fmt: skip
    else:
        yield Finding("hub", "ok", f"hub at {told.url or 'nowhere: it pulls'}, both keys known")


def certificate(data: Path) -> Iterator[Finding]:
    """Say whether the certificate fits its key, how long it lasts, and who can read the folder."""
    if trust.load(data) is None:
        return
    for path in sorted((data / trust.FOLDER).iterdir()):
        mode = stat.S_IMODE(path.stat().st_mode)
        if mode & 0o077:
            yield Finding("trust.mode", "bad", f"{path} has mode {mode:04o}: chmod 0600 {path}")
    known = trust.pairs(data)
    if not known:
        yield Finding(
            "certificate", "bad", "no certificate fits a key here: enrol again, with a new claim"
        )
        return
    leaf = known[0].leaf
    now_s = max(Machine().wall_ms(), saved_clock(data / site.CLOCK).saved_ms) // 1000
    left = trust.share_left(leaf, now_s)
    ends = datetime.fromtimestamp(authority.ends_s(leaf), UTC).date().isoformat()
    text = f"certificate until {ends}, {left} % of its life left"
    if left >= LIFE_PERCENT_MIN:
        yield Finding("certificate", "ok", text)
    else:
        yield Finding("certificate", "note", f"{text}: it should have been renewed; see status")


def space(data: Path) -> Iterator[Finding]:
    """Say how much room there is."""
    measured = health.machine(data, identity.database_of(data))
    free_kb, percent = measured["disk_free_kb"], measured["disk_free_percent"]
    level: Literal["ok", "note", "bad"] = "ok"
    if free_kb < FREE_KB_MIN:
        level = "bad"
    elif percent < FREE_PERCENT_MIN:
        level = "note"
    yield Finding("disk.space", level, f"{free_kb // 1024} MB free, {percent} %")


def flush(data: Path) -> Iterator[Finding]:
    """Measure how long the disk takes to make one entry durable."""
    middle_ms = health.flush_ms(data)
    level: Literal["ok", "note"] = "ok" if middle_ms <= FLUSH_MS_MAX else "note"
    yield Finding("disk.flush", level, f"a flush takes {middle_ms:.1f} ms")


def clock(data: Path) -> Iterator[Finding]:
    """Say whether somebody disciplines the clock, and whether what is known here contradicts it."""
    machine = Machine()
    error_ms, saved = machine.kernel_error_ms(), saved_clock(data / site.CLOCK)
    if error_ms is None:
        yield Finding(
            "clock", "note", "nobody disciplines the clock: pick-ups work, times are guesses"
        )
    else:
        yield Finding("clock", "ok", f"synchronised within {error_ms} ms")
    if machine.wall_ms() < saved.saved_ms:
        yield Finding("clock.floor", "note", "the clock stands before what is surely past: set it")
    if abs(saved.offset_ms) > DISPUTE_MS:
        off_s = -saved.offset_ms // 1000
        yield Finding(
            "clock.disputed", "note", f"the clock was {off_s:+} s off the hub's signed time: set it"
        )


def sqlite(version: tuple[int, ...]) -> Iterator[Finding]:
    """Say whether SQLite has the WAL-reset bug (3.7.0 to 3.51.2, fixed in some older lines)."""
    text = ".".join(map(str, version))
    fixed = version >= SQLITE_FIXED or any(
        version[:2] == line[:2] and version >= line for line in SQLITE_BACKPORTS
    )
    if fixed:
        yield Finding("sqlite", "ok", f"SQLite {text}")
    else:
        yield Finding(
            "sqlite",
            "note",
            f"SQLite {text} can corrupt a WAL when two connections write at once; the gateway has "
            "one: let no backup program open this database for writing",
        )


def routes() -> tuple[Route, ...]:
    """Return the IPv4 routes of this machine, the most specific first."""
    try:
        return read_routes(Path("/proc/net/route").read_text(encoding="ascii"))
    except OSError:
        return ()


_WAYS: Final[dict[Way, tuple[Literal["ok", "note", "bad"], str]]] = {
    "name": ("note", "{host} is a name: give boards a fixed address"),
    "here": ("ok", "{host} is this machine"),
    "none": ("bad", "no way to {host}: give an interface an address beside it"),
    "routed": ("bad", "{host} is behind a router: boards must not be"),
    "outward": ("bad", "{interface} leads to the internet too: give boards their own"),
    "direct": ("ok", "{host} on {interface}, not routed"),
}


def networks(config: Config, table: Iterable[Route]) -> Iterator[Finding]:
    """Say whether boards on TCP hang on an interface of their own that nobody routes to."""
    for name, line in config.lines.items():
        address = split_address(line.tcp) if line.tcp else None
        if address is None:
            continue
        how, interface = way(address[0], table)
        level, text = _WAYS[how]
        yield Finding(f"network.{name}", level, text.format(host=address[0], interface=interface))
