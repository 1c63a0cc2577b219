"""The public keys that lists are signed with: Ed25519 (RFC 8032), one word each: ed25519: and the key in base64."""

import base64
import re
from typing import Any

from ogw.language.messages import gettext as _

KIND = "ed25519:"
SIZE = 32  # bytes
_WORD = re.compile(r"ed25519:[A-Za-z0-9+/]{43}=\Z")
_P = 2**255 - 19
_D = -121665 * pow(121666, -1, _P) % _P


def parse_key(text: str) -> str:
    """A public key, as its word. Raises ValueError.

    The cryptography package is imported here and now: where a key is set the supervisor has it before it forks.
    """
    if not _WORD.match(text):
        raise ValueError(_("it is not a public key as `ogw sign` shows it: ed25519: and 44 characters, the last one ="))
    key = base64.b64decode(text.removeprefix(KIND))
    if word_of(key) != text:
        raise ValueError(_("it is not a public key as `ogw sign` shows it: its last characters are wrong"))
    if _is_of_small_order(key):
        raise ValueError(_("it is a key for which anybody can make signatures, such as one of zeros only"))
    _loaded(key)
    return text


def word_of(key: bytes) -> str:
    """The word for the 32 bytes of a public key."""
    return KIND + base64.b64encode(key).decode("ascii")


def has_signed(word: str, signature: bytes, text: bytes) -> bool:
    """Whether the owner of this key signed this text."""
    from cryptography.exceptions import InvalidSignature

    try:
        _loaded(base64.b64decode(word.removeprefix(KIND))).verify(signature, text)
    except InvalidSignature:
        return False
    return True


def _loaded(key: bytes) -> Any:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    return Ed25519PublicKey.from_public_bytes(key)


def _is_of_small_order(key: bytes) -> bool:
    """Whether its point comes to nothing after eight steps; no library asks, and zeros are such a key.

    On -x^2 + y^2 = 1 + d x^2 y^2 these have y = 1, -1 or 0, or the y of a point of order eight, whose x^2 is -y^2.
    """
    y = (int.from_bytes(key, "little") & (1 << 255) - 1) % _P
    return y in (0, 1, _P - 1) or (_D * pow(y, 4, _P) + 2 * y * y - 1) % _P == 0
