"""Pins what a gateway announces of itself, and what is believed of what others announce."""

import ipaddress

import pytest

from certs import lan
from gateway import nearby
from gateway.nearby import Board, Gateway, Interface, Places, Records, Said
from tests import mdns

PIN = "00112233" + "ab" * 28
SAID = Said("0042", "0.1.0", "ready", PIN, 8443)
GOOD = mdns.text(
    [b"txtvers=1", b"site=0042", b"version=0.1.0", b"state=new", b"fingerprint=00112233"]
)


def here(*addresses: str) -> tuple[Interface, ...]:
    return tuple(Interface(n + 2, ipaddress.ip_interface(one)) for n, one in enumerate(addresses))


LAN = here("192.168.1.5/24", "fe80::5/64", "127.0.0.1/8", "::1/128")


def test_nothing_secret_is_announced() -> None:
    # A new key here is a decision: everybody on the network reads it.
    assert SAID.text == {
        "txtvers": "1", "site": "0042", "version": "0.1.0", "state": "ready",
        "fingerprint": "00112233",
    }  # fmt: skip
    assert PIN not in str(SAID.text)
    assert (SAID.name, SAID.host) == ("0042._locker-gateway._tcp.local.", "locker-00112233.local.")


def test_fingerprint_is_the_first_four_of_the_words_that_people_compare() -> None:
    found = nearby.gateway(Records("x", 1, GOOD, ["192.168.1.9"]), LAN)
    assert found is not None
    assert found.words == lan.words_of(PIN)[:4]


@pytest.mark.parametrize(
    ("status", "state"),
    [
        ({}, "trouble"),
        ({"doors": [], "health": {"ok": True}}, "new"),
        ({"doors": [], "health": {"ok": False}}, "new"),
        ({"doors": [1], "health": {"ok": True}}, "ready"),
        ({"doors": [1], "health": {"ok": False}}, "trouble"),
        ({"doors": [1]}, "trouble"),
        ({"doors": [1], "health": {"ok": True}, "commissioning": {"by": "x"}}, "commissioning"),
        ({"commissioning": "open"}, "commissioning"),
        ({"doors": [1], "health": {"ok": True}, "commissioning": None}, "ready"),
    ],
)
def test_state_is_what_the_status_says(status: dict[str, object], state: str) -> None:
    assert nearby.state_of(status) == state


@pytest.mark.parametrize(
    ("listen", "expected"),
    [
        ("0.0.0.0", Places(("192.168.1.5",), ("192.168.1.5",))),
        ("::", Places(("192.168.1.5", 3), ("192.168.1.5", "fe80::5"))),
        ("192.168.1.5", Places(("192.168.1.5",), ("192.168.1.5",))),
        ("192.168.1.6", Places()),
        ("127.0.0.1", Places(("127.0.0.1",), ("127.0.0.1",))),
        ("::1", Places()),  # multicast does not work there
        ("fe80::5", Places((3,), ("fe80::5",))),
    ],
)
def test_it_speaks_where_it_listens(listen: str, expected: Places) -> None:
    assert nearby.places(listen, LAN) == expected
    assert expected.both == any(":" in one for one in expected.addresses)


def test_no_more_addresses_are_announced_than_fit() -> None:
    many = here(*(f"10.0.{n}.1/24" for n in range(50)))
    assert len(nearby.places("0.0.0.0", many).addresses) == nearby.ADDRESSES_MAX


def test_a_gateway_is_read_as_it_is_announced() -> None:
    text = mdns.text([f"{key}={value}".encode() for key, value in SAID.text.items()])
    heard = Records(SAID.name, SAID.port, text, ["192.168.1.9", "10.1.1.1"])
    assert nearby.gateway(heard, LAN) == Gateway(
        site="0042", state="ready", addresses=("192.168.1.9",), far=("10.1.1.1",), port=8443,
        version="0.1.0", fingerprint="00112233", name="0042",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("addresses", "address"),
    [
        (["192.168.1.9"], "192.168.1.9:8443"),
        (["10.1.1.1", "192.168.1.9"], "192.168.1.9:8443"),
        (["10.1.1.1"], "10.1.1.1:8443"),
        (["fe80::9%2"], "[fe80::9%2]:8443"),
        (["fe80::9%2", "192.168.1.9"], "192.168.1.9:8443"),
    ],
)
def test_the_address_is_what_pair_takes(addresses: list[str], address: str) -> None:
    found = nearby.gateway(Records("x", 8443, GOOD, addresses), LAN)
    assert found is not None
    assert found.address == address
    assert lan.check_address(found.address)


