"""Tokens of those who may ask for metrics from afar, as a file has them: one a line, so that they can be rotated."""

import codecs
import hashlib
import hmac
import os
import re

from ogw.language.messages import gettext as _
from ogw.machine.files import read_file, shown

SHORTEST, LONGEST = 16, 512  # characters: 16 of base64 are 96 bits
MOST = 16  # tokens of a file
LARGEST = 1 << 14  # bytes of it
_TOKEN = re.compile(r"[A-Za-z0-9._~+/-]+=*\Z")  # RFC 6750, b64token: what a header can carry


class Tokens:
    """Of those that were read, only hashes are kept: there is nothing that a log or a dump could show."""

    def __init__(self, tokens: list[str]) -> None:
        self._digests = tuple(_digest(one) for one in tokens)

    def same_as(self, other: "Tokens") -> bool:
        """Whether the same ones are in force."""
        return set(self._digests) == set(other._digests)

    def has(self, token: str) -> bool:
        """Whether it is one of them, in the same time whichever it resembles."""
        given = _digest(token)
        found = False
        for digest in self._digests:
            found |= hmac.compare_digest(digest, given)
        return found


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode("utf-8", "surrogateescape")).digest()


def read_tokens(path: str) -> list[str]:
    """Those in a file. Raises ValueError, whose sentence names the file and shows nothing of them."""
    try:
        data = read_file(path, LARGEST)
        mode = os.stat(path).st_mode
    except OSError as error:
        raise ValueError(f"{shown(path)}: {error.strerror or error}") from None
    if mode & 0o004:
        told = _("{file}: every user of this machine can read the token in it; chmod o-r it, and replace the token")
        raise ValueError(told.format(file=shown(path)))
    try:
        return _tokens_in(data)
    except ValueError as error:
        raise ValueError(f"{shown(path)}: {error}") from None


def _tokens_in(data: bytes) -> list[str]:
    """Raises ValueError."""
    if len(data) > LARGEST:
        raise ValueError(_("it is larger than {most} bytes").format(most=LARGEST))
    lines = data.removeprefix(codecs.BOM_UTF8).decode("ascii", "replace").splitlines()
    found = {number: line.strip() for number, line in enumerate(lines, 1) if line.strip()}
    if not found:
        raise ValueError(_("no token in it; `openssl rand -hex 32` makes one"))
    for number, token in found.items():
        if len(token) < SHORTEST:
            told = _("line {number}: a token needs {least} characters at least; `openssl rand -hex 32` makes one")
            raise ValueError(told.format(number=number, least=SHORTEST))
        if len(token) > LONGEST or not _TOKEN.match(token):
            told = _(
                "line {number}: it is no token, which has letters, digits and -._~+/ without blanks, {most} at most"
            )
            raise ValueError(told.format(number=number, most=LONGEST))
    if len(found) > MOST:
        raise ValueError(_("it has {count} tokens; at most {most} are possible").format(count=len(found), most=MOST))
    return list(found.values())
