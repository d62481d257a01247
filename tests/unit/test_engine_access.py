"""What the log says of access: attempts counted together, keys that changed, the last entry."""

import pytest

from gateway.core.access import KINDS_MAX
from gateway.core.inputs import (
    AccessTold,
    Button,
    CodeKeyTold,
    Decommissions,
    KeyRotates,
    LinkUp,
    SupportChecked,
    TimePassed,
)
from gateway.core.outputs import AllOff, Answer, Persist, Pulse
from gateway.core.recovery import recover
from sync import facts
from sync.codes import CodeKey
from tests.stage import KEY, Stage

NEXT = CodeKey(KEY.site, 2, bytes(range(32, 64)))


def tells(stage: Stage, what: str = "pair", why: str = "pair.wrong", by: str = "10.0.0.9") -> None:
    stage.send(AccessTold(now=stage.now, what=what, by=by, why=why))


def judged(stage: Stage) -> list[tuple[str, str, int]]:
    return [(one.what, one.why, one.count) for one in stage.recorded(facts.AccessJudged)]


def test_the_first_attempt_is_written_at_once_and_more_of_its_kind_once_a_minute() -> None:
    stage = Stage()
    for _ in range(5):
        tells(stage)
    tells(stage, why="")
    assert judged(stage) == [("pair", "pair.wrong", 1), ("pair", "", 1)]
    stage.after(60_000)
    assert judged(stage)[2:] == [("pair", "pair.wrong", 4)]
    tells(stage)
    stage.after(60_000)
    assert judged(stage)[3:] == [("pair", "pair.wrong", 1)]
    stage.after(120_000)
    assert stage.engine.state.accesses == {}
    tells(stage)
    assert len(judged(stage)) == 5


