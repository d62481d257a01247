"""The makes by the name of their profile: the one list of what the simulator can be."""

from adapters.simulator.advantech import Adam4150, Adam4168, Adam6050, Adam6060
from adapters.simulator.boards import Board
from adapters.simulator.climate import Md02, Shtc3, XyMd02
from adapters.simulator.eletechsup import (
    EletechsupN4d3e16,
    EletechsupR421,
    EletechsupR421With16,
)
from adapters.simulator.moxa import MoxaE1210, MoxaE1211, MoxaE1214
from adapters.simulator.sonar import Urm14
from adapters.simulator.waveshare import (
    WaveshareIo8,
    WaveshareRelay8,
    WaveshareRelay16,
    WaveshareRelay32,
    WaveshareRelayD,
)
from adapters.simulator.wellpro import Wp8025, Wp8026, Wp8027, Wp8028
from adapters.simulator.wirenboard import WirenBoardMr6c

_MAKES: tuple[type[Board], ...] = (
    Adam4150,
    Adam4168,
    Adam6050,
    Adam6060,
    EletechsupN4d3e16,
    EletechsupR421,
    EletechsupR421With16,
    Md02,
    MoxaE1210,
    MoxaE1211,
    MoxaE1214,
    Shtc3,
    Urm14,
    WaveshareIo8,
    WaveshareRelay16,
    WaveshareRelay32,
    WaveshareRelay8,
    WaveshareRelayD,
    WirenBoardMr6c,
    Wp8025,
    Wp8026,
    Wp8027,
    Wp8028,
    XyMd02,
)
MODELS: dict[str, type[Board]] = {make.model: make for make in _MAKES}


def make_board(
    model: str, unit: int = 1, *, baud: int | None = None, installed: bool = False
) -> Board:
    """Return a fresh board of a model, as it leaves the factory; KeyError when unknown.

    `installed`: a person has switched over what does not speak Modbus from the factory (ADAM).
    """
    board = MODELS[model](unit, baud=baud)
    if installed:
        board.install()
    return board
