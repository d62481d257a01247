"""Pins certificates: what each says, who may sign whom, and that nothing odd gets past a reader."""

import datetime as dt

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.x509.oid import NameOID

from certs import authority
from certs.authority import CLIENT, DAY_S, SERVER, Authority
from certs.errors import CertificateInvalid
from tests.operator_keys import DEVICE, ISSUING, NOW_S, OPERATOR, ROOT, leaf, loaded, p256, under

NAME = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "somebody")])


def code_of(caught: pytest.ExceptionInfo[CertificateInvalid]) -> str:
    return caught.value.code


def odd(*extensions: x509.ExtensionType, key: object = DEVICE) -> x509.Certificate:
    """A certificate of the issuing authority's key that its room would never make."""
    builder = (
        x509.CertificateBuilder()
        .subject_name(NAME)
        .issuer_name(ISSUING.certificate.subject)
        .public_key(key.public_key())  # type: ignore[attr-defined]
        .serial_number(1)
        .not_valid_before(dt.datetime(2026, 1, 1, tzinfo=dt.UTC))
        .not_valid_after(dt.datetime(9999, 12, 31, 23, 59, 59, tzinfo=dt.UTC))
    )
    for one in extensions:
        builder = builder.add_extension(one, critical=False)
    return builder.sign(ISSUING.key, hashes.SHA256())


def names(*uris: str) -> x509.SubjectAlternativeName:
    return x509.SubjectAlternativeName([x509.UniformResourceIdentifier(one) for one in uris])


# --- making ---------------------------------------------------------------------------------------


def test_the_three_levels_say_what_they_are() -> None:
    root, issuing, device = ROOT.certificate, ISSUING.certificate, loaded(leaf())
    assert authority.issued_by(root, root)
    assert authority.issued_by(issuing, root)
    assert authority.issued_by(device, issuing)
    assert not authority.issued_by(device, root)
    assert [authority.is_authority(one) for one in (root, issuing, device)] == [True, True, False]
    assert authority.uri_of(device) == f"locker://{OPERATOR}/site/0042"
    assert authority.allows(device, CLIENT)
    assert not authority.allows(device, SERVER)
    assert not authority.allows(root, CLIENT)
    assert ISSUING.chain == (issuing,)
    assert Authority(issuing, ISSUING.key, (root,)).chain == (issuing, root)
    for one, depth in ((root, 1), (issuing, 0)):
        limits = one.extensions.get_extension_for_class(x509.BasicConstraints)
        assert (limits.critical, limits.value.path_length) == (True, depth)
    for one in (root, issuing, device):
        kinds = {type(each.value) for each in one.extensions}
        assert {x509.SubjectKeyIdentifier, x509.AuthorityKeyIdentifier, x509.KeyUsage} <= kinds


def test_nothing_outlives_its_issuer() -> None:
    late = authority.ends_s(ROOT.certificate) - DAY_S
    issuing = authority.make_issuing(ROOT, p256(4).public_key(), OPERATOR, now_s=late, serial=4)
    device = authority.issue(
        Authority(issuing, p256(4)), DEVICE.public_key(), "locker://a/hub",
        now_s=late, days=400, serial=5,
    )  # fmt: skip
    end = authority.ends_s(ROOT.certificate)
    assert authority.ends_s(issuing) == authority.ends_s(device) == end
    assert authority.begins_s(device) == late - authority.BACKDATE_S
    young = authority.make_root(p256(5), OPERATOR, now_s=late, serial=5)
    crossed = authority.cross_sign(ROOT, young, now_s=late, serial=6)
    assert authority.ends_s(crossed) == end < authority.ends_s(young)
    assert authority.public_key(crossed) == authority.public_key(young)
    assert authority.issued_by(crossed, ROOT.certificate)


def test_what_is_over_signs_nothing_any_more() -> None:
    end = authority.ends_s(ROOT.certificate)
    young = authority.make_root(p256(5), OPERATOR, now_s=end, serial=5)
    with pytest.raises(CertificateInvalid) as caught:
        authority.make_issuing(ROOT, p256(4).public_key(), OPERATOR, now_s=end, serial=4)
    assert code_of(caught) == "authority.expired"
    with pytest.raises(CertificateInvalid) as caught:
        authority.cross_sign(ROOT, young, now_s=end, serial=4)
    assert code_of(caught) == "authority.expired"
    with pytest.raises(CertificateInvalid) as caught:
        leaf(now_s=authority.ends_s(ISSUING.certificate))
    assert code_of(caught) == "authority.expired"


def test_a_clock_that_died_still_makes_certificates() -> None:
    root = Authority(authority.make_root(p256(1), OPERATOR, now_s=0, serial=1), p256(1))
    assert authority.begins_s(root.certificate) == 0
    issuing = authority.make_issuing(root, DEVICE.public_key(), OPERATOR, now_s=9, serial=2)
    assert authority.begins_s(issuing) == 0