def test_many_kinds_are_counted_as_other_and_texts_are_cut() -> None:
    stage = Stage()
    for number in range(KINDS_MAX + 3):
        tells(stage, what=f"w{number}", by="x\n" * 300)
    assert len(judged(stage)) == KINDS_MAX + 1
    assert judged(stage)[-1] == ("other", "other", 1)
    assert stage.recorded(facts.AccessJudged)[0].by == "x " * 50
    stage.after(60_000 * KINDS_MAX // 2)
    assert judged(stage)[-1] == ("other", "other", 2)


def test_whoever_did_something_stands_on_record_by_name() -> None:
    stage = Stage()
    for by in ("ada", "eve", "ada"):
        tells(stage, what="door test", why="", by=by)
    tells(stage, what="door", why="test x", by="eve")  # a space in a word parts no kinds
    stage.after(60_000)
    told = [(one.what, one.by, one.count) for one in stage.recorded(facts.AccessJudged)]
    assert told == [
        ("door test", "ada", 1), ("door test", "eve", 1), ("door", "eve", 1),
        ("door test", "ada", 1),
    ]  # fmt: skip


def test_a_flood_of_many_kinds_fills_no_log() -> None:
    """Each kind once a minute were 47,000 entries a day."""
    stage, before = Stage(), 0
    for minute in range(120):
        for number in range(KINDS_MAX + 8):
            tells(stage, what=f"w{number}")
        stage.after(60_000)
        if minute == 59:
            before = len(judged(stage))
    assert before < 250
    assert len(judged(stage)) - before <= 3 * 60
    told = stage.recorded(facts.AccessJudged)
    waiting = sum(count for count, _ in stage.engine.state.accesses.values())
    assert sum(fact.count for fact in told) + waiting == 120 * (KINDS_MAX + 8)


def rotates(stage: Stage, **more: object) -> Answer:
    stage.send(KeyRotates(now=stage.now, token="k", by="ada", **more))  # type: ignore[arg-type]
    answer: Answer = stage.last(Answer)
    return answer


@pytest.mark.parametrize(
    ("more", "field"),
    [
        ({"use": "log"}, "vkey"), ({"use": "code"}, "key_version"), ({"use": "tls"}, "pin"),
        ({"use": "lan", "pin": "ab"}, "pin"),
    ],
)  # fmt: skip
def test_half_a_rotation_is_none(more: dict[str, object], field: str) -> None:
    answer = rotates(Stage(), **more)
    assert (answer.code, dict(answer.evidence)) == ("command.malformed", {"field": field})


def test_rotations_of_other_keys_go_on_record() -> None:
    stage = Stage()
    assert rotates(stage, use="log", vkey="lockers.example/site/0042+aa+bb").code == ""
    assert rotates(stage, use="tls", pin="ab" * 32).code == ""
    assert [fact.use for fact in stage.recorded(facts.KeyRotated)] == ["log", "tls"]


def test_another_code_key_derives_what_is_deposited_from_now_on() -> None:
    stage = Stage()
    stage.deposit("AB1")
    stage.home()
    assert rotates(stage, use="code", key_version=2).code == "key.unknown"
    for _ in range(2):
        stage.send(CodeKeyTold(now=stage.now, key=NEXT))
    assert "key=" not in repr(CodeKeyTold(now=stage.now, key=NEXT))
    stage.deposit("AB2")
    stage.home()
    assert rotates(stage, use="code", key_version=2).code == ""
    stage.deposit("AB3")
    stage.home()
    versions = [fact.key_version for fact in stage.recorded(facts.ParcelDeposited)]
    assert versions == [1, 1, 2]
    assert rotates(stage, use="code", key_version=1).code == "key.unknown"
    stage.press(Button.COLLECT)
    stage.enter(stage.code("AB1"))
    assert stage.screen().name == "collect.opening"
    stage.home()
    stage.press(Button.COLLECT)
    stage.enter(NEXT.code("acme/AB3/1", 0).short(8))
    assert stage.screen().name == "collect.opening"


def ends(stage: Stage, *, force: bool = False) -> Answer:
    stage.send(Decommissions(now=stage.now, token="end", by="ada", why="moved", force=force))
    answer: Answer = stage.last(Answer)
    return answer


def test_a_site_that_holds_a_parcel_does_not_end() -> None:
    stage = Stage()
    door = stage.deposit()
    answer = ends(stage)
    assert answer.code == "site.holds"
    assert dict(answer.evidence) == {"compartments": 1, "first": door}
    assert not stage.recorded(facts.SiteDecommissioned)


def test_after_the_last_entry_nothing_is_written_opened_or_answered() -> None:
    stage = Stage()
    stage.deposit()
    stage.home()
    stage.press(Button.COLLECT)
    stage.slow_disk = True
    stage.enter(stage.code())  # its pulse waits for the disk
    before = len(stage.pulses())
    stage.send(Decommissions(now=stage.now, token="end", by="ada", why="moved", force=True))
    assert stage.screen().why != "site.decommissioned"
    stage.flush()
    assert (stage.last(Answer).token, stage.last(Answer).code) == ("end", "")
    assert stage.facts[-1] == facts.SiteDecommissioned(by="support:ada", why="moved")
    assert len(stage.pulses()) == before
    written = len(stage.log)
    for happened in (LinkUp(now=stage.now), TimePassed(now=stage.now)):
        assert stage.send(happened) == []
    stage.press(Button.COLLECT)
    assert (stage.screen().name, stage.screen().why) == ("out_of_service", "site.decommissioned")
    stage.send(SupportChecked(now=stage.now, token="c", by="ada", door=1, occupied=False))
    assert stage.last(Answer).code == "site.decommissioned"
    stage.door(1, is_open=True)
    stage.restart()
    assert (stage.screen().name, stage.screen().why) == ("out_of_service", "site.decommissioned")
    stage.see_all()
    stage.press(Button.COLLECT)
    stage.after(600_000)
    assert len(stage.log) == written
    assert not [one for one in stage.outputs[-5:] if isinstance(one, Persist | Pulse)]


def test_an_engine_that_ended_still_switches_its_coils_off_at_a_start() -> None:
    stage = Stage()
    ends(stage)
    _, outputs = recover(stage.log, stage.settings, stage.now)
    assert outputs[0] == AllOff()


def test_a_later_epoch_is_another_site_that_may_begin() -> None:
    stage = Stage()
    ends(stage)
    stage.next_epoch()
    stage.see_all()
    assert stage.deposit() == 1
