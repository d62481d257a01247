"""The installer's page: HTML made here, whole without a script; two languages. Pure but for texts.

Everything that is put in is escaped, and comes from this site. Before pairing it says nothing of
the site but the six words of its key.
"""

from collections.abc import Iterable, Mapping
from html import escape
from pathlib import Path
from typing import Any, Final

import msgspec

from adapters import profiles
from adapters.profile import Profile
from gateway import meanings
from gateway.web.installer.sessions import Session

STATIC: Final = Path(__file__).parent / "static"
LANGUAGES: Final = ("en", "de")
HOLDING: Final = frozenset({"depositing", "held", "collecting"})
_FOLDER: Final = Path(__file__).parent / "texts"
TEXTS: Final[dict[str, dict[str, str]]] = {
    name: msgspec.json.decode((_FOLDER / f"{name}.json").read_bytes(), type=dict[str, str])
    for name in LANGUAGES
}

_KINDS: Final = {".css": "text/css", ".js": "text/javascript"}


def _settable(profile: Profile) -> bool:
    """Say whether such a board takes its number over the line."""
    return profile.commission is not None and profile.commission.unit is not None


def _words(lang: str) -> str:
    """Return what the commissioning page says, as its script reads it."""
    text = (_FOLDER / f"commission.{lang}.json").read_bytes()
    told = {
        "texts": msgspec.json.decode(text, type=dict[str, str]),
        "findings": meanings.TABLE[lang],
        "profiles": [
            {"profile": name, "title": one.title, "settable": _settable(one)}
            for name, one in ((name, profiles.load(name)) for name in profiles.names())
        ],
    }
    return msgspec.json.encode(told).decode()


PARTS: Final[dict[str, tuple[str, str]]] = {
    path.name: (_KINDS[path.suffix], path.read_text(encoding="utf-8"))
    for path in STATIC.iterdir()
    if path.suffix in _KINDS
} | {f"words-{lang}.json": ("application/json", _words(lang)) for lang in LANGUAGES}
"""The pages' parts, by name: type and text. Read once: a file that is being sent when a connection
is cut would stay open."""


def language(accepted: str) -> str:
    """Return the first language of an Accept-Language header that we have; English otherwise."""
    for part in accepted[:200].split(","):
        name = part.partition(";")[0].strip().lower()[:2]
        if name in LANGUAGES:
            return name
    return LANGUAGES[0]


def pairing(lang: str, words: Iterable[str], why: str = "") -> str:
    """Return the page that a stranger sees; `why` is the code of a refusal."""
    say = TEXTS[lang]
    shown = "".join(f"<li>{escape(word)}</li>" for word in words)
    told = say.get(why, why)
    trouble = f'<p class="bad" role="alert" id="why">{escape(told)}</p>' if why else ""
    described = "hint why" if why else "hint"
    wrong = ' aria-invalid="true" autofocus' if why else ""
    return _page(
        lang,
        f"""<main><h1>{escape(say["pair.title"])}</h1>
<ol class="steps"><li>{escape(say["pair.presence"])}</li><li>{escape(say["pair.compare"])}</li></ol>
<ul class="words" aria-label="{escape(say["pair.words"])}" lang="en">{shown}</ul>
{trouble}<form method="post" action="/pair/session">
<label for="code">{escape(say["pair.code"])}</label>
<input id="code" name="code" required maxlength="40" autocomplete="off" autocapitalize="characters"
 autocorrect="off" spellcheck="false" aria-describedby="{described}"{wrong}>
<p class="soft" id="hint">{escape(say["pair.hint"])}</p>
<button>{escape(say["pair.button"])}</button></form></main>""",
    )


