"""Pins what a lesson learns of a door and what it refuses, on a simulated bank in virtual time."""

from typing import Any

import pytest

from gateway.commissioning import draft as drafts
from gateway.commissioning import lesson as lessons
from gateway.commissioning.lesson import Lesson, Sample
from gateway.errors import GatewayError
from tests.commission_stage import Stage, adopted, bank_of


def stage(doors: int = 3, **change: dict[str, object]) -> Stage:
    bent = {int(name.removeprefix("door")): told for name, told in change.items()}
    return Stage(bank_of(doors, change=bent), adopted(1))


def codes(lesson: Lesson) -> list[str]:
    return [finding.code for finding in lesson.findings]


def test_a_sound_door_is_learned_whole() -> None:
    lesson = stage(door1={"open_ms": 120, "min_pulse_ms": 60}).teach("io-1:0", 1)
    assert (lesson.switch, lesson.open_when, lesson.number) == ("io-1:0", "active", 1)
    assert 180 <= lesson.open_ms <= 240
    assert (lesson.occupancy, lesson.findings, lesson.taught) == ("", (), True)


def test_the_other_polarity_is_learned() -> None:
    lesson = stage(door1={"door_open_is": "inactive"}).teach("io-1:0", 1)
    assert lesson.open_when == "inactive"


@pytest.mark.parametrize("bounce_ms", [5, 20, 80])
def test_chatter_is_no_second_opening(bounce_ms: int) -> None:
    lesson = stage(door1={"bounce_ms": bounce_ms}).teach("io-1:0", 1)
    assert lesson.bounce_ms <= 80
    assert lesson.taught


def test_wires_in_any_order_are_learned_as_they_are() -> None:
    on = stage(door1={"door": "io-1:2"}, door3={"door": "io-1:0"})
    assert on.teach("io-1:0", 1).switch == "io-1:2"
    assert on.teach("io-1:2", 3).switch == "io-1:0"


def test_a_sensor_bit_is_found_by_what_is_put_in() -> None:
    lesson = stage(door1={"occupancy": "io-1:6"}).teach("io-1:0", 1, senses=True)
    assert (lesson.occupancy, lesson.occupied_when) == ("io-1:6", "active")


def test_a_sensor_of_the_other_polarity_is_found() -> None:
    on = stage(door1={"occupancy": "io-1:6", "occupied_is": "inactive"})
    assert on.teach("io-1:0", 1, senses=True).occupied_when == "inactive"


def test_something_put_in_is_left_in() -> None:
    on = stage(door1={"occupancy": "io-1:6"})
    lesson = lessons.popped(on.begin("io-1:0"), 1)
    on.bank.person.put(1)
    lesson = on.shut(on.watch(lesson, 800, until=lambda _: False), 1)
    assert (lesson.taught, lesson.occupancy, codes(lesson)) == (True, "", ["teach.left_changed"])


def test_what_moves_after_the_door_is_shut_is_no_sensor_of_it() -> None:
    on = stage()
    lesson = on.shut(lessons.popped(on.begin("io-1:0"), 1), 1, for_ms=200)
    for level in (True, False):
        on.bank.set_input("io-1", 7, active=level)
        lesson = on.watch(lesson, 80, until=lambda _: False)
    lesson = on.watch(lesson, 3000, until=lambda one: one.phase == "done")
    assert (lesson.taught, lesson.occupancy) == (True, "")


def test_two_sensors_cannot_both_be_it() -> None:
    on = stage(door1={"occupancy": "io-1:6"})
    lesson = on.put_and_take(lessons.popped(on.begin("io-1:0"), 1), 1)
    for level in (True, False):
        on.bank.set_input("io-1", 7, active=level)
        lesson = on.watch(lesson, 400, until=lambda _: False)
    lesson = on.shut(lesson, 1)
    assert (lesson.taught, lesson.occupancy) == (True, "")
    assert codes(lesson) == ["teach.occupancy_unclear"]


def with_distance(on: Stage) -> None:
    board = on.draft.boards["io-1"]
    sonar = drafts.Board(
        name="sensor-1", line=board.line, unit=9,
        kind=drafts.Kind(profile="urm14", measures=("temperature", "distance")),
    )  # fmt: skip
    on.draft = drafts.changed(on.draft, boards={**on.draft.boards, "sensor-1": sonar})
    on.distances["sensor-1"] = (21_000, 450_000)


