"""The shelf in memory promises less: what needs a disk is not asked of it."""

import pytest


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out, for the shelf in memory, the tests that are marked `lasting`."""
    out = [
        item
        for item in items
        if item.get_closest_marker("lasting") is not None and "[memory" in item.name
    ]
    if out:
        config.hook.pytest_deselected(items=out)
        items[:] = [item for item in items if item not in out]
