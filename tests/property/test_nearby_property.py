"""Pins that no record of a stranger breaks the reader, or a terminal, or grows without bound."""

import ipaddress

import msgspec
from hypothesis import example, given
from hypothesis import strategies as st

from certs import lan
from gateway import nearby
from gateway.nearby import Interface, Records
from tests import mdns

HERE = tuple(
    Interface(n, ipaddress.ip_interface(one))
    for n, one in enumerate(("192.168.1.5/24", "10.0.0.1/8", "fe80::1/64", "127.0.0.1/8"))
)
PAIRS = st.lists(
    st.one_of(
        st.binary(max_size=60),
        st.sampled_from([*mdns.GOOD, b"site=\x1b[2J", b"fingerprint=", b"site", b"=", b""]),
    ),
    max_size=40,
).map(mdns.text)
ADDRESSES = st.lists(
    st.one_of(
        st.ip_addresses().map(str),
        st.ip_addresses(network="192.168.1.0/24").map(str),
        st.ip_addresses(network="fe80::/10").map(lambda one: f"{one}%2"),
        st.text(max_size=50),
    ),
    max_size=40,
)
RECORDS = st.builds(
    Records,
    name=st.one_of(st.text(max_size=300), st.just("0042._locker-gateway._tcp.local.")),
    port=st.one_of(st.none(), st.integers(), st.just(8443)),
    text=st.one_of(st.binary(max_size=4000), PAIRS),
    addresses=ADDRESSES,
)


def is_plain(text: str) -> bool:
    return all(one.isprintable() for one in text) and len(text) <= nearby.NAME_MAX


@given(RECORDS, st.booleans())
@example(Records("x", 8443, mdns.text(mdns.GOOD), ["192.168.1.9", "\x1b"]), False)
def test_a_gateway_is_plain_small_and_can_be_paired_with(heard: Records, loopback: bool) -> None:
    found = nearby.gateway(heard, HERE, loopback=loopback)
    if found is None:
        return
    assert all(is_plain(one) for one in (found.name, found.version, found.state, found.site))
    assert lan.check_address(found.address)
    assert len(found.words) == 4
    addresses = found.addresses + found.far
    assert 0 < len(addresses) <= nearby.ADDRESSES_MAX
    for text in addresses:
        address = ipaddress.ip_address(text)
        assert not address.is_multicast
        assert not address.is_unspecified
        assert loopback or not address.is_loopback
        assert not address.is_global
    assert len(msgspec.json.encode(found)) < 2000


@given(RECORDS)
def test_a_board_is_plain_and_has_a_place(heard: Records) -> None:
    found = nearby.board(heard, HERE)
    if found is not None:
        assert is_plain(found.name)
        assert not ipaddress.ip_address(found.host).is_multicast
        assert 0 < found.port <= 65_535


@given(st.binary(max_size=9000))
def test_any_text_record_is_few_short_plain_pairs(data: bytes) -> None:
    found = nearby.read_text(data)
    assert len(found) <= nearby.PAIRS_MAX
    assert all(is_plain(key) and is_plain(value) for key, value in found.items())
