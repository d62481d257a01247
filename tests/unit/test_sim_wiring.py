"""Pins what a bank file may say, and that a bad one is refused with its line and the reason."""

from pathlib import Path

import pytest

import adapters.simulator
from adapters.simulator.errors import BankRefused, WiringRefused
from adapters.simulator.wiring import Terminal, parse, plain, terminal

EXAMPLE = Path(adapters.simulator.__file__).parent / "static" / "example-bank.toml"
GOOD = """\
[[line]]
name = "l"
[[board]]
name = "r"
line = "l"
profile = "waveshare-rtu-relay-8"
[[board]]
name = "i"
line = "l"
profile = "waveshare-rtu-io-8ch"
unit = 2
[[compartment]]
number = 1
lock = "r:0"
door = "i:0"
[[compartment]]
number = 2
lock = "r:1"
door = "i:1"
occupancy = "i:2"
[[fault]]
board = "r"
fault = "deaf"
"""


def test_example_is_good() -> None:
    wiring = parse(EXAMPLE.read_text("utf-8"))
    assert len(wiring.compartment) == 5
    assert wiring.line[0].serial_pty


def test_good_file_and_its_defaults() -> None:
    wiring = parse(GOOD)
    assert wiring.compartment[0].door_open_is == "active"
    assert wiring.board[0].unit == 1
    assert terminal(wiring.compartment[0].lock) == Terminal("r", 0)
    assert len(plain("moxa-e1210", (3, 4)).board) == 2


@pytest.mark.parametrize(
    ("old", "new", "line", "reason"),
    [
        ("unit = 2", "unti = 2", 11, "unknown field `unti`"),
        ("unit = 2", "unit = 256", 11, "<= 255"),
        ("unit = 2", 'unit = "2"', 11, "Expected `int`"),
        ("number = 2", "number = 1", 17, "a second compartment 1"),
        ('lock = "r:1"', 'lock = "r:8"', 18, "8 outputs"),
        ('lock = "r:1"', 'lock = "r:0"', 18, "wired to compartment 1 already"),
        ('lock = "r:1"', 'lock = "x:1"', 18, "no board 'x'"),
        ('lock = "r:1"', 'lock = "r"', 18, "no board:channel"),
        ('lock = "r:1"', 'lock = "r:-1"', 18, "no board:channel"),
        ('occupancy = "i:2"', 'occupancy = "i:0"', 20, "already"),
        ('occupancy = "i:2"', 'occupancy = "r:0"', 20, "0 inputs"),
        ('name = "i"', 'name = "r"', 8, "a second board"),
        ('name = "i"\nline = "l"', 'name = "i"\nline = "m"', 9, "no line 'm'"),
        ("waveshare-rtu-io-8ch", "toaster", 10, "known: "),
        ('name = "l"', 'name = "l"\nserial_pty = "a"\ntcp = "h:1"', 4, "choose one"),
        ('name = "l"', 'name = "l"\ntcp = "here"', 3, "no host:port"),
        ('name = "l"', 'name = "l"\n[[line]]\nname = "l"', 4, "a second line"),
        ('board = "r"\n', "", 22, "belongs to one"),
        ('lock = "r:0"\n', "", 12, "missing required field `lock`"),
        ('[[line]]\nname = "l"', "line = []", 1, "needs a line"),
        ("[[fault]]", "[[fualt]]", 21, "unknown field `fualt`"),
        ('[[line]]\nname = "l"', "[line]", 1, "Expected `array`"),
    ],
)
def test_bad_file_is_refused_with_line_and_reason(
    old: str, new: str, line: int, reason: str
) -> None:
    text = GOOD.replace(old, new, 1)
    assert text != GOOD
    with pytest.raises(WiringRefused) as refused:
        parse(text)
    assert reason in str(refused.value.evidence["reason"])
    assert refused.value.evidence["line"] == line


@pytest.mark.parametrize("text", ["[[line", "a = " + "[" * 100_000, "x = 1\nx = 2"])
def test_no_toml_is_refused(text: str) -> None:
    with pytest.raises(WiringRefused, match=r"bank\.syntax"):
        parse(text)


def test_empty_file_is_refused() -> None:
    with pytest.raises(WiringRefused, match="missing required field"):
        parse("")


def test_refusal_says_code_remedy_and_evidence() -> None:
    assert str(BankRefused("bank.x", "do y")) == "bank.x: do y"
    assert str(BankRefused("bank.x", "do y", a=1, b=2)) == "bank.x: do y (a=1, b=2)"
