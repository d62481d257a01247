"""The only disk of this floor: one small file a secret, in a folder of its own.

A file appears whole or not at all: written beside its place, fsynced, put in place, and the folder
fsynced. Modes are 0600 (0400 is accepted on reading), the folder 0700 when made here. What this
protects: another user of the machine, and a torn write. What it does not: root, or whoever takes
the disk away.

Against the disk alone (a backup, a card in a drawer) a store can *wrap* its secrets with a key that
is not on it: `PLGK1 || 12-byte nonce || AES-256-GCM`, the name as associated data, so that no file
can stand in another's place. The wrapping key comes from the service manager (`wrapping_key`). A
plain file is still read, and wrapped by `seal`.

One process owns a folder; the calls block (a few milliseconds of disk).
"""

import errno
import os
import re
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NoReturn

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from certs.errors import KeyStoreBroken

SECRET_BYTES = 32
SECRET_BYTES_MAX = 16 * 1024
WRAPPING_BYTES = 32
CREDENTIALS = "CREDENTIALS_DIRECTORY"
"""Where systemd puts a service's credentials: a folder in memory that only its user reads."""
_MAGIC = b"PLGK1"
_NONCE_BYTES = 12
_TAG_BYTES = 16
_WRAPPED_MORE = len(_MAGIC) + _NONCE_BYTES + _TAG_BYTES
_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")
_FILE_MODES = frozenset({0o600, 0o400})
_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC
# Without O_NONBLOCK, opening a FIFO that somebody put there would wait for ever.
_READ_FILE = _READ | os.O_NONBLOCK
_OVERWRITE = os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
_NEW_FILE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


