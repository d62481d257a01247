"""Entries as columns: what a segment says beyond what could be guessed (codec 2, FORMATS.md 4).

An entry is cut into its **shape** (keys and brackets, with a mark for each value) and its values.
Entry by entry, in their order, both ends guess

- the door: one of those that were busy just now;
- the shape: what followed the last time an entry of this shape stood at a door;
- `at`: a pause like the last one of this shape since this door's latest entry;
- references: as recently named at this door as the last time this shape named one; far ones count
  back from the entry's own index.

Then column by column: a word is the one that stood here before, a number likewise (deadlines and
times of day without the time of the entry; what something took is the time since the entry `of`),
and base64 is new, or the next of what was said before. What is said is the difference: 0 where the
guess was right, and a column of zeros is one symbol. Base64 itself goes beside the columns.

Nothing is remembered from segment to segment: each begins as if the **primer** had gone before it,
which is why one entry alone is short too. Guesses work on JSON values, so whatever canonical
entries say, known or not, comes out as it went in; a wrong guess costs bytes and nothing else.
"""

from base64 import b64decode, b64encode
from collections.abc import Iterable, Sequence
from itertools import accumulate, pairwise, repeat
from typing import Any, Final

from sync.canonical import BYTES_MAX
from sync.errors import TheirsInvalid
from sync.guesses import DOORS, RECENT, Model, Said, guesses, put_first
from sync.numbers import Sink, Source, unzigzag, zigzag
from sync.primer import PRIMER
from sync.shapes import (
    AT,
    BLOB,
    REF,
    WORD,
    Rows,
    Shape,
    classified,
    cut_up,
    match_log,
    match_ref,
    place_of,
    written,
)

_SAME: Final = RECENT
_FAR: Final = RECENT + 1
"""Codes of a reference: its place among the recent, what this shape said before, or log by log."""
_NEW, _NEXT, _NEW_LENGTH, _KNOWN = range(4)
"""Codes of base64: new and as long as before, next after what was said again last, and others."""
_WRITERS: Final = ("su", "sc", "st", "hu", "hc", "ht")