@pytest.mark.parametrize(
    ("port", "text", "addresses"),
    [
        (None, GOOD, ["192.168.1.9"]),
        (0, GOOD, ["192.168.1.9"]),
        (65536, GOOD, ["192.168.1.9"]),
        (8443, GOOD, []),
        (8443, GOOD, ["8.8.8.8"]),
        (8443, b"", ["192.168.1.9"]),
        (8443, mdns.text([b"site=../x", b"fingerprint=00112233"]), ["192.168.1.9"]),
        (8443, mdns.text([b"site=0042", b"fingerprint=0011223"]), ["192.168.1.9"]),
        (8443, mdns.text([b"site=0042", b"fingerprint=0011223\xff"]), ["192.168.1.9"]),
    ],
)
def test_what_tells_of_no_gateway_is_none(
    port: int | None, text: bytes, addresses: list[str]
) -> None:
    assert nearby.gateway(Records("x", port, text, addresses), LAN) is None


def test_an_unknown_state_and_version_are_not_repeated() -> None:
    text = [b"site=0042", b"fingerprint=00112233", b"state=\x1b[2J", b"version=\x1b[31m"]
    found = nearby.gateway(Records("x", 1, mdns.text(text), ["192.168.1.9"]), LAN)
    assert found is not None
    assert (found.state, found.version) == ("unknown", "")


@pytest.mark.parametrize(
    "address",
    ["0.0.0.0", "255.255.255.255", "192.168.1.255", "192.168.1.0", "224.0.0.1", "240.1.1.1",
     "8.8.8.8", "127.0.0.1", "::1", "::", "ff02::1", "::ffff:8.8.8.8", "::ffff:192.168.1.9",
     "2001:4860:4860::8888", "fe80::9", "fe80::9%;rm", "169.254.3.3", "1.2.3", "nonsense", "",
     "0192.168.1.9", "FE80::9%2", "192.168.1.9\n"],
)  # fmt: skip
def test_where_no_gateway_can_be_nobody_is_sent(address: str) -> None:
    assert nearby.usable([address], LAN) == ((), ())


def test_loopback_counts_where_it_was_asked_on() -> None:
    assert nearby.usable(["127.0.0.1"], LAN, loopback=True) == (("127.0.0.1",), ())
    assert nearby.is_loopback("127.0.0.1")
    assert not nearby.is_loopback("::")


def test_public_addresses_count_in_a_network_that_we_are_in() -> None:
    campus = here("141.20.1.5/24", "2001:db8::5/64", "10.9.0.1/31", "10.8.0.1/0")
    assert nearby.usable(["141.20.1.9", "141.20.2.9", "2001:db8::9", "10.9.0.0"], campus) == (
        ("10.9.0.0", "141.20.1.9", "2001:db8::9"), (),
    )  # fmt: skip


def test_more_addresses_than_fit_are_left_out() -> None:
    near, far = nearby.usable([f"10.0.0.{n}" for n in range(1, 200)], LAN)
    assert (near, len(far)) == ((), nearby.ADDRESSES_MAX)


def test_a_board_is_a_host_and_a_port() -> None:
    heard = Records("Relay._modbus._tcp.local.", 502, b"\xff", ["10.1.1.1", "192.168.1.7"])
    assert nearby.board(heard, LAN) == Board("192.168.1.7", 502, "Relay")
    assert nearby.board(Records("x", 0, b"", ["192.168.1.7"]), LAN) is None
    assert nearby.board(Records("x", 502, b"", []), LAN) is None


def test_text_records_are_read_as_the_standard_says() -> None:
    pairs = [b"Site=a", b"site=b", b"flag", b"=x", b"empty=", b"k\xc3\xa9=x", b"a=b=c", b"u=\xff"]
    assert nearby.read_text(mdns.text(pairs)) == {
        "site": "a", "flag": "", "empty": "", "a": "b=c", "u": "\ufffd",
    }  # fmt: skip
    assert nearby.read_text(b"\xffsite=cut") == {"site": "cut"}
    assert len(nearby.read_text(mdns.text(b"%d=x" % n for n in range(200)))) == nearby.PAIRS_MAX


def test_a_name_is_plain_text() -> None:
    assert nearby.plain("\x1b[31mä\u202e\u200b\n") == "?[31mä???"
    assert nearby.plain("x" * 200) == "x" * nearby.NAME_MAX
    assert nearby.instance("a.b._modbus._tcp.local.", nearby.BOARDS) == "a.b"
