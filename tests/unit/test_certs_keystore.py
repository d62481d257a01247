"""Pins the only disk of certs: whole files or none, for this user alone, and clear refusals."""

import errno
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from certs.errors import KeyStoreBroken
from certs.keystore import SECRET_BYTES_MAX, KeyStore

SECRET = bytes(range(32))


@pytest.fixture
def store(tmp_path: Path) -> KeyStore:
    return KeyStore(tmp_path / "keys")


@pytest.fixture(autouse=True)
def _loose_umask() -> Iterator[None]:
    # The widest umask there is: modes must come from us, not from the user's shell.
    before = os.umask(0)
    yield
    os.umask(before)


def code_of(caught: pytest.ExceptionInfo[KeyStoreBroken]) -> str:
    return caught.value.code


def test_secret_is_kept_for_this_user_alone(store: KeyStore, tmp_path: Path) -> None:
    store.create("log.key", SECRET)
    assert store.read("log.key") == SECRET
    assert store.names() == ("log.key",)
    assert (tmp_path / "keys" / "log.key").stat().st_mode & 0o7777 == 0o600
    assert (tmp_path / "keys").stat().st_mode & 0o7777 == 0o700
    assert [path.name for path in (tmp_path / "keys").iterdir()] == ["log.key"]


def test_create_never_overwrites_and_replace_never_creates(store: KeyStore) -> None:
    store.create("a", SECRET)
    with pytest.raises(KeyStoreBroken) as caught:
        store.create("a", bytes(32))
    assert code_of(caught) == "keystore.exists"
    assert store.read("a") == SECRET
    store.replace("a", bytes(32))
    assert store.read("a") == bytes(32)
    with pytest.raises(KeyStoreBroken) as caught:
        store.replace("b", SECRET)
    assert code_of(caught) == "keystore.missing"
    assert store.names() == ("a",)


def test_missing_key_and_missing_folder_are_told(store: KeyStore) -> None:
    for call in (lambda: store.read("a"), store.names):
        with pytest.raises(KeyStoreBroken) as caught:
            call()
        assert code_of(caught) == "keystore.missing"
    store.create("a", SECRET)
    with pytest.raises(KeyStoreBroken) as caught:
        store.read("b")
    assert code_of(caught) == "keystore.missing"
    assert caught.value.evidence == {"name": "b", "errno": "ENOENT"}


@pytest.mark.parametrize("name", ["", ".", "..", "../a", "a/b", ".a", "A", "-a", "a b", "x" * 65])
def test_name_that_could_leave_the_folder_is_refused(store: KeyStore, name: str) -> None:
    for call in (
        lambda: store.create(name, SECRET),
        lambda: store.read(name),
        lambda: store.replace(name, SECRET),
    ):
        with pytest.raises(KeyStoreBroken) as caught:
            call()
        assert code_of(caught) == "keystore.name"


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o644, 0o660, 0o700, 0o666, 0o4600, 0o000])
def test_file_that_others_could_read_is_refused(store: KeyStore, tmp_path: Path, mode: int) -> None:
    store.create("a", SECRET)
    (tmp_path / "keys" / "a").chmod(mode)
    with pytest.raises(KeyStoreBroken) as caught:
        store.read("a")
    assert code_of(caught) in {"keystore.mode", "keystore.io"}
    assert SECRET.hex() not in str(caught.value)


def test_read_only_file_is_accepted(store: KeyStore, tmp_path: Path) -> None:
    store.create("a", SECRET)
    (tmp_path / "keys" / "a").chmod(0o400)
    assert store.read("a") == SECRET


@pytest.mark.parametrize("mode", [0o720, 0o702, 0o777])
def test_folder_that_others_could_write_is_refused(
    store: KeyStore, tmp_path: Path, mode: int
) -> None:
    store.create("a", SECRET)
    (tmp_path / "keys").chmod(mode)
    for call in (lambda: store.read("a"), lambda: store.create("b", SECRET), store.names):
        with pytest.raises(KeyStoreBroken) as caught:
            call()
        assert code_of(caught) == "keystore.mode"


def test_foreign_owner_is_refused(store: KeyStore, monkeypatch: pytest.MonkeyPatch) -> None:
    store.create("a", SECRET)
    us = os.geteuid()
    monkeypatch.setattr(os, "geteuid", lambda: us + 1)
    with pytest.raises(KeyStoreBroken) as caught:
        store.read("a")
    assert code_of(caught) == "keystore.owner"
    assert caught.value.evidence["owner"] == us


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
def test_file_of_another_user_in_our_folder_is_refused(store: KeyStore, tmp_path: Path) -> None:
    store.create("a", SECRET)
    os.chown(tmp_path / "keys" / "a", 12345, -1)
    with pytest.raises(KeyStoreBroken) as caught:
        store.read("a")
    assert code_of(caught) == "keystore.owner"


