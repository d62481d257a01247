"""What can go wrong with keys and signatures, each with a stable code.

`code` is for programs and tests, `evidence` for whoever looks into it, `remedy` for the person who
has to do something. Evidence never holds a secret, a signature key or the text of a note.
"""


class CertsError(Exception):
    """A refusal of this floor: `code` (dotted, stable), `remedy` (a sentence), `evidence`."""

    def __init__(self, code: str, remedy: str = "", **evidence: object) -> None:
        self.code = code
        self.remedy = remedy
        self.evidence: dict[str, object] = evidence
        super().__init__(_text(code, remedy, evidence))


class KeyInvalid(CertsError):  # noqa: N818  # the name says what is wrong
    """A key, a key name or a vkey that cannot be used."""


class NoteInvalid(CertsError):  # noqa: N818  # the name says what is wrong
    """A note, a checkpoint or a signature that must not be believed."""


class KeyStoreBroken(CertsError):  # noqa: N818  # the name says what is wrong
    """The folder of keys, or one file in it, is not as it must be."""


class CapabilityInvalid(CertsError):  # noqa: N818  # the name says what is wrong
    """A capability that must not be believed, or bytes that are none."""


class CertificateInvalid(CertsError):  # noqa: N818  # the name says what is wrong
    """A certificate, a request for one, or a name in one that must not be believed."""


class TrustInvalid(CertsError):  # noqa: N818  # the name says what is wrong
    """A signed document about whom to trust, a claim or a time that must not be believed."""


def _text(code: str, remedy: str, evidence: dict[str, object]) -> str:
    """`code: remedy (k=v, ...)`, without the parts that are empty."""
    text = f"{code}: {remedy}" if remedy else code
    shown = ", ".join(f"{name}={value}" for name, value in evidence.items())
    return f"{text} ({shown})" if shown else text
