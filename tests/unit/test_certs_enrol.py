"""Pins enrolment as a machine: what it asks, what it believes, and each answer that it refuses."""

import base64
import json
from typing import Any

import msgspec
import pytest

from certs import authority, claim, enrol, trust
from certs.authority import Authority
from certs.enrol import Ask, Step
from certs.errors import CertificateInvalid, CertsError, NoteInvalid, TrustInvalid
from certs.keys import KIND_NOTE
from tests.operator_keys import (
    ANCHORS,
    CLAIM,
    CODE_KEY,
    COSIGNER,
    DENIALS,
    DEVICE,
    INVITATION,
    ISSUING,
    LOG_KEY,
    NONCE,
    NOW_S,
    OPERATOR,
    ROOT,
    SITE,
    TIME,
    TRUST,
    URL,
    WRITER,
    ed25519,
    enrol_answer,
    leaf,
    loaded,
    machine,
    p256,
    rooted,
    trust_answer,
    trusted,
    under,
)


def told_time(utc_ms: int = NOW_S * 1000) -> bytes:
    return trust.sign_time(OPERATOR, NONCE, utc_ms, TIME).encode()


def refusal(caught: pytest.ExceptionInfo[CertsError]) -> tuple[str, object]:
    return caught.value.code, caught.value.evidence.get("what")


# --- the way it goes ------------------------------------------------------------------------------


def test_an_enrolment_asks_three_things_and_is_done() -> None:
    going = machine(site=SITE, key_versions=(1, 2))
    assert going.ask() == Ask("GET", enrol.TRUST, pinned=False)
    going.hear(trust_answer())
    assert going.ask() == Ask("GET", f"{enrol.TIME}?nonce={NONCE.hex()}")
    going.hear(told_time())
    asked = going.ask()
    assert asked is not None
    assert (asked.method, asked.path, asked.pinned) == ("POST", enrol.ENROL, True)
    request, csr, proof, log_key = enrol.read_request(asked.body)
    assert (request.site, request.key_versions) == (SITE, (1, 2))
    assert request.claim_id == claim.claim_id(CLAIM)
    assert authority.read_csr(csr) == DEVICE.public_key()
    assert claim.proves(CLAIM, csr, log_key, proof)
    assert log_key == LOG_KEY
    # The answer may be lost: asked again, it is the same request, and a hub can answer it again.
    assert going.ask() == asked
    going.hear(enrol_answer())
    assert going.step is Step.DONE
    assert going.ask() is None
    assert going.utc_ms == NOW_S * 1000
    enrolled = going.enrolled
    assert enrolled is not None
    assert (enrolled.site, enrolled.key_version, enrolled.code_key) == (SITE, 1, CODE_KEY)
    assert (enrolled.writer, enrolled.cosigner) == (WRITER.vkey, COSIGNER.vkey)
    with pytest.raises(TrustInvalid) as caught:
        going.hear(b"")
    assert caught.value.code == "enrol.over"


def test_a_refused_answer_changes_nothing_and_may_be_asked_for_again() -> None:
    going = machine()
    for answer, spoilt in (
        (trust_answer(), b"{}"),
        (told_time(), b"\xff"),
        (enrol_answer(), enrol_answer(code_key="")),
    ):
        before = going.ask()
        with pytest.raises(CertsError):
            going.hear(spoilt)
        assert going.ask() == before
        going.hear(answer)
    assert going.step is Step.DONE


# --- the first answer, of somebody nobody has checked ---------------------------------------------


def test_the_first_answer_is_believed_for_the_pinned_root_alone() -> None:
    found = trusted()
    assert found.operator == OPERATOR
    assert [trust.der_of(one) for one in found.roots] == list(ANCHORS.roots)
    assert found.keys == trust.Keys(TRUST.verifier, TIME.verifier)
    by_root = enrol.open_trust(trust_answer(), known=(ROOT.certificate,))
    assert (by_root.roots, by_root.keys) == (found.roots, found.keys)
    for pinned in ("", "0" * 64, INVITATION.root.upper()):
        with pytest.raises(TrustInvalid) as caught:
            enrol.open_trust(trust_answer(), pinned=pinned)
        assert caught.value.code == "trust.pin"