class _Writer:
    """Entries to columns."""

    def __init__(self, entries: Sequence[bytes], learned: Model | None) -> None:
        self.count = len(entries)
        self.cut = cut_up(entries)
        own, self.first = place_of(self.cut)
        self.model = model = Model(learned, [own] if own else [], self.first)
        self.words, self.shapes = len(model.words), len(model.shapes)
        self.new_shapes: list[str] = []
        self.far: list[int] = []
        self.raw: list[bytes] = []
        self.blobs: dict[str, int] = {}
        self.written: dict[str | bool, str] = {}
        self.rows = self._sorted()
        self.by_place: list[tuple[int, list[Any]]] = [(0, [])] * self.count
        for number, rows in self.rows.items():
            for place, values in zip(rows.places, rows.values, strict=True):
                self.by_place[place] = number, values
        self.columns: dict[tuple[int, int], list[int]] = {}

    def _sorted(self) -> dict[int, Rows]:
        """Give the shapes their numbers, new ones too; return the rows by number."""
        model = self.model
        found: dict[int, Rows] = {}
        for cut, rows in self.cut.items():
            text = classified(cut, rows.values)
            number = model.shape_of.get(text)
            if number is None:
                number = model.add_shape(text)
                self.new_shapes.append(text)
            if number in found:  # they differ in what is said with words: text here, a bool there
                both = [*found[number].pairs(), *rows.pairs()]
                found[number] = Rows(sorted(both, key=lambda pair: pair[0]))
            else:
                found[number] = rows
        return dict(sorted(found.items()))

    def turns(self) -> list[list[int]]:
        """Return the columns of doors and shapes."""
        model = self.model
        doors, shapes = [], []
        for number, values in self.by_place:
            place = model.shapes[number].door
            door = values[place] if place >= 0 else None
            if door in model.doors:
                doors.append(model.doors.index(door))
            else:
                doors.append(DOORS if door is None else DOORS + 1 + zigzag(door))
            shapes.append(0 if model.guess_shape(door) == number else number + 1)
            model.take_row(door, number)
        return [doors, shapes]

    def rows_told(self) -> list[int]:
        """Fill the columns of times and references; return the one of jumps in time."""
        model, columns, jumps = self.model, self.columns, []
        for number, values in self.by_place:
            shape = model.shapes[number]
            door = values[shape.door] if shape.door >= 0 else None
            if shape.at >= 0:
                boot, mono = values[shape.at]
                jump, code = self._when(door, number, boot, mono)
                jumps.append(jump)
                columns.setdefault((number, shape.at), []).append(code)
                model.take_at(door, number, boot, mono)
            recent, said = model.named.setdefault(door, []), model.said[number]
            for place in shape.refs:
                ref, (before, known) = values[place], said[place]
                code = recent.index(ref) if ref in recent else self._far(ref, known)
                said[place] = code, ref
                columns.setdefault((number, place), []).append(0 if code == before else code + 1)
                put_first(recent, ref)
            model.end_row(recent)
        return jumps

    def _when(self, door: int | None, number: int, boot: int, mono: int) -> tuple[int, int]:
        model = self.model
        guess = model.guess_mono(door, number)
        code = mono - model.mono if guess is None else zigzag(mono - guess)
        if boot == model.boot and code >= 0:
            return 0, code
        return 1 + zigzag(boot - model.boot), zigzag(mono)

    def _far(self, ref: str, known: str) -> int:
        if ref == known:
            return _SAME
        model = self.model
        found = match_ref(ref)
        assert found is not None
        name, index = ref[: found.start(4)], int(found[4])
        if name not in model.logs:
            model.logs.append(name)
        log = model.logs.index(name)
        self.far.append(zigzag(model.guess_index(log) - index))
        model.ends[log] = index
        return _FAR + log

    def values(self) -> list[list[int]]:
        """Return all columns, shape by shape."""
        columns = []
        for number, rows in self.rows.items():
            shape, said = self.model.shapes[number], self.model.said[number]
            ats = [row[shape.at] for row in rows.values] if shape.at >= 0 else None
            ofs = [row[shape.of] for row in rows.values] if shape.of >= 0 else None
            for place, column in enumerate(zip(*rows.values, strict=True)):
                mark, label = shape.slots[place]
                if mark in {AT, REF}:
                    columns.append(self.columns[number, place])
                elif mark == WORD:
                    columns.append(self._words(said, place, column))
                elif mark == BLOB:
                    columns.append(self._blobs(said, place, column))
                elif place != shape.door:
                    expected = guesses(label, len(column), ats, ofs, self.model.times)
                    numbers = [a - b for a, b in zip(column, expected, strict=True)]
                    steps = [b - a for a, b in pairwise([said[place], *numbers])]
                    said[place] = numbers[-1]
                    columns.append([zigzag(step) for step in steps])
        return columns

    def _words(self, said: Said, place: int, column: Sequence[str | bool]) -> list[int]:
        model, before, codes = self.model, said[place], []
        for value in column:
            word = self.written.get(value)
            if word is None:
                word = self.written[value] = written(value)
            if word == before:
                codes.append(0)
            else:
                before = word
                number = model.word_of.get(word)
                codes.append(1 + (model.add_word(word) if number is None else number))
        said[place] = before
        return codes

    def _blobs(self, said: Said, place: int, column: Sequence[str]) -> list[int]:
        (latest, length), after, codes = said[place], 0, []
        for blob in column:
            known = self.blobs.get(blob)
            if known is None:
                self.blobs[blob] = len(self.blobs)
                data = b64decode(blob)
                self.raw.append(data)
                code = _NEW if len(data) == length else _NEW_LENGTH
                if code == _NEW_LENGTH:
                    length = len(data)
                    self.far.append(length)
            else:
                code = _NEXT if known == after else _KNOWN + known
                after = known + 1
            codes.append(0 if code == latest else code + 1)
            latest = code
        said[place] = latest, length
        return codes


def pack(entries: Sequence[bytes]) -> tuple[bytes, bytes]:
    """Return (columns, raw) of canonical entries; raw is what does not get any shorter.

    Columns: how many logs, new words, new shapes and far numbers; the first index (guessed); each
    log's epoch counter and letters; words and shapes, 0A after each; the far numbers (distances of
    references, lengths of base64, as they come); the columns of doors and shapes; the column of
    jumps in time, and each shape's own. Raw: the bits of the numbers, filled up to a byte; the
    eight hex digits of each log as bytes; base64, decoded.
    """
    writer = _Writer(entries, PRIMED)
    turns = writer.turns()
    jumps = writer.rows_told()
    columns = writer.values()
    model, sink = writer.model, Sink()
    words = model.words[writer.words :]
    sink.numbers([len(model.logs), len(words), len(writer.new_shapes), len(writer.far)])
    sink.number(zigzag(writer.first))
    raw = []
    for name in model.logs:
        found = match_log(name)
        assert found is not None
        sink.numbers([int(found[1]), _WRITERS.index(found[3])])
        raw.append(bytes.fromhex(found[2]))
    for text in (*words, *writer.new_shapes):
        sink.text(text.encode())
    sink.numbers(writer.far)
    sink.columns(turns)
    sink.columns([jumps, *columns])
    symbols, bits = sink.finish()
    return symbols, b"".join([bits, *raw, *writer.raw])


