"""Pins which board answers prove: siblings told apart, nothing claimed beyond the evidence."""

import pytest

from adapters import identify
from adapters.identify import Answers, counting, generic, judge, next_question, objects, outdated
from adapters.profile import Profile, parse
from adapters.profiles import load, names
from adapters.reading import READ_COILS, READ_DISCRETE, Read
from adapters.simulator.models import MODELS, make_board

SHIPPED = tuple(load(name) for name in names())


def ask(model: str, unit: int, read: Read) -> tuple[int, ...] | None:
    """What the simulated board answers to one read; None: an exception."""
    board = make_board(model, unit)
    board.install()
    body = bytes((read.function,)) + read.address.to_bytes(2, "big") + read.count.to_bytes(2, "big")
    reply = board.handle(body, 0)
    assert reply is not None
    if reply[0] & 0x80:
        return None
    if read.function in {READ_COILS, READ_DISCRETE}:
        return tuple(reply[2 + at // 8] >> at % 8 & 1 for at in range(read.count))
    return tuple(
        int.from_bytes(reply[at : at + 2], "big") for at in range(2, 2 + 2 * read.count, 2)
    )


def answers_of(model: str, unit: int, among: tuple[Profile, ...]) -> Answers:
    found: dict[Read, tuple[int, ...] | None] = {}
    while (question := next_question(among, unit, found)) is not None:
        found[question] = ask(model, unit, question)
    return found


@pytest.mark.parametrize("name", sorted(MODELS.keys() & set(names())))
def test_every_make_is_known_among_all_by_the_questions_worth_asking(name: str) -> None:
    unit = load(name).link.unit
    answers = answers_of(name, unit, SHIPPED)
    matches = judge(SHIPPED, unit, answers)
    best = [match for match in matches if match.confidence == matches[0].confidence]
    assert name in {match.profile for match in best}
    assert best[0].confidence in {"certain", "likely"}
    assert answers.keys() <= set(identify.questions(SHIPPED))
    assert judge(SHIPPED, unit, {q: ask(name, unit, q) for q in identify.questions(SHIPPED)})


def test_siblings_of_one_map_name_each_other() -> None:
    first, second = judge(SHIPPED, 1, answers_of("waveshare-rtu-relay-d", 1, SHIPPED))[:2]
    assert {first.profile, second.profile} == {"waveshare-rtu-relay-d", "waveshare-rtu-io-8ch"}
    assert first.confidence == second.confidence == "likely"
    assert first.evidence[-1] == f"as well: {second.profile}"


def test_a_question_without_answer_leaves_it_possible() -> None:
    profile = load("waveshare-rtu-relay-8")
    answers = dict(answers_of("waveshare-rtu-relay-8", 1, (profile,)))
    answers[Read(3, 0x8000, 1)] = ()
    (match,) = judge((profile,), 1, answers)
    assert match.confidence == "possible"
    assert match.evidence[0] == "version: no answer"
    assert "no_more_relays: refused" in match.evidence


def test_one_contradiction_rules_a_profile_out() -> None:
    profile = load("waveshare-rtu-relay-8")
    answers = answers_of("waveshare-rtu-relay-16", 1, (profile,))
    assert judge((profile,), 1, answers) == ()


def test_a_number_register_of_another_number_is_a_contradiction() -> None:
    profile = load("waveshare-rtu-relay-8")
    assert judge((profile,), 2, answers_of("waveshare-rtu-relay-8", 1, (profile,))) == ()


def test_what_was_never_asked_proves_nothing() -> None:
    assert judge(SHIPPED, 1, {}) == ()


BARE = """
profile = "bare"
revision = 1
title = "Bare"
level = "datasheet"
[link]
framings = ["rtu"]
[timing]
response_timeout_ms = 100
probe_timeout_ms = 50
[[identity]]
name = "word"
function = 3
address = 9
[evidence]
link = "M"
timing = "M"
"identity.word" = "M; firmware 2.0 or newer"
"""


def test_a_probe_that_any_stranger_passes_makes_it_only_likely() -> None:
    (match,) = judge((parse(BARE),), 1, {Read(3, 9, 1): (77,)})
    assert match.confidence == "likely"


def test_only_what_a_newer_firmware_brings_is_missing() -> None:
    profile = load("wirenboard-wb-mr6c-v3")
    answers = dict(answers_of("wirenboard-wb-mr6c-v3", 1, (profile,)))
    assert list(outdated((profile,), 1, answers)) == []
    answers[Read(2, 96, 6)] = None
    assert list(outdated((profile,), 1, answers)) == [
        ("wirenboard-wb-mr6c-v3", "firmware 1.24 or newer")
    ]
    assert judge((profile,), 1, answers) == ()


def test_a_board_that_shows_little_else_is_no_old_one() -> None:
    assert list(outdated((parse(BARE),), 1, {Read(3, 9, 1): None})) == []


@pytest.mark.parametrize("count", [0, 1, 2, 5, 8, 12, 16, 31, 33, 63, 64, 100])
def test_points_are_counted_with_few_reads(count: int) -> None:
    answers: dict[Read, tuple[int, ...] | None] = {}
    while isinstance(read := counting(READ_COILS, answers), Read):
        assert read not in answers
        answers[read] = (0,) * read.count if read.count <= count else None
    assert read == min(count, 64)
    assert len(answers) <= 13


def test_silence_counts_as_no_more_points() -> None:
    answers: dict[Read, tuple[int, ...] | None] = {}
    while isinstance(read := counting(READ_COILS, answers), Read):
        answers[read] = ()
    assert read == 0


def test_an_unknown_board_gets_a_profile_of_its_size() -> None:
    answers: dict[Read, tuple[int, ...] | None] = {}
    assert generic(answers) is None
    for function, count in ((READ_COILS, 4), (READ_DISCRETE, 6)):
        while isinstance(read := counting(function, answers), Read):
            answers[read] = (0,) * read.count if read.count <= count else None
    match = generic(answers)
    assert match is not None
    assert (match.profile, match.confidence) == ("generic-4x6", "possible")
    assert load(match.profile).outputs is not None


def test_a_board_without_points_has_no_profile() -> None:
    nothing = {Read(function, 0, 1): None for function in (READ_COILS, READ_DISCRETE)}
    assert generic(nothing) is None


def test_the_objects_of_an_identification_are_text_by_name() -> None:
    said = (0, 0, 4, 0, 4, *b"Moxa", 1, 2, *b"E\0", 9, 1, *b"x", 2, 3, 0x41, 7, 0x42)
    assert objects(said) == {"vendor": "Moxa", "product": "E", "object_9": "x"}


@pytest.mark.parametrize("cut", range(8))
def test_cut_objects_are_read_as_far_as_they_go(cut: int) -> None:
    objects((0, 0, 1, 0, 4, *b"Moxa")[: cut + 1])
