"""The two files that people write for us, read from disk: configuration and map."""

from pathlib import Path

from gateway import config, mapfile, tomlfile
from sync.sitemap import SiteMap


def read_config(file: Path) -> config.Config:
    """Return the configuration in a file. Raises FileRefused (`config.invalid`)."""
    return config.parse(text_of(file, "config.invalid"), str(file))


def read_map(file: Path, known: mapfile.Known) -> SiteMap:
    """Return the map in a file. Raises FileRefused (`map.invalid`)."""
    return mapfile.parse(text_of(file, "map.invalid"), known, str(file))


def text_of(file: Path, code: str) -> str:
    """Return what a file says, at most a character more than allowed. Raises FileRefused(code)."""
    try:
        with file.open(encoding="utf-8") as opened:
            return opened.read(tomlfile.CHARACTERS_MAX + 1)
    except UnicodeDecodeError as error:
        raise tomlfile.refusal(code, str(file), {}, "", f"not UTF-8: {error.reason}") from None
    except OSError as error:
        raise tomlfile.refusal(
            code, str(file), {}, "", error.strerror or "cannot be read"
        ) from error
