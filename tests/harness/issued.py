"""Certificates of a test's own authority in files, as a gateway shows them."""

import os
from datetime import UTC, datetime, timedelta

import trustme
from cryptography.hazmat.primitives import serialization


class Issued:
    """A certificate and its key for a loopback address, in two files that can be written anew.

    certificate, key  their paths
    """

    def __init__(self, folder, authority, host, **more):
        self.authority = authority
        self._host = host
        self.certificate, self.key = folder / f"{host}.pem", folder / f"{host}.key"
        self.renew(**more)

    def renew(self, authority=None, days=90):
        """Another pair takes their place, each file in one step; it ends in so many days."""
        now = datetime.now(UTC)
        made = (authority or self.authority).issue_cert(
            self._host, not_before=now - timedelta(days=400), not_after=now + timedelta(days=days)
        )
        self.put(self.certificate, b"".join(blob.bytes() for blob in made.cert_chain_pems))
        self.put(self.key, made.private_key_pem.bytes())

    @staticmethod
    def put(path, data):
        """Write a file for its owner alone, and put it there in one step."""
        fresh = path.with_name(f"{path.name}.new")
        fresh.write_bytes(data)
        fresh.chmod(0o600)
        os.rename(fresh, path)

    @property
    def flags(self):
        return ("--admin-tls-certificate", str(self.certificate), "--admin-tls-key", str(self.key))


def encrypted(pem, password=b"secret"):
    """The same key, which a password protects."""
    key = serialization.load_pem_private_key(pem, None)
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.BestAvailableEncryption(password)
    )


def another_authority():
    """One that nobody trusts."""
    return trustme.CA()
