"""Pins the loader of profiles: what it refuses, with which line and reason; what doctor says."""

import pytest

from adapters.errors import AdapterError, ProfileInvalid
from adapters.profile import FILE_CHARS_MAX, parse
from adapters.profiles import load, names

GOOD = """\
profile = "test-board"
revision = 1
title = "Test"
level = "bench"

[link]
framings = ["rtu"]

[timing]
response_timeout_ms = 100
probe_timeout_ms = 50

[caps]
max_on_ms = 1000
min_off_ms = 2000
survive_kill = true

[outputs]
area = "coil"
count = 2

[inputs]
area = "discrete"
addresses = [0, 2]
sense = "low"

[actions]
way = "board"

[actions.pulse]
function = 5
base = 0x0200
unit_ms = 100

[actions.off]
function = 5
base = 0
fixed = 0

[[forbidden]]
reason = "no"
functions = [5]
value = 0x5500

[[settings]]
name = "mode"
reason = "because"
base = 4096
value = 0

[[identity]]
name = "version"
function = 3
address = 1
count = 2
unit = true
between = [[1, 247], [0, 9]]

[[identity]]
name = "no_third"
function = 1
address = 2
answer = "refused"

[commission]
by_hand = "jumper 3"
applies = "after_restart"

[commission.unit]
address = 100

[commission.rate]
address = 101
rates = [9600, 19200]
codes = [2, 3]
function = 16

[commission.unlock]
address = 102
value = 0x55AA

[[measures]]
name = "temperature"
function = 4
address = 1
signed = true
milli = 100
fault = 0xFFFF

[evidence]
link = "A"
timing = "M: guess"
caps = "="
outputs = "A"
inputs = "B"
forbidden = "B"
"actions.pulse" = "B"
"actions.off" = "B"
"settings.mode" = "B"
"identity.version" = "A: W1"
"identity.no_third" = "="
commission = "B"
"measures.temperature" = "B"
"""


def refused(text: str) -> dict[str, object]:
    with pytest.raises(ProfileInvalid) as caught:
        parse(text, "x.toml")
    assert caught.value.code == "profile.invalid"
    assert caught.value.remedy in str(caught.value)
    assert caught.value.evidence["file"] == "x.toml"
    return caught.value.evidence


def line_of(text: str, start: str) -> int:
    return next(n for n, line in enumerate(text.splitlines(), 1) if line.startswith(start))


def test_a_good_profile_is_taken() -> None:
    profile = parse(GOOD)
    assert profile.outputs is not None
    assert profile.outputs.at() == (0, 1)
    assert profile.inputs is not None
    assert profile.inputs.at() == (0, 2)
    assert profile.caps_survive_kill
    assert profile.doctor() == ()
    assert [probe.answer for probe in profile.identity] == ["values", "refused"]
    assert profile.commission is not None
    assert profile.commission.unit is not None
    assert profile.commission.unit.function == 6


@pytest.mark.parametrize(
    ("old", "new", "line", "reason"),
    [
        ('level = "bench"', 'level = "hearsay"', 'level = "hearsay"', "Invalid enum"),
        ('title = "Test"', "title = 7", "title = 7", "Expected `str`"),
        ("revision = 1\n", "", 'profile = "test-board"', "missing required field"),
        ("[timing]", "[timing]\nhurry = 1", "hurry = 1", "unknown field `hurry`"),
        ('level = "bench"', 'level = "bench"\nhurry = 1', "hurry = 1", "unknown field `hurry`"),
        ("max_on_ms = 1000", "max_on_ms = 60000", "max_on_ms = 60000", "<= 1000"),
        ("min_off_ms = 2000", "min_off_ms = 10", "min_off_ms = 10", ">= 2000"),
        ("functions = [5]", "functions = [3]", "functions = [3]", "Invalid enum"),
        ('link = "A"', "link = 1", "[evidence]", "Expected `str`"),
        ("base = 0x0200", "base = -1", "base = -1", ">= 0"),
    ],
)
def test_wrong_types_and_unknown_keys_name_their_line(
    old: str, new: str, line: str, reason: str
) -> None:
    text = GOOD.replace(old, new, 1)
    evidence = refused(text)
    assert evidence["line"] == line_of(text, line)
    assert reason in str(evidence["reason"])


