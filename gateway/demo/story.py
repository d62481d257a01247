"""How the day is told: when, who, what; screens in the words that stand on them."""

import json
import textwrap
from collections.abc import Callable, Iterable, Mapping
from itertools import groupby
from typing import Any, Final, TextIO

from gateway.demo.record import Seen
from gateway.web.kiosk import STATIC

_WIDTH: Final = 100
_INDENT: Final = 20
_BOLD, _DIM, _PLAIN = "\x1b[1m", "\x1b[2m", "\x1b[0m"


class Words:
    """The kiosk's own words, English."""

    def __init__(self) -> None:
        path = STATIC / "texts" / "en.json"
        self._texts: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))

    def of(self, screen: Mapping[str, Any]) -> str:
        """Return what a person reads on a screen: title, text, and why something was refused."""
        name, why = screen["name"], screen["why"]
        screens = self._texts["screen"]
        words = screens.get(f"{name}:{why}", screens[name])
        parts = [words["title"]]
        if screen["door"] is not None and "stored" in words:
            parts = [words["stored"], words["title"]]
        elif screen["count"] > 1 and "again" in words:
            parts.append(words["again"])
        elif screen["sizes"]:
            parts.append("Free: " + ", ".join(f"{free} {size}" for size, free in screen["sizes"]))
        else:
            refusal = "" if f"{name}:{why}" in screens else self._why(why, screen["count"])
            parts.append(refusal or words["text"])
        said = [part.replace("{door}", str(screen["door"])) for part in parts]
        return " ".join(part if part[-1] in ".?!" else f"{part}." for part in said)

    def _why(self, why: str, count: int) -> str:
        """Return the words for a refusal, "" where the page says nothing of it."""
        text = self._texts["why"].get(why, "")
        chosen: str = text if isinstance(text, str) else text["one" if count == 1 else "other"]
        return chosen.replace("{count}", str(count))


class Teller:
    """Writes the story to a stream. `clock` gives seconds since the demo began."""

    def __init__(self, out: TextIO, clock: Callable[[], float]) -> None:
        self._out = out
        self._clock = clock
        self._words = Words()
        self._styled = out.isatty()

    def title(self, text: str) -> None:
        """Begin a chapter."""
        self._write(f"\n{self._style(_BOLD, text)}")

    def plain(self, text: str = "") -> None:
        """Write a line as it is."""
        self._write(text)

    def say(self, who: str, text: str) -> None:
        """Tell one step."""
        head = f"{self._clock():7.1f} s  {who:<8}  "
        wrapped = textwrap.fill(
            text, _WIDTH, initial_indent=head, subsequent_indent=" " * _INDENT,
            break_on_hyphens=False,
        )  # fmt: skip
        self._write(self._style(_DIM, wrapped) if who == "record" else wrapped)

    def screen(self, screen: Mapping[str, Any]) -> None:
        """Tell what a kiosk shows now; a moment's screens are left out."""
        if screen["name"] not in {"collect.checking", "welcome"} and not screen["warn"]:
            self.say("screen", self._words.of(screen))

    def record(self, news: Iterable[Seen]) -> None:
        """Tell what went on record, the entries of one door on one line."""
        for door, seen in groupby(news, key=lambda one: one.door):
            where = f"door {door}: " if door is not None else ""
            self.say("record", where + ", ".join(map(entry_words, seen)))

    def _style(self, style: str, text: str) -> str:
        return f"{style}{text}{_PLAIN}" if self._styled else text

    def _write(self, text: str) -> None:
        self._out.write(f"{text}\n")
        self._out.flush()


_TOLD: Final = ("outcome", "alarm", "purpose", "size", "form", "why")


def entry_words(seen: Seen) -> str:
    """Return an entry's kind, and in brackets what it says."""
    body = seen.body
    values = [str(body[key]) for key in _TOLD if body.get(key) not in {None, "", "asked"}]
    if body.get("attempt", 1) > 1:
        values.append(f"attempt {body['attempt']}")
    if body.get("took_ms") is not None:
        values.append(f"after {body['took_ms'] / 1000:.1f} s")
    if isinstance(body.get("occupied"), bool):
        values.append("occupied" if body["occupied"] else "empty")
    if body.get("charged"):
        values.append("charged")
    return f"{seen.kind} ({', '.join(values)})" if values else seen.kind
