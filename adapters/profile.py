"""What a board model is, as data: typed, checked, and refused with the line and the reason.

A profile file is TOML. `parse` gives a `Profile` or raises `ProfileInvalid` whose evidence names
the `line` and the `reason`. Nothing here reads a disk; `adapters.profiles` has the shipped files.
"""

import re
import tomllib
from typing import Final

import msgspec

from adapters.errors import ProfileInvalid
from adapters.objections import named_actions, objections
from adapters.tables import (
    Action,
    Actions,
    Caps,
    Commission,
    Link,
    Measure,
    Points,
    Probe,
    Profile,
    RateRegister,
    Rule,
    Setting,
    Timing,
    UnitRegister,
    Unlock,
)

__all__ = [
    "Action",
    "Actions",
    "Caps",
    "Commission",
    "Link",
    "Measure",
    "Points",
    "Probe",
    "Profile",
    "RateRegister",
    "Rule",
    "Setting",
    "Timing",
    "UnitRegister",
    "Unlock",
    "named_actions",
    "parse",
]

FILE_CHARS_MAX: Final = 64 * 1024  # far above any board; a bound on what a bad file can cost
DOTS_MAX: Final = 64  # in one line: reading a dotted key costs the square of its parts


def parse(text: str, source: str = "profile") -> Profile:
    """Return the profile written in `text`, or raise `ProfileInvalid` with line and reason."""
    if len(text) > FILE_CHARS_MAX:
        raise _invalid(source, 1, f"longer than {FILE_CHARS_MAX} characters")
    for number, written in enumerate(text.split("\n"), start=1):
        if written.count(".") > DOTS_MAX and not written.lstrip().startswith("#"):
            raise _invalid(source, number, f"more than {DOTS_MAX} dots in one line")
    try:
        raw = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        found = re.search(r"at line (\d+)", str(error))
        line = int(found.group(1)) if found else text.count("\n") + 1
        raise _invalid(source, line, str(error)) from None
    except RecursionError:
        raise _invalid(source, 1, "nested too deeply") from None
    except ValueError:
        raise _invalid(source, 1, "a number of more digits than can be read") from None
    lines = _lines_of_keys(text)
    try:
        profile = msgspec.convert(raw, Profile)
    except msgspec.ValidationError as error:
        reason, _, path = str(error).partition(" - at ")
        where = _normal_path(path.strip("`"))
        field = re.search(r"unknown field `([^`]+)`", reason)
        if field:
            where = f"{where}.{field.group(1)}" if where else field.group(1)
        raise _invalid(source, _line_of(lines, where), reason, where) from None
    for where, reason in objections(profile):
        raise _invalid(source, _line_of(lines, where), reason, where)
    return profile


def _invalid(source: str, line: int, reason: str, where: str = "") -> ProfileInvalid:
    return ProfileInvalid(file=source, line=line, reason=reason, key=where)


def _normal_path(path: str) -> str:
    """`$.forbidden[2].value` -> `forbidden.2.value`."""
    return re.sub(r"\[(\d+)\]", r".\1", path.removeprefix("$").removesuffix("[...]")).strip(".")


def _lines_of_keys(text: str) -> dict[str, int]:
    """Dotted key -> line number of where it is first written. Good enough for a message."""
    lines: dict[str, int] = {}
    arrays: dict[str, int] = {}
    table = ""
    # TOML's lines end at 0A; splitlines would also break at U+2028 and lose count.
    for number, line in enumerate(text.split("\n"), start=1):
        header = re.match(r"\s*(\[\[?)\s*([A-Za-z0-9_.\"-]+)\s*\]", line)
        if header:
            table = header.group(2).replace('"', "")
            if header.group(1) == "[[":
                arrays[table] = arrays.get(table, -1) + 1
                table = f"{table}.{arrays[table]}"
            lines.setdefault(table, number)
            continue
        key = re.match(r"\s*\"?([A-Za-z0-9_.-]+)\"?\s*=", line)
        if key:
            lines.setdefault(f"{table}.{key.group(1)}".strip("."), number)
    return lines


def _line_of(lines: dict[str, int], where: str) -> int:
    """Line of the key, else of the nearest table around it, else the first."""
    while where and where not in lines:
        where = where.rpartition(".")[0]
    return lines.get(where, 1)