def test_a_root_that_stands_beside_the_pinned_one_endorses_nothing() -> None:
    # A stranger offers our root and their own, and endorses keys of theirs with their own.
    evil = rooted(66)
    keys = ed25519(TRUST.name, 66), ed25519(TIME.name, 67)
    endorsement = trust.endorse(evil.key, keys[0].verifier, keys[1].verifier)
    answer = trust_answer(
        roots=authority.pem(ROOT.certificate, evil.certificate),
        trust_vkey=keys[0].vkey,
        time_vkey=keys[1].vkey,
        endorsement=endorsement.signature,
        anchors=trust.sign(ANCHORS, keys[0]),
        denials=trust.sign(DENIALS, keys[0]),
    )
    with pytest.raises(TrustInvalid) as caught:
        enrol.open_trust(answer, pinned=INVITATION.root)
    assert caught.value.code == "trust.endorsement"


def test_after_a_change_of_roots_the_anchors_say_which() -> None:
    new = rooted(20)
    second = trust.endorse(new.key, TRUST.verifier, TIME.verifier).signature
    first = trust.endorse(ROOT.key, TRUST.verifier, TIME.verifier).signature
    anchors = trust.Anchors(OPERATOR, 2, (trust.der_of(new.certificate),))
    answer = trust_answer(
        roots=authority.pem(ROOT.certificate, new.certificate),
        endorsement=f"{first} {second}",
        anchors=trust.sign(anchors, TRUST),
    )
    for known in ((ROOT.certificate,), (new.certificate,)):
        assert enrol.open_trust(answer, known=known).roots == (new.certificate,)


@pytest.mark.parametrize(
    ("changed", "error", "code"),
    [
        ({"roots": ""}, CertificateInvalid, "certificate.malformed"),
        ({"roots": "garbage"}, CertificateInvalid, "certificate.malformed"),
        ({"operator": "other.example"}, TrustInvalid, "trust.malformed"),
        ({"trust_vkey": ""}, TrustInvalid, "trust.malformed"),
        ({"endorsement": "AAAA"}, TrustInvalid, "trust.endorsement"),
        ({"anchors": ""}, NoteInvalid, "note.ending"),
        ({"denials": trust.sign(ANCHORS, TRUST)}, TrustInvalid, "trust.malformed"),
        ({"anchors": trust.sign(DENIALS, TRUST)}, TrustInvalid, "trust.malformed"),
        ({"denials": trust.sign(DENIALS, TIME)}, NoteInvalid, "note.unverified"),
    ],
)
def test_first_answers_that_are_refused(
    changed: dict[str, str], error: type[CertsError], code: str
) -> None:
    with pytest.raises(error) as caught:
        enrol.open_trust(trust_answer(**changed), pinned=INVITATION.root)
    assert caught.value.code == code


@pytest.mark.parametrize(
    "body",
    [
        b"", b"{}", b"[]", b"null", b"\xff", b'{"operator": 1}', b"[" * 60_000,
        b'{"a":' * 10_000, b" " * (enrol.BODY_BYTES_MAX + 1),
        json.dumps({"operator": "\ud800"}).encode(),
    ],
)  # fmt: skip
def test_what_is_no_answer_is_refused_without_its_words(body: bytes) -> None:
    for code, reading in (
        ("trust.malformed", lambda: enrol.open_trust(body, pinned=INVITATION.root)),
        ("trust.malformed", lambda: enrol.open_answer(body, trusted(), DEVICE, now_s=NOW_S)),
        ("enrol.request", lambda: enrol.read_request(body)),
        ("enrol.request", lambda: enrol.read_renewal(body)),
    ):
        with pytest.raises(TrustInvalid) as caught:
            reading()
        assert caught.value.code == code


# --- the last answer ------------------------------------------------------------------------------


def wide(usage: Any) -> str:
    return leaf(usages=usage)


LEAF_AS_ISSUER = Authority(loaded(leaf(p256(50))), p256(50))
FORGED = authority.pem(
    authority.issue(
        LEAF_AS_ISSUER, DEVICE.public_key(), f"locker://{SITE}", now_s=NOW_S - 9, days=9, serial=1
    ),
    *LEAF_AS_ISSUER.chain,
    *ISSUING.chain,
)
OF_ANOTHER_ROOT = authority.pem(
    authority.issue(
        under(rooted(70), 71), DEVICE.public_key(), f"locker://{SITE}",
        now_s=NOW_S - 9, days=9, serial=1,
    ),
    *under(rooted(70), 71).chain,
)  # fmt: skip


