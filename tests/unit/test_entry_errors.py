"""Pins the shape of errors of this floor: code, evidence, remedy, and one text of them."""

import pytest

from sync.errors import OursBroken, Reason, StoreFailed, SyncError, TheirsInvalid


def test_text_is_code_remedy_and_evidence() -> None:
    error = TheirsInvalid("sync.number_gap", "Send from 41.", expected=41, got=43)
    assert str(error) == "sync.number_gap: Send from 41. (expected=41, got=43)"
    assert str(OursBroken("a.b")) == "a.b"
    assert (error.code, error.evidence) == ("sync.number_gap", {"expected": 41, "got": 43})


@pytest.mark.parametrize("reason", ["full", "io", "newer", "foreign", "torn", "busy"])
def test_every_reason_of_the_store_has_a_code_and_a_remedy(reason: Reason) -> None:
    error = StoreFailed(reason, path="x")
    assert isinstance(error, SyncError)
    assert (error.reason, error.code) == (reason, f"store.{reason}")
    assert error.remedy
    assert StoreFailed(reason, "Other.").remedy == "Other."
