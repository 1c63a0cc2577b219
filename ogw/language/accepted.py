"""The language that a browser asks for."""

import re

from ogw.language.known import meant

MOST = 1000  # characters of a header that are looked at
_RANGE = re.compile(r"\s*([A-Za-z0-9-]{1,35})\s*(?:;\s*q\s*=\s*([01](?:\.[0-9]{0,3})?)\s*)?")


def accepted(header: str) -> str:
    """Of those in Accept-Language (RFC 9110, section 12.5.4) the one that it likes best; "" for none that there is."""
    found = [(match[1], float(match[2] or 1)) for part in header[:MOST].split(",") if (match := _RANGE.fullmatch(part))]
    wanted = sorted((one for one in found if one[1] > 0), key=lambda one: -one[1])
    return next(filter(None, (meant(tag) for tag, _liking in wanted)), "")
