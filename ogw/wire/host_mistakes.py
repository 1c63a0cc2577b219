"""What is wrong with the name or address of a host, for people; connect.parse_host has the words of the log."""

import re
import unicodedata

from ogw.language.messages import gettext as _
from ogw.language.messages import gettext_noop as N_
from ogw.wire.connect import LONGEST_NAME, parse_host

# By the end of the sentence that the log has.
_HOST_MISTAKES = {
    "is not an IPv6 address": N_("the host is not an IPv6 address"),
    "has a zone": N_("the host has a zone"),
    "has a colon; an IPv6 address stands in brackets": N_("the host has a colon; an IPv6 address stands in brackets"),
    "is not ASCII; write it in its A-label form (xn--...)": N_(
        "the host is not ASCII; write it in its A-label form (xn--...)"
    ),
    "is a number, but not an IPv4 address of four decimal parts": N_(
        "the host is a number, but not an IPv4 address of four decimal parts"
    ),
    "is not a valid host name": N_("the host is not a valid host name"),
}

_DOT = re.compile("[.\u3002\uff0e\uff61]")  # RFC 3490, section 3.1
# Letters that were others in IDNA 2003, which Python has, and are themselves in IDNA 2008, which clients speak
# (RFC 5894, section 7.2): the name that they were may be somebody else's.
_OWN_LETTERS = re.compile("[\u00df\u03c2]")
_UNKNOWN = re.compile("[\u1e9e\u200c\u200d]")  # disputed, or allowed in some places only


def host_mistake(error: ValueError, text: str = "") -> str:
    """What `parse_host` raised, as a sentence in the reader's language; what is right instead of a `text` as it is."""
    return target_mistake(text) or _(_HOST_MISTAKES.get(str(error), _HOST_MISTAKES["is not a valid host name"]))


def a_label(text: str) -> str:
    """The form of a name that is not ASCII in which clients ask for it; "" of any other text, or where it has none."""
    if text.isascii() or len(text) > LONGEST_NAME or _UNKNOWN.search(text):
        return ""
    try:
        name, address = parse_host(b".".join(map(_to_ascii, _DOT.split(text))))
    except ValueError:  # UnicodeError is one
        return ""
    return name if address is None else ""


def _to_ascii(label: str) -> bytes:
    """Raises ValueError."""
    in_2003 = label.encode("idna")
    if not _OWN_LETTERS.search(label):
        return in_2003
    folded = "".join(character.lower() for character in unicodedata.normalize("NFKC", label))
    return b"xn--" + unicodedata.normalize("NFC", folded).encode("punycode")


def target_mistake(typed: str) -> str:
    """What is wrong with HOST[:PORT] that is not ASCII and has a form that clients ask for; "" for anything else."""
    host, colon, port = typed.rpartition(":")
    name = a_label(host if colon and port.isdigit() else typed)
    return _("the host is not ASCII; its A-label form is {name}").format(name=name) if name else ""
