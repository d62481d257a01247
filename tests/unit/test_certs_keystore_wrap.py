"""Pins the wrapping of keys: useless without the credential, each file in its own place only."""

import os
from pathlib import Path

import pytest

from certs.errors import KeyStoreBroken
from certs.keystore import SECRET_BYTES_MAX, KeyStore, wrapping_key

SECRET = bytes(range(32))
WRAP = bytes(range(100, 132))


@pytest.fixture
def wrapped(tmp_path: Path) -> KeyStore:
    return KeyStore(tmp_path / "keys", WRAP)


def code(call: object, *arguments: object) -> str:
    assert callable(call)
    with pytest.raises(KeyStoreBroken) as caught:
        call(*arguments)
    assert SECRET.hex() not in str(caught.value)
    return caught.value.code


@pytest.mark.parametrize("secret", [b"x", SECRET, bytes(SECRET_BYTES_MAX)])
def test_wrapped_secret_comes_back_and_its_bytes_are_not_on_the_disk(
    wrapped: KeyStore, tmp_path: Path, secret: bytes
) -> None:
    wrapped.create("log", secret)
    assert wrapped.read("log", size=None) == secret
    raw = (tmp_path / "keys/log").read_bytes()
    assert raw.startswith(b"PLGK1")
    assert len(raw) == len(secret) + 33
    assert len(secret) < 16 or secret not in raw
    assert wrapped.wraps
    assert wrapped.is_wrapped("log")


def test_without_the_credential_a_wrapped_file_is_refused_not_taken_for_a_key(
    wrapped: KeyStore, tmp_path: Path
) -> None:
    wrapped.create("log", SECRET)
    plain = KeyStore(tmp_path / "keys")
    assert not plain.wraps
    assert plain.is_wrapped("log")
    assert code(plain.read, "log") == "keystore.sealed"
    assert code(plain.replace, "log", SECRET) == "keystore.sealed"
    assert code(plain.seal) == "keystore.sealed"
    assert code(KeyStore(tmp_path / "keys", bytes(32)).read, "log") == "keystore.wrapping"


def test_each_byte_of_a_wrapped_file_counts_and_no_file_stands_for_another(
    wrapped: KeyStore, tmp_path: Path
) -> None:
    wrapped.create("log", SECRET)
    path = tmp_path / "keys/log"
    raw = path.read_bytes()
    for place in range(5, len(raw)):
        path.write_bytes(raw[:place] + bytes([raw[place] ^ 1]) + raw[place + 1 :])
        assert code(wrapped.read, "log") == "keystore.wrapping"
    path.write_bytes(raw)
    path.rename(tmp_path / "keys/tls")
    assert code(wrapped.read, "tls") == "keystore.wrapping"


def test_plain_files_are_read_and_wrapped_when_asked(tmp_path: Path) -> None:
    plain = KeyStore(tmp_path / "keys")
    plain.create("log", SECRET)
    plain.create("tls", b"a longer one, of any form")
    wrapped = KeyStore(tmp_path / "keys", WRAP)
    assert wrapped.read("log") == SECRET
    assert wrapped.seal() == ("log", "tls")
    assert wrapped.seal() == ()
    assert wrapped.read("log") == SECRET
    assert wrapped.read("tls", size=None) == b"a longer one, of any form"
    assert code(plain.read, "log") == "keystore.sealed"


def test_two_writings_of_one_secret_differ(wrapped: KeyStore, tmp_path: Path) -> None:
    wrapped.create("log", SECRET)
    before = (tmp_path / "keys/log").read_bytes()
    wrapped.replace("log", SECRET)
    assert (tmp_path / "keys/log").read_bytes() != before


def test_secret_that_looks_wrapped_is_not_kept(tmp_path: Path) -> None:
    assert code(KeyStore(tmp_path / "keys").create, "log", b"PLGK1" + bytes(60)) == "keystore.form"


def test_removed_key_is_overwritten_and_gone(
    wrapped: KeyStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wrapped.create("log", SECRET)
    # A second name of the same file shows what was written over it.
    os.link(tmp_path / "keys/log", tmp_path / "seen")
    wrapped.remove("log")
    assert wrapped.names() == ()
    assert not any((tmp_path / "seen").read_bytes())
    wrapped.remove("log")
    assert code(wrapped.remove, "../log") == "keystore.name"


def test_half_overwritten_key_is_no_key_after_a_power_cut(
    wrapped: KeyStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wrapped.create("log", SECRET)
    size = (tmp_path / "keys/log").stat().st_size

    def cut(file: int) -> None:
        if os.fstat(file).st_size == size:
            raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", cut)
        with pytest.raises(KeyboardInterrupt):
            wrapped.remove("log")
    assert wrapped.names() == ()
    wrapped.remove("log")
    assert list((tmp_path / "keys").iterdir()) == []


def test_no_link_or_foreign_mode_is_overwritten(wrapped: KeyStore, tmp_path: Path) -> None:
    wrapped.create("log", SECRET)
    (tmp_path / "elsewhere").write_bytes(SECRET)
    (tmp_path / "keys/tls").symlink_to(tmp_path / "elsewhere")
    assert code(wrapped.remove, "tls") == "keystore.kind"
    assert (tmp_path / "elsewhere").read_bytes() == SECRET
    (tmp_path / "keys/log").chmod(0o644)
    assert code(wrapped.remove, "log") == "keystore.mode"


def test_wrapping_key_is_the_credential_of_that_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("CREDENTIALS_DIRECTORY", raising=False)
    assert wrapping_key("locker-gateway.keystore") is None
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    assert wrapping_key("locker-gateway.keystore") is None
    (tmp_path / "locker-gateway.keystore").write_bytes(WRAP)
    assert wrapping_key("locker-gateway.keystore") == WRAP
    assert wrapping_key("locker-hub.keystore") is None
    (tmp_path / "locker-gateway.keystore").write_bytes(WRAP[1:])
    assert code(wrapping_key, "locker-gateway.keystore") == "keystore.credential"
    (tmp_path / "locker-gateway.keystore").unlink()
    (tmp_path / "locker-gateway.keystore").mkdir()
    assert code(wrapping_key, "locker-gateway.keystore") == "keystore.credential"
    assert code(KeyStore, tmp_path / "keys", b"short") == "keystore.credential"