class KeyStore:
    """A folder of secrets. Names are lower-case letters, digits, dot, dash and underscore.

    Raises KeyStoreBroken: `keystore.name`, `keystore.missing`, `keystore.exists`,
    `keystore.symlink`, `keystore.kind`, `keystore.mode`, `keystore.owner`, `keystore.size`,
    `keystore.io`, `keystore.sealed` (wrapped, and no wrapping key here), `keystore.wrapping` (the
    wrapping key is another one, or the file was changed). An I/O error is never retried here.

    With `wrap`, 32 bytes, whatever is written is wrapped; what is read may be wrapped or plain.
    """

    def __init__(self, folder: Path, wrap: bytes | None = None) -> None:
        if wrap is not None and len(wrap) != WRAPPING_BYTES:
            raise _bad_wrapping_key(len(wrap))
        self._folder = folder
        self._wrap = None if wrap is None else AESGCM(wrap)

    @property
    def wraps(self) -> bool:
        """Whether what is written here is wrapped."""
        return self._wrap is not None

    def create(self, name: str, secret: bytes) -> None:
        """Keep a new secret, 1 byte to 16 KiB; refuses (`keystore.exists`) to overwrite one."""
        with self._writing(name, secret) as (folder, new):
            try:
                # A link, unlike a rename, cannot take the place of what is there.
                os.link(new, name, src_dir_fd=folder, dst_dir_fd=folder)
            except FileExistsError as error:
                raise KeyStoreBroken(
                    "keystore.exists", "Choose another name, or replace it on purpose", name=name
                ) from error
            finally:
                os.unlink(new, dir_fd=folder)

    def replace(self, name: str, secret: bytes) -> None:
        """Put a secret in the place of the one there; refuses (`keystore.missing`) if none is."""
        self.read(name, size=None)
        with self._writing(name, secret) as (folder, new):
            os.replace(new, name, src_dir_fd=folder, dst_dir_fd=folder)

    def read(self, name: str, *, size: int | None = SECRET_BYTES) -> bytes:
        """Return a secret of exactly `size` bytes (None: any size from 1 byte to 16 KiB).

        Checks the folder's and the file's owner, mode and kind on what was opened, not on the name.
        """
        secret = self._unwrapped(name, self._raw(name))
        expected = range(1, SECRET_BYTES_MAX + 1) if size is None else (size,)
        if len(secret) not in expected:
            raise KeyStoreBroken(
                "keystore.size",
                "The file is torn or no key of this use: restore it from where it was made",
                name=name,
                length=len(secret),
                expected="any" if size is None else size,
            )
        return secret

    def is_wrapped(self, name: str) -> bool:
        """Say whether a file is wrapped, after the checks of `read`; needs no wrapping key."""
        return _is_wrapped(self._raw(name))

    def seal(self) -> tuple[str, ...]:
        """Wrap every file that is plain; return their names. Raises as `read`, `keystore.sealed`.

        Done again after a power cut it goes on where it was. The old bytes may stay on the medium
        until they are overwritten: keys that must not be found there are made anew.
        """
        if self._wrap is None:
            raise _sealed("")
        plain = tuple(name for name in self.names() if not self.is_wrapped(name))
        for name in plain:
            self.replace(name, self.read(name, size=None))
        return plain

    def remove(self, name: str) -> None:
        """Overwrite a secret and take it away durably; one that is not there is gone already.

        A power cut leaves it whole, or under no name: half of it is never taken for a key. Called
        again it goes on. Flash memory may keep an old copy. Raises as `read`, not for the content.
        """
        _check_name(name)
        gone = f".{name}.gone"
        with self._open_folder() as folder, _explained(name):
            with suppress(FileNotFoundError):
                _check_file(name, os.stat(name, dir_fd=folder, follow_symlinks=False))
                os.replace(name, gone, src_dir_fd=folder, dst_dir_fd=folder)
                os.fsync(folder)
            try:
                file = os.open(gone, _OVERWRITE, dir_fd=folder)
            except FileNotFoundError:
                return
            try:
                _write_all(file, bytes(os.fstat(file).st_size))
                os.fsync(file)
            finally:
                os.close(file)
            os.unlink(gone, dir_fd=folder)
            os.fsync(folder)

    def names(self) -> tuple[str, ...]:
        """Return the names that are kept, sorted; files being written are none."""
        with self._open_folder() as folder:
            found = os.listdir(folder)  # noqa: PTH208  # the folder that was checked, not its name
        return tuple(sorted(name for name in found if _NAME.fullmatch(name)))

    @contextmanager
    def _writing(self, name: str, secret: bytes) -> Iterator[tuple[int, str]]:
        """Yield (folder, name of a durable new file); fsync the folder afterwards."""
        _check_name(name)
        if not 0 < len(secret) <= SECRET_BYTES_MAX:
            raise KeyStoreBroken(
                "keystore.size", "A secret has 1 byte to 16 KiB", name=name, length=len(secret)
            )
        if _is_wrapped(secret):
            raise KeyStoreBroken(
                "keystore.form", "A secret that looks like a wrapped one is not kept", name=name
            )
        self._make_folder()
        with self._open_folder() as folder, _explained(name):
            new = f".{name}.new"
            _write_durably(new, self._wrapped(name, secret), folder)
            yield folder, new
            os.fsync(folder)

    def _raw(self, name: str) -> bytes:
        _check_name(name)
        with self._open_folder() as folder, _opened(name, _READ_FILE, folder) as file:
            _check_file(name, os.fstat(file))
            return os.read(file, SECRET_BYTES_MAX + _WRAPPED_MORE + 1)

    def _wrapped(self, name: str, secret: bytes) -> bytes:
        if self._wrap is None:
            return secret
        nonce = secrets.token_bytes(_NONCE_BYTES)
        return _MAGIC + nonce + self._wrap.encrypt(nonce, secret, name.encode())

    def _unwrapped(self, name: str, raw: bytes) -> bytes:
        if not _is_wrapped(raw):
            return raw
        if self._wrap is None:
            raise _sealed(name)
        nonce, sealed = raw[len(_MAGIC) :][:_NONCE_BYTES], raw[len(_MAGIC) + _NONCE_BYTES :]
        try:
            return self._wrap.decrypt(nonce, sealed, name.encode())
        except InvalidTag as error:
            raise KeyStoreBroken(
                "keystore.wrapping",
                "Start with the credential that these keys were wrapped with",
                name=name,
            ) from error

    def _make_folder(self) -> None:
        """Make the folder if it is not there, so that it outlives a power cut too."""
        if self._folder.exists():
            return
        with _explained(str(self._folder)):
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        parent = str(self._folder.parent)
        with _opened(parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, None) as above:
            os.fsync(above)

    @contextmanager
    def _open_folder(self) -> Iterator[int]:
        with _opened(str(self._folder), _READ | os.O_DIRECTORY, None) as folder:
            seen = os.fstat(folder)
            _check_owner(str(self._folder), seen)
            if stat.S_IMODE(seen.st_mode) & 0o022:
                raise _bad_mode(str(self._folder), seen, "chmod 0700")
            yield folder


