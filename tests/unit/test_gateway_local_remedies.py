"""Whatever a local command is refused with, the person is told what to do about it."""

import inspect
import re

import pytest

from gateway.core import access, doors, engine, fence, service
from gateway.local import REMEDIES

CODES = sorted(
    {
        code
        for room in (service, doors, fence, access, engine)
        for code in re.findall(
            r'"((?:door|map|courier|support|annex|site|check|fence|epoch|key)\.[a-z_]+)"',
            inspect.getsource(room),
        )
    }
    # Reasons written into entries, which answer nobody.
    - {
        "door.stuck",
        "door.ajar",
        "door.found_open",
        "door.opened_before",
        "door.unseen",
        "door.fenced",
        "fence.opened",
        "site.fenced",
        "site.no_map",
        "support.unseen",
    }
)


@pytest.mark.parametrize("code", CODES)
def test_a_refusal_comes_with_what_to_do(code: str) -> None:
    assert code in REMEDIES


def test_no_remedy_is_for_a_refusal_that_nobody_gives() -> None:
    elsewhere = {"log.full", "log.failed", "command.malformed"}
    assert set(REMEDIES) - elsewhere <= set(CODES)
