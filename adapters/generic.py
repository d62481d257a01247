"""Profiles for boards that nobody knows, made from their name: `generic-8x4` has 8 coils, 4 inputs.

Coils from 0 by function 5, discrete inputs from 0 by function 2, which is what most boards do. Such
a board never ends a pulse by itself, and nothing tells it from another: a scan does not find it.
"""

import re
from typing import Final

from adapters.profile import Profile, parse

_NAME: Final = re.compile(r"generic-([1-9][0-9]?)x(0|[1-9][0-9]?)", re.ASCII)
POINTS_MAX: Final = 64


def made(name: str) -> Profile | None:
    """Return the profile that this name describes, or None: 1..64 outputs, 0..64 inputs."""
    named = _NAME.fullmatch(name)
    if named is None:
        return None
    outputs, inputs = int(named[1]), int(named[2])
    if outputs > POINTS_MAX or inputs > POINTS_MAX:
        return None
    text = _BOARD + (_INPUTS if inputs else "")
    return parse(text.format(name=name, outputs=outputs, inputs=inputs, last=outputs - 1), name)


_BOARD: Final = """\
profile = "{name}"
revision = 1
title = "Unknown board ({outputs} outputs, {inputs} inputs)"
level = "datasheet"
notes = [
    "Nobody has proven anything of this board. Before a lock is wired, with a lamp for a lock:",
    "its manual says coils from address 0 (function 5, FF00 on, 0000 off) and inputs from 0;",
    "each output switches alone, and the one that was asked for; no input switches an output;",
    "every output is off when the power comes back, and stays off without a gateway;",
    "the lock stands continuous current, for a killed gateway leaves its coil on.",
]

[link]
framings = ["rtu", "rtu_over_tcp", "tcp"]
units = [1, 255]

[timing]
response_timeout_ms = 400
probe_timeout_ms = 100
after_actuation_gap_ms = 300

[caps]
max_on_ms = 400  # on counts from the answer: an answer (400 ms) and a turn (200 ms) may be added
min_off_ms = 2000
survive_kill = false

[outputs]
area = "coil"
count = {outputs}

[actions]
way = "software"

[actions.on]
function = 5
base = 0
fixed = 0xFF00

[actions.off]
function = 5
base = 0
fixed = 0x0000

[[forbidden]]
reason = "many outputs in one write"
functions = [15]
addresses = [0, {last}]

[commission]
by_hand = "See its manual: switches, or the maker's own tool. The gateway writes no register of it."

[evidence]
link = "M: usual"
timing = "M: usual"
caps = "=: house rule"
outputs = "M: usual"
forbidden = "=: house rule"
commission = "M"
"actions.on" = "M: usual"
"actions.off" = "M: usual"
"""
_INPUTS: Final = """\
inputs = "M: usual"

[inputs]
area = "discrete"
count = {inputs}
"""
