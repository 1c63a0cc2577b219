"""Who a client is by the certificate of its TLS leg, and whether that certificate may be its still.

The chain was verified by TLS when the client came (settings/listen_tls.py has the context). What is asked here is what
other authorities and revocation lists, which came later, say of it.
"""

import hashlib
import math
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, NamedTuple, Optional

from ogw.policy.decision import Reason
from ogw.policy.names import ALTERNATIVE_NAME, COMMON_NAME, LONGEST, Names
from ogw.policy.subjects import read_by_others, shown

MOST_NAMES = 64  # of a certificate; one that is beyond, or longer than a rule's can be, is nobody's name
MOST_KEPT = 512  # identities, for clients that come again


class Issued(NamedTuple):
    """One certificate of a chain.

    fingerprint  of the client's own: SHA-256; of an authority: that of its name and key, since one whose certificate
                 is renewed is the same
    issuer       its name, as DER
    """

    fingerprint: bytes
    issuer: bytes
    serial: int


class Identity(NamedTuple):
    """
    subject  RFC 4514 text, as a log line may show it
    names    as rules have them: its common names, and its alternative names (DNS, e-mail, URI, IP)
    until    Unix seconds, of its last moment
    chain    the client's own first, the authority that is trusted last
    """

    subject: str
    names: Names
    until: float
    chain: tuple[Issued, ...]


@lru_cache(MOST_KEPT)
def identity_of(chain: tuple[bytes, ...]) -> Identity:
    """Of a chain that was verified, as DER, the client's own first. Raises ValueError where it cannot be read."""
    from cryptography import x509  # takes 100 ms; who asks has imported it before

    def read() -> Identity:
        certificates = [x509.load_der_x509_certificate(der) for der in chain]
        own = certificates[0]
        names = [*_common_names(own), *_alternative_names(own)]
        short = [name for name in names if len(name) <= LONGEST][:MOST_NAMES]
        prints = [hashlib.sha256(chain[0]).digest(), *map(_name_and_key, certificates[1:])]
        issued = map(_issued, certificates, prints)
        subject = shown(own.subject.rfc4514_string())
        return Identity(subject, frozenset(short), moment(own, "not_valid_after") or 0.0, tuple(issued))

    return read_by_others(read)


def _issued(certificate: Any, fingerprint: bytes) -> Issued:
    return Issued(fingerprint, certificate.issuer.public_bytes(), certificate.serial_number)


def _name_and_key(certificate: Any) -> bytes:
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    try:
        key = certificate.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    except (ValueError, UnsupportedAlgorithm):  # of a kind that only OpenSSL knows: it is the one with this certificate
        key = certificate.public_bytes(Encoding.DER)
    return hashlib.sha256(certificate.subject.public_bytes() + key).digest()


def _common_names(certificate: Any) -> list[str]:
    from cryptography.x509 import NameOID

    found = certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    return [f"{COMMON_NAME}{one.value}" for one in found if isinstance(one.value, str)]


def _alternative_names(certificate: Any) -> list[str]:
    from cryptography import x509

    kinds = x509.DNSName, x509.RFC822Name, x509.UniformResourceIdentifier, x509.IPAddress
    try:
        listed = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return []
    return [f"{ALTERNATIVE_NAME}{one.value}" for one in listed if isinstance(one, kinds)]


def moment(thing: Any, name: str) -> Optional[float]:
    """A time of a certificate or a revocation list in Unix seconds; None where it has none."""
    # Versions of cryptography before 42 know it without its zone only, and newer ones do not like to be asked so.
    value: Optional[datetime] = getattr(thing, f"{name}_utc") if hasattr(thing, f"{name}_utc") else getattr(thing, name)
    if value is None:
        return None
    return (value if value.tzinfo is not None else value.replace(tzinfo=UTC)).timestamp()