def test_links_are_refused(store: KeyStore, tmp_path: Path) -> None:
    store.create("a", SECRET)
    (tmp_path / "keys" / "b").symlink_to(tmp_path / "keys" / "a")
    (tmp_path / "link").symlink_to(tmp_path / "keys")
    for call in (
        lambda: store.read("b"),
        lambda: store.replace("b", SECRET),
        lambda: KeyStore(tmp_path / "link").read("a"),
        lambda: KeyStore(tmp_path / "link").create("c", SECRET),
    ):
        with pytest.raises(KeyStoreBroken) as caught:
            call()
        assert code_of(caught) == "keystore.symlink"
    with pytest.raises(KeyStoreBroken) as caught:
        store.create("b", SECRET)
    assert code_of(caught) == "keystore.exists"


def test_only_plain_files_are_keys(store: KeyStore, tmp_path: Path) -> None:
    store.create("a", SECRET)
    (tmp_path / "keys" / "folder").mkdir(mode=0o600)
    os.mkfifo(tmp_path / "keys" / "pipe", 0o600)
    for name in ("folder", "pipe"):
        with pytest.raises(KeyStoreBroken) as caught:
            store.read(name)
        assert code_of(caught) == "keystore.kind"


@pytest.mark.parametrize("length", [0, 1, 31, 33, SECRET_BYTES_MAX, SECRET_BYTES_MAX + 1])
def test_torn_or_odd_file_is_refused(store: KeyStore, tmp_path: Path, length: int) -> None:
    store.create("a", SECRET)
    (tmp_path / "keys" / "a").write_bytes(bytes(length))
    with pytest.raises(KeyStoreBroken) as caught:
        store.read("a")
    assert code_of(caught) == "keystore.size"
    if 0 < length <= SECRET_BYTES_MAX:
        assert store.read("a", size=None) == bytes(length)
        assert store.read("a", size=length) == bytes(length)
    else:
        with pytest.raises(KeyStoreBroken):
            store.read("a", size=None)


@pytest.mark.parametrize("length", [0, SECRET_BYTES_MAX + 1])
def test_secret_of_no_size_is_not_kept(store: KeyStore, length: int) -> None:
    with pytest.raises(KeyStoreBroken) as caught:
        store.create("a", bytes(length))
    assert code_of(caught) == "keystore.size"


def test_file_left_by_a_power_cut_is_no_key_and_is_no_hindrance(
    store: KeyStore, tmp_path: Path
) -> None:
    store.create("a", SECRET)
    (tmp_path / "keys" / ".b.new").write_bytes(b"half")
    assert store.names() == ("a",)
    store.create("b", SECRET)
    assert store.read("b") == SECRET
    assert sorted(path.name for path in (tmp_path / "keys").iterdir()) == ["a", "b"]


@pytest.mark.parametrize("call", ["write", "fsync", "fchmod", "link", "replace"])
def test_trouble_of_the_disk_is_told_and_nothing_half_made_is_a_key(
    store: KeyStore, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    store.create("old", SECRET)

    def fail(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "full")

    monkeypatch.setattr(os, call, fail)
    if call != "replace":
        with pytest.raises(KeyStoreBroken) as caught:
            store.create("new", bytes(32))
        assert code_of(caught) == "keystore.io"
        assert caught.value.evidence["errno"] == "ENOSPC"
    if call != "link":
        with pytest.raises(KeyStoreBroken):
            store.replace("old", bytes(32))
    monkeypatch.undo()
    assert store.names() == ("old",)
    assert store.read("old") == SECRET


def test_each_write_is_synced_before_it_is_named_and_the_folder_after(
    store: KeyStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps: list[str] = []

    def spy(name: str) -> None:
        real = getattr(os, name)

        def call(*args: object, **kwargs: object) -> object:
            steps.append(name)
            return real(*args, **kwargs)

        monkeypatch.setattr(os, name, call)

    for name in ("write", "fsync", "link", "replace"):
        spy(name)
    store.create("a", SECRET)
    assert steps == [
        "fsync",
        "write",
        "fsync",
        "link",
        "fsync",
    ]  # the first: the new folder's place
    steps.clear()
    store.replace("a", SECRET)
    assert steps == ["write", "fsync", "replace", "fsync"]


def test_short_writes_are_finished(store: KeyStore, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.write
    monkeypatch.setattr(os, "write", lambda file, data: real(file, data[:5]))
    store.create("a", SECRET)
    assert store.read("a") == SECRET
