"""URLs as they may be shown, and what was meant to be one: a query may be a token, user information is a password."""

import re

from ogw.wire.relay_proxy import HIDDEN, without_credentials

SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")
_NEXT = re.compile(r"(,\s*)(?=[A-Za-z][A-Za-z0-9+.-]*://)")  # of several that were written as one
_PATH = re.compile(r"/(?!/)|\.{1,2}/")
_PLACE = re.compile(r"(?:\[[^\]@]*\]|[^:@\[\]]*)(?::[0-9]{0,5})?\Z")


def shown_url(text: str) -> str:
    """The text without what stands behind its first ?, and without user information; a path of a file as it is."""
    if _PATH.match(text) and "://" not in text:
        return text
    front, mark, _query = text.partition("?")
    return "".join(map(_without_user, _NEXT.split(front))) + (f"?{HIDDEN}" if mark else "")


def _without_user(text: str) -> str:
    scheme = SCHEME.match(text)
    if scheme is None:
        return without_credentials(text) if ":" in text.partition("@")[0] and "@" in text else text
    place = text[scheme.end() :].partition("/")[0]
    return text if _PLACE.match(place) else without_credentials(text)
