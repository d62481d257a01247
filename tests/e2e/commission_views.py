"""Views of commissioning, one for each screen of its page: as the gateway tells them."""

from collections.abc import Mapping
from typing import Any, Final

View = dict[str, Any]
AT_MS: Final = 1_795_000_000_000


def finding(code: str, about: str = "", **evidence: object) -> View:
    """Return a finding as a view has it."""
    return {"code": code, "about": about, "evidence": evidence}


def _match(profile: str, title: str, confidence: str) -> View:
    evidence = ["coils 0..7 answer", "coils 8..15 are refused"]
    return {"profile": profile, "title": title, "confidence": confidence, "evidence": evidence}


PORT = "/dev/serial/by-id/usb-FTDI_FT232R_USB_UART_A50285BI-if00-port0"
PORTS: Final = [
    {"device": PORT, "name": "FT232R USB UART", "latency_ms": 16, "echo": "no",
     "findings": [finding("adapter.latency", "FT232R", latency_ms=16)]},
    {"device": "/dev/ttyAMA0", "name": "", "latency_ms": None, "echo": "", "findings": []},
]  # fmt: skip
RELAYS, EYES = "waveshare-rtu-relay-8", "waveshare-rtu-io-8ch"
FOUND: Final = [
    {"key": "rs485-1/1", "line": "rs485-1", "unit": 1, "device_id": {}, "board": "", "findings": [],
     "matches": [_match(RELAYS, "Waveshare Modbus RTU Relay, 8 channels", "certain"),
                 _match("waveshare-rtu-relay-d", "Waveshare Modbus RTU Relay (D)", "possible")]},
    {"key": "rs485-1/2", "line": "rs485-1", "unit": 2, "device_id": {"vendor": "Waveshare"},
     "board": "", "findings": [finding("board.same_number", "rs485-1/2", answers=2)],
     "matches": [_match(EYES, "Waveshare Modbus RTU IO 8CH", "likely")]},
    {"key": "rs485-1/7", "line": "rs485-1", "unit": 7, "device_id": {}, "board": "",
     "findings": [], "matches": []},
]  # fmt: skip


def _board(name: str, unit: int, profile: str, outputs: int, inputs: int) -> View:
    return {"name": name, "line": "rs485-1", "unit": unit, "profile": profile,
            "title": "Waveshare Modbus RTU board", "outputs": outputs, "inputs": inputs,
            "measures": [], "by_hand": "", "settable": True, "findings": []}  # fmt: skip


BOARDS: Final = [_board("locks-1", 1, RELAYS, 8, 0), _board("eyes-1", 2, EYES, 8, 8)]
LINE: Final = {
    "name": "rs485-1", "where": PORT, "kind": "serial", "framing": "rtu", "baud": 9600,
    "parity": "N", "stop_bits": 1, "findings": [finding("wiring.termination", "rs485-1", errors=7)],
}  # fmt: skip


def door(number: int, **more: object) -> View:
    """Return a taught door."""
    return {"number": number, "size": "SML"[number % 3], "lock": f"locks-1:{number - 1}",
            "switch": f"eyes-1:{number - 1}", "open_when": "active", "occupancy": "",
            "occupied_when": "active", "occupied_below": 0, "rail": "a", "reach": "middle",
            "heated": False, "cooled": number == 3, "pulse_ms": 400, "open_ms": 38, "bounce_ms": 6,
            "column": 0, "row": 0, "rows": 1, "tested": None} | more  # fmt: skip


def steps(**have: int) -> list[View]:
    """Return the steps of a bank of eight doors."""
    return [
        {"step": name, "done": have.get(name, 0) == of, "have": have.get(name, 0), "of": of}
        for name, of in (("boards", 2), ("doors", 8), ("place", 8), ("proof", 8), ("sign", 1))
    ]


def _tested(number: int) -> View:
    ill = number == 5
    return {"passed": not ill, "verdict": "failed" if ill else "passed", "took_ms": 41,
            "attempts": 3 if ill else 1, "code": "lock.no_effect" if ill else ""}  # fmt: skip


