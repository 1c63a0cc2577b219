"""Who signs lists, made by hand from docs/lists.md: a second opinion of what ogw reads and writes."""

import base64
import hashlib

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

LATER = "2099-01-01T00:00:00Z"


class Signer:
    """word: its public key, as the settings take it"""

    def __init__(self):
        self.key = Ed25519PrivateKey.generate()
        raw = self.key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
        self.word = f"ed25519:{base64.b64encode(raw).decode()}"

    @property
    def pem(self):
        return self.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())

    def sign(self, body, serial=1, name="hosts.txt", expires=LATER, key=None):
        """The text beside a list; `key` is the word that it names, whoever signs."""
        text = (
            f"signed-list: ogw 1\nname: {name}\nserial: {serial}\nexpires: {expires}\n"
            f"sha256: {hashlib.sha256(body).hexdigest()}\nkey: {key or self.word}\n"
        ).encode()
        return text + b"signature: " + base64.b64encode(self.key.sign(text)) + b"\n"