def measured(on: Stage, *distances: int | None) -> Lesson:
    lesson = lessons.popped(on.begin("io-1:0"), 1)
    for distance in distances:
        on.distances["sensor-1"] = (21_000 + len(on.distances), distance)
        lesson = on.watch(lesson, 400, until=lambda _: False)
    return on.shut(lesson, 1)


def test_a_distance_that_falls_and_comes_back_is_the_sensor() -> None:
    on = stage()
    with_distance(on)
    lesson = measured(on, 150_000, None, 449_000)
    assert (lesson.occupancy, lesson.occupied_below) == ("sensor-1:1", 299_500)
    on.draft = drafts.taught(on.draft, lesson)
    assert drafts.site_map(on.draft).doors[1].occupied_below == 299_500


@pytest.mark.parametrize("distances", [(440_000, 450_000), (150_000,), (900_000, 450_000)])
def test_a_distance_that_does_not_say_occupied_is_none(distances: tuple[int, ...]) -> None:
    on = stage()
    with_distance(on)
    assert measured(on, *distances).occupancy == ""


def test_a_distance_of_another_door_is_not_taken_twice() -> None:
    on = stage()
    with_distance(on)
    on.draft = drafts.taught(on.draft, measured(on, 150_000, 450_000))
    lesson = lessons.popped(on.begin("io-1:1"), 2)
    for distance in (100_000, 450_000):
        on.distances["sensor-1"] = (21_000, distance)
        lesson = on.watch(lesson, 400, until=lambda _: False)
    assert on.shut(lesson, 2).occupancy == ""


def test_two_switches_joined_are_refused() -> None:
    on = stage()
    lesson = drafts.teach(on.draft, "io-1:0", on.sample())
    on.coil("io-1:0", on=True)
    began = on.now_ms
    on.now_ms += 300
    on.bank.set_input("io-1", 5, active=True)
    on.coil("io-1:0", on=False)
    lesson = lessons.pulsed(lesson, at_ms=began, ms=300)
    lesson = on.watch(lesson, 5000, until=lambda one: one.phase == "done")
    assert (lesson.code, lesson.taught) == ("teach.two_moved", False)
    assert lesson.findings[-1].evidence["inputs"] == "io-1:0 io-1:5"
    with pytest.raises(GatewayError) as caught:
        lessons.again(lesson)
    assert caught.value.code == "teach.open_before"


def test_the_switch_of_another_door_is_crossed() -> None:
    on = stage()
    on.teach("io-1:0", 1)
    crossed = stage(door2={"door": "io-1:0"}, door1={"door": "io-1:7"})
    crossed.draft = on.draft
    lesson = crossed.begin("io-1:1")
    assert (lesson.code, lesson.phase) == ("teach.crossed", "done")
    assert lesson.findings[0].evidence == {"input": "io-1:0", "door": 1}


def test_a_number_that_is_taken_is_refused_and_another_one_is_not() -> None:
    on = stage()
    on.teach("io-1:0", 1)
    lesson = on.begin("io-1:1")
    assert lesson.suggest == 2
    with pytest.raises(GatewayError) as caught:
        lessons.popped(lesson, 1)
    assert caught.value.code == "teach.duplicate"
    assert on.shut(lessons.popped(lesson, 2, "L"), 2).size == "L"


def test_a_dead_lock_has_no_effect() -> None:
    on = stage()
    on.bank.inject_door(1, "coil_open")
    lesson = on.begin("io-1:0")
    assert lesson.phase == "which"
    lesson = lessons.nothing(lesson)
    assert (lesson.code, lesson.attempts[0].took_ms) == ("lock.no_effect", None)


def test_a_sticky_lock_opens_at_another_try() -> None:
    on = stage(door1={"sticky": 3})
    lesson = lessons.nothing(on.begin("io-1:0"))
    lesson = on.again(lesson)
    assert lesson.phase == "which"
    lesson = on.again(lesson)
    lesson = on.shut(lessons.popped(lesson, 1), 1)
    assert (lesson.taught, len(lesson.attempts)) == (True, 3)


