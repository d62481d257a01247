"""`locker-gateway log`: show, verify and prove the signed log; none of it writes to the data.

Reading needs neither the log key nor a stopped gateway: the public keys are in the database. Where
the key is at hand, `verify` and `vkey` check that both are the same.
"""

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import click

from certs.errors import KeyStoreBroken
from certs.keys import SigningKey, Verifier
from gateway import identity, rotating
from sync import entry as entries
from sync.entry import Entry, Lane
from sync.errors import TheirsInvalid
from sync.findings import Finding, Report
from sync.fsck import verify
from sync.moment import Anchor, Anchors, Moment, Utc, utc_text
from sync.reader import LogFile
from sync.roots import Source
from sync.rows import Head, Record

_PROGRESS_ROWS: Final = 25_000

_data = click.option(
    "--data",
    "data",
    required=True,
    metavar="DIR",
    type=click.Path(exists=True, path_type=Path),
    help="The site's data folder (or a site.db).",
)
_lane = click.Choice([lane.value for lane in Lane])


@click.group(name="log")
def command() -> None:
    """Show, verify and prove the signed log of a site."""


@command.command("verify")
@_data
@click.option(
    "--checkpoint",
    "held",
    multiple=True,
    metavar="FILE",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="A checkpoint kept elsewhere, which the log must contain. May be repeated.",
)
@click.option(
    "--vkey",
    "first",
    metavar="VKEY",
    help="The site's first writer key (`log vkey --writer`), noted elsewhere: every key that signed"
    " must follow from it by an entry.",
)
@click.option("--json", "as_json", is_flag=True, help="One JSON object in place of lines.")
def verify_log(data: Path, held: tuple[Path, ...], first: str | None, *, as_json: bool) -> None:
    """Check every byte, hash and signature; exit 1 and say what is wrong and where."""
    writer = None if first is None else Verifier.from_vkey(first.strip())
    notes = [_checkpoint_text(path) for path in held]
    with LogFile.open(_database(data)) as file:
        heads = file.heads()
        sources = [
            Source(head, file.kept(head), file.stored_nodes(head), file.receipts(head))
            for head in heads
        ]
        total = sum(head.size for head in heads)
        report = verify(
            sources,
            file.pages(),
            held=notes,
            strays=file.strays(),
            snapshots=file.snapshots(),
            progress=lambda done: _progress(done, total),
        )
    key = _key_findings(data, heads)
    writers: frozenset[bytes] = frozenset()
    if writer is not None and report.ok:
        writers = rotating.writers(_database(data), writer)
        key += [
            Finding("fsck.checkpoint.writer", head.origin)
            for head in heads
            if head.own and Verifier.from_vkey(head.vkey).public not in writers
        ]
    _tell(report, key, len(writers), as_json=as_json)
    if key or not report.ok:
        sys.exit(1)


@command.command("show")
@_data
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")
@click.option("--lane", type=_lane, help="Only this lane.")
@click.option("--from", "start", type=click.IntRange(0), default=0, help="First index shown.")
@click.option("--kind", help="Only entries of this kind.")
def show(data: Path, lane: str | None, start: int, kind: str | None, *, as_json: bool) -> None:
    """Print entries, by log and index, with the time derived from the log's anchors."""
    with LogFile.open(_database(data)) as file:
        anchors = _anchors(file)
        for head in file.heads():
            if lane is not None and head.log.lane != lane:
                continue
            for record in file.records(head, start):
                entry = _parsed(head, record)
                if kind is None or entry.kind == kind:
                    click.echo(_line(head, record, entry, anchors, as_json=as_json))


@command.command("prove")
@_data
@click.option("--lane", type=_lane, required=True, help="The lane of the entry.")
@click.option("--index", type=click.IntRange(0), required=True, help="The entry's index.")
@click.option(
    "--out",
    required=True,
    metavar="FILE",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Where the proof goes; the entry's bytes go to FILE.entry.",
)
def prove(data: Path, lane: str, index: int, out: Path) -> None:
    """Write a proof that one entry is in the log, for anyone who has the log's vkey."""
    with LogFile.open(_database(data)) as file:
        head = file.head(Lane(lane))
        proof = file.proof(head, index)
        record = next(file.records(head, index, index + 1), None)
    if record is None:
        raise TheirsInvalid("log.pruned", "Ask the hub for this entry.", lane=lane, index=index)
    leaf = out.with_name(f"{out.name}.entry")
    try:
        out.write_text(proof.text(), "utf-8")
        leaf.write_bytes(record.entry)
    except OSError as error:
        raise click.FileError(str(out), hint=str(error)) from error
    click.echo(f"{out} proves {leaf}: entry {index} of {head.origin}, size {head.size}")


