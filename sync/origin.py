"""Origins: the full name of a log, which is its checkpoint origin and its signer's key name.

`<operator>/<writer>/<epoch>/<lane>`, as in `lockers.example/site/0042/e1-9f2c01ab/custody`
(FORMATS.md 1). A writer has one log key; the verifiers of all its logs differ in name only, so
whoever knows a writer's key (`lockers.example/site/0042+<id>+<key>`) can check its every log.
"""

import re
from typing import Final, Self

import msgspec

from certs.errors import NoteInvalid
from certs.keys import Verifier
from certs.note import parse_note
from sync.entry import Lane, LaneRef, Writer, is_epoch
from sync.errors import TheirsInvalid

_match = re.compile(
    r"(?P<operator>[a-z0-9](?:[a-z0-9.-]{0,62}[a-z0-9])?)/(?P<writer>(?:site|hub)/[a-z0-9-]{1,32})"
    r"/(?P<epoch>[^/]{1,24})/(?P<lane>urgent|custody|telemetry)"
).fullmatch

_VOICES: Final = {"site": Writer.SITE, "hub": Writer.HUB}


class Origin(msgspec.Struct, frozen=True, order=True):
    """A log's name, taken apart. `writer` is `site/0042` or `hub/0042`."""

    operator: str
    writer: str
    epoch: str
    lane: Lane

    def __str__(self) -> str:  # type: ignore[explicit-override]  # typing has override from 3.12
        return f"{self.operator}/{self.writer}/{self.epoch}/{self.lane.value}"

    @classmethod
    def parse(cls, text: str) -> Self:
        """Return the origin that `text` names; `TheirsInvalid` `origin.malformed`."""
        found = _match(text)
        if found is None or not is_epoch(found["epoch"]):
            raise TheirsInvalid(
                "origin.malformed",
                "An origin reads <operator>/<site|hub>/<name>/<epoch>/<lane>.",
                value=ascii(text)[:120],
            )
        return cls(found["operator"], found["writer"], found["epoch"], Lane(found["lane"]))

    @property
    def voice(self) -> Writer:
        """Whose voice it is: the site's, or the hub's for this site."""
        return _VOICES[self.writer.partition("/")[0]]

    @property
    def site(self) -> str:
        """The site's name without its kind: `0042`, for both writers."""
        return self.writer.partition("/")[2]

    @property
    def log(self) -> LaneRef:
        """How references name this log."""
        return LaneRef(self.epoch, self.voice, self.lane)

    @property
    def signer(self) -> str:
        """The writer's name, which its key is exchanged under: `lockers.example/site/0042`."""
        return f"{self.operator}/{self.writer}"


def epoch_order(epoch: str) -> tuple[int, str]:
    """Return the key that sorts epochs by succession: counter, then name."""
    return int(epoch[1:].partition("-")[0]), epoch


class Ring:
    """The writers' keys that a holder knows, by name. A replaced gateway has a second one."""

    def __init__(self, *vkeys: str) -> None:
        self._public: dict[str, list[bytes]] = {}
        for vkey in vkeys:
            self.add(Verifier.from_vkey(vkey))

    def add(self, writer: Verifier) -> None:
        """Take in a writer's key, beside those it had: what they signed stays good."""
        known = self._public.setdefault(writer.name, [])
        if writer.public not in known:
            known.append(writer.public)

    def verifier(self, origin: Origin, note: str = "") -> Verifier | None:
        """Return the verifier of a log's checkpoints, or None if its writer is unknown.

        Of several keys the one that signed `note`, by its key id; else the first.
        """
        keys = [Verifier(str(origin), public) for public in self._public.get(origin.signer, ())]
        try:
            signers = {(one.name, one.key_id) for one in parse_note(note)[1]}
        except NoteInvalid:
            signers = set()
        signed = [key for key in keys if (key.name, key.key_id) in signers]
        return next(iter(signed or keys), None)
