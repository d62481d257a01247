"""What a planted error is, and how it stands while a history is played.

`caught_by` names the checkers that may find it first. A checker nobody can set off proves nothing.
"""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any
from unittest.mock import patch

from tests.simulation.site import Plan


@dataclass(frozen=True, slots=True)
class Planted:
    """One planted error."""

    name: str
    caught_by: tuple[str, ...]
    plan: Callable[[], Plan] = Plan
    patches: tuple[tuple[object, str, Any], ...] = ()

    @contextmanager
    def growing(self) -> Iterator[Plan]:
        """Let the error stand while the block runs; the block plays with the plan it is given."""
        with ExitStack() as stack:
            for where, name, wrong in self.patches:
                if isinstance(where, dict):
                    stack.enter_context(patch.dict(where, {name: wrong}))
                else:
                    stack.enter_context(patch.object(where, name, wrong))
            yield self.plan()
