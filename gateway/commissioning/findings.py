"""What was found: a stable code, whose, and what shows it. `gateway.meanings` has the words."""

import msgspec

from gateway.meanings import TABLE, told

__all__ = ["TABLE", "Finding", "meaning", "told"]


class Finding(msgspec.Struct, frozen=True, omit_defaults=True):
    """One thing that is wrong, or worth knowing."""

    code: str
    about: str = ""
    evidence: dict[str, str | int] = {}


def meaning(finding: Finding, lang: str = "en") -> tuple[str, str]:
    """Return what it means and what to do about it."""
    return told(finding.code, lang, finding.evidence)
