"""Pins where peers are listened for: a gateway waits for an address that is not there yet."""

import pytest

from sync import places


@pytest.mark.parametrize("host", ["192.0.2.55", "2001:db8::55"])
def test_a_gateway_listens_before_its_network_is_up(host: str) -> None:
    listener = places.listen(host, 0, absent=True)
    assert listener.getsockname()[0] == host
    listener.close()


def test_elsewhere_an_address_that_is_none_of_ours_is_a_mistake() -> None:
    with pytest.raises(OSError, match="assign"):
        places.listen("192.0.2.55", 0)
