"""Pins denials carried in by a visitor's QR: an enrolled site without its hub, over restarts."""

import secrets
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from certs import capability
from certs.capability import Action, Capability
from gateway import identity
from sync import entry
from sync.facts import AccessJudged, from_entry
from sync.hub import denials
from sync.hub.denials import carried
from sync.reader import LogFile
from tests.trust_stage import OPERATOR, Governed, governed, hands

__all__ = ["hands"]

NOW_S = int(time.time())
CTI = secrets.token_bytes(8)
pytestmark = pytest.mark.usefixtures("hands")


@pytest.fixture
async def stage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Governed]:
    async with governed(tmp_path, monkeypatch) as made:
        await made.enrol()
        await made.begin()
        await made.linked()
        yield made


def technicians(stage: Governed, cti: bytes = CTI) -> str:
    """Return the text of a QR that the hub issued to a technician."""
    given = Capability(
        audience=f"{OPERATOR}/site/0042", action=Action.SERVICE, cti=cti,
        not_before_s=NOW_S - 60, expires_s=NOW_S + 86_400,
    )  # fmt: skip
    return capability.to_text(capability.sign(given, stage.hubbub.authority.grants), base32=True)


def judged(stage: Governed) -> list[tuple[str, str, str]]:
    """What the log says of attempts: (what, who, why)."""
    with LogFile.open(identity.database_of(stage.data)) as log:
        found = [
            from_entry(entry.parse(one.entry)) for head in log.heads() for one in log.records(head)
        ]
    return [(one.what, one.by, one.why) for one in found if isinstance(one, AccessJudged)]


async def test_a_list_that_a_visitor_shows_counts_without_the_hub_and_after_a_restart(
    stage: Governed,
) -> None:
    hub = stage.hubbub.hub
    older = carried(await denials.note(hub))
    theirs, another = technicians(stage), technicians(stage, secrets.token_bytes(8))
    await denials._changed(hub, {CTI.hex(): NOW_S + 86_400})
    newer = carried(await denials.note(hub))
    await stage.hubbub.stop()

    # Nobody here has heard of it: the right holds.
    assert await stage.post("scan", text=theirs) == 202
    await stage.shows("service.menu")
    # A list takes no screen away.
    assert await stage.post("scan", text=newer) == 202
    await stage.until(lambda: stage.app._exchange.wire.known().denied().denied)
    await stage.post("button", button="home")
    await stage.shows("welcome")
    assert await stage.post("scan", text=theirs) == 202
    assert (await stage.shows("capability.refused"))["why"] == "capability.denied"
    await stage.post("button", button="home")

    # An older list, one that was altered, and none: refused, on record, and nothing changes.
    for text in (older, newer[:-9] + "000000000", "PLG1D:~", "PLG1D:"):
        assert await stage.post("scan", text=text) == 202
        looking = stage.app._looking
        assert looking is not None
        await looking
    assert CTI.hex() in stage.app._exchange.wire.known().denied().denied
    await stage.until(lambda: any(what == "denials" for what, _, _ in judged(stage)))
    assert {by for what, by, _ in judged(stage) if what == "denials"} == {"visitor"}

    await stage.stop()
    await stage.begin()
    await stage.shows("welcome")
    assert await stage.post("scan", text=theirs) == 202
    assert (await stage.shows("capability.refused"))["why"] == "capability.denied"
    await stage.post("button", button="home")
    assert await stage.post("scan", text=another) == 202
    await stage.shows("service.menu")
