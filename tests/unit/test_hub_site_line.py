"""What one line of `locker-hub status` says of a site: an ended one needs nobody any more."""

from typing import Any

import pytest

from sync.hub.commands.site import line

SITE: dict[str, Any] = {
    "site": "0042", "label": "", "enabled": True, "fenced": False, "link": {"up": False},
    "logs": [{"lag": 3}], "alarms": 2, "conflicts": 0, "forks": 1, "stopped": [],
}  # fmt: skip


@pytest.mark.parametrize(
    ("told", "says"),
    [
        ({}, "0042  no link    2 alarms  1 fork  3 entries behind"),
        ({"link": {"up": True}, "label": "Station", "logs": [], "forks": 0, "alarms": 1},
         "0042  linked  Station  1 alarm"),
        ({"enabled": False, "label": "Station"}, "0042  ended  Station"),
        ({"enabled": False, "fenced": True}, "0042  ended"),
    ],
)  # fmt: skip
def test_one_line_about_a_site(told: dict[str, Any], says: str) -> None:
    assert line(SITE | told) == says
