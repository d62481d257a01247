"""Pins the keys that sign capabilities and denials: made once, whoever is quicker, read as kept."""

import stat
from pathlib import Path

import pytest

from certs.errors import KeyStoreBroken
from certs.keystore import KeyStore
from sync.hub.signers import signing_key
from tests.hub_stage import config


def test_a_hub_that_has_none_makes_them_once_each_for_one_use(tmp_path: Path) -> None:
    grants, trust = (signing_key(config(tmp_path), use) for use in ("grants", "trust"))
    assert (grants.verifier.name, trust.verifier.name) == (
        "lockers.example/grants", "lockers.example/trust",
    )  # fmt: skip
    assert grants.verifier.public != trust.verifier.public
    assert signing_key(config(tmp_path), "grants").vkey == grants.vkey
    for name in ("grants", "trust"):
        assert stat.S_IMODE((tmp_path / "keys" / name).stat().st_mode) == 0o600
        assert (tmp_path / "keys" / name).read_bytes().hex() not in repr((grants, trust))


def test_two_processes_that_make_one_have_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    create = KeyStore.create

    def second(store: KeyStore, name: str, secret: bytes) -> None:
        create(store, name, bytes(range(32)))  # the other one, between our look and our step
        create(store, name, secret)

    monkeypatch.setattr(KeyStore, "create", second)
    signing_key(config(tmp_path), "grants")
    assert (tmp_path / "keys" / "grants").read_bytes() == bytes(range(32))


def test_a_key_that_others_could_read_signs_nothing(tmp_path: Path) -> None:
    signing_key(config(tmp_path), "trust")
    (tmp_path / "keys" / "trust").chmod(0o640)
    with pytest.raises(KeyStoreBroken, match=r"keystore\.mode"):
        signing_key(config(tmp_path), "trust")


def test_where_none_can_be_made_that_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_store: KeyStore, name: str, _secret: bytes) -> None:
        raise KeyStoreBroken("keystore.io", "Check the disk", name=name)

    monkeypatch.setattr(KeyStore, "create", full)
    with pytest.raises(KeyStoreBroken, match=r"keystore\.io"):
        signing_key(config(tmp_path), "trust")
