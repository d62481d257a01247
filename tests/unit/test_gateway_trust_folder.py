"""Pins the folder of what a site trusts: newer only, a pair that fits after any cut, no forgery."""

import ssl
from functools import partial
from pathlib import Path
from typing import Any

import aiohttp
import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from certs import authority, enrol, tls
from certs import trust as documents
from certs.authority import Authority
from certs.errors import CertsError
from certs.keys import SigningKey
from gateway import identity, trust, wire
from gateway.errors import GatewayError
from gateway.trust import HubTrust

NOW_S = 1_800_000_000
OP = "lockers.example"


class Hub:
    """A hub's authority, its documents and what it answers."""

    def __init__(self) -> None:
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.root = authority.make_root(self.key, OP, now_s=NOW_S, serial=1)
        self.issuer = Authority(self.root, self.key)
        self.trust = SigningKey.from_seed(f"{OP}/trust", bytes(range(32)))
        self.time = SigningKey.from_seed(f"{OP}/time", bytes(32))
        self.grants = SigningKey.from_seed(f"{OP}/grants", bytes([9]) * 32)

    def denials(self, number: int, **denied: int) -> str:
        made = documents.Denials(OP, number, NOW_S, (self.grants.vkey,), denied)
        return documents.sign(made, self.trust)

    def anchors(self, number: int, *more: Any) -> str:
        roots = tuple(documents.der_of(one) for one in (self.root, *more))
        return documents.sign(documents.Anchors(OP, number, roots), self.trust)

    def answer(self, number: int, *more: Any, **denied: int) -> bytes:
        word = documents.endorse(self.key, self.trust.verifier, self.time.verifier)
        return msgspec.json.encode(
            enrol.TrustAnswer(
                operator=OP, roots=authority.pem(self.root, *more), trust_vkey=word.trust,
                time_vkey=word.time, endorsement=word.signature,
                anchors=self.anchors(number, *more), denials=self.denials(number, **denied),
            )
        )  # fmt: skip

    def opened(self, number: int, *more: Any, **denied: int) -> enrol.Trusted:
        return enrol.open_trust(self.answer(number, *more, **denied), known=(self.root,))

    def known(self, number: int = 1, **denied: int) -> HubTrust:
        got = enrol.Enrolled(
            OP, f"{OP}/site/0042", "", "https://hub:1", "https://hub:2", "w", "c", 1, bytes(32)
        )
        return HubTrust.of(self.opened(number, **denied), got, "https://hub:0")

    def certificate(self, key: Any) -> str:
        leaf = authority.issue(
            self.issuer, key.public_key(), f"locker://{OP}/site/0042",
            now_s=NOW_S, days=365, serial=tls.new_serial(),
        )  # fmt: skip
        return authority.pem(leaf)


@pytest.fixture(scope="module")
def hub() -> Hub:
    return Hub()


def code(work: Any) -> str:
    try:
        work()
    except (CertsError, GatewayError) as error:
        return error.code
    return "nothing was refused"


CTI = "00112233445566aa"


def test_it_is_kept_closed_and_read_back(hub: Hub, tmp_path: Path) -> None:
    assert trust.load(tmp_path) is None
    known = hub.known()
    trust.save(tmp_path, known)
    assert trust.load(tmp_path) == known
    assert (tmp_path / "trust" / "hub.json").stat().st_mode & 0o777 == 0o600
    assert (tmp_path / "trust").stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize("change", [b"{", b"[]", b"\xff", "operator", "endorsement", "denials"])
def test_a_folder_that_was_tampered_with_is_refused(
    hub: Hub, tmp_path: Path, change: bytes | str
) -> None:
    trust.save(tmp_path, hub.known())
    path = tmp_path / "trust" / "hub.json"
    if isinstance(change, bytes):
        path.write_bytes(change)
    else:
        told = msgspec.json.decode(path.read_bytes())
        path.write_bytes(msgspec.json.encode(told | {change: told[change][:-8] + "AAAAAAA="}))
    assert code(lambda: trust.load(tmp_path)) == "trust.unreadable"


def test_only_what_is_newer_is_taken(hub: Hub) -> None:
    known = hub.known(5)
    assert known.took(hub.opened(5)) is known
    newer = known.took(hub.opened(6, **{CTI: NOW_S}))
    assert dict(newer.denied().denied) == {CTI: NOW_S}
    assert code(lambda: newer.took(hub.opened(5))) == "trust.older"
    assert code(lambda: known.took(hub.opened(5, **{CTI: NOW_S}))) == "trust.forked"
    other = msgspec.structs.replace(known, operator="others.example")
    assert code(lambda: other.took(hub.opened(6))) == "trust.operator"


def test_a_new_root_that_the_old_trust_key_announces_is_believed(hub: Hub) -> None:
    known = hub.known(5)
    fresh = Hub()
    taken = known.took(hub.opened(6, fresh.root))
    assert {authority.fingerprint_of(one) for one in taken.certificates()} == {
        authority.fingerprint_of(hub.root), authority.fingerprint_of(fresh.root),
    }  # fmt: skip
    taken.trusted()
    # Its own words count for nothing before.
    assert code(lambda: enrol.open_trust(fresh.answer(7), known=known.certificates())) == (
        "trust.pin"
    )


