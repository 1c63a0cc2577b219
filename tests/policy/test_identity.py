"""Who a client is by its certificate, and whether it may be that still."""

import ipaddress
import time
from contextlib import suppress
from typing import NamedTuple

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from harness.growth import assert_linear
from harness.pki import Authority

from ogw.policy.identity import (
    MOST_NAMES,
    Authorities,
    Revocations,
    certificates_in,
    fingerprints,
    identity_of,
    moment,
)
from ogw.policy.names import LONGEST

OWN, OTHER = Authority(), Authority("Other CA", 2)


def der(*certificates):
    return tuple(one.public_bytes(Encoding.DER) for one in certificates)


def identity(certificate, authority=OWN):
    return identity_of(der(certificate, authority.certificate))


def test_all_its_names_are_known_exactly_as_they_are():
    names = [
        x509.DNSName("Till-7.example.com"),
        x509.RFC822Name("till-7@example.com"),
        x509.UniformResourceIdentifier("spiffe://example.com/till/7"),
        x509.IPAddress(ipaddress.ip_address("2001:db8::7")),
        x509.OtherName(x509.ObjectIdentifier("1.3.6.1.4.1.311.20.2.3"), b"\x0c\x01x"),
    ]
    known = identity(OWN.issue("Till 7", "till-7", names=names))
    assert known.names == {
        *("cn:Till 7", "cn:till-7", "san:Till-7.example.com", "san:till-7@example.com"),
        *("san:spiffe://example.com/till/7", "san:2001:db8::7"),
    }
    assert known.subject == "CN=till-7,CN=Till 7"


def test_names_are_bounded_in_number_and_length():
    many = identity(OWN.issue("till", names=[f"n{number}.example" for number in range(500)]))
    assert len(many.names) == MOST_NAMES and "cn:till" in many.names
    long = identity(OWN.issue("till", names=["x" * LONGEST]))
    assert long.names == {"cn:till"}


def test_what_cannot_be_read_is_nobody():
    with pytest.raises(ValueError, match="ValueError"):
        identity_of((b"0\x03\x02\x01\x01",))


def test_lists_are_read_as_pem_one_after_another_or_der():
    bad, good = OWN.issue("bad"), OWN.issue("good")
    listed = OWN.crl(bad)
    one = x509.load_pem_x509_crl(listed).public_bytes(Encoding.DER)
    for data in (listed, one, OTHER.crl() + listed, b"# a comment\n" + listed + OTHER.crl(ends=90)):
        lists = Revocations(data)
        assert lists.until == moment(x509.load_pem_x509_crl(listed), "next_update")
        assert lists.revoked(identity(bad).chain[0]) and not lists.revoked(identity(good).chain[0])
        # Numbers of serials are each authority's own.
        assert not lists.revoked(identity(bad).chain[0]._replace(issuer=OTHER.name.public_bytes()))
    for data in (b"", b"nonsense", OWN.pem):
        with pytest.raises(ValueError, match=r"."):
            Revocations(data)


class Gone(NamedTuple):
    """As a revoked certificate is named in a list."""

    serial_number: int


def test_many_tunnels_are_soon_found_not_to_be_in_a_long_list():
    lists = Revocations(OWN.crl(*map(Gone, range(10**6, 10**6 + 20_000))))
    till = identity(OWN.issue("till")).chain[0]
    assert lists.revoked(till._replace(serial=10**6 + 19_999))
    began = time.process_time()
    assert not any(lists.revoked(till) for _tunnel in range(10_000))
    assert time.process_time() - began < 2  # 2 ms here; 8 s where the list is gone through


def objection(certificate, authorities=(OWN,), crl=b""):
    listed = [one for authority in authorities for one in certificates_in(authority.pem)]
    trusted = [known for one in listed for known in fingerprints(one)]
    revocations = Revocations(crl) if crl else None
    found = Authorities(trusted, revocations).objection(certificate and identity(certificate))
    return "" if found is None else found[1]


def test_who_could_come_in_now_may_be_there_still():
    till = OWN.issue("till")
    assert objection(till) == "" and objection(till, (OTHER, OWN), OWN.crl()) == ""
    renewed = Authority()
    assert renewed.pem != OWN.pem and objection(till, (renewed,)) == "", "its certificate is another, its key is not"
    assert "listen-client-ca" in objection(till, (Authority(number=3),))
    assert "listen-client-certificate" in objection(None)
    assert "listen-client-ca" in objection(till, (OTHER,))
    assert "is revoked (listen-client-crl)" in objection(till, crl=OTHER.crl() + OWN.crl(till))
    assert "has expired" in objection(OWN.issue("till", ends=-0.1))


def test_its_end_is_known():
    certificate = OWN.issue("till", ends=1)
    assert identity(certificate).until == pytest.approx(time.time() + 86400, abs=60)


@pytest.mark.parametrize("read", [certificates_in, Revocations])
@pytest.mark.parametrize("what", [b"CERTIFICATE", b"X509 CRL"])
def test_the_time_for_blocks_that_only_begin_grows_with_their_number(read, what):
    def work(count):
        with suppress(ValueError):
            read(b"-----BEGIN %s-----\n" % what * count)

    assert_linear(work, 2000)