# --- reading ------------------------------------------------------------------------------------


class _Reader:
    """Columns to entries."""

    def __init__(self, columns: bytes, raw: bytes, count: int, limit: int) -> None:
        self.source = source = Source(columns, raw)
        logs, words, shapes, far = source.numbers(4)
        first = unzigzag(source.number())
        self.model = model = Model(PRIMED, [], first)
        names = [source.numbers(2) for _ in range(logs)]
        for _ in range(words):
            model.add_word(source.text(BYTES_MAX).decode())
        for _ in range(shapes):
            model.add_shape(source.text(BYTES_MAX).decode())
        self.far = iter(source.numbers(far))
        self.limit = limit
        doors, numbers = source.columns([count, count])
        self.turns = self._turns(doors or [0] * count, numbers or [0] * count)
        used = sorted({number for _, number in self.turns})
        self.places: dict[int, list[int]] = {number: [] for number in used}
        for place, (_, number) in enumerate(self.turns):
            self.places[number].append(place)
        if 2 * sum(len(model.shapes[number].slots) for _, number in self.turns) > limit:
            raise _bomb(limit)
        keys = [
            (number, place)
            for number in used
            for place in range(len(model.shapes[number].slots))
            if place != model.shapes[number].door
        ]
        timed = sum(model.shapes[number].at >= 0 for _, number in self.turns)
        jumps, *told = source.columns([timed, *(len(self.places[number]) for number, _ in keys)])
        self.jumps = iter(jumps or [0] * timed)
        self.codes = {
            key: codes or repeat(0, len(self.places[key[0]]))
            for key, codes in zip(keys, told, strict=True)
        }
        self.raw = raw
        self.taken = source.end()
        for counter, writer in names:
            epoch = f"e{counter}-{self._raw(4).hex()}"
            model.logs.append(f"{epoch}:{_WRITERS[writer]}")
        self.blobs: list[str] = []

    def _raw(self, length: int) -> bytes:
        self.taken += length  # beyond the end is noticed at the end
        return self.raw[self.taken - length : self.taken]

    def _turns(self, doors: list[int], numbers: list[int]) -> list[tuple[int | None, int]]:
        model, turns = self.model, []
        for door_code, number_code in zip(doors, numbers, strict=True):
            door: int | None = None
            if door_code < DOORS:
                door = model.doors[door_code]
            elif door_code > DOORS:
                door = unzigzag(door_code - DOORS - 1)
            number = number_code - 1 if number_code else model.guess_shape(door)
            if not 0 <= number < len(model.shapes):
                raise ValueError("no such shape")
            if (door is None) != (model.shapes[number].door < 0):
                raise ValueError("a door for a shape without, or none")
            model.take_row(door, number)
            turns.append((door, number))
        return turns

    def rows_told(self) -> dict[tuple[int, int], list[Any]]:
        """Return the times and references, column by column."""
        model = self.model
        codes = {key: iter(column) for key, column in self.codes.items()}
        columns: dict[tuple[int, int], list[Any]] = {key: [] for key in self.codes}
        for door, number in self.turns:
            shape = model.shapes[number]
            if shape.at >= 0:
                boot, mono = self._when(door, number, next(codes[number, shape.at]))
                columns[number, shape.at].append((boot, mono))
                model.take_at(door, number, boot, mono)
            recent, said = model.named.setdefault(door, []), model.said[number]
            for place in shape.refs:
                code = next(codes[number, place])
                before, known = said[place]
                code = code - 1 if code else before
                ref = recent[code] if code < _SAME else known if code == _SAME else self._far(code)
                said[place] = code, ref
                columns[number, place].append(ref)
                put_first(recent, ref)
            model.end_row(recent)
        return columns

    def _when(self, door: int | None, number: int, code: int) -> tuple[int, int]:
        model, jump = self.model, next(self.jumps)
        if jump:
            return model.boot + unzigzag(jump - 1), unzigzag(code)
        guess = model.guess_mono(door, number)
        return model.boot, model.mono + code if guess is None else guess + unzigzag(code)

    def _far(self, code: int) -> str:
        log = code - _FAR
        index = self.model.guess_index(log) - unzigzag(next(self.far))
        self.model.ends[log] = index
        return f"{self.model.logs[log]}{index}"

    def entries(self) -> list[bytes]:
        """Return the entries, in their order."""
        told = self.rows_told()
        entries: list[bytes] = [b""] * len(self.turns)
        size = 0
        for number, places in self.places.items():
            shape = self.model.shapes[number]
            columns = self._columns(number, shape, told)
            size += len(shape.form) * len(places)
            size += sum(sum(map(len, one)) for one in columns if type(one[0]) is str)
            if size > 2 * self.limit:
                raise _bomb(self.limit)
            rows = zip(*columns, strict=True) if columns else repeat((), len(places))
            for place, row in zip(places, rows, strict=True):
                entries[place] = (shape.form % row).encode()
        if self.taken != len(self.raw) or next(self.far, None) is not None:
            raise ValueError("more bytes than the entries need")
        if sum(map(len, entries)) > self.limit:
            raise _bomb(self.limit)
        return entries

    def _columns(
        self, number: int, shape: Shape, told: dict[tuple[int, int], list[Any]]
    ) -> list[list[Any]]:
        """Return the values of a shape, column by column."""
        said, columns = self.model.said[number], []
        ats = told[number, shape.at] if shape.at >= 0 else None
        ofs = told[number, shape.of] if shape.of >= 0 else None
        for place, (mark, label) in enumerate(shape.slots):
            column: list[Any]
            if place == shape.door:
                column = [self.turns[row][0] for row in self.places[number]]
            elif mark == AT:
                column = [f"{boot},{mono}" for boot, mono in told[number, place]]
            elif mark == REF:
                column = told[number, place]
            elif mark == WORD:
                column = self._words(said, place, self.codes[number, place])
            elif mark == BLOB:
                column = self._blobs(said, place, self.codes[number, place])
            else:
                steps = accumulate(map(unzigzag, self.codes[number, place]), initial=said[place])
                numbers = list(steps)[1:]
                expected = guesses(label, len(numbers), ats, ofs, self.model.times)
                column = [a + b for a, b in zip(numbers, expected, strict=True)]
            columns.append(column)
        return columns

    def _words(self, said: Said, place: int, codes: Iterable[int]) -> list[str]:
        words, word, column = self.model.words, said[place], []
        for code in codes:
            if code:
                word = words[code - 1]
            column.append(word)
        return column

    def _blobs(self, said: Said, place: int, codes: Iterable[int]) -> list[str]:
        (latest, length), after, column = said[place], 0, []
        for said_code in codes:
            latest = said_code - 1 if said_code else latest
            if latest in {_NEW, _NEW_LENGTH}:
                length = next(self.far) if latest == _NEW_LENGTH else length
                blob = b64encode(self._raw(length)).decode()
                self.blobs.append(blob)
            else:
                known = after if latest == _NEXT else latest - _KNOWN
                blob, after = self.blobs[known], known + 1
            column.append(blob)
        return column


def unpack(columns: bytes, raw: bytes, count: int, limit: int) -> list[bytes]:
    """Return `count` entries that `pack` was given; whether they are canonical is not asked here.

    Raises `TheirsInvalid`: `exchange.segment` (it does not fit together), `exchange.bomb` (more
    than `limit` bytes come out).
    """
    try:
        return _Reader(columns, raw, count, limit).entries()
    except (IndexError, KeyError, ValueError, OverflowError, StopIteration) as error:
        raise TheirsInvalid(
            "exchange.segment",
            "Send the segment again, or in another codec.",
            reason=str(error)[:80],
        ) from error


def _bomb(limit: int) -> TheirsInvalid:
    return TheirsInvalid("exchange.bomb", "Send smaller segments.", limit=limit)


def _primed() -> Model:
    """Return what every segment begins with: what a writer of the primer has learned."""
    writer = _Writer(PRIMER, None)
    writer.turns()
    writer.rows_told()
    writer.values()
    return writer.model


PRIMED: Final = _primed()
