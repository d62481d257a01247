"""Codes in words: what a refusal or a finding means, and what a person does about it. Pure.

One table a language, for page, report and terminal alike. `{name}` stands for that evidence.
"""

import re
from collections.abc import Mapping
from importlib.resources import files
from typing import Final

import msgspec

TABLE: Final[Mapping[str, Mapping[str, tuple[str, str]]]] = {
    lang: msgspec.json.decode(
        files(__name__).joinpath(f"{lang}.json").read_bytes(), type=dict[str, tuple[str, str]]
    )
    for lang in ("en", "de")
}
_UNKNOWN: Final = {
    "en": ("Something is not as it should be.", "See the log around it."),
    "de": ("Etwas ist nicht, wie es sein soll.", "Im Logbuch nachsehen."),
}
_field = re.compile(r"\{([a-z_]+)\}")


def told(
    code: str, lang: str = "en", evidence: Mapping[str, object] | None = None
) -> tuple[str, str]:
    """Return what a code means and what to do, with its evidence; English where there is no other.

    A code that nobody wrote down is not hidden: it says that something is wrong.
    """
    table = TABLE.get(lang, TABLE["en"])
    what, cure = table.get(code) or _UNKNOWN.get(lang, _UNKNOWN["en"])
    known = evidence or {}

    def filled(text: str) -> str:
        return _field.sub(lambda found: str(known.get(found[1], "")), text)

    return filled(what), filled(cure)
