"""The makes by the name of their profile: the one list of what the simulator can be."""

from adapters.simulator.boards import Board
from adapters.simulator.climate import XyMd02
from adapters.simulator.eletechsup import EletechsupR421, EletechsupR421With16
from adapters.simulator.moxa import MoxaE1210, MoxaE1211, MoxaE1214
from adapters.simulator.waveshare import (
    WaveshareIo8,
    WaveshareRelay8,
    WaveshareRelay16,
    WaveshareRelay32,
)
from adapters.simulator.wirenboard import WirenBoardMr6c

_MAKES: tuple[type[Board], ...] = (
    EletechsupR421,
    EletechsupR421With16,
    MoxaE1210,
    MoxaE1211,
    MoxaE1214,
    WaveshareIo8,
    WaveshareRelay16,
    WaveshareRelay32,
    WaveshareRelay8,
    WirenBoardMr6c,
    XyMd02,
)
MODELS: dict[str, type[Board]] = {make.model: make for make in _MAKES}


def make_board(model: str, unit: int = 1, *, baud: int | None = None) -> Board:
    """Return a fresh board of a model, as it leaves the factory; KeyError when unknown."""
    return MODELS[model](unit, baud=baud)
