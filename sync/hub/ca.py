"""Making and changing the hub's authority, so that lost power never leaves half of it.

Always in this order: keys to come are kept as `NAME-next`, then `trust.json` is put in place whole
(that is the moment), then the keys take their names and the copies are written. What lost power is
repeated: before the moment nothing has happened, after it `settle` ends the rest. One process at a
time (`DATA/ca/lock`); a running hub sees a new `trust.json` within seconds.
"""

import contextlib
import fcntl
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

import msgspec
from cryptography import x509
from cryptography.hazmat.primitives import serialization

from certs import authority, tls, trust
from certs.authority import Authority, PrivateKey
from certs.errors import CertificateInvalid
from certs.keystore import SECRET_BYTES, KeyStore
from certs.trust import Anchors
from sync.errors import StoreFailed, TheirsInvalid
from sync.hub.authority import (
    FILE,
    FOLDER,
    GRANTS,
    ISSUING,
    NEXT,
    ROOT,
    TIME,
    TLS,
    TRUST,
    HubAuthority,
    State,
    key_of,
    read,
    seed_of,
)
from sync.hub.keys import keys_of, write_secret

ALWAYS: Final = ("localhost", "127.0.0.1", "::1")
"""Names that the hub's certificate always has: for the commands on its own machine."""
HUB_DAYS: Final = 365
HOSTS_MAX: Final = 16
KEY_BYTES_MAX: Final = 8_192
_BOTH: Final = (authority.SERVER, authority.CLIENT)


def init(data: Path, operator: str, hosts: Sequence[str], now_s: int) -> HubAuthority:
    """Make root, issuing authority, the hub's certificate and its signing keys.

    Raises `TheirsInvalid` `authority.exists`, `authority.hosts`; KeyStoreBroken, `StoreFailed` io.
    """
    named = _hosts(hosts)
    with _alone(data):
        if read(data) is not None:
            raise TheirsInvalid(
                "authority.exists", "Rotate it with locker-hub ca rotate: it is made once.",
                path=str(data / FOLDER),
            )  # fmt: skip
        store = keys_of(data)
        for name in (TRUST, TIME, GRANTS):
            if name not in _names(data, store):
                store.create(name, os.urandom(SECRET_BYTES))
        # What an init that lost power left of these was never shown to anybody.
        keys = {name: _fresh(data, store, name) for name in (ROOT, ISSUING, TLS)}
        root = authority.make_root(keys[ROOT], operator, now_s=now_s, serial=tls.new_serial())
        above = Authority(root, keys[ROOT])
        issuing = authority.make_issuing(
            above, keys[ISSUING].public_key(), operator, now_s=now_s, serial=tls.new_serial()
        )
        signer, time = (seed_of(store, operator, one) for one in (TRUST, TIME))
        word = trust.endorse(keys[ROOT], signer.verifier, time.verifier)
        state = State(
            operator=operator,
            number=1,
            made_s=now_s,
            hosts=named,
            roots=authority.pem(root),
            issuing=authority.pem(issuing),
            tls=_own(Authority(issuing, keys[ISSUING]), operator, named, keys[TLS], now_s),
            trust_vkey=word.trust,
            time_vkey=word.time,
            signatures=word.signature,
            anchors=_anchors(operator, 1, (root,), store),
        )
        _commit(data, store, state)
    return _loaded(data)


def renew(data: Path, now_s: int, hosts: Sequence[str] = ()) -> HubAuthority:
    """Give the hub's own certificate a new key and another year; `hosts` take the others' place."""
    with _alone(data):
        known, store = _loaded(data), keys_of(data)
        named = _hosts(hosts) if hosts else known.state.hosts
        key = _fresh(data, store, TLS)
        chain = _own(known.issuing, known.operator, named, key, now_s)
        _commit(data, store, msgspec.structs.replace(known.state, hosts=named, tls=chain))
    return _loaded(data)


def rotate(data: Path, now_s: int, *, root_key: PrivateKey | None = None) -> HubAuthority:
    """Make another issuing authority, and the hub's certificate under it.

    The root's key is in the key store, or given. Raises `TheirsInvalid` `authority.root_offline`.
    """
    with _alone(data):
        known, store = _loaded(data), keys_of(data)
        root = Authority(known.root, _root_key(data, store, known, root_key))
        state = _under(data, store, known.state, root, known.issuing.above, now_s)
        _commit(data, store, state)
    return _loaded(data)


