"""Pins that screens, buttons, refusals, layouts and both catalogues of the kiosk are one whole."""

import json
import re
import string
from pathlib import Path
from typing import Any

import pytest

from gateway.core.inputs import Button
from gateway.core.screen import SCREENS
from gateway.web.kiosk import STATIC
from gateway.web.stage import EXAMPLES

LANGUAGES = ("en", "de")
WHY = """
    code.length code.check_digit code.unknown code.wait code.long_needed code.retired
    door.busy door.silent door.resting door.stuck door.late door.forced
    staff.length staff.check_digit staff.unknown staff.wait staff.revoked
    parcel.malformed parcel.already_here parcel.too_small parcel.take_out parcel.left
    code.revoked code.expired staff.expired staff.cautious door.fenced door.cautious
    clock.untrusted support.occupied reservation.rerouted site.fenced
    size.none_free log.full log.failed site.stopped site.no_map site.decommissioned other
    capability.malformed capability.signer capability.signature capability.audience
    capability.expired capability.early capability.denied capability.revoked capability.used
    capability.in_use capability.no_parcel capability.no_room capability.cautious capability.wait
    door.unknown check.contradicted service.occupied service.checked service.tested
    service.disabled service.enabled
""".split()  # noqa: SIM905  # one a line would fill the page
COUNTED = {"code.wait", "staff.wait", "capability.wait"}
FIELDS = {"door", "count", "size"}
JS = {path.name: path.read_text() for path in STATIC.glob("*.js")}
TABLE: dict[str, Any] = json.loads((STATIC / "screens.json").read_text())


def catalogue(language: str) -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads((STATIC / "texts" / f"{language}.json").read_text())
    return loaded


def paths(value: Any, at: str = "") -> dict[str, str]:
    """Every text of a catalogue by its path."""
    if isinstance(value, dict):
        return {
            path: text
            for key, inner in value.items()
            for path, text in paths(inner, f"{at}/{key}").items()
        }
    return {} if isinstance(value, list) else {at: value}


def fields(text: str) -> set[str]:
    return {name for _, name, _, _ in string.Formatter().parse(text) if name}


def test_the_catalogues_are_the_languages_the_page_offers() -> None:
    offered = re.search(r"LANGUAGES = (\[.*?\])", JS["texts.js"])
    assert offered is not None
    assert json.loads(offered[1]) == list(LANGUAGES)
    assert {path.stem for path in (STATIC / "texts").iterdir()} == set(LANGUAGES)


def test_both_catalogues_have_the_same_texts_with_the_same_values() -> None:
    english, german = (paths(catalogue(language)) for language in LANGUAGES)
    assert english.keys() == german.keys()
    for path, text in english.items():
        assert fields(text) == fields(german[path]), path


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_text_is_said_and_fits_a_small_panel(language: str) -> None:
    for path, text in paths(catalogue(language)).items():
        assert text.strip() == text != "", path
        assert len(text) <= 130, path
        if path.endswith("/title"):
            assert len(text) <= 34, path


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_screen_of_the_engine_has_words_and_no_other_has(language: str) -> None:
    screens = catalogue(language)["screen"]
    assert {name.partition(":")[0] for name in screens} == SCREENS.keys()
    assert SCREENS.keys() <= screens.keys()
    for name, texts in screens.items():
        assert texts.keys() >= {"title", "text"}, name
        assert texts.keys() <= {"title", "text", "again", "stored"}, name
        for text in texts.values():
            assert fields(text) <= FIELDS, name


def test_every_screen_of_the_engine_has_a_layout_and_no_other_has() -> None:
    assert {name.partition(":")[0] for name in TABLE} == SCREENS.keys()
    assert SCREENS.keys() <= TABLE.keys()
    made = re.search(r"export const LAYOUTS = \{(.*?)\}", JS["layouts.js"])
    assert made is not None
    layouts = set(re.findall(r"(\w+)(?:,|:| $)", made[1]))
    for name, spec in TABLE.items():
        assert spec["layout"] in layouts, name
        assert spec["tone"] in {"calm", "busy", "ok", "care", "bad"}, name


