r"""Shapes: an entry cut into its keys and brackets, with marks where its values stand.

`cut_up` puts entries of one shape together; `classified` tells references and base64 from words.
A shape is kept as text (`{"at":\5,"door":\4,"kind":"door.opened",...}`) and built into a `Shape`.
The kind belongs to the shape; a key that names a log (in `seen`) is a value.
"""

import re
from base64 import b64decode, b64encode
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, NamedTuple

import msgspec

# Marks in a shape, one for each value: bytes that canonical JSON cannot hold.
WORD, REF, BLOB, NUMBER, AT = "\1\2\3\4\5"
_TEXT: Final = "\6"
"""Any text, before it is told apart."""
_MARKS: Final = re.compile(r"([\x01-\x06])")
_FORMS: Final = {WORD: "%s", REF: '"%s"', BLOB: '"%s"', NUMBER: "%d", AT: "[%s]"}

_LOG: Final = r"e([1-9][0-9]{0,9})-([0-9a-f]{8}):([sh][uct])"
match_ref = re.compile(_LOG + r"(0|[1-9][0-9]{0,14})").fullmatch
match_log = re.compile(_LOG).fullmatch
_base64 = re.compile(r"(?:[A-Za-z0-9+/]{4}){3,}(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?").fullmatch
_decode = msgspec.json.Decoder().decode
_encode = msgspec.json.Encoder().encode


def written(value: object) -> str:
    """Return a text or a boolean as canonical JSON writes it."""
    return _encode(value).decode()


class Shape(NamedTuple):
    """Keys and brackets: `form` for `%`, and (mark, label) of each value in order.

    `refs` are the positions of references, `at`, `door` and `of` those of these keys, or -1.
    """

    form: str
    slots: tuple[tuple[str, str], ...]
    refs: tuple[int, ...]
    at: int
    door: int
    of: int


def shape(text: str) -> Shape:
    """Build a shape from its text; `KeyError` for a mark that is none."""
    form, *parts = _MARKS.split(text)
    form = form.replace("%", "%%")
    marks = parts[::2]
    for mark, after in zip(marks, parts[1::2], strict=True):
        form += _FORMS[mark] + after.replace("%", "%%")
    slots = tuple(zip(marks, labels_of(text), strict=True))
    places = {slot: place for place, slot in reversed(list(enumerate(slots)))}
    return Shape(
        form,
        slots,
        tuple(place for place, (mark, _) in enumerate(slots) if mark == REF),
        places.get((AT, "at"), -1),
        places.get((NUMBER, "door"), -1),
        places.get((REF, "of"), -1),
    )


def labels_of(text: str) -> list[str]:
    """Return the key of each value of a shape; what stands in a list has its list's key."""
    labels = [""]
    for before in _MARKS.split(text)[:-1:2]:
        key = before.rstrip("[{").removesuffix(":").rpartition('"')[0].rpartition('"')[2]
        labels.append(key or labels[-1])
    return labels[1:]


class Rows:
    """The entries of one shape: their places in the segment, and their values."""

    def __init__(self, pairs: Iterable[tuple[int, list[Any]]] = ()) -> None:
        self.places: list[int] = [place for place, _ in pairs]
        self.values: list[list[Any]] = [values for _, values in pairs]

    def pairs(self) -> Iterable[tuple[int, list[Any]]]:
        """Return (place, values) of each."""
        return zip(self.places, self.values, strict=True)


def cut_up(entries: Sequence[bytes]) -> dict[str, Rows]:
    """Cut entries into values, together by shape; texts are all marked `_TEXT` as yet."""
    known: dict[object, tuple[str, int]] = {}
    cut: dict[str, Rows] = {}
    for place, data in enumerate(entries):
        obj = _decode(data)
        kind = obj.get("kind")
        # With `at` as it should be and nothing else nested, the values are those of the object.
        plain = type(kind) is str and _is_at(obj.get("at"))
        signature = (kind, *obj, *map(type, obj.values())) if plain else None
        text, kind_at = known.get(signature, ("", 0))
        if text:
            values = list(obj.values())
            del values[kind_at]
        else:
            parts: list[str] = []
            values = []
            _flatten(obj, parts, values, top=True)
            text = "".join(parts)
            if signature and signature.count(dict) == 0 and signature.count(list) == 1:
                known[signature] = text, list(obj).index("kind")
        rows = cut.setdefault(text, Rows())
        rows.places.append(place)
        rows.values.append(values)
    return cut


def _is_at(value: Any) -> bool:
    if type(value) is not list or len(value) != 2:  # noqa: PLR2004  # boot and monotonic time
        return False
    return type(value[0]) is int is type(value[1])


def _flatten(value: Any, parts: list[str], values: list[Any], *, top: bool = False) -> None:
    """Append the text of a value, with marks, and what the marks stand for."""
    kind = type(value)
    if kind is dict:
        between = "{"
        for key, inner in value.items():
            parts.append(between)
            between = ","
            if match_log(key):
                parts.append(_TEXT)
                values.append(key)
            else:
                parts.append(written(key))
            parts.append(":")
            if top and key == "kind" and type(inner) is str:
                parts.append(written(inner))
            elif top and key == "at" and _is_at(inner):
                parts.append(AT)
                values.append(inner)
            else:
                _flatten(inner, parts, values)
        parts.append("{}" if between == "{" else "}")
    elif kind is list:
        parts.append("[")
        for place, inner in enumerate(value):
            if place:
                parts.append(",")
            _flatten(inner, parts, values)
        parts.append("]")
    else:
        parts.append(_TEXT if kind is str else WORD if kind is bool else NUMBER)
        values.append(value)


def classified(text: str, values: list[list[Any]]) -> str:
    """Return the text of a shape with its texts told apart: references, base64, words."""
    parts = []
    place = -1
    for part in _MARKS.split(text):
        if _MARKS.fullmatch(part):
            place += 1
        if part != _TEXT:
            parts.append(part)
        elif all(match_ref(row[place]) for row in values):
            parts.append(REF)
        elif all(_base64(row[place]) and _is_exact(row[place]) for row in values):
            parts.append(BLOB)
        else:
            parts.append(WORD)
    return "".join(parts)


def _is_exact(text: str) -> bool:
    return b64encode(b64decode(text)).decode() == text


def place_of(cut: Mapping[str, Rows]) -> tuple[str, int]:
    """Guess the log and the index of the first entry: two neighbours at one door tell both."""
    prevs: list[tuple[int, Any, Any]] = []
    for text, rows in cut.items():
        labels = labels_of(text)
        if "prev" in labels and "door" in labels:
            prev, door = labels.index("prev"), labels.index("door")
            prevs += [
                (place, values[prev], values[door])
                for place, values in zip(rows.places, rows.values, strict=True)
            ]
    places: dict[Any, int] = {}
    guess = "", 0
    for place, prev, door in sorted(prevs, key=lambda one: one[0]):
        found = match_ref(prev) if type(prev) is str else None
        if found is not None:
            log, index = prev[: found.start(4)], int(found[4])
            if door in places:
                return log, index - places[door]
            guess = guess if guess[0] else (log, index + 1 - place)
        places[door] = place
    return guess
