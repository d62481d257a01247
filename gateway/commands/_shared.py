"""Options that many commands have, and one way to tell what was done."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

F = TypeVar("F", bound=Callable[..., Any])


def data(*, exists: bool = True) -> Callable[[F], F]:
    """Return the option `--data DIR`."""
    return click.option(
        "--data",
        "data",
        required=True,
        type=click.Path(exists=exists, file_okay=False, path_type=Path),
        metavar="DIR",
        help="The site's data folder.",
    )


def as_json(function: F) -> F:
    """Add the option `--json`."""
    return click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")(function)


def tell(told: Any, text: str, *, as_json: bool) -> None:
    """Print JSON, or the text."""
    click.echo(json.dumps(told, indent=None) if as_json else text)