@command.command("vkey")
@_data
@click.option("--writer", is_flag=True, help="One line for all lanes: what the hub wants.")
def vkey(data: Path, *, writer: bool) -> None:
    """Print the public key of each lane's log, one a line."""
    if writer:
        who = identity.load(data)
        click.echo(SigningKey.from_seed(f"{who.operator}/{who.writer}", who.seed).vkey)
        return
    with LogFile.open(_database(data)) as file:
        heads = [file.head(lane) for lane in Lane]
    found = _key_findings(data, heads)
    if found:
        raise TheirsInvalid(found[0].code, "The key of this folder did not write this log.")
    for head in heads:
        click.echo(head.vkey)


def _database(data: Path) -> Path:
    return identity.database_of(data) if data.is_dir() else data


def _checkpoint_text(path: Path) -> str:
    # The largest note is 16 KiB; more is none, and the finding says so.
    with path.open("rb") as file:
        return file.read(32 * 1024).decode("utf-8", "replace")


def _key_findings(data: Path, heads: Iterator[Head] | Any) -> list[Finding]:
    """Compare the database's public keys with the key store's, where there is one to read."""
    try:
        who = identity.load(data)
    except (TheirsInvalid, KeyStoreBroken):
        return []
    return [
        Finding("fsck.key", head.origin)
        for head in heads
        if head.own and head.log.epoch == who.epoch and head.vkey != who.key(head.log.lane).vkey
    ]


def _progress(done: int, total: int) -> None:
    """Say how far it is, on a long run."""
    if done % _PROGRESS_ROWS < 256 and done >= _PROGRESS_ROWS:  # noqa: PLR2004  # rows of a page
        click.echo(f"log verify: {done} of {total} entries", err=True)


def _tell(report: Report, key: list[Finding], writers: int, *, as_json: bool) -> None:
    findings = [*key, *report.findings]
    if as_json:
        told: dict[str, Any] = {
            "ok": not findings,
            "logs": [
                {"origin": log.origin, "entries": log.entries, "size": log.size}
                | ({} if log.root is None else {"root": log.root.hex()})
                for log in report.logs
            ],
            "findings": [
                {"code": one.code, "origin": one.origin, "index": one.index}
                | {"meaning": one.meaning}
                | one.evidence
                for one in findings
            ],
            "more": report.more,
        }
        if writers:
            told["writers"] = writers
        click.echo(json.dumps(told))
        return
    for log in report.logs:
        click.echo(f"{log.origin}: {log.entries} entries, checkpoint of {log.size}")
    for one in findings:
        where = "" if one.index is None else f" entry {one.index}"
        seen = ", ".join(f"{name}={value}" for name, value in one.evidence.items())
        seen = f" ({seen})" if seen else ""
        click.echo(f"WRONG {one.code} {one.origin}{where}: {one.meaning}{seen}")
    if report.more:
        click.echo("WRONG and more of the same")
    click.echo(f"{'NOT verified' if findings else 'verified'}")


def _anchors(file: LogFile) -> Anchors:
    anchors = Anchors()
    for head in file.heads():
        if head.own and head.log.lane is Lane.CUSTODY:
            for record in file.records(head):
                if b'"kind":"time.anchored"' in record.entry:
                    _add_anchor(anchors, _parsed(head, record))
    return anchors


def _add_anchor(anchors: Anchors, entry: Entry) -> None:
    utc_ms, error_ms = entry.body.get("utc_ms"), entry.body.get("error_ms")
    source = entry.body.get("source", "")
    if isinstance(utc_ms, int) and isinstance(error_ms, int) and isinstance(source, str):
        anchors.add(Anchor(entry.at, Utc(utc_ms, error_ms, source)))


def _parsed(head: Head, record: Record) -> Entry:
    try:
        return entries.parse(record.entry)
    except TheirsInvalid as error:
        raise TheirsInvalid(
            "log.bad_entry",
            "Run `log verify`.",
            origin=head.origin,
            index=record.index,
            cause=error.code,
        ) from error


def _line(head: Head, record: Record, entry: Entry, anchors: Anchors, *, as_json: bool) -> str:
    ref = f"{head.log}{record.index}"
    utc = anchors.utc(entry.at)
    if as_json:
        told: dict[str, object] = {
            "ref": ref,
            "lane": head.log.lane.value,
            "index": record.index,
            "entry": dict(entry.body),
        }
        if utc is not None:
            told |= {"utc": utc_text(utc.ms), "utc_error_ms": utc.error_ms}
        return json.dumps(told, ensure_ascii=False)
    rest = {key: value for key, value in entry.body.items() if key not in {"kind", "at"}}
    words = " ".join(f"{key}={_word(value)}" for key, value in rest.items())
    return f"{_when(entry.at, utc)}  {ref}  {entry.kind}  {words}".rstrip()


def _when(at: Moment, utc: Utc | None) -> str:
    if utc is None:
        return f"boot {at.boot} +{at.mono_ms / 1000:.3f} s"
    return f"{utc_text(utc.ms)} +-{utc.error_ms / 1000:.3f} s"


def _word(value: object) -> str:
    """Write a value so that a terminal cannot be told anything by it."""
    text = value if isinstance(value, str) else json.dumps(value)
    return text if text.isascii() and text.isprintable() and " " not in text else ascii(text)