@pytest.mark.parametrize(
    ("uri", "hosts"),
    [
        ("", ()),
        ("https://lockers.example/hub", ()),
        ("locker://lockers.example/site/0042 ", ()),
        ("locker://lockers.example/site/ä", ()),
        ("locker://" + "a" * 201, ()),
        ("locker://a/hub", ("hüb.example",)),
    ],
)
def test_names_that_no_certificate_may_carry(uri: str, hosts: tuple[str, ...]) -> None:
    with pytest.raises(CertificateInvalid) as caught:
        leaf(uri=uri, hosts=hosts)
    assert code_of(caught) == "certificate.name"


def test_hosts_are_names_or_addresses() -> None:
    made = loaded(leaf(hosts=("hub.example", "192.0.2.7", "[2001:db8::7]")))
    told = made.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert told.get_values_for_type(x509.DNSName) == ["hub.example"]
    assert [str(one) for one in told.get_values_for_type(x509.IPAddress)] == [
        "192.0.2.7", "2001:db8::7",
    ]  # fmt: skip


def test_uris_of_this_operator() -> None:
    assert authority.site_uri("op", "1") == "locker://op/site/1"
    assert authority.hub_uri("op") == "locker://op/hub"
    assert authority.backend_uri("op", "shop") == "locker://op/backend/shop"


def test_renewal_begins_after_a_third_and_is_spread_over_a_tenth() -> None:
    made = loaded(leaf(now_s=NOW_S, days=300))
    life = 300 * DAY_S + authority.BACKDATE_S
    begins = NOW_S - authority.BACKDATE_S
    assert authority.renews_s(made) == begins + life // 3
    assert authority.renews_s(made, 1.0) == begins + life // 3 + life // 10


# --- requests -------------------------------------------------------------------------------------


def test_a_request_brings_its_key_and_nothing_else() -> None:
    csr = authority.make_csr(DEVICE)
    assert authority.read_csr(csr) == DEVICE.public_key()
    assert x509.load_der_x509_csr(csr).subject == x509.Name([])


def request(key: object, *, named: bool = False) -> bytes:
    builder = x509.CertificateSigningRequestBuilder().subject_name(NAME)
    if named:
        builder = builder.add_extension(names("locker://lockers.example/hub"), critical=True)
    algorithm = None if isinstance(key, ed25519.Ed25519PrivateKey) else hashes.SHA256()
    made = builder.sign(key, algorithm)  # type: ignore[arg-type]
    return made.public_bytes(serialization.Encoding.DER)


def test_names_in_a_request_are_ignored() -> None:
    assert authority.read_csr(request(DEVICE, named=True)) == DEVICE.public_key()


def test_requests_that_are_refused() -> None:
    spoilt = bytearray(authority.make_csr(DEVICE))
    spoilt[-1] ^= 1
    unknown = request(DEVICE).replace(bytes.fromhex("2a8648ce3d040302"), b"\x2a" * 8)
    rows = [
        (b"", "csr.malformed"),
        (b"\x30\x00", "csr.malformed"),
        (bytes(authority.CSR_BYTES_MAX + 1), "csr.malformed"),
        (request(DEVICE) + b"\0", "csr.malformed"),
        (request(rsa.generate_private_key(65537, 2048)), "csr.key"),
        (request(ed25519.Ed25519PrivateKey.generate()), "csr.key"),
        (request(ec.generate_private_key(ec.SECP384R1())), "csr.key"),
        (bytes(spoilt), "csr.signature"),
        (unknown, "csr.signature"),
    ]
    for data, code in rows:
        with pytest.raises(CertificateInvalid) as caught:
            authority.read_csr(data)
        assert code_of(caught) == code, data.hex()


# --- reading --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "extensions",
    [
        (),
        (x509.SubjectAlternativeName([x509.DNSName("locker.example")]),),
        (names("locker://a/hub", "locker://a/site/1"),),
        (names("https://a/hub"),),
        (names("locker://"),),
        (names("locker://a/site/1 2"),),
        (x509.UnrecognizedExtension(x509.SubjectAlternativeName.oid, b"\x30\x02\xa3\x00"),),
        (x509.UnrecognizedExtension(x509.SubjectAlternativeName.oid, b"\x30\x04\x86\x02\xff\xff"),),
        (x509.UnrecognizedExtension(x509.SubjectAlternativeName.oid, b"junk"),),
    ],
    ids=["none", "no_uri", "two", "foreign", "empty", "spaced", "x400", "bytes", "junk"],
)
def test_who_has_no_one_name_is_nobody(extensions: tuple[x509.ExtensionType, ...]) -> None:
    with pytest.raises(CertificateInvalid) as caught:
        authority.uri_of(odd(*extensions))
    assert code_of(caught) == "certificate.name"