def rotate_root(data: Path, now_s: int, *, root_key: PrivateKey | None = None) -> HubAuthority:
    """Make another root, for which the old one vouches, and all that stands under it.

    Both are anchors from now on, of the next number, and both endorse the same keys. A root that is
    over is dropped, and the oldest where there would be more than four.
    """
    with _alone(data):
        known, store = _loaded(data), keys_of(data)
        old = Authority(known.root, _root_key(data, store, known, root_key))
        key = _fresh(data, store, ROOT)
        fresh = authority.make_root(key, known.operator, now_s=now_s, serial=tls.new_serial())
        vouched = authority.cross_sign(old, fresh, now_s=now_s, serial=tls.new_serial())
        kept = [one for one in known.roots if authority.ends_s(one) > now_s]
        roots = (*kept, fresh)[-trust.ROOTS_MAX :]
        above = [
            one for one in (vouched, *known.issuing.above)
            if any(authority.issued_by(one, root) for root in roots)
        ]  # fmt: skip
        word = trust.endorse(key, known.trust.verifier, known.time.verifier)
        words = [*known.state.signatures.split(" "), word.signature][-len(roots) :]
        number = known.state.number + 1
        state = msgspec.structs.replace(
            known.state,
            number=number,
            roots=authority.pem(*roots),
            signatures=" ".join(words),
            anchors=_anchors(known.operator, number, roots, store),
        )
        state = _under(data, store, state, Authority(fresh, key), tuple(above), now_s)
        _commit(data, store, state)
    return _loaded(data)


def take_root(data: Path, file: Path) -> None:
    """Write the root's key to a new file of mode 0600 (PEM), and remove it from the key store.

    Raises `TheirsInvalid` `hub.file_exists`, `authority.root_offline`; `StoreFailed` io.
    """
    with _alone(data):
        known, store = _loaded(data), keys_of(data)
        key = _root_key(data, store, known, None)
        write_secret(file, _key_pem(key))
        for name in (ROOT, ROOT + NEXT):
            store.remove(name)


