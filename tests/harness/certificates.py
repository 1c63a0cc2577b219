"""Client certificates with subjects of the test's own choice, signed by themselves."""

from datetime import UTC, datetime, timedelta
from functools import cache

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

OIDS = x509.NameOID
_key = cache(lambda: ec.generate_private_key(ec.SECP256R1()))


def name(*rdns):
    """A subject from RDNs: each is (OID, text), or a list of those for a multi-valued one."""
    listed = [rdn if isinstance(rdn, list) else [rdn] for rdn in rdns]
    return x509.Name(
        [x509.RelativeDistinguishedName([x509.NameAttribute(oid, text) for oid, text in rdn]) for rdn in listed]
    )


def certificate(subject):
    """The certificate as DER."""
    now = datetime.now(UTC)
    made = x509.CertificateBuilder(subject, subject, _key().public_key(), 7, now, now + timedelta(days=1))
    return made.sign(_key(), hashes.SHA256()).public_bytes(serialization.Encoding.DER)


def with_common_names(*names):
    """A certificate with these common names and nothing else."""
    return certificate(name(*((OIDS.COMMON_NAME, text) for text in names)))


def write(path, der):
    """Certificate and key as one PEM file, for a client."""
    key = _key().private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    path.write_bytes(x509.load_der_x509_certificate(der).public_bytes(serialization.Encoding.PEM) + key)
    return str(path)
