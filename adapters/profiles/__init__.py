"""The shipped board profiles: TOML files beside this module, read through `load`."""

from functools import cache
from importlib.resources import files

from adapters.errors import ProfileInvalid
from adapters.generic import made
from adapters.profile import Profile, parse


@cache
def names() -> tuple[str, ...]:
    """Names of all shipped profiles, sorted."""
    folder = files(__name__)
    return tuple(
        sorted(item.name.removesuffix(".toml") for item in folder.iterdir() if _is_profile(item))
    )


def _is_profile(item: object) -> bool:
    return str(getattr(item, "name", "")).endswith(".toml")


@cache
def load(name: str) -> Profile:
    """Return the shipped profile `name`, or one made from a name such as `generic-8x4`.

    Raises `ProfileInvalid` (`profile.unknown`) if there is none.
    """
    if name not in names():
        if (generic := made(name)) is not None:
            return generic
        raise ProfileInvalid(
            "profile.unknown",
            "Use one of the shipped profiles, or generic-OUTPUTSxINPUTS for a board nobody knows",
            name=name,
            known=", ".join(names()),
        )
    text = (files(__name__) / f"{name}.toml").read_text(encoding="utf-8")
    return parse(text, f"{name}.toml")