def test_an_extension_that_is_there_twice_counts_as_none() -> None:
    # The builder refuses it, so the second one is made out of another of the same length.
    device = loaded(leaf())
    sans = x509.SubjectAlternativeName.oid.dotted_string
    der = device.public_bytes(serialization.Encoding.DER)
    twice = der.replace(bytes.fromhex("0603551d25"), bytes.fromhex("0603551d11"))
    assert sans == "2.5.29.17"
    assert twice != der
    found = authority.from_der(twice)
    with pytest.raises(CertificateInvalid) as caught:
        authority.uri_of(found)
    assert code_of(caught) == "certificate.name"
    assert not authority.allows(found, CLIENT)
    assert not authority.is_authority(found)


def test_an_authority_needs_both_marks() -> None:
    ca = x509.BasicConstraints(ca=True, path_length=None)
    sign = authority._usage(signs=False)
    assert authority.is_authority(odd(ca, sign))
    assert not authority.is_authority(odd(ca))
    assert not authority.is_authority(odd(ca, authority._usage(signs=True)))
    assert not authority.is_authority(odd(sign))
    assert not authority.is_authority(odd(x509.BasicConstraints(ca=False, path_length=None), sign))


def test_pins_and_fingerprints_are_64_hex_digits() -> None:
    assert len(authority.pin_of(DEVICE.public_key())) == 64
    assert len(authority.fingerprint_of(ROOT.certificate)) == 64
    assert authority.spki_of(DEVICE.public_key())[-64:] in authority.make_csr(DEVICE)


def test_pem_goes_out_and_comes_back_in_order() -> None:
    chain = (loaded(leaf()), ISSUING.certificate, ROOT.certificate)
    assert authority.from_pem(authority.pem(*chain)) == chain
    assert authority.from_pem("words before\n" + authority.pem(*chain) + "and after") == chain
    der = chain[0].public_bytes(serialization.Encoding.DER)
    assert authority.from_der(der) == chain[0]


def test_pem_that_is_refused() -> None:
    rsa_key = rsa.generate_private_key(65537, 2048)
    one = authority.pem(ROOT.certificate)
    strange = odd(key=rsa_key)
    foreign = strange.public_bytes(serialization.Encoding.DER).replace(
        bytes.fromhex("06092a864886f70d010101"), bytes.fromhex("06092a864886f70d01017f"), 1
    )
    rows = [
        ("", "certificate.malformed"),
        ("\ud800", "certificate.malformed"),
        (one[:-40], "certificate.malformed"),
        (one.replace("MII", "MIJ", 1), "certificate.malformed"),
        (one * 17, "certificate.malformed"),
        ("-" * (authority.PEM_BYTES_MAX + 1), "certificate.malformed"),
        (authority.pem(strange), "certificate.key"),
    ]
    for text, code in rows:
        with pytest.raises(CertificateInvalid) as caught:
            authority.from_pem(text)
        assert code_of(caught) == code, text[:80]
    assert len(authority.from_pem(one * 16)) == 16
    for data, code in ((b"\x30\x00", "certificate.malformed"), (foreign, "certificate.key")):
        with pytest.raises(CertificateInvalid) as caught:
            authority.from_der(data)
        assert code_of(caught) == code


def test_a_signature_of_an_unknown_kind_is_nobodys() -> None:
    der = loaded(leaf()).public_bytes(serialization.Encoding.DER)
    unknown = der.replace(bytes.fromhex("2a8648ce3d040302"), bytes.fromhex("2a8648ce3d04037f"))
    assert not authority.issued_by(authority.from_der(unknown), ISSUING.certificate)
    assert not authority.issued_by(loaded(leaf()), under(ROOT, 8).certificate)


# --- keys -----------------------------------------------------------------------------------------


def test_keys_go_to_the_store_and_come_back() -> None:
    data = authority.key_bytes(DEVICE)
    assert authority.key_from(data).private_numbers() == DEVICE.private_numbers()
    pkcs8 = serialization.PrivateFormat.PKCS8
    sealed = DEVICE.private_bytes(
        serialization.Encoding.DER, pkcs8, serialization.BestAvailableEncryption(b"x")
    )
    other = ec.generate_private_key(ec.SECP384R1()).private_bytes(
        serialization.Encoding.DER, pkcs8, serialization.NoEncryption()
    )
    for spoilt in (b"", data[:-1], data + b"\0", sealed, other):
        with pytest.raises(CertificateInvalid) as caught:
            authority.key_from(spoilt)
        assert code_of(caught) == "certificate.key"


def test_no_key_shows() -> None:
    secret = str(DEVICE.private_numbers().private_value)
    assert "key" not in repr(Authority(ROOT.certificate, DEVICE)).lower().replace("keyusage", "")
    assert secret not in repr(Authority(ROOT.certificate, DEVICE))