class Revocations:
    """Certificate revocation lists: PEM, one or several, or DER. Raises ValueError where it is none of these.

    until    Unix seconds, when the first of them is to be replaced; None where none says so
    issuers  of the authorities whose they are: names as DER
    """

    def __init__(self, data: bytes) -> None:
        from cryptography import x509

        def read() -> list[Any]:
            return [x509.load_pem_x509_crl(one) for one in _blocks(data, b"X509 CRL")] or [x509.load_der_x509_crl(data)]

        self._lists: dict[bytes, list[Any]] = {}
        found = read_by_others(read)
        for one in found:
            self._lists.setdefault(one.issuer.public_bytes(), []).append(one)
        ends = {issuer: [moment(one, "next_update") for one in lists] for issuer, lists in self._lists.items()}
        self.until = min((time for times in ends.values() for time in times if time is not None), default=None)
        self._ends = {issuer: max(time or math.inf for time in times) for issuer, times in ends.items()}
        self.issuers = frozenset(self._lists)
        self._found = found
        self._serials: dict[bytes, frozenset[int]] = {}  # that are revoked, of the authorities that were asked for

    def pem(self) -> bytes:
        """All of them, as OpenSSL reads them."""
        from cryptography.hazmat.primitives.serialization import Encoding

        return b"".join(one.public_bytes(Encoding.PEM) for one in self._found)

    def is_unknown(self, one: Issued, now: float) -> bool:
        """Nobody can say whether it is revoked: its authority has no list here, or none that is still to be used."""
        return self._ends.get(one.issuer, 0.0) <= now

    def revoked(self, one: Issued) -> bool:
        # A list is searched from its front: hundreds of tunnels that ask one of thousands would stop all others.
        serials = self._serials.get(one.issuer)
        if serials is None:
            lists = self._lists.get(one.issuer, ())
            serials = self._serials[one.issuer] = frozenset(entry.serial_number for of in lists for entry in of)
        return one.serial in serials


def certificates_in(data: bytes) -> list[Any]:
    """Of a PEM file, in its order. Raises ValueError where one cannot be read."""
    from cryptography import x509

    return read_by_others(lambda: [x509.load_pem_x509_certificate(one) for one in _blocks(data, b"CERTIFICATE")])


def _blocks(data: bytes, what: bytes) -> list[bytes]:
    """Those of a PEM file; one without an end ends them all."""
    begin, end = b"-----BEGIN " + what + b"-----", b"-----END " + what + b"-----"
    found: list[bytes] = []
    at = 0
    while (begun := data.find(begin, at)) >= 0 and (ended := data.find(end, begun)) >= 0:
        at = ended + len(end)
        found.append(data[begun:at])
    return found


def fingerprints(certificate: Any) -> tuple[bytes, bytes]:
    """Of one that is trusted, as a client's own or as an authority: the ways in which `Issued` may have it."""
    from cryptography.hazmat.primitives.hashes import SHA256

    return bytes(certificate.fingerprint(SHA256())), _name_and_key(certificate)


class Authorities:
    """Whose certificates clients must have, now.

    trusted      fingerprints of the authorities
    revocations  None for none
    """

    def __init__(self, trusted: Sequence[bytes], revocations: Optional[Revocations]) -> None:
        self._trusted = frozenset(trusted)
        self._revocations = revocations

    def unknown(self, identity: Identity) -> bool:
        """Whether nobody can say of its certificates, without the trusted one, that none is revoked.

        Of the client's own TLS has asked that, and of all where each trusted one is a root; but not in a session that
        is taken up again.
        """
        lists, now = self._revocations, time.time()
        return lists is not None and any(lists.is_unknown(one, now) for one in identity.chain[:-1])

    def objection(self, identity: Optional[Identity]) -> Optional[tuple[Reason, str]]:
        """Why a client with this identity, or without one, could not come in now; None where it could."""
        if identity is None:
            told = "it has shown no certificate (listen-client-certificate)"
            return Reason.CLIENT_TLS_CERTIFICATE_MISSING, told
        if not any(one.fingerprint in self._trusted for one in identity.chain):
            told = f"the authority of its certificate, {identity.subject}, is not trusted any more (listen-client-ca)"
            return Reason.CLIENT_TLS_CERTIFICATE_UNTRUSTED, told
        if self._revocations is not None and any(map(self._revocations.revoked, identity.chain)):
            told = f"its certificate, {identity.subject}, is revoked (listen-client-crl)"
            return Reason.CLIENT_TLS_CERTIFICATE_REVOKED, told
        if identity.until <= time.time():
            return Reason.CLIENT_TLS_CERTIFICATE_EXPIRED, f"its certificate, {identity.subject}, has expired"
        return None
