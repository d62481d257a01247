"""Pins requirement 20: no right that was used works again, on a restored disk or in a new epoch."""

import pytest

from certs.capability import Action
from gateway.core.inputs import Trust
from sync import facts
from tests.stage import TRACKING, Stage, qr


def synced() -> Stage:
    stage = Stage(trust=Trust.SYNCED, error_ms=50)
    stage.trusts()
    return stage


def parcel_of(stage: Stage) -> str:
    return next(iter(stage.engine.book.parcels))


def used_collect(stage: Stage) -> tuple[str, int]:
    """A parcel is collected by a capability; returns it, and the log's length before."""
    stage.deposit(TRACKING)
    stage.home()
    text, before = qr(Action.COLLECT, object=parcel_of(stage)), len(stage.log)
    stage.shows(text)
    stage.shut(stage.opens(), occupied=False)
    stage.after(stage.settings.grace_ms)
    return text, before


def used_deposit(stage: Stage) -> tuple[str, int]:
    """A parcel is brought by a capability that is good for one."""
    text, before = qr(Action.DEPOSIT, subject="acme", room="M"), len(stage.log)
    stage.shows(text)
    stage.deposit(TRACKING)
    stage.home()
    return text, before


@pytest.mark.parametrize("use", [used_collect, used_deposit], ids=["collect", "deposit"])
def test_used_capability_opens_nothing_on_a_disk_from_before_its_use(use: object) -> None:
    stage = synced()
    assert callable(use)
    text, before = use(stage)
    # The disk goes back; behind the door lies a stranger's parcel by now.
    stage.next_epoch(fence="restored", keep=before)
    stage.trusts()
    stage.see_all(occupied=(1,))
    stage.outputs.clear()
    assert not any(isinstance(one[3], facts.CapabilityAccepted) for one in stage.log)
    stage.shows(text)
    assert stage.screen().why in {"door.fenced", "site.fenced"}
    assert stage.pulses() == []


@pytest.mark.parametrize("fence", ["", "restored"], ids=["key changed", "restored"])
@pytest.mark.parametrize("use", [used_collect, used_deposit], ids=["collect", "deposit"])
def test_used_capability_is_used_in_each_epoch_that_has_its_entry(use: object, fence: str) -> None:
    """A changed log key begins an epoch without a fence; a lost suffix that is back is folded."""
    stage = synced()
    assert callable(use)
    text, _ = use(stage)
    stage.next_epoch(fence=fence)
    stage.trusts()
    stage.see_all(occupied=(1,))
    stage.outputs.clear()
    stage.shows(text)
    assert stage.screen().why == "capability.used"
    assert stage.pulses() == []
