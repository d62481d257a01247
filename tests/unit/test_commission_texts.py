"""Pins that the commissioning page says all in both languages, and nothing unused."""

import json
import re
import string
from typing import Any

import pytest

from adapters import profiles, trouble
from gateway.web.installer import page

JS = {name: text for name, (kind, text) in page.PARTS.items() if kind == "text/javascript"}
WORDS: dict[str, dict[str, Any]] = {
    lang: json.loads(page.PARTS[f"words-{lang}.json"][1]) for lang in page.LANGUAGES
}
TEXTS: dict[str, dict[str, str]] = {lang: WORDS[lang]["texts"] for lang in page.LANGUAGES}
STEPS = ("boards", "doors", "place", "proof", "sign")
PHASES = ("pulsing", "watching", "which", "closing", "done", "failed", "stopped")
JOBS = ("open", "scan", "look", "sweep", "address", "try", "prove", "sign")
# What is put together at run time, from words of the gateway or of the page.
MADE = {
    "door",
    "line",
    *(f"step.{step}" for step in STEPS),
    *(f"step.{step}.title" for step in STEPS),
    *(f"plan.{step}" for step in STEPS),
    *(f"phase.{phase}" for phase in PHASES),
    *(f"job.{job}" for job in JOBS),
    *(f"jobname.{job}" for job in JOBS),
    *(f"confidence.{one}" for one in ("certain", "likely", "possible")),
    *(f"reach.{one}" for one in ("low", "middle", "high")),
    *(f"framing.{one}" for one in ("any", "tcp", "rtu")),
    *(f"{key}.{one}" for key in ("open_when", "occupied_when") for one in ("active", "inactive")),
    *(f"learned.{one}" for one in ("lock", "switch", "open_ms", "bounce_ms", "occupancy")),
    *(f"measure.{one}" for one in ("temperature", "humidity", "distance", "cycles")),
    *(f"pad.{one}" for one in ("clear", "back")),
    *(f"tested.{one}" for one in ("untested", "passed", "failed", "left")),
    *(f"seen.{one}" for one in ("open", "closed", "unseen")),
    *(f"trend.{one}" for one in ("opened", "missed", "retries", "cycles", "time")),
    *(f"sum.{one}" for one in ("boards", "doors", "passed", "failed", "skipped")),
}
QUOTED = re.compile(r'"([a-z][a-z_.0-9]*)"')
ASKED = re.compile(r"\bsay\(([^`]*?)[,)]", re.DOTALL)


def asked() -> set[str]:
    """Return the texts that the scripts name in full."""
    return {
        key for text in JS.values() for call in ASKED.findall(text) for key in QUOTED.findall(call)
    }


def fields(text: str) -> set[str]:
    return {name for _, name, _, _ in string.Formatter().parse(text) if name}


def test_both_languages_say_the_same_things() -> None:
    assert TEXTS["en"].keys() == TEXTS["de"].keys()
    for key, text in TEXTS["en"].items():
        assert text
        assert TEXTS["de"][key]
        assert fields(text) == fields(TEXTS["de"][key]), key


def test_both_languages_know_the_same_codes_and_what_cures_them() -> None:
    one, other = (WORDS[lang]["findings"] for lang in page.LANGUAGES)
    assert one.keys() == other.keys()
    for code, parts in one.items():
        assert all(parts)
        assert all(other[code])
        assert [fields(part) for part in parts] == [fields(part) for part in other[code]], code


def test_every_finding_about_a_line_or_board_has_its_words() -> None:
    assert trouble.CURES.keys() - WORDS["de"]["findings"].keys() == set()


@pytest.mark.parametrize("lang", page.LANGUAGES)
def test_everything_that_the_scripts_ask_for_is_there(lang: str) -> None:
    values = {"active", "yes", "tcp"}  # words of the wire in the same calls
    assert (asked() | MADE) - values - TEXTS[lang].keys() == set()


def test_nothing_is_said_that_no_script_asks_for() -> None:
    plain = {key.removesuffix(".one") for key in TEXTS["en"]}
    quoted = {key for text in JS.values() for key in QUOTED.findall(text)}
    assert plain - quoted - MADE == set()


def test_a_number_of_one_has_its_many() -> None:
    for key in TEXTS["en"]:
        if key.endswith(".one"):
            assert key.removesuffix(".one") in TEXTS["en"]


def test_no_text_is_markup() -> None:
    for lang in page.LANGUAGES:
        assert not [text for text in TEXTS[lang].values() if re.search(r"[<>&]", text)]


def test_the_page_knows_every_board_and_which_takes_a_number() -> None:
    rows = {row["profile"]: row for row in WORDS["en"]["profiles"]}
    assert rows.keys() == set(profiles.names())
    assert rows["waveshare-rtu-relay-8"]["settable"]


def test_the_parts_load_nothing_from_elsewhere_and_make_no_markup() -> None:
    for name, (kind, text) in page.PARTS.items():
        assert "//" not in re.sub(r"^\s*//.*$|\s// .*$", "", text, flags=re.MULTILINE), name
        if kind == "text/javascript":
            assert not re.search(r"innerHTML|outerHTML|insertAdjacent|document\.write|eval\(", text)
            for part in re.findall(r'from "\./([^"]+)"', text):
                assert part in JS, (name, part)
