"""What was found, in words: a code, what it means, and what a person does about it."""

import msgspec


class Finding(msgspec.Struct, frozen=True, omit_defaults=True):
    """One thing that is wrong, or worth knowing: a stable code, whose, and what shows it."""

    code: str
    about: str = ""
    evidence: dict[str, str | int] = {}