def home(
    lang: str, session: Session, status: Mapping[str, Any], told: str = "", *, bad: bool = False
) -> str:
    """Return the page of somebody who is signed in; `told` is how the last test ended."""
    say = TEXTS[lang]
    well = bool(status["health"].get("ok"))
    token = f'<input type="hidden" name="csrf" value="{escape(session.csrf)}">'
    rows = "".join(_door(say, row, token) for row in status.get("doors", ()))
    doors = f'<ul class="doors">{rows}</ul>' if rows else f"<p>{escape(say['home.nodoors'])}</p>"
    words = "".join(
        f' data-{name}="{escape(say[f"door.{name}"])}"'
        for name in ("wait", "done", "failed", "lost", "open", "closed", "unseen")
    )
    whys = {key[4:]: text for key, text in say.items() if key.startswith("why.")}
    words += f' data-whys="{escape(msgspec.json.encode(whys).decode())}"'
    site = str(status["site"])
    return _page(
        lang,
        f"""<main><h1>{escape(say["home.title"])} {escape(site.rpartition("/")[2])}</h1>
<p class="soft">{escape(site)}</p>
<p class="state {"well" if well else "ill"}">{escape(say["home.well" if well else "home.ill"])}</p>
<p id="told" role="status"{' class="bad"' if bad else ""}{words}>{escape(told)}</p>
<p><a class="button" href="/commission">{escape(say["home.commission"])}</a></p>
<p><a class="button quiet" href="/service">{escape(say["home.service"])}</a></p>
<h2>{escape(say["home.doors"])}</h2><p class="soft">{escape(say["home.about"])}</p>{doors}
<form method="post" action="/pair/end">{token}<p class="soft">{escape(say["home.who"])}
 <strong>{escape(session.name)}</strong>. {escape(say["home.until"])}</p>
<button class="quiet">{escape(say["home.out"])}</button></form></main>
<script src="/static/installer.js" defer></script>""",
    )


def commission(lang: str, session: Session, status: Mapping[str, Any]) -> str:
    """Return the shell of the commissioning page; its script builds the rest from the view."""
    return _shell(lang, session, status, "commission")


def service(lang: str, session: Session, status: Mapping[str, Any]) -> str:
    """Return the shell of the page for service later: doors in and out of service, trends."""
    return _shell(lang, session, status, "service")


def _shell(lang: str, session: Session, status: Mapping[str, Any], name: str) -> str:
    say, site = TEXTS[lang], str(status["site"])
    known = len(status.get("doors", ()))
    return _page(
        lang,
        f"""<main><header><h1>{escape(say[f"home.{name}"])}
 <span class="soft">{escape(site.rpartition("/")[2])}</span></h1>
<a href="/">{escape(say["home.back"])}</a></header>
<p id="live" class="unseen" role="status" aria-live="polite"></p>
<div id="top"></div><div id="page" data-page="{name}"></div>
<noscript><p class="bad">{escape(say["noscript"])}</p></noscript></main>
<dialog id="ask" aria-labelledby="ask-title" aria-describedby="ask-text"></dialog>
<script type="module" src="/static/{name}.js"></script>""",
        f' data-csrf="{escape(session.csrf)}" data-doors="{known}"',
        '<link rel="stylesheet" href="/static/commission.css">',
    )


def tested(lang: str, door: int, code: str) -> str:
    """Return the sentence that says how a test ended."""
    say = TEXTS[lang]
    text = say["door.failed" if code else "door.done"].replace("{door}", str(door))
    return text.replace("{why}", say.get(f"why.{code}", code))


def _door(say: Mapping[str, str], row: Mapping[str, Any], token: str) -> str:
    number, held = int(row["door"]), row["custody"] in HOLDING or bool(row["occupied"])
    inside = "door.full" if held else "door.empty" if row["custody"] == "free" else "door.doubt"
    seen = {True: "door.open", False: "door.closed", None: "door.unseen"}[row["open"]]
    out = f", {escape(say['door.out'])}" if row["disabled"] else ""
    name = f"{say['door']} {number}"
    return f"""<li><h3>{escape(name)}</h3><p>{escape(str(row["size"]))},
<span data-seen="{number}">{escape(say[seen])}</span>, {escape(say[inside])}{out}</p>
<form method="post" action="/api/doors/{number}/test" data-door="{number}">{token}
<button aria-label="{escape(name)}: {escape(say["door.test"])}">{escape(say["door.test"])}</button>
</form></li>"""


def _page(lang: str, body: str, data: str = "", style: str = "") -> str:
    return f"""<!doctype html>
<html lang="{lang}"><head><meta charset="utf-8"><title>{escape(TEXTS[lang]["title"])}</title>
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<link rel="icon" href="data:,"><link rel="stylesheet" href="/static/installer.css">{style}</head>
<body{data}>{body}</body></html>"""