def test_what_looks_different_for_one_refusal_also_has_words_for_it() -> None:
    variants = {name for name in TABLE if ":" in name}
    assert variants
    for language in LANGUAGES:
        assert {name for name in catalogue(language)["screen"] if ":" in name} == variants
    assert {name.partition(":")[2] for name in variants} <= set(WHY)


def test_every_button_sent_is_one_the_engine_knows_and_none_is_forgotten() -> None:
    sent, labels = set(), set()
    for spec in TABLE.values():
        for one in spec["buttons"] + spec["bar"]:
            name, _, label = one.partition(":")
            sent.add(name)
            labels.add(label or name)
        if "choice" in spec:
            sent.add(spec["choice"])
    more_time = re.search(r'MORE_TIME = "(\w+)"', JS["kiosk.js"])
    assert more_time is not None
    sent |= {more_time[1]} | set(re.findall(r'press\("(\w+)"', "".join(JS.values())))
    assert sent == {button.value for button in Button}
    for language in LANGUAGES:
        known = catalogue(language)["button"].keys()
        assert labels | {"stay"} <= known
        assert known <= labels | {button.value for button in Button}


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_refusal_has_a_kind_sentence(language: str) -> None:
    why = catalogue(language)["why"]
    assert sorted(why) == sorted(WHY)
    for code, text in why.items():
        sentences = text.values() if isinstance(text, dict) else [text]
        for sentence in sentences:
            assert sentence[-1] == ".", code
            assert fields(sentence) == ({"count"} if code in COUNTED else set()), code


def test_the_codes_the_engine_shows_are_among_those_with_words() -> None:
    core = Path(__file__).parents[2] / "gateway" / "core"
    rooms = [core / f"{name}.py" for name in ("keypad", "capabilities", "deposit", "technician")]
    rooms.append(core.parents[1] / "certs" / "capability.py")
    text = "".join(room.read_text() for room in rooms)
    said = set(re.findall(r'"((?:code|staff|capability)\.[a-z_]+)"', text))
    said -= {"capability.refused", "capability.too_long"}  # a screen; nothing that is read
    assert len(said) > 20
    assert said <= set(WHY)


def test_every_ui_text_is_used_and_every_one_used_exists() -> None:
    used = set(re.findall(r'\bui\((?:[^()]*\? )?"([\w.]+)"', "".join(JS.values())))
    used |= set(
        re.findall(r'"((?:scan|type)_instead|field_\w+|none_free|on|off)"', "".join(JS.values()))
    )
    used |= {"characters", "digits", "collect_hint", "deliver_hint"}
    used |= {f"size.{size}" for size in ("S", "M", "L", "XL")}
    assert used == catalogue("en")["ui"].keys()


def test_a_parcel_number_can_be_typed_in_every_language() -> None:
    for language in LANGUAGES:
        keys = catalogue(language)["keys"]
        assert sorted("".join(keys)) == sorted(string.digits + string.ascii_uppercase)
        assert [len(row) for row in keys] == [10, 10, 9, 7]


def test_the_stage_has_an_example_of_every_screen() -> None:
    assert {screen.name for screen in EXAMPLES} == SCREENS.keys()


def test_nothing_comes_from_elsewhere_and_no_markup_is_made_of_strings() -> None:
    for path in STATIC.rglob("*.*"):
        text = path.read_text().replace("http://www.w3.org/2000/svg", "")
        assert not re.search(r"https?:|url\(|@import|@font-face", text), path
        assert not re.search(
            r"innerHTML|outerHTML|insertAdjacent|\beval\(|document\.write", text
        ), path
    page = (STATIC / "kiosk.html").read_text()
    assert not re.search(r"<style|\sstyle=|\son\w+=|<script(?![^>]*src=)", page)
