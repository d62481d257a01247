"""The data folder of a hub: `DATA/hub.toml`, `DATA/keys/` (0600), and `DATA/hub.db` with SQLite."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from sync.errors import StoreFailed, TheirsInvalid
from sync.hub import config
from sync.hub.config import Config
from sync.hub.keys import Keys

FILE: Final = "hub.toml"
EVERYWHERE: Final = "0.0.0.0:8700"


def read(path: Path) -> Config:
    """Return the configuration in a file, or in the folder's `hub.toml`.

    Raises `TheirsInvalid` `config.missing`, `config.invalid`, `hub.not_loopback`.
    """
    file = path / FILE if path.is_dir() else path
    try:
        with file.open(encoding="utf-8") as opened:
            text = opened.read(config.CHARACTERS_MAX + 1)
    except UnicodeDecodeError:
        raise TheirsInvalid("config.invalid", "Write UTF-8.", file=str(file)) from None
    except OSError as error:
        raise TheirsInvalid(
            "config.missing", "Make a hub with locker-hub init, or name its hub.toml.",
            file=str(file), reason=error.strerror,
        ) from error  # fmt: skip
    return config.parse(text, str(file))


def make(data: Path, operator: str, storage: str = "", hosts: Sequence[str] = ()) -> Config:
    """Make the keys and the configuration of a new hub; an existing one is refused.

    With `hosts`, by which gateways will dial, it listens for them: on every address, unless all of
    these are this machine's own.

    `hub.toml` comes last: what lost power before it is no hub, and is made anew over its keys.
    Raises `TheirsInvalid` `hub.exists`, `config.invalid`; `StoreFailed` io; `KeyStoreBroken`.
    """
    data = data.absolute()
    file = data / FILE
    if file.exists():
        raise TheirsInvalid("hub.exists", "Choose another folder: a hub is made once.", data=data)
    text = f'data_dir = "{data}"\noperator = "{operator}"\n'
    text += f'storage = "{storage}"\n' if storage else ""
    if any(one not in {"localhost", "127.0.0.1", "::1", "[::1]"} for one in hosts):
        text += f'\n[api]\nlisten = "{EVERYWHERE}"\n'
    made = config.parse(text, str(file))
    try:
        data.mkdir(mode=0o700, parents=True, exist_ok=True)
        Keys.make(data, operator)
        new = file.with_name(f".{FILE}.new")
        # A storage URL may hold a password: the file is its owner's alone.
        handle = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        with os.fdopen(handle, "w", encoding="utf-8") as opened:
            opened.write(text)
            opened.flush()
            os.fsync(handle)
        new.replace(file)
        folder = os.open(data, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
    except OSError as error:
        raise StoreFailed(
            "io", "Check the disk and the folder's owner.", path=str(data), errno=error.errno
        ) from error
    return made
