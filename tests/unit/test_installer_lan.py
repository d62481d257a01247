"""Pins the gateway's own LAN authority on disk: own keys, kept for life, certificates renewed."""

from pathlib import Path

import pytest

from certs import authority, lan
from gateway import identity, site
from gateway.web.installer import gate
from gateway.web.installer.lan import Lan, hosts_here

NOW_S = 1_795_000_000
YEAR_S = 365 * 86_400


def made(folder: Path) -> Lan:
    site.make(folder, operator="lockers.example", site="0042")
    return Lan(folder)


def test_two_installs_share_no_key_and_no_words(tmp_path: Path) -> None:
    one, other = made(tmp_path / "a"), made(tmp_path / "b")
    assert one.pin != other.pin
    assert lan.words_of(one.pin) != lan.words_of(other.pin)
    for name in ("lan", "lan-tls"):
        keys = [identity.keys_of(tmp_path / which).read(name, size=None) for which in "ab"]
        assert keys[0] != keys[1]
    one.renew(["10.0.0.1"], NOW_S)
    other.renew(["10.0.0.1"], NOW_S)
    assert not authority.issued_by(one.own.leaf, other.ca.certificate)


def test_keys_and_certificates_are_kept_and_renewed_when_they_age(tmp_path: Path) -> None:
    first = made(tmp_path / "a")
    assert first.renew(["10.0.0.1"], NOW_S) is True
    again = Lan(tmp_path / "a")
    assert again.renew(["10.0.0.1"], NOW_S + 60) is False
    assert again.pin == first.pin
    assert again.own.leaf == first.own.leaf
    assert again.renew(["10.0.0.2"], NOW_S + 60) is True
    assert again.renew(["10.0.0.2"], NOW_S + YEAR_S // 2) is True
    assert again.ca.certificate == first.ca.certificate


def test_a_clock_of_1970_leaves_nothing_that_lasts(tmp_path: Path) -> None:
    own = made(tmp_path / "a")
    own.renew(["10.0.0.1"], 1_000)
    before = own.ca.certificate
    assert own.renew(["10.0.0.1"], NOW_S) is True
    assert own.ca.certificate != before
    assert authority.ends_s(own.ca.certificate) > NOW_S + 19 * YEAR_S
    assert authority.issued_by(own.own.leaf, own.ca.certificate)


@pytest.mark.parametrize("text", [b"", b"\xff", b"-----BEGIN CERTIFICATE-----\n"])
def test_a_broken_certificate_is_made_anew(tmp_path: Path, text: bytes) -> None:
    own = made(tmp_path / "a")
    own.renew(["10.0.0.1"], NOW_S)
    for name in ("lan.pem", "lan-tls.pem"):
        (tmp_path / "a/trust" / name).write_bytes(text)
    assert Lan(tmp_path / "a").renew(["10.0.0.1"], NOW_S) is True


def test_a_certificate_of_another_key_is_not_shown(tmp_path: Path) -> None:
    one, other = made(tmp_path / "a"), made(tmp_path / "b")
    one.renew(["10.0.0.1"], NOW_S)
    other.renew(["10.0.0.1"], NOW_S)
    for name in ("lan.pem", "lan-tls.pem"):
        (tmp_path / "a/trust" / name).write_bytes((tmp_path / "b/trust" / name).read_bytes())
    again = Lan(tmp_path / "a")
    assert again.renew(["10.0.0.1"], NOW_S) is True
    assert authority.pin_of(authority.public_key(again.own.leaf)) == one.pin


@pytest.mark.parametrize("host", ["192.0.2.55", "2001:db8::55"])
def test_an_address_that_is_not_there_yet_is_listened_on(host: str) -> None:
    # Its network comes up later, or somebody plugs it in: the site does not wait for that.
    listener = gate.listen(host, 0)
    assert listener.getsockname()[0] == host
    listener.close()


def test_what_this_machine_is_called() -> None:
    assert hosts_here("10.0.0.7", ["yard.local"]) == ["yard.local", "10.0.0.7"]
    assert hosts_here("[::1]", []) == ["::1"]
    everything = hosts_here("0.0.0.0", ["yard.local"])
    assert everything[0] == "yard.local"
    assert {"localhost", "127.0.0.1"} <= set(everything)
    assert len(set(everything)) == len(everything)