def read_key(file: Path) -> PrivateKey:
    """Return the key that `take_root` wrote; CertificateInvalid `certificate.key`."""
    try:
        with file.open("rb") as opened:
            told = opened.read(KEY_BYTES_MAX)
        key = serialization.load_pem_private_key(told, None)
    except OSError as error:
        raise StoreFailed("io", "Name the file of take-root.", path=str(file)) from error
    except Exception:  # noqa: BLE001  # its text may say something of the bytes
        raise CertificateInvalid("certificate.key", "Name the file of take-root") from None
    return authority.key_from(
        key.private_bytes(
            serialization.Encoding.DER,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )


def has_root(data: Path) -> bool:
    """Say whether the root's key lies on this machine."""
    return bool({ROOT, ROOT + NEXT} & set(keys_of(data).names()))


def settle(data: Path) -> None:
    """End what lost power after its moment: keys take their names, copies are written."""
    with _alone(data):
        state = read(data)
        if state is not None:
            _settle(data, keys_of(data), state)


# --- parts ----------------------------------------------------------------------------------------


def _under(  # noqa: PLR0917  # where, what is known, and who signs
    data: Path,
    store: KeyStore,
    state: State,
    root: Authority,
    above: tuple[x509.Certificate, ...],
    now_s: int,
) -> State:
    """Return the state with a new issuing authority under `root`, and a certificate of ours."""
    key, own = _fresh(data, store, ISSUING), _fresh(data, store, TLS)
    serial = tls.new_serial()
    made = authority.make_issuing(
        root, key.public_key(), state.operator, now_s=now_s, serial=serial
    )
    issuing = Authority(made, key, above)
    return msgspec.structs.replace(
        state,
        issuing=authority.pem(*issuing.chain),
        tls=_own(issuing, state.operator, state.hosts, own, now_s),
    )


def _own(
    issuing: Authority, operator: str, hosts: Sequence[str], key: PrivateKey, now_s: int
) -> str:
    leaf = authority.issue(
        issuing, key.public_key(), authority.hub_uri(operator), now_s=now_s, days=HUB_DAYS,
        serial=tls.new_serial(), usages=_BOTH, hosts=hosts,
    )  # fmt: skip
    return authority.pem(leaf, *issuing.chain)


def _anchors(operator: str, number: int, roots: Sequence[x509.Certificate], store: KeyStore) -> str:
    made = Anchors(operator, number, tuple(trust.der_of(one) for one in roots))
    return trust.sign(made, seed_of(store, operator, TRUST))


def _root_key(
    data: Path, store: KeyStore, known: HubAuthority, given: PrivateKey | None
) -> PrivateKey:
    pin = authority.pin_of(authority.public_key(known.root))
    if given is not None:
        if authority.pin_of(given.public_key()) != pin:
            raise TheirsInvalid("authority.root_key", "Name the key of the newest root.")
        return given
    if not {ROOT, ROOT + NEXT} & set(_names(data, store)):
        raise TheirsInvalid(
            "authority.root_offline", "Name the file of take-root: --root-key FILE."
        )
    return key_of(store, ROOT, known.root)


def _fresh(data: Path, store: KeyStore, name: str) -> PrivateKey:
    """Return a new key, kept as the next one of its name."""
    key, coming = tls.new_key(), name + NEXT
    keep = store.replace if coming in _names(data, store) else store.create
    keep(coming, authority.key_bytes(key))
    return key


def _names(data: Path, store: KeyStore) -> tuple[str, ...]:
    return store.names() if (data / "keys").exists() else ()


def _commit(data: Path, store: KeyStore, state: State) -> None:
    _write(data / FOLDER / FILE, msgspec.json.format(msgspec.json.encode(state)))
    _settle(data, store, state)


def _settle(data: Path, store: KeyStore, state: State) -> None:
    newest = authority.from_pem(state.roots)[-1]
    shown = {ISSUING: authority.from_pem(state.issuing)[0], TLS: authority.from_pem(state.tls)[0]}
    if {ROOT, ROOT + NEXT} & set(_names(data, store)):
        shown[ROOT] = newest
    for name, certificate in shown.items():
        held = set(_names(data, store))
        if name + NEXT in held:
            key = authority.key_bytes(key_of(store, name, certificate))
            (store.replace if name in held else store.create)(name, key)
            store.remove(name + NEXT)
    for name, text in ((ROOT, state.roots), (ISSUING, state.issuing), (TLS, state.tls)):
        _write(data / FOLDER / f"{name}.pem", text.encode())


def _write(file: Path, text: bytes) -> None:
    """Put a file in place whole and durable; nothing in it is secret."""
    new = file.with_name(f".{file.name}.new")
    with _explained(file):
        with new.open("wb") as opened:
            opened.write(text)
            opened.flush()
            os.fsync(opened.fileno())
        new.replace(file)
        folder = os.open(file.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


@contextlib.contextmanager
def _alone(data: Path) -> Iterator[None]:
    with _explained(data):
        (data / FOLDER).mkdir(mode=0o700, parents=True, exist_ok=True)
        file = os.open(data / FOLDER / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
    finally:
        os.close(file)


@contextlib.contextmanager
def _explained(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise StoreFailed(
            "io", "Check the disk and the folder's owner.", path=str(path), errno=error.errno
        ) from error


def _hosts(given: Sequence[str]) -> tuple[str, ...]:
    found = tuple(dict.fromkeys((*(one.strip("[]") for one in given), *ALWAYS)))
    spoilt = any(not one.isascii() or not one.strip() or set(one) & set(" /@,*") for one in found)
    if not given or spoilt or len(found) > HOSTS_MAX:
        raise TheirsInvalid(
            "authority.hosts",
            "Name 1 to 13 names or addresses that gateways dial.",
            hosts=len(given),
        )
    return found


def _loaded(data: Path) -> HubAuthority:
    found = HubAuthority.load(data)
    if found is None:
        raise no_authority(data)
    return found


def no_authority(data: Path) -> TheirsInvalid:
    """Return the refusal of a hub that nobody can authenticate with."""
    return TheirsInvalid(
        "hub.no_authority",
        "Make one with locker-hub ca init --host NAME, or say [development] plain = true.",
        data=str(data),
    )


def _key_pem(key: PrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
