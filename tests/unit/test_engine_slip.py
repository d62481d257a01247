"""A number that nobody can read ends no visit: also not a visit with a right to one room only."""

from certs.capability import Action
from gateway.core.inputs import Trust
from sync import facts
from tests.stage import Stage, qr


def test_who_may_fill_one_room_is_asked_again_for_a_number_nobody_can_read() -> None:
    stage = Stage(trust=Trust.SYNCED, error_ms=50)
    stage.trusts()
    stage.shows(qr(Action.DEPOSIT, subject="acme", room="M"))
    stage.scan("JD-01")
    assert (stage.screen().name, stage.screen().why) == ("deliver.scan", "parcel.malformed")
    stage.scan("JD01")
    stage.opens()
    stage.shut(3, occupied=True)
    assert stage.recorded(facts.ParcelDeposited)
    stage.home()
    stage.shows(qr(Action.DEPOSIT, cti=2, subject="acme", room="M cold"))
    stage.scan("JD02")
    assert (stage.screen().name, stage.screen().why) == ("capability.refused", "capability.no_room")
