"""An authority for the gateway and its clients: certificates of every kind, and lists of revoked ones."""

import ipaddress
from datetime import UTC, datetime, timedelta
from functools import cache

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

PEM = serialization.Encoding.PEM
DAY = timedelta(days=1)


@cache
def key(number=0):
    return ec.generate_private_key(ec.SECP256R1())


def key_pem(number=0):
    plain = serialization.NoEncryption()
    return key(number).private_bytes(PEM, serialization.PrivateFormat.PKCS8, plain)


def name(text):
    return x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, text)])


class Authority:
    """Signs certificates; all of them have one of a few keys. `above`: another authority, which has signed its own."""

    def __init__(self, common_name="Test CA", number=1, above=None):
        self.name, self.number = name(common_name), number
        now, issuer = datetime.now(UTC), above or self
        made = x509.CertificateBuilder(
            issuer.name, self.name, key(number).public_key(), number, now - DAY, now + 30 * DAY
        )
        made = made.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        self.certificate = made.sign(key(issuer.number), hashes.SHA256())
        self.pem = self.certificate.public_bytes(PEM)
        self._serial = 1000

    def issue(self, *common_names, names=(), begins=-1.0, ends=7.0, number=0, extended=()):
        """A certificate; `begins` and `ends` are in days from now, `names` are general names (x509) or DNS names."""
        self._serial += 1
        now = datetime.now(UTC)
        subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, one) for one in common_names])
        made = x509.CertificateBuilder(
            self.name, subject, key(number).public_key(), self._serial, now + begins * DAY, now + ends * DAY
        )
        general = [one if isinstance(one, x509.GeneralName) else x509.DNSName(one) for one in names]
        if general:
            made = made.add_extension(x509.SubjectAlternativeName(general), critical=False)
        if extended:
            made = made.add_extension(x509.ExtendedKeyUsage(extended), critical=False)
        return made.sign(key(self.number), hashes.SHA256())

    def server(self, host, **more):
        """For a gateway that clients reach at this address."""
        return self.issue("gateway", names=[x509.IPAddress(ipaddress.ip_address(host))], **more)

    def crl(self, *revoked, ends=7.0):
        """A list with these certificates, as PEM."""
        now = datetime.now(UTC)
        made = x509.CertificateRevocationListBuilder(self.name, now - 2 * DAY, now + ends * DAY)
        for one in revoked:
            entry = x509.RevokedCertificateBuilder(one.serial_number, now - DAY)
            made = made.add_revoked_certificate(entry.build())
        return made.sign(key(self.number), hashes.SHA256()).public_bytes(PEM)


def pem(*certificates):
    return b"".join(one.public_bytes(PEM) for one in certificates)


def write(path, *certificates, number=0):
    """Certificate and key in one file; its path."""
    path.write_bytes(pem(*certificates) + key_pem(number))
    path.chmod(0o600)
    return str(path)