@pytest.mark.parametrize(
    ("old", "new", "line", "reason"),
    [
        ('framings = ["rtu"]', 'framings = ["rtu"]\nunit = 250', "unit = 250", "not inside"),
        ("addresses = [0, 2]", "", "[inputs]", "either base and count, or addresses"),
        ("addresses = [0, 2]", "addresses = [2, 2]", "addresses = [2", "twice"),
        ("count = 2", "count = 2\nbase = 65535", "base = 65535", "beyond"),
        ("base = 0x0200", "base = 65535", "base = 65535", "beyond"),
        ("unit_ms = 100", "", "[actions.pulse]", "one of fixed, unit_ms and per_ms"),
        ("unit_ms = 100", "unit_ms = 100\nper_ms = 10", "[actions.pulse]", "one of fixed"),
        ("unit_ms = 100", "unit_ms = 100\nwords = 2", "words = 2", "only function 16"),
        ("unit_ms = 100", "per_ms = 100", "per_ms = 100", "does not fit into the words"),
        ("base = 4096", "base = 65534\ncount = 2\nstep = 2", "base = 65534", "beyond 65535"),
        ("address = 1\ncount", "address = 65535\ncount", "address = 65535", "beyond 65535"),
        ('answer = "refused"', 'answer = "refused"\nunit = true', "answer =", "has no values"),
        ('answer = "refused"', "unit = true  # no", "unit = true  #", "stands in a register"),
        ("between = [[1, 247], [0, 9]]", "between = [[1, 2]]", "between", "one pair of bounds"),
        ("[[1, 247], [0, 9]]", "[[1, 247], [9, 0]]", "between", "above its upper"),
        ("codes = [2, 3]", "codes = [2]", "codes", "one code for each rate"),
        ("codes = [2, 3]", "codes = [2, 2]", "[commission.rate]", "there twice"),
        ("rates = [9600, 19200]", "rates = [9600, 9600]", "[commission.rate]", "there twice"),
        ("address = 100", "address = 4096", "[commission]", "a setting or an action writes"),
        (
            "function = 4\naddress = 1",
            "function = 4\naddress = 65535\nwords = 2",
            "address = 65535",
            "beyond 65535",
        ),
        ("fault = 0xFFFF", "fault = 0x10000", "fault", "does not fit into the words"),
        ("fixed = 0\n", "unit_ms = 5\n", "[actions.off]", "needs a fixed value"),
        ("unit_ms = 100", "fixed = 7", "way =", "exactly one of prepare and pulse"),
        ('way = "board"', 'way = "software"', "way =", "needs an on"),
        ("survive_kill = true", "survive_kill = false", "survive_kill", "contradicts"),
        ("value = 0x5500", "", "[[forbidden]]", "needs addresses, a value, or both"),
        ("value = 0x5500", "addresses = [9, 1]", "addresses = [9", "above the last"),
        ('"identity.version" = "A: W1"\n', "", "[evidence]", "no grade for identity.version"),
        ('"measures.temperature" = "B"\n', "", "[evidence]", "no grade for measures.temp"),
        ('commission = "B"\n', "", "[evidence]", "no grade for commission"),
        ('link = "A"', 'link = "sure"', 'link = "sure"', "a grade is A"),
        ('link = "A"', 'link = "A"\nluck = "C"', "luck", "not a fact of this file"),
    ],
)
def test_what_makes_no_sense_names_its_line(old: str, new: str, line: str, reason: str) -> None:
    text = GOOD.replace(old, new, 1)
    evidence = refused(text)
    assert reason in str(evidence["reason"])
    assert evidence["line"] == line_of(text, line)


def test_a_unit_register_or_a_hand_and_nothing_to_unlock_without_one() -> None:
    text = GOOD.replace('by_hand = "jumper 3"\n', "").replace(
        "[commission.unit]\naddress = 100\n\n", ""
    )
    assert "needs a unit register" in str(refused(text)["reason"])
    text = GOOD.replace("[commission.unit]\naddress = 100\n\n", "")
    assert "nothing to unlock" in str(refused(text)["reason"])


def test_no_action_writes_a_register_of_commissioning() -> None:
    text = GOOD.replace("function = 5\nbase = 0\nfixed = 0", "function = 6\nbase = 99\nfixed = 0")
    assert "a setting or an action writes" in str(refused(text)["reason"])


def test_a_dead_mans_end_without_a_known_time_is_no_promise() -> None:
    held = "[actions.on]\nfunction = 6\nbase = 1\nfixed = 0x0100\n"
    text = GOOD.replace("[actions.pulse]\nfunction = 5\nbase = 0x0200\nunit_ms = 100\n", held)
    text = text.replace('"actions.pulse"', '"actions.on"').replace('"board"', '"deadman"')
    assert parse(text).caps_survive_kill
    sure = parse(text.replace("survive_kill = true", "survive_kill = false"))
    assert "nothing proves" in sure.doctor()[0]


def without(text: str, *headers: str) -> str:
    """The file without these tables."""
    blocks = text.split("\n\n")
    return "\n\n".join(b for b in blocks if not b.startswith(headers))