@pytest.mark.parametrize(
    ("changed", "what"),
    [
        ({"operator": "other.example"}, "site"),
        ({"site": f"{OPERATOR}/site/0043"}, "name"),
        ({"site": "other.example/site/0042"}, "site"),
        ({"site": f"{OPERATOR}/site/"}, "site"),
        ({"site": f"{OPERATOR}/site/../0042"}, "site"),
        ({"certificate": leaf(p256(9))}, "key"),
        ({"certificate": leaf(uri=f"locker://{OPERATOR}/site/0043")}, "name"),
        ({"certificate": leaf(now_s=NOW_S - 400 * 86_400)}, "dates"),
        ({"certificate": leaf(now_s=NOW_S + 600)}, "dates"),
        ({"certificate": wide((authority.SERVER,))}, "usage"),
        ({"certificate": authority.pem(loaded(leaf()))}, "chain"),
        ({"certificate": FORGED}, "chain"),
        ({"certificate": OF_ANOTHER_ROOT}, "chain"),
        ({"certificate": leaf() + authority.pem(rooted(70).certificate)}, "chain"),
        ({"writer": COSIGNER.vkey}, "vkey"),
        ({"writer": ""}, "vkey"),
        ({"cosigner": WRITER.vkey}, "vkey"),
        ({"cosigner": ed25519(COSIGNER.name, 5, KIND_NOTE).vkey}, "vkey"),
        ({"code_key": ""}, "code_key"),
        ({"code_key": "!"}, "code_key"),
        ({"code_key": base64.b64encode(bytes(31)).decode()}, "code_key"),
        ({"key_version": 0}, "code_key"),
        ({"key_version": 65_536}, "code_key"),
        ({"link_url": "http://hub.example"}, "url"),
        ({"renew_url": "https://hub.example/\n"}, "url"),
    ],
)
def test_last_answers_that_do_not_fit(changed: dict[str, object], what: str) -> None:
    with pytest.raises(TrustInvalid) as caught:
        enrol.open_answer(enrol_answer(**changed), trusted(), DEVICE, now_s=NOW_S)
    assert refusal(caught) == ("enrol.answer", what)


def test_a_site_that_has_a_name_takes_no_other() -> None:
    opened = enrol.open_answer(enrol_answer(), trusted(), DEVICE, SITE, now_s=NOW_S)
    assert opened.site == SITE
    with pytest.raises(TrustInvalid) as caught:
        enrol.open_answer(enrol_answer(), trusted(), DEVICE, f"{OPERATOR}/site/0043", now_s=NOW_S)
    assert refusal(caught) == ("enrol.answer", "site")


def test_a_certificate_that_is_none_is_refused_with_its_own_code() -> None:
    with pytest.raises(CertificateInvalid) as caught:
        enrol.open_answer(enrol_answer(certificate=""), trusted(), DEVICE, now_s=NOW_S)
    assert caught.value.code == "certificate.malformed"


def test_an_issuing_authority_is_no_leaf() -> None:
    pem = authority.pem(*ISSUING.chain)
    with pytest.raises(CertificateInvalid) as unnamed:
        enrol.check_leaf(pem, (ROOT.certificate,), ISSUING.key, "locker://a/hub", now_s=NOW_S)
    assert unnamed.value.code == "certificate.name"


def test_a_chain_may_end_with_the_root_and_cross_to_an_older_one() -> None:
    uri = f"locker://{SITE}"
    roots = (ROOT.certificate,)
    whole = leaf() + authority.pem(ROOT.certificate)
    enrol.check_leaf(whole, roots, DEVICE, uri, now_s=NOW_S)
    new = rooted(20)
    crossed = authority.cross_sign(ROOT, new.certificate, now_s=NOW_S - 9, serial=21)
    issuing = under(new, 22)
    made = authority.issue(issuing, DEVICE.public_key(), uri, now_s=NOW_S - 9, days=9, serial=23)
    pem = authority.pem(made, *issuing.chain, crossed)
    assert enrol.check_leaf(pem, roots, DEVICE, uri, now_s=NOW_S) == made
    short = authority.pem(made, *issuing.chain)
    enrol.check_leaf(short, (new.certificate,), DEVICE, uri, now_s=NOW_S)
    with pytest.raises(TrustInvalid):
        enrol.check_leaf(short, roots, DEVICE, uri, now_s=NOW_S)
    hub = leaf(uri="locker://a/hub", usages=(authority.SERVER,))
    enrol.check_leaf(hub, roots, DEVICE, "locker://a/hub", now_s=NOW_S, usage=authority.SERVER)