def test_a_visitor_carries_denials_in(hub: Hub, tmp_path: Path) -> None:
    text = trust.carried(hub.denials(7, **{CTI: NOW_S}))
    assert code(lambda: trust.take_denials(tmp_path, text)) == "trust.not_enrolled"
    trust.save(tmp_path, hub.known(6))
    taken = trust.take_denials(tmp_path, f" {text}\n")
    assert CTI in taken.denied().denied
    assert trust.load(tmp_path) == taken
    assert trust.take_denials(tmp_path, text) == taken
    older = trust.carried(hub.denials(5))
    assert code(lambda: trust.take_denials(tmp_path, older)) == "trust.older"
    foreign = trust.carried(documents.sign(
        documents.Denials(OP, 9, NOW_S, (), {}), SigningKey.from_seed(f"{OP}/trust", bytes(32))
    ))  # fmt: skip
    assert code(lambda: trust.take_denials(tmp_path, foreign)).startswith("note.")
    for bad in ("PLG1D:", "PLG1D:~", "PLG1D:" + text[6:][::-1], "hello"):
        said = code(partial(trust.take_denials, tmp_path, bad))
        assert said.startswith(("trust.", "note."))


def test_after_any_cut_a_pair_fits(hub: Hub, tmp_path: Path, monkeypatch: Any) -> None:
    first = trust.next_key(tmp_path)
    assert authority.key_bytes(trust.next_key(tmp_path)) == authority.key_bytes(first)
    assert trust.pairs(tmp_path) == []
    own = tls.Credentials(hub.certificate(first), first)
    trust.keep_next(tmp_path, own.chain)
    assert [one.chain for one in trust.pairs(tmp_path)] == [own.chain]
    trust.promote(tmp_path, own)
    assert [one.chain for one in trust.pairs(tmp_path)] == [own.chain]
    second = trust.next_key(tmp_path)
    new = tls.Credentials(hub.certificate(second), second)
    trust.keep_next(tmp_path, new.chain)
    assert [one.chain for one in trust.pairs(tmp_path)] == [own.chain, new.chain]
    cuts: list[tuple[Any, str]] = [
        (trust, "_write"), (identity, "keys_of"), (trust, "drop_next"),
    ]  # fmt: skip
    fits = [[own.chain, new.chain], [new.chain], [new.chain]]
    for (room, name), chains in zip(cuts, fits, strict=True):
        with monkeypatch.context() as patch:
            patch.setattr(room, name, _cut)
            with pytest.raises(_CutError):
                trust.promote(tmp_path, new)
        assert [one.chain for one in trust.pairs(tmp_path)] == chains
    trust.promote(tmp_path, new)
    names = identity.keys_of(tmp_path).names()
    assert trust.KEY_NEXT not in names
    # A key that was being taken away when power went is none.
    identity.keys_of(tmp_path).create(trust.KEY_NEXT, bytes(32))
    assert [one.chain for one in trust.pairs(tmp_path)] == [new.chain]


class _CutError(Exception):
    pass


def _cut(*_args: Any) -> None:
    raise _CutError


def test_a_certificate_of_another_key_is_no_pair(hub: Hub, tmp_path: Path) -> None:
    key = trust.next_key(tmp_path)
    trust.promote(tmp_path, tls.Credentials(hub.certificate(key), key))
    other = ec.generate_private_key(ec.SECP256R1())
    identity.keys_of(tmp_path).replace(trust.KEY, authority.key_bytes(other))
    assert trust.pairs(tmp_path) == []


def test_life_and_jitter(hub: Hub) -> None:
    leaf = authority.from_pem(hub.certificate(hub.key))[0]
    begins, ends = authority.begins_s(leaf), authority.ends_s(leaf)
    assert [trust.share_left(leaf, at) for at in (begins - 9, begins, ends, ends + 9)] == [
        100, 100, 0, 0,
    ]  # fmt: skip
    assert trust.share_left(leaf, (begins + ends) // 2) == 50
    assert 0 <= trust.jitter(leaf) < 1
    assert trust.jitter(leaf) == trust.jitter(leaf)


def _caused(error: BaseException, cause: BaseException) -> BaseException:
    error.__cause__ = cause
    return error


def _verify(number: int) -> ssl.SSLCertVerificationError:
    error = ssl.SSLCertVerificationError("no")
    error.verify_code = number
    return error


def _alert() -> ssl.SSLError:
    error = ssl.SSLError(1, "no")
    error.reason = "TLSV13_ALERT_CERTIFICATE_REQUIRED"
    return error


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (_verify(10), "link.dates"),
        (_verify(9), "link.dates"),
        (_verify(62), "link.untrusted"),
        (_caused(aiohttp.ClientOSError(), _alert()), "link.certificate"),
        (ssl.SSLError(1, "no"), "link.untrusted"),
        (aiohttp.ServerDisconnectedError(), "link.certificate"),
        (ConnectionResetError(), "link.certificate"),
        (TimeoutError(), "link.unreachable"),
        (OSError(), "link.unreachable"),
    ],
)
def test_why_a_connection_failed(error: BaseException, reason: str) -> None:
    assert wire.reason_of(error) == reason
    assert wire.refused(reason, "https://hub/x?nonce=1").evidence == {"hub": "https://hub/x"}
