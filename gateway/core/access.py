"""Who may get in, as far as the site's log says it: attempts, keys that changed, the site's end.

Sockets, certificates and keys are the shell's; it tells what happened, and here it goes on record.
"""

from dataclasses import replace
from typing import assert_never

from gateway.core import cloud
from gateway.core.inputs import AccessTold, CodeKeyTold, Decommissions, KeyRotates, TrustTold
from gateway.core.screen import Screen
from gateway.core.state import State
from sync import facts
from sync.custody import Custody

TEXT_MAX = 100
"""Characters of a name or code that goes on record."""
KINDS_MAX = 32
"""Different kinds counted at a time; one more is counted as `other`."""
KINDS_A_MINUTE = 2
"""Entries a minute that a flood of many kinds can cause, about: some 3,000 a day, one megabyte."""
PIN_HEX = 64


def heard(state: State, happened: TrustTold | AccessTold | CodeKeyTold) -> None:
    """Take what the shell says of trust, of attempts, of keys."""
    match happened:
        case TrustTold():
            trust_told(state, happened)
        case AccessTold():
            told(state, happened)
        case CodeKeyTold():
            key_told(state, happened)
        case _:
            assert_never(happened)


def trust_told(state: State, told: TrustTold) -> None:
    """Take in whom this site believes: the whole of it, in place of what was told before."""
    state.signers, state.denied = told.signers, told.denied
    cloud.end_sessions(state)


# --- attempts ---------------------------------------------------------------------------------


def told(state: State, access: AccessTold) -> None:
    """Put an attempt on record: the first of its kind at once, more of them once a minute.

    Refusals are of one kind by what and why; what was done also by who did it. The more kinds there
    are at a time, the longer each is counted: the log grows no faster.
    """
    what, why, by = _text(access.what), _text(access.why), _text(access.by)
    kind = (what, why, "" if why else by)
    if kind not in state.accesses and len(state.accesses) >= KINDS_MAX:
        kind = ("other", why and "other", "")
    if kind in state.accesses:
        count, _ = state.accesses[kind]
        state.accesses[kind] = count + 1, by
        return
    _write(state, kind, by, 1)


def again(state: State, key: str) -> None:
    """Its time is over: write together what was counted in it."""
    what, why, who = key.split("\n")  # in none of them: see `_text`
    count, by = state.accesses.pop((what, why, who))
    if count:
        _write(state, (what, why, who), by, count)


def _write(state: State, kind: tuple[str, str, str], by: str, count: int) -> None:
    what, why, _ = kind
    state.write(facts.AccessJudged(what=what, by=by, why=why, count=count))
    state.accesses[kind] = 0, by
    minutes = max(1, len(state.accesses) // KINDS_A_MINUTE)
    state.timers["access", "\n".join(kind)] = state.mono + minutes * state.settings.refusals_ms


def _text(told: str) -> str:
    return "".join(mark if mark.isprintable() else " " for mark in told[:TEXT_MAX])


# --- keys -------------------------------------------------------------------------------------


def key_told(state: State, told: CodeKeyTold) -> None:
    """Keep a code key that came while this site runs. Its use begins with `KeyRotates`."""
    if told.key.version not in state.keys:
        state.keys[told.key.version] = told.key
        older = state.settings.older_keys
        state.settings = replace(state.settings, older_keys=(*older, told.key))


def key_rotates(state: State, asked: KeyRotates) -> None:
    """Say in the log that the key of one use is another from here on."""
    missing = _incomplete(asked)
    if missing:
        state.answer(asked.token, "command.malformed", field=missing)
        return
    if asked.use == "code" and not _change_code_key(state, asked.key_version or 0):
        state.answer(asked.token, "key.unknown", key_version=asked.key_version or 0)
        return
    ref = state.write(
        facts.KeyRotated(
            use=asked.use, vkey=asked.vkey, key_version=asked.key_version, pin=asked.pin
        )
    )
    state.answer(asked.token, ref=ref)


def _incomplete(asked: KeyRotates) -> str:
    if asked.use == "log":
        return "" if asked.vkey else "vkey"
    if asked.use == "code":
        return "" if asked.key_version is not None else "key_version"
    return "" if len(asked.pin) == PIN_HEX else "pin"


def _change_code_key(state: State, version: int) -> bool:
    """Derive what is deposited from now on with this version. Never an older one again."""
    now, key = state.settings.code_key, state.keys.get(version)
    if key is None or version < now.version:
        return False
    kept = tuple(one for one in (*state.settings.older_keys, now) if one.version != version)
    state.settings = replace(state.settings, code_key=key, older_keys=kept)
    return True


# --- the end ----------------------------------------------------------------------------------


def decommission(state: State, asked: Decommissions) -> None:
    """Write the last entry, unless somebody's parcel may still be here."""
    compartments = state.book.compartments.values()
    held = [one.number for one in compartments if one.custody is not Custody.FREE]
    if held and not asked.force:
        state.answer(asked.token, "site.holds", compartments=len(held), first=min(held))
        return
    ref = state.write(facts.SiteDecommissioned(by=f"support:{asked.by}", why=asked.why))
    state.answer(asked.token, ref=ref)
    for kiosk in state.sessions:
        state.show(kiosk, Screen("out_of_service", why="site.decommissioned"))
