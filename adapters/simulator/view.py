"""The bank as plain values for JSON: what the page shows and what tests and the demo read."""

from typing import Any

from adapters.simulator.bank import Bank, Coil
from adapters.simulator.door import Door
from adapters.simulator.faults import Station
from adapters.simulator.wiring import Terminal, terminal


def bank_state(bank: Bank, *, openings: int | None = None) -> dict[str, Any]:
    """Return doors and boards as they are now; times are ms since the bank was started.

    `openings` bounds how many of the kept openings of a door are told; None tells all.
    """
    return {
        "now_ms": bank.now_ms,
        "version": bank.version,
        "doors": [_door(bank, door, openings) for door in bank.doors.values()],
        "boards": [_board(bank, name, station) for name, station in bank.stations.items()],
    }


def _door(bank: Bank, door: Door, openings: int | None) -> dict[str, Any]:
    lock = terminal(door.spec.lock)
    return {
        "number": door.spec.number,
        "door": "open" if door.is_open else "closed",
        "locked": door.locked,
        "parcel": door.parcel,
        "coil_on": door.coil_on,
        "shows_open": door.shows_open,
        "shows_occupied": None if door.spec.occupancy is None else door.shows_occupied,
        "faults": dict(door.faults),
        "wired": {"lock": door.spec.lock, "door": door.spec.door, "occupancy": door.spec.occupancy},
        **_coil(bank.coils[lock], bank.now_ms),
        "openings_total": door.openings_total,
        "openings": [
            opening._asdict() for opening in door.openings[-openings if openings else None :]
        ],
    }


def _coil(coil: Coil, now_ms: int) -> dict[str, Any]:
    return {
        "pulses": coil.pulses,
        "max_on_ms": coil.longest(now_ms),
        "min_off_ms": coil.min_off_ms,
    }


def _board(bank: Bank, name: str, station: Station) -> dict[str, Any]:
    board = station.board
    outputs = board.outputs(bank.now_ms)
    return {
        "name": name,
        "profile": board.model,
        "unit": board.unit,
        "line": next(line for line, on_it in bank.lines.items() if station in on_it),
        "alive": board.powered,
        "outputs": list(outputs),
        "inputs": list(board.levels),
        "coils": [
            _coil(bank.coils[Terminal(name, channel)], bank.now_ms)
            for channel in range(len(outputs))
        ],
        "faults": {fault: active.value for fault, active in station.active.items()},
        "requests": station.requests,
        "replies": station.replies,
    }