def _lesson(phase: str, **more: object) -> View:
    return {"code": "", "lock": "locks-1:3", "phase": phase, "switch": "eyes-1:3",
            "open_when": "active", "open_ms": 38, "bounce_ms": 7, "occupancy": "",
            "occupied_when": "active", "number": 4, "suggest": 4,
            "attempts": 1, "findings": []} | more  # fmt: skip


EMPTY: Final[View] = {
    "tick": 5, "revision": 3, "state": "open", "by": "installer:anna", "mine": True, "job": None,
    "last": None, "ports": PORTS, "lines": [], "found": [], "boards": [], "locks": [],
    "lesson": None, "doors": [], "proof": None, "steps": steps(), "next": "boards", "signed": None,
    "findings": [],
}  # fmt: skip
WORK: Final[View] = EMPTY | {
    "boards": BOARDS, "lines": [LINE], "doors": [door(1), door(2), door(3)],
    "locks": [{"lock": f"locks-1:{n}", "door": n + 1 if n < 3 else 0, "skipped": n == 6}
              for n in range(8)],
    "steps": steps(boards=2, doors=3), "next": "doors",
}  # fmt: skip
EIGHT: Final = [
    door(n, column=1 + n // 4, row=n % 4 + 1) if n < 7 else door(n, heated=True)
    for n in range(1, 9)
]
PLACED: Final[View] = WORK | {
    "doors": EIGHT, "steps": steps(boards=2, doors=8, place=6), "next": "place",
}  # fmt: skip
PROVED: Final = [one | {"tested": _tested(one["number"])} for one in EIGHT]
SIGNED: Final = {"ref": "0042/lane/183", "at_ms": AT_MS, "passed": 8, "failed": 0}


def job(name: str, about: str, done: int, total: int) -> View:
    """Return a job under way."""
    return {"name": name, "about": about, "done": done, "total": total, "can_stop": True}


TRY: Final = job("try", "locks-1:3", 0, 0)
SCREENS: Final[Mapping[str, View]] = {
    "start": EMPTY | {"state": "none", "by": "", "mine": False},
    "closed": WORK | {"state": "closed"},
    "taken": WORK | {"mine": False, "by": "installer:bernd"},
    "ports": EMPTY,
    "scanning": EMPTY | {"job": job("scan", "FT232R, 9600 8N1", 12, 32), "found": FOUND[:1]},
    "found": EMPTY | {"found": FOUND, "lines": [LINE]},
    "boards": WORK | {"found": FOUND, "next": "boards"},
    "failed": WORK | {"last": {"job": "try", "code": "lock.no_effect", "evidence": {"pulses": 2}}},
    "walk": WORK,
    "unseen": EMPTY | {"ports": []},
    "watching": WORK | {"lesson": _lesson("watching", switch="", number=0),
                        "job": TRY},
    "which": WORK | {"job": TRY, "lesson": _lesson("which", number=0)},
    "nothing": WORK | {"job": TRY, "lesson": _lesson("which", switch="", number=0, attempts=2,
                                         findings=[finding("teach.nothing_moved", "locks-1:3")])},
    "closing": WORK | {"job": TRY, "lesson": _lesson("closing", occupancy="eyes-1:7")},
    "stopped": WORK | {"lesson": _lesson("which", number=0)},
    "taught": WORK | {"lesson": _lesson("done")},
    "untaught": WORK | {"lesson": _lesson("done", code="teach.crossed", findings=[
        finding("teach.crossed", "locks-1:3", input="eyes-1:0", door=1)])},
    "place": PLACED,
    "proving": PLACED | {"doors": PROVED[:5] + EIGHT[5:], "job": job("prove", "Door 6", 5, 8),
                         "next": "proof"},
    "proved": PLACED | {"doors": PROVED, "next": "proof", "proof": {
        "passed": False, "at_ms": AT_MS, "doors_passed": 7, "doors_failed": 1, "open_doors": [3, 4],
        "findings": [finding("lock.no_effect", "door 5", pulses=3)]}},
    "sign": PLACED | {"doors": PROVED, "next": "sign", "proof": {
        "passed": True, "at_ms": AT_MS, "doors_passed": 8, "doors_failed": 0, "open_doors": [],
        "findings": []}},
    "signed": EMPTY | {"state": "none", "by": "", "mine": False, "signed": SIGNED},
}  # fmt: skip