@pytest.mark.parametrize("fault", ["switch_stuck_open", "switch_stuck_closed"])
def test_a_switch_that_is_stuck_is_named(fault: str) -> None:
    on = stage()
    on.bank.inject_door(1, fault)
    lesson = lessons.popped(on.begin("io-1:0"), 1)
    assert lesson.code == "teach.nothing_moved"
    assert lesson.findings[-1].evidence == {"lock": "io-1:0", "door": 1}


def test_a_door_that_falls_shut_is_named() -> None:
    on = stage()
    on.bank.inject_door(1, "falls_shut", value=400)
    assert on.begin("io-1:0").code == "teach.fell_shut"


def test_a_weak_latch_is_waited_for() -> None:
    on = stage()
    lesson = lessons.popped(on.begin("io-1:0"), 1)
    on.bank.person.slam(1)
    lesson = on.watch(lesson, 3000, until=lambda one: one.phase == "done")
    assert lesson.phase == "closing"
    assert on.shut(lesson, 1).taught


def test_a_lock_that_locks_with_current_is_refused_after_two_pulses() -> None:
    on = stage()
    on.bank.inject_door(1, "energise_to_lock")
    lesson = on.shut(lessons.popped(on.begin("io-1:0"), 1), 1)
    assert (lesson.code, lesson.taught) == ("lock.opened_late", False)
    lesson = on.again(lesson)
    assert (lesson.phase, lesson.code) == ("done", "lock.energise_to_lock")
    assert [one.ms for one in lesson.attempts] == [400, 800]


def test_a_lock_that_is_only_slow_is_taught_after_two_pulses() -> None:
    on = stage(door1={"open_ms": 700})
    lesson = on.shut(lessons.popped(on.begin("io-1:0"), 1, "XL"), 1)
    assert lesson.code == "lock.opened_late"
    lesson = on.shut(on.again(lesson), 1)
    assert (lesson.taught, lesson.number, lesson.size) == (True, 1, "XL")
    on.draft = drafts.taught(on.draft, lesson)
    assert on.draft.doors[1].pulse_ms == 400


def test_where_no_longer_pulse_is_allowed_a_shorter_one_tells() -> None:
    on = stage(door1={"open_ms": 1200})
    lesson = on.shut(lessons.popped(on.begin("io-1:0", ms=1000), 1), 1)
    assert lesson.code == "lock.opened_late"
    lesson = on.shut(on.again(lesson), 1)
    assert [one.ms for one in lesson.attempts] == [1000, 800]
    assert lesson.taught


def test_an_input_that_moved_unseen_is_said() -> None:
    lesson = lessons.nothing(stage().begin("io-1:0"))
    assert lesson.code == "teach.unseen"


def test_a_door_that_is_shut_after_nothing_moved_stood_open_before() -> None:
    on = stage()
    on.bank.person.force(1)
    lesson = on.begin("io-1:0")
    assert lesson.phase == "which"
    on.bank.person.close(1)
    lesson = on.watch(lesson, 400, until=lambda _: False)
    assert codes(lesson) == ["teach.open_before"]
    assert lessons.popped(lesson, 1).code == "teach.open_before"
    assert lessons.nothing(lesson).code == "teach.unseen"


def test_a_known_door_that_stands_open_is_not_pulsed() -> None:
    on = stage()
    on.teach("io-1:0", 1)
    on.bank.person.force(1)
    with pytest.raises(GatewayError) as caught:
        on.begin("io-1:0")
    assert caught.value.code == "teach.open_before"


def test_a_known_door_is_taught_again_under_its_number() -> None:
    on = stage()
    on.teach("io-1:0", 1)
    lesson = on.begin("io-1:0")
    assert (lesson.door, lesson.suggest) == (1, 1)
    on.draft = drafts.taught(on.draft, on.shut(lessons.popped(lesson, 8), 1))
    assert list(on.draft.doors) == [8]


def test_another_door_shut_instead_is_crossed_until_it_is_put_right() -> None:
    on = stage()
    on.bank.person.force(3)
    lesson = lessons.popped(on.begin("io-1:0"), 1)
    on.bank.person.close(3)
    lesson = on.watch(lesson, 2000, until=lambda one: one.phase == "done")
    assert (lesson.phase, codes(lesson)) == ("closing", ["teach.crossed"])
    assert on.shut(lesson, 1).taught


def test_two_inputs_that_come_back_together_are_crossed() -> None:
    on = stage()
    on.bank.person.force(3)
    lesson = lessons.popped(on.begin("io-1:0"), 1)
    on.bank.person.close(3)
    assert on.shut(lesson, 1).code == "teach.crossed"