def test_way_board_refuses_a_pulse_that_is_not_there() -> None:
    text = without(GOOD, "[actions.pulse]").replace('"actions.pulse" = "B"\n', "")
    assert "needs a pulse" in str(refused(text)["reason"])


def test_outputs_and_actions_need_each_other() -> None:
    assert "actions without outputs" in str(refused(without(GOOD, "[outputs]"))["reason"])
    assert "need [actions]" in str(refused(without(GOOD, "[actions"))["reason"])


def test_a_board_without_outputs_needs_no_caps() -> None:
    text = without(GOOD, "[outputs]", "[actions", "[caps]", "[[forbidden]]", "[commission")
    for key in ("caps", "outputs", "forbidden", "commission", '"actions.pulse"', '"actions.off"'):
        text = "\n".join(x for x in text.splitlines() if not x.startswith(f"{key} ="))
    assert parse(text).caps_survive_kill
    assert parse(text).commission is None


def test_broken_toml_names_its_line() -> None:
    assert refused('profile = "a"\nrevision = = 1\n')["line"] == 2
    assert refused('profile = "a"\nrevision = 1\ntitle = "never closed')["line"] == 3
    assert refused('profile = "a"\nprofile = "b"\n')["line"] == 2


def test_a_file_without_the_key_points_at_its_start() -> None:
    assert refused("")["line"] == 1


def test_huge_and_deep_files_are_refused_at_once() -> None:
    assert "longer than" in str(refused("#" * (FILE_CHARS_MAX + 1))["reason"])
    assert "nested" in str(refused("a = " + "[" * 20000)["reason"])


def test_every_shipped_profile_loads_and_is_named_as_its_file() -> None:
    assert set(names()) >= {
        "waveshare-rtu-relay-8",
        "waveshare-rtu-relay-16",
        "waveshare-rtu-relay-32",
        "waveshare-rtu-io-8ch",
        "eletechsup-r421",
        "moxa-e1210",
        "moxa-e1211",
        "moxa-e1214",
        "wirenboard-wb-mr6c-v3",
        "waveshare-rtu-relay-d",
        "eletechsup-r421-16",
        "eletechsup-n4d3e16",
        "wellpro-wp8025",
        "wellpro-wp8026",
        "wellpro-wp8027",
        "wellpro-wp8028",
        "adam-4150",
        "adam-4168",
        "adam-6050",
        "adam-6060",
        "xy-md02",
        "md02",
        "shtc3",
        "urm14",
    }
    for name in names():
        assert load(name).profile == name


def test_doctor_warns_of_boards_that_leave_a_coil_on_when_we_are_killed() -> None:
    risky = {name for name in names() if not load(name).caps_survive_kill}
    assert risky == {
        *("adam-6050", "adam-6060", "eletechsup-n4d3e16", "moxa-e1211", "moxa-e1214"),
        *("wellpro-wp8025", "wellpro-wp8027", "wellpro-wp8028"),
    }
    for name in [*names(), "generic-8x8"]:
        risky |= {"generic-8x8"}
        said = " ".join(load(name).doctor())
        assert ("killed" in said) == (name in risky)
        assert f"proven by {load(name).level} only" in said


@pytest.mark.parametrize(("outputs", "inputs"), [(1, 0), (8, 8), (16, 4), (64, 64)])
def test_a_board_nobody_knows_is_made_from_its_name(outputs: int, inputs: int) -> None:
    name = f"generic-{outputs}x{inputs}"
    made = load(name)
    assert made is load(name)
    assert made.profile == name
    assert name not in names()
    assert made.outputs is not None
    assert len(made.outputs.at()) == outputs
    assert (len(made.inputs.at()) if made.inputs else 0) == inputs
    assert not made.caps_survive_kill
    assert made.level == "datasheet"
    assert made.identity == ()
    assert any("nobody has proven" in note.lower() for note in made.notes)
    assert made.actions is not None
    assert made.actions.way == "software"


@pytest.mark.parametrize(
    "points", ["0x1", "65x1", "1x65", "08x1", "8x08", "8x", "x8", "8x8x8", "8x8\n", "٨x8", "-1x1"]
)
def test_a_generic_board_has_its_bounds(points: str) -> None:
    with pytest.raises(ProfileInvalid) as caught:
        load(f"generic-{points}")
    assert caught.value.code == "profile.unknown"
    assert "generic-OUTPUTSxINPUTS" in str(caught.value)


def test_an_unknown_profile_is_refused_with_the_known_ones() -> None:
    with pytest.raises(AdapterError) as caught:
        load("../../etc/passwd")
    assert caught.value.code == "profile.unknown"
    assert "moxa-e1210" in str(caught.value)
