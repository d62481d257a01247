"""One operator with everything certs makes of its keys, the same each time: for tests of certs."""

import base64

import msgspec
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec

from certs import authority, claim, enrol, trust
from certs.authority import Authority, PrivateKey
from certs.capability import Action, Capability, sign
from certs.keys import KIND_COSIGNATURE, SigningKey

OPERATOR = "lockers.example"
SITE = f"{OPERATOR}/site/0042"
NOW_S = 1_790_000_000
CLAIM = bytes(range(16))
NONCE = bytes(range(16, 32))
LOG_KEY = bytes(range(32))
CODE_KEY = bytes(range(100, 132))
URL = "https://hub.lockers.example:8700"


def p256(number: int) -> PrivateKey:
    return ec.derive_private_key(number, ec.SECP256R1())


def ed25519(name: str, number: int, kind: int = 1) -> SigningKey:
    return SigningKey.from_seed(name, bytes([number]) * 32, kind)


def rooted(number: int = 1, operator: str = OPERATOR) -> Authority:
    key = p256(number)
    return Authority(authority.make_root(key, operator, now_s=NOW_S - 9, serial=number), key)


def under(root: Authority, number: int = 2, operator: str = OPERATOR) -> Authority:
    key = p256(number)
    issuing = authority.make_issuing(
        root, key.public_key(), operator, now_s=NOW_S - 9, serial=number
    )
    return Authority(issuing, key)


ROOT = rooted()
ISSUING = under(ROOT)
DEVICE = p256(3)
TRUST, TIME = ed25519(f"{OPERATOR}/trust", 1), ed25519(f"{OPERATOR}/time", 2)
GRANTS = ed25519(f"{OPERATOR}/grants", 3)
WRITER = ed25519(f"{OPERATOR}/hub/0042", 4)
COSIGNER = ed25519(f"{OPERATOR}/hub/0042/cosigner", 5, KIND_COSIGNATURE)
INVITATION = claim.Invitation(CLAIM, authority.fingerprint_of(ROOT.certificate), URL)
ANCHORS = trust.Anchors(OPERATOR, 1, (trust.der_of(ROOT.certificate),))
DENIALS = trust.Denials(OPERATOR, 7, NOW_S, (GRANTS.vkey,), {"00" * 8: NOW_S + 60})
COURIER = Capability(
    audience=SITE,
    action=Action.COURIER,
    cti=bytes(range(8)),
    not_before_s=NOW_S,
    expires_s=NOW_S + 86_400,
    subject="acme",
)
CAPABILITY = sign(COURIER, GRANTS)


def leaf(key: PrivateKey = DEVICE, uri: str = f"locker://{SITE}", **how: object) -> str:
    told = {"now_s": NOW_S - 60, "days": 365, "serial": 9, **how}
    made = authority.issue(ISSUING, key.public_key(), uri, **told)  # type: ignore[arg-type]
    return authority.pem(made, *ISSUING.chain)


def loaded(pem: str) -> x509.Certificate:
    return authority.from_pem(pem)[0]


def trust_answer(**changed: str) -> bytes:
    endorsement = trust.endorse(ROOT.key, TRUST.verifier, TIME.verifier)
    told = {
        "operator": OPERATOR,
        "roots": authority.pem(ROOT.certificate),
        "trust_vkey": TRUST.vkey,
        "time_vkey": TIME.vkey,
        "endorsement": endorsement.signature,
        "anchors": trust.sign(ANCHORS, TRUST),
        "denials": trust.sign(DENIALS, TRUST),
    }
    return msgspec.json.encode({**told, **changed})


def enrol_answer(**changed: object) -> bytes:
    told = {
        "operator": OPERATOR,
        "site": SITE,
        "certificate": leaf(),
        "link_url": f"{URL}/sites/0042",
        "renew_url": URL,
        "writer": WRITER.vkey,
        "cosigner": COSIGNER.vkey,
        "key_version": 1,
        "code_key": base64.b64encode(CODE_KEY).decode(),
    }
    return msgspec.json.encode({**told, **changed})


def machine(**how: object) -> enrol.Enrolling:
    return enrol.Enrolling(INVITATION, DEVICE, LOG_KEY, NONCE, **how)  # type: ignore[arg-type]


def trusted() -> enrol.Trusted:
    return enrol.open_trust(trust_answer(), pinned=INVITATION.root)