def test_a_board_that_is_silent_meanwhile_is_named() -> None:
    on = Stage(bank_of(9, change={1: {"door": "io-2:5"}}), adopted(2))
    lesson = drafts.teach(on.draft, "io-1:0", on.sample())
    on.silent.add("io-2")
    lesson = on.pulse(lesson)
    assert (lesson.phase, codes(lesson)) == ("which", ["teach.board_silent"])
    assert lesson.findings[0].evidence == {"boards": "io-2"}


def test_a_door_is_not_done_while_the_board_of_its_switch_is_silent() -> None:
    on = stage()
    lesson = lessons.popped(on.begin("io-1:0"), 1)
    on.bank.person.close(1)
    lesson = on.watch(lesson, 400, until=lambda _: False)
    on.silent.add("io-1")
    lesson = on.watch(lesson, 3000, until=lambda one: one.phase == "done")
    assert lesson.phase == "closing"
    on.silent.clear()
    assert on.watch(lesson, 400, until=lambda one: one.phase == "done").taught


def test_a_pulse_that_was_not_sent_ends_the_lesson_with_its_code() -> None:
    on = stage()
    lesson = drafts.teach(on.draft, "io-1:0", on.sample())
    lesson = lessons.pulsed(lesson, at_ms=0, ms=400, code="bus.link_down")
    assert (lesson.phase, lesson.code, lesson.attempts) == ("done", "bus.link_down", ())


def test_a_pulse_in_doubt_is_watched() -> None:
    on = stage()
    lesson = drafts.teach(on.draft, "io-1:0", on.sample())
    lesson = lessons.pulsed(lesson, at_ms=on.now_ms, ms=400, code="doubt:bus.unanswered")
    watched = on.watch(lesson, 5000, until=lambda one: one.phase == "which")
    assert lessons.nothing(watched).code == "bus.unanswered"
    on = stage()
    on.bank.person.force(1)
    moved = on.watch(lesson, 5000, until=lambda one: one.phase == "which")
    assert (moved.switch, moved.code) == ("io-1:0", "")


def test_the_number_may_be_said_while_it_is_watched() -> None:
    on = stage()
    lesson = drafts.teach(on.draft, "io-1:0", on.sample())
    on.coil("io-1:0", on=True)
    lesson = lessons.popped(lessons.pulsed(lesson, at_ms=on.now_ms, ms=400), 5)
    assert lesson.phase == "watching"
    lesson = on.watch(lesson, 3000, until=lambda one: one.phase != "watching")
    assert (lesson.phase, lesson.number) == ("closing", 5)


@pytest.mark.parametrize("word", ["again", "popped", "nothing", "pulsed"])
def test_a_word_at_the_wrong_time_is_refused(word: str) -> None:
    on = stage()
    lesson = drafts.teach(on.draft, "io-1:0", on.sample())
    say: dict[str, Any] = {
        "again": lessons.again,
        "popped": lambda one: lessons.popped(one, 1),
        "nothing": lessons.nothing,
        "pulsed": lambda one: lessons.pulsed(lessons.pulsed(one, at_ms=0, ms=400), at_ms=0, ms=400),
    }
    with pytest.raises(GatewayError) as caught:
        say[word](lesson)
    assert caught.value.code == "teach.phase"


def test_samples_from_before_are_left_out() -> None:
    on = stage()
    before = on.sample()
    lesson = on.begin("io-1:0")
    assert lessons.seen(lesson, before) is lesson
    done = lessons.nothing(lesson)
    assert lessons.seen(done, before).last is done.last


def test_what_moved_during_the_pulse_counts_when_the_pulse_is_told_after_it() -> None:
    rest = Sample(at_ms=100, inputs={"io-1": (False, False)})
    lesson = lessons.begun("io-1:0", rest, taken={})
    moved = Sample(at_ms=350, inputs={"io-1": (True, False)})
    lesson = lessons.seen(lessons.seen(lesson, Sample(at_ms=200, inputs=rest.inputs)), moved)
    lesson = lessons.pulsed(lesson, at_ms=250, ms=400)
    later = Sample(at_ms=1400, inputs=moved.inputs)
    assert lessons.seen(lesson, later).open_ms == 100
