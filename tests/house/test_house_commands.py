"""Pins the documents to the programs: each `make X` and `locker-*` line in one exists."""

import importlib
import re
import shlex
import tomllib
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

import gateway.cli
import sync.hub.cli

ROOT = Path(__file__).resolve().parents[2]
SCRIPTS: dict[str, str] = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["scripts"]
DOCUMENTS = sorted(
    {*ROOT.glob("*.md"), *ROOT.glob("*/README.md"), *ROOT.glob("deploy/**/*.md")}
    | {ROOT / "sync/hub/README.md"}
)
TARGETS = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
TABLES = {"gateway.commands": gateway.cli.COMMANDS, "sync.hub.commands": sync.hub.cli.COMMANDS}
CODE = re.compile(r"```[a-z]*\n(.*?)```|`([^`\n]+)`", re.DOTALL)


def commands(document: Path) -> Iterator[str]:
    """Every line of code in a document that starts with a program of ours or with make."""
    for block, span in CODE.findall(document.read_text()):
        text = re.sub(r"\\\n\s*", " ", block or span)
        for line in text.splitlines():
            bare = line.strip().removeprefix("$ ").strip()
            if re.match(r"(\S*/)?(make|locker-[a-z]+)( |$)", bare):
                yield bare


def program(name: str) -> click.Command:
    module, _, attribute = SCRIPTS[name].partition(":")
    found = getattr(importlib.import_module(module), attribute)
    assert isinstance(found, click.Command)
    return found


def words(line: str) -> list[str]:
    """The words of a usage line: brackets and bars of its grammar taken away."""
    return [word.strip("[](){}|.,;") for word in shlex.split(line, comments=True)]


def problems(line: str) -> list[str]:
    """What in `locker-x command --option` does not exist."""
    first, *rest = words(line)
    name = Path(first).name
    if name not in SCRIPTS:
        return [f"no program {name}"]
    current, known = program(name), {"--help", "-h", "--version"}
    found = []
    for word in filter(None, rest):
        if word.startswith("-") and word != "-":
            option = word.partition("=")[0]
            own = {o for p in current.params for o in (*p.opts, *p.secondary_opts)}
            if option not in own | known:
                found.append(f"{current.name} has no {option}")
        elif isinstance(current, click.Group) and re.fullmatch(r"[a-z][a-z-]*", word):
            deeper = current.get_command(click.Context(current), word)
            if deeper is None:
                found.append(f"{current.name} has no command {word}")
                break
            current = deeper
    return found


def leaves(command: click.Command, path: str) -> Iterator[tuple[str, click.Command]]:
    yield path, command
    if isinstance(command, click.Group):
        context = click.Context(command)
        for name in command.list_commands(context):
            deeper = command.get_command(context, name)
            assert deeper is not None
            yield from leaves(deeper, f"{path} {name}")


def test_the_two_commands_are_shown_first() -> None:
    assert list(commands(ROOT / "README.md"))[:2] == ["make demo", "make test"]


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_each_command_in_a_document_exists(document: Path) -> None:
    wrong = []
    for line in commands(document):
        if line.startswith("make"):
            target = line.split()[1] if " " in line else "help"
            # `make X` of a sentence about all of them is a name for any target.
            wrong += [line] if target not in TARGETS and not target.isupper() else []
        else:
            wrong += [f"{line}: {problem}" for problem in problems(line)]
    assert wrong == []


def test_a_wrong_command_line_is_found() -> None:
    assert problems("locker-gateway fly") == ["main has no command fly"]
    assert problems("locker-gateway log verify --no-such-thing") == [
        "verify has no --no-such-thing"
    ]
    assert problems("locker-nothing") == ["no program locker-nothing"]


def test_make_help_lists_every_target() -> None:
    makefile = (ROOT / "Makefile").read_text()
    listed = set(re.findall(r"^\t@echo 'make ([a-z]+)", makefile, re.MULTILINE))
    assert listed == TARGETS - {"help"}


@pytest.mark.parametrize("package", sorted(TABLES))
def test_root_help_says_of_each_command_what_the_command_says(package: str) -> None:
    for name, (module, text) in TABLES[package].items():
        command = importlib.import_module(module).command
        assert command.get_short_help_str(limit=200) == text, name


@pytest.mark.parametrize("package", sorted(TABLES))
def test_every_command_module_is_in_the_table(package: str) -> None:
    table = TABLES[package]
    folder = ROOT / package.replace(".", "/")
    modules = {path.stem for path in folder.glob("*.py") if not path.stem.startswith("_")}
    listed = {module.rpartition(".")[2] for module, _ in table.values()}
    assert {f"{package}.{name}" for name in listed} == {m for m, _ in table.values()}
    assert modules == listed


@pytest.mark.parametrize("name", sorted(SCRIPTS))
def test_every_command_and_option_explains_itself(name: str) -> None:
    dumb = []
    for path, command in leaves(program(name), name):
        if not command.help:
            dumb.append(path)
        dumb += [
            f"{path} {parameter.opts[0]}"
            for parameter in command.params
            if isinstance(parameter, click.Option) and not parameter.help
        ]
    assert dumb == []


@pytest.mark.parametrize("name", ["gateway", "hub"])
def test_the_example_configuration_is_accepted(name: str) -> None:
    example = ROOT / f"deploy/config/{name}.example.toml"
    config = importlib.import_module({"gateway": "gateway.config", "hub": "sync.hub.config"}[name])
    config.parse(example.read_text(), example.name)
