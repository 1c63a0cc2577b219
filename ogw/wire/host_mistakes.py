"""What is wrong with the name or address of a host, for people; connect.parse_host has the words of the log."""

from ogw.language.messages import gettext as _
from ogw.language.messages import gettext_noop as N_

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


def host_mistake(error: ValueError) -> str:
    """What `parse_host` raised, as a sentence in the reader's language."""
    return _(_HOST_MISTAKES[str(error)])
