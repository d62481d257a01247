"""The one question of the ADAM text protocol that a scan asks: `$AAM`, what is your name?

Many boards leave the factory in that protocol and are deaf to Modbus until they are switched over.
Whatever is asked of this codec, these five characters are all it can send: they read, and set
nothing. No Modbus board takes them for a frame: their checksum is wrong for every unit number.
"""

import re

from adapters.reading import Judgement, Request, Verdict

END = b"\r"
ANSWER_MAX = 32  # far above any name; what is longer is no answer


class Names:
    """The codec of a line on which names are asked."""

    def encode(self, unit: int, request: Request) -> tuple[bytes, int]:
        """Return the question; there are no transaction numbers."""
        del request  # there is only one
        return b"$%02XM\r" % unit, 0

    def judge(self, raw: bytes, echo: bytes, unit: int, request: Request, number: int) -> Judgement:
        """Judge what came so far."""
        del request, number
        if not raw.startswith(echo):
            return Judgement(Verdict.WAIT)
        body = raw[len(echo) :]
        return _judged(body, unit) if END in body[:ANSWER_MAX] else Judgement(Verdict.WAIT)

    def at_the_end(
        self, raw: bytes, echo: bytes, unit: int, request: Request, number: int
    ) -> Judgement:
        """Judge what came when the time is over: never WAIT."""
        del request, number
        body = raw.removeprefix(echo)
        return _judged(body, unit) if body else Judgement(Verdict.NOTHING)


def _judged(body: bytes, unit: int) -> Judgement:
    if body.startswith(b"?%02X" % unit):
        return Judgement(Verdict.REFUSED)
    found = re.match(rb"!([0-9A-Fa-f]{2})([!-~]{1,16})\r", body)
    if found is None:
        return Judgement(Verdict.GARBAGE)
    if int(found[1], 16) != unit:
        return Judgement(Verdict.OTHER)
    return Judgement(Verdict.GOOD, tuple(found[2]))
