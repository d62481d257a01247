"""Pins that no TOML file makes a loader or its command crash, hang, or refuse without a code."""

import asyncio
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from adapters.errors import AdapterError, ProfileInvalid
from adapters.profile import parse as parse_profile
from adapters.profiles import names
from adapters.simulator import cli as bank_cli
from adapters.simulator.errors import BankRefused
from adapters.simulator.site import Site
from adapters.simulator.wiring import parse as parse_bank
from gateway import config, mapfile
from gateway.bank import known
from gateway.cli import main
from gateway.errors import FileRefused, GatewayError
from sync.sitemap import SiteMap
from tests.property.mutations import plainly_refused, spoilt

ROOT = Path(__file__).parents[2]
CONFIG = (ROOT / "deploy/config/gateway.example.toml").read_bytes()
BANK = (ROOT / "adapters/simulator/static/example-bank.toml").read_bytes()
PROFILES = [(ROOT / f"adapters/profiles/{name}.toml").read_bytes() for name in names()]
MAP = b"""\
[boards.locks-1]
line = "bank"
profile = "waveshare-rtu-relay-8"
unit = 1

[boards.eyes-1]
line = "bank"
profile = "waveshare-rtu-io-8ch"
unit = 2

[[door]]
number = 1
size = "M"
lock = "locks-1:0"
switch = "eyes-1:0"
occupancy = "eyes-1:1"
rail = "12v"
pulse_ms = 500

[[door]]
number = 2
size = "XL"
lock = "locks-1:1"
switch = "eyes-1:2"
rail = "12v"
reach = "low"
"""
TOKENS = [
    b"[", b"]]", b"{", b'"', b'"""', b"'", b"=", b"#", b".", b" = 1\n", b"\n[door]\n", b"nan",
    b"-inf", b"9" * 30, b"9" * 5000, b"1e999", b"1979-05-27T07:32:00Z", b"1979-13-45", b"\\u0000",
    b"\\ud800", "\u2028".encode(), b"\r", b"true", b"[]", b"{}", b"a.b.c", b"-1", b"0", b"65536",
    b'""', b"[" * 3000, b"{a=" * 3000, b"a." * 3000, b" " * 3000,
]  # fmt: skip


def texts(*examples: bytes) -> st.SearchStrategy[str]:
    """Spoilt examples that are still UTF-8, and any text."""
    read = spoilt(examples, TOKENS).map(lambda data: data.decode("utf-8", "replace"))
    return read | st.text(max_size=200)


def said(refused: FileRefused | ProfileInvalid | BankRefused, code: str) -> None:
    """Assert that a refusal has its code and its line, and can be printed."""
    assert refused.code.startswith(code)
    assert code == "bank." or int(str(refused.evidence["line"])) >= 1
    str(refused).encode()


@given(texts(CONFIG))
def test_any_configuration_is_understood_or_refused(text: str) -> None:
    try:
        assert isinstance(config.parse(text), config.Config)
    except FileRefused as refused:
        said(refused, "config.invalid")


@given(texts(MAP))
def test_any_map_is_understood_or_refused(text: str) -> None:
    try:
        read = mapfile.parse(text, known)
    except FileRefused as refused:
        said(refused, "map.invalid")
    else:
        assert isinstance(read, SiteMap)
        assert mapfile.parse(mapfile.write(read), known) == read


@given(texts(*PROFILES))
def test_any_profile_is_understood_or_refused(text: str) -> None:
    try:
        read = parse_profile(text)
    except ProfileInvalid as refused:
        said(refused, "profile.invalid")
    else:
        assert read.doctor() is not None


@given(texts(BANK))
def test_any_bank_file_is_understood_or_refused_and_what_is_understood_can_be_built(
    text: str,
) -> None:
    try:
        Site(parse_bank(text))
    except BankRefused as refused:
        said(refused, "bank.")


HEAVY = {
    "dotted key": "a." * 25_000 + "b = 1",
    "dotted header": "[" + "a." * 25_000 + "b]",
    "dotted keys": ("a." * 60 + "b{} = 1\n") * 200,
    "spaces after a bracket": 'title = """\n[' + " " * 50_000 + '\n"""',
    "quotes after a bracket": 'title = """\n[' + "' " * 25_000 + '\n"""',
    "many digits": "a = " + "9" * 50_000,
    "many tables": "".join(f"[a{number}]\n" for number in range(6_000)),
    "many arrays": "[[door]]\n" * 6_000,
    "open arrays": "a = " + "[" * 50_000,
    "open tables": "a = " + "{a=" * 15_000,
    "many keys": "".join(f"k{number} = 1\n" for number in range(6_000)),
    "carriage returns": "\r" * 50_000,
}


@pytest.mark.parametrize("text", HEAVY.values(), ids=HEAVY)
@pytest.mark.parametrize(
    "parse",
    [config.parse, lambda text: mapfile.parse(text, known), parse_profile, parse_bank],
    ids=["config", "map", "profile", "bank"],
)
def test_no_file_keeps_a_loader_busy(parse: Callable[[str], object], text: str) -> None:
    """Each of these once cost minutes, or could: a square, or a cube, of its length."""
    began = time.process_time()
    with pytest.raises((GatewayError, AdapterError, BankRefused)):
        parse(text)
    assert time.process_time() - began < 1


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("fuzz") / "data"
    assert CliRunner().invoke(main, ["init", "--data", str(folder)]).exit_code == 0
    return folder


FILES = spoilt([CONFIG, MAP], TOKENS) | st.binary(max_size=80)


@given(FILES)
def test_commands_refuse_any_file_with_a_code(data: Path, content: bytes) -> None:
    file = data.parent / "file.toml"
    file.write_bytes(content)
    for words in (
        ["site", "import", str(file), "--data", str(data)],
        ["run", "--config", str(file)],
    ):
        if words[0] == "run" and _is_config(content):
            continue  # it would be the site, until it is stopped
        plainly_refused(CliRunner().invoke(main, words))


def _is_config(content: bytes) -> bool:
    try:
        config.parse(content.decode().replace("\r\n", "\n").replace("\r", "\n"))
    except (FileRefused, UnicodeDecodeError):
        return False
    return True


@given(spoilt([BANK], TOKENS) | st.binary(max_size=80))
def test_the_bank_refuses_any_file_with_a_code(data: Path, content: bytes) -> None:
    file = data.parent / "bank.toml"
    file.write_bytes(content)
    try:
        parse_bank(content.decode())
    except (BankRefused, UnicodeDecodeError):
        plainly_refused(CliRunner().invoke(bank_cli.main, ["run", "--bank", str(file)]))


@pytest.mark.parametrize("where", ["127.0.0.1:65536", "127.0.0.1:99999"])
def test_a_port_beyond_all_ports_is_refused_before_anything_listens(where: str) -> None:
    text = f'[[line]]\nname = "l"\ntcp = "{where}"\n[[board]]\nname = "b"\nline = "l"\n'
    with pytest.raises(BankRefused, match=r"^bank\.wiring"):
        parse_bank(f'{text}profile = "moxa-e1210"\n')


async def test_a_bank_whose_host_is_no_host_cannot_listen_and_says_so() -> None:
    text = '[[line]]\nname = "l"\ntcp = "256.1.1.1:0"\n[[board]]\nname = "b"\nline = "l"\n'
    site = Site(parse_bank(f'{text}profile = "moxa-e1210"\n'))
    async with asyncio.timeout(20):
        with pytest.raises(OSError):  # noqa: PT011  # the resolver's own words
            await site.start()