def wrapping_key(credential: str) -> bytes | None:
    """Return the key of this name that the service manager gave this process; None without one.

    `credential` is `locker-gateway.keystore` or `locker-hub.keystore`: 32 random bytes in
    `$CREDENTIALS_DIRECTORY` (systemd: `LoadCredentialEncrypted=`). Raises KeyStoreBroken
    (`keystore.credential`) for one that cannot be a key.
    """
    folder = os.environ.get(CREDENTIALS, "")
    if not folder:
        return None
    try:
        key = (Path(folder) / credential).read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise _bad_wrapping_key(0) from error
    if len(key) != WRAPPING_BYTES:
        raise _bad_wrapping_key(len(key))
    return key


def _is_wrapped(raw: bytes) -> bool:
    # A seed of 32 bytes is too short to be mistaken for one.
    return raw.startswith(_MAGIC) and len(raw) > _WRAPPED_MORE


def _sealed(name: str) -> KeyStoreBroken:
    return KeyStoreBroken(
        "keystore.sealed",
        "Run it as the service does, with the credential that wraps its keys",
        name=name,
    )


def _bad_wrapping_key(length: int) -> KeyStoreBroken:
    return KeyStoreBroken(
        "keystore.credential", "Make the credential of 32 random bytes", length=length
    )


def _write_durably(new: str, secret: bytes, folder: int) -> None:
    """Write and fsync a file of mode 0600, whatever the umask."""
    with suppress(FileNotFoundError):
        # Left over by a power cut: never read by anyone, so it can go.
        os.unlink(new, dir_fd=folder)
    file = os.open(new, _NEW_FILE, 0o600, dir_fd=folder)
    try:
        os.fchmod(file, 0o600)
        _write_all(file, secret)
        os.fsync(file)
    finally:
        os.close(file)


def _write_all(file: int, data: bytes) -> None:
    written = 0
    while written < len(data):
        written += os.write(file, data[written:])


@contextmanager
def _opened(path: str, flags: int, folder: int | None) -> Iterator[int]:
    with _explained(path):
        file = os.open(path, flags, dir_fd=folder)
    try:
        with _explained(path):
            yield file
    finally:
        os.close(file)


@contextmanager
def _explained(name: str) -> Iterator[None]:
    """Turn an OSError into a KeyStoreBroken that says what a person can do."""
    try:
        yield
    except OSError as error:
        _explain(name, error)


def _explain(name: str, error: OSError) -> NoReturn:
    number = error.errno or 0
    evidence = {"name": name, "errno": errno.errorcode.get(number, str(number))}
    match number:
        case errno.ENOENT:
            code, remedy = "keystore.missing", "Make the key, or name the right folder"
        case errno.ELOOP | errno.ENOTDIR:
            code, remedy = "keystore.symlink", "Put the folder or file itself there, not a link"
        case _:
            code, remedy = "keystore.io", "Check the disk, its free space and its permissions"
    raise KeyStoreBroken(code, remedy, **evidence) from error


def _check_name(name: str) -> None:
    if not _NAME.fullmatch(name):
        raise KeyStoreBroken(
            "keystore.name", "Use lower-case letters, digits, dot, dash, underscore", name=name[:64]
        )


def _check_file(name: str, seen: os.stat_result) -> None:
    if not stat.S_ISREG(seen.st_mode):
        raise KeyStoreBroken("keystore.kind", "Only plain files are keys", name=name)
    _check_owner(name, seen)
    if stat.S_IMODE(seen.st_mode) not in _FILE_MODES:
        raise _bad_mode(name, seen, "chmod 0600, and make a new key: others could read this one")


def _check_owner(name: str, seen: os.stat_result) -> None:
    if seen.st_uid != os.geteuid():
        raise KeyStoreBroken(
            "keystore.owner",
            "Run as the user who owns the keys, or give them to this one",
            name=name,
            owner=seen.st_uid,
            ours=os.geteuid(),
        )


def _bad_mode(name: str, seen: os.stat_result, remedy: str) -> KeyStoreBroken:
    mode = f"{stat.S_IMODE(seen.st_mode):04o}"
    return KeyStoreBroken("keystore.mode", remedy, name=name, mode=mode)
