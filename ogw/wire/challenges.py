"""What a proxy asks for with a 407: its challenges (RFC 9110, section 11.6.1), read from headers that are hostile."""

import re
from typing import NamedTuple, Optional

from ogw.wire.connect import Fields

MOST_CHALLENGES = 20  # of an answer
MOST_PARAMS = 30  # of a challenge

_TOKEN = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]++"
# Possessive throughout: each byte is looked at once or twice, however a header is made.
_GAP = re.compile(rb"[ \t,]*+")
_PARAM = re.compile(rb"(" + _TOKEN + rb')[ \t]*+=[ \t]*+(?:"((?:[^"\\]|\\.)*+)"|(' + _TOKEN + rb"))(?=[ \t]*+(?:,|\Z))")
_SCHEME = re.compile(rb"(" + _TOKEN + rb")(?:[ \t]++|(?=,)|\Z)")
_TOKEN68 = re.compile(rb"([A-Za-z0-9\-._~+/]++=*+)(?=[ \t]*+(?:,|\Z))")
_ESCAPED = re.compile(rb"\\(.)", re.DOTALL)


class Challenge(NamedTuple):
    """One way of authenticating that is offered.

    scheme   its name in lower case
    token68  what stands behind the name where that is one text, as of Negotiate and NTLM; "" where it is none
    params   names in lower case, values without quotes; of a name that comes twice, the first. A byte is a character
             (Latin-1)
    """

    scheme: str
    token68: str
    params: dict[str, str]


def challenges_of(headers: Fields) -> list[Challenge]:
    """Those of Proxy-Authenticate, in order. What cannot be read ends its line: what stands before it counts."""
    found: list[Challenge] = []
    for name, value in headers:
        if name == b"proxy-authenticate":
            _read(value, found)
    return found[:MOST_CHALLENGES]


def params_of(value: bytes) -> dict[str, str]:
    """Of a header that has nothing else, as Proxy-Authentication-Info (RFC 9110, section 11.7.3)."""
    params: dict[str, str] = {}
    place = 0
    while (param := _PARAM.match(value, _GAP.match(value, place).end())) is not None:  # type: ignore[union-attr]
        _add(param, params)
        place = param.end()
    return params


def _read(value: bytes, found: list[Challenge]) -> None:
    current: Optional[Challenge] = None  # whose parameters may come
    place = 0
    is_next = True  # a comma stands in front of what comes, or a scheme whose parameter it may be
    while len(found) <= MOST_CHALLENGES:
        gap = _GAP.match(value, place)
        assert gap is not None  # it may match nothing
        is_next = is_next or b"," in gap[0]
        place = gap.end()
        param, scheme = _PARAM.match(value, place), _SCHEME.match(value, place)
        if not is_next or (scheme if param is None else current) is None:
            return
        if param is not None:
            assert current is not None
            _add(param, current.params)
            place, is_next = param.end(), False
            continue
        assert scheme is not None
        place = scheme.end()
        token = None if _PARAM.match(value, place) else _TOKEN68.match(value, place)
        current = Challenge(_text(scheme[1]).lower(), "" if token is None else _text(token[1]), {})
        found.append(current)
        if token is not None:
            place = token.end()
        is_next = token is None and _PARAM.match(value, place) is not None


def _add(param: "re.Match[bytes]", params: dict[str, str]) -> None:
    name, quoted, bare = param.groups()
    if len(params) < MOST_PARAMS:
        params.setdefault(_text(name).lower(), _text(bare if quoted is None else _ESCAPED.sub(rb"\1", quoted)))


def _text(raw: bytes) -> str:
    return raw.decode("latin-1")
