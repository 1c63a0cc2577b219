"""What a sentence may show of foreign bytes: in quotes, escaped, bounded, and never what may be a secret."""

import re
from ipaddress import IPv6Address

LONGEST_IPV6 = 45  # as text, its last part written as IPv4

# The beginning of a line that may be quoted: no secret is expected in front of a colon.
_FIRST_WORD = re.compile(rb"[^\x00- :]++")
_AT = re.compile(rb"@|%40")  # behind user information (RFC 3986, section 3.2.1)
_PLACE = re.compile(
    rb"(?:[A-Za-z][A-Za-z0-9+.-]*+://[^:/?#]++|\[[0-9A-Fa-f:.]*+\]|[^:/?#][^:?#]*+)(?::[0-9]{1,5}\Z|(?=[:/?#]|\Z))"
)
_DIGITS = re.compile(rb"[0-9]{1,5}\Z")


def quoted(raw: bytes, longest: int = 80) -> str:
    """Foreign bytes as a log line may show them: in quotes, escaped and cut."""
    shown = raw[:longest].decode("latin-1").encode("unicode_escape").decode("ascii").replace('"', '\\"')
    return f'"{shown}"' + ("..." if len(raw) > longest else "")


def carries_user(text: bytes) -> bool:
    """A target, or a line, has user information in it."""
    return _AT.search(text) is not None


def beginning(line: bytes) -> str:
    """What a sentence may show of a line that is not understood: its first word, and none of one with credentials."""
    word = _FIRST_WORD.match(line)
    return f": {quoted(word[0])}" if word is not None and not carries_user(line) else ""


def target_shown(text: bytes) -> str:
    """A target as a sentence may show it: up to what may be a password or a token, behind a colon or in a URL."""
    shown = _address_in(text)
    if not shown:
        place = _PLACE.match(text)
        shown = b"" if place is None else place[0]
    if not shown:
        return "the target"
    return f"the target {quoted(shown)}" if shown == text else f"the target that begins with {quoted(shown)}"


def _address_in(text: bytes) -> bytes:
    """What it begins with that is an IPv6 address, whose colons have no secret behind them; b"" for anything else.

    These are written without their brackets, or with a zone.
    """
    if _is_ipv6(text):
        return text
    host, _colon, port = text.rpartition(b":")
    if _is_ipv6(host):
        return text if _DIGITS.match(port) else host
    address, zone, _rest = text.partition(b"%")
    return address if zone and address[:1] == b"[" and _is_ipv6(address[1:]) else b""


def _is_ipv6(text: bytes) -> bool:
    try:
        return len(text) <= LONGEST_IPV6 and IPv6Address(text.decode("ascii")).scope_id is None
    except ValueError:
        return False