# --- requests -------------------------------------------------------------------------------------


def request(**changed: object) -> bytes:
    told = {
        "claim_id": claim.claim_id(CLAIM),
        "csr": base64.b64encode(authority.make_csr(DEVICE)).decode(),
        "proof": base64.b64encode(bytes(32)).decode(),
        "log_key": base64.b64encode(LOG_KEY).decode(),
    }
    return msgspec.json.encode({**told, **changed})


@pytest.mark.parametrize(
    "changed",
    [
        {"claim_id": ""},
        {"claim_id": "../" + "0" * 13},
        {"csr": "?"},
        {"proof": "?"},
        {"log_key": "?"},
        {"log_key": "AAAA"},
        {"site": "0042"},
        {"site": f"{OPERATOR}/site/0042\n"},
        {"key_versions": [0]},
        {"key_versions": [65_536]},
        {"key_versions": [2**70]},
        {"key_versions": [1.5]},
        {"key_versions": [1] * 65},
        {"more": 1},
    ],
)
def test_requests_that_are_refused(changed: dict[str, object]) -> None:
    with pytest.raises(TrustInvalid) as caught:
        enrol.read_request(request(**changed))
    assert caught.value.code == "enrol.request"


def test_requests_that_are_taken() -> None:
    for changed in ({}, {"site": SITE}, {"key_versions": [1, 65_535]}):
        found, csr, _, log_key = enrol.read_request(request(**changed))
        assert authority.read_csr(csr) == DEVICE.public_key()
        assert (log_key, found.site) == (LOG_KEY, changed.get("site", ""))


def test_a_renewal_brings_a_new_key_and_the_versions_in_use() -> None:
    found, csr = enrol.read_renewal(enrol.renewal(p256(9), (3, 4)))
    assert authority.read_csr(csr) == p256(9).public_key()
    assert found.key_versions == (3, 4)
    for spoilt in (
        b'{"csr": "?"}', b'{"csr": "", "key_versions": [0]}', b'{"csr": "", "site": "1"}',
    ):  # fmt: skip
        with pytest.raises(TrustInvalid) as caught:
            enrol.read_renewal(spoilt)
        assert caught.value.code == "enrol.request"


# --- nothing shows --------------------------------------------------------------------------------


def test_no_secret_shows_in_a_repr_or_an_error() -> None:
    going = machine()
    going.hear(trust_answer())
    going.hear(told_time())
    asked = going.ask()
    assert asked is not None
    read, csr, proof, _ = enrol.read_request(asked.body)
    answer = msgspec.json.decode(enrol_answer(), type=enrol.EnrolAnswer)
    shown = [repr(asked), repr(going), repr(read), repr(answer), repr(INVITATION)]
    going.hear(enrol_answer())
    shown += [repr(going.enrolled), f"{going.enrolled}"]
    code_key = base64.b64encode(CODE_KEY).decode()
    wrong = enrol_answer(key_version=0), enrol_answer(writer=code_key), enrol_answer(site=1)
    for body in (*wrong, enrol_answer()[:-1]):
        with pytest.raises(CertsError) as caught:
            enrol.open_answer(body, trusted(), DEVICE, now_s=NOW_S)
        shown += [repr(caught.value), str(caught.value), repr(caught.value.evidence)]
    secrets = [
        CLAIM.hex(), repr(CLAIM), claim.write(CLAIM), CODE_KEY.hex(), repr(CODE_KEY), code_key,
        proof.hex(), base64.b64encode(proof).decode(), base64.b64encode(csr).decode(), URL + "x",
    ]  # fmt: skip
    assert [one for one in secrets if one in "\n".join(shown)] == []
