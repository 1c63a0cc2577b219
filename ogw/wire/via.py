"""The Via header: which proxies a request came through (RFC 9110, section 7.6.3). It is what shows a loop."""

import re

from ogw.wire.connect import Fields

MOST_HOPS = 20  # proxies that a request may have come through
LARGEST = 2048  # bytes that they may take to say so

_UNPRINTABLE = re.compile(rb"[^\t -~]")


class Loop(Exception):
    """The request goes round in a circle, or might. `detail` is for the log, without what the client said."""

    def __init__(self, detail: str) -> None:
        super().__init__(detail)
        self.detail = detail


def to_pass_on(headers: Fields, own: bytes) -> list[bytes]:
    """The values that go on to the next proxy, in front of our own, so that each gateway of a circle sees itself.

    own  how this gateway names itself there

    Raises Loop.
    """
    values = [value for name, value in headers if name == b"via" and value]
    if not values:
        return values
    if any(own in value for value in values):
        raise Loop("this request was here before: the relay proxy leads back to this gateway; check relay-proxy")
    if sum(value.count(b",") + 1 for value in values) > MOST_HOPS:
        raise Loop(f"this request came through more than {MOST_HOPS} proxies: they may lead in a circle (Via)")
    if sum(map(len, values)) > LARGEST:
        raise Loop(f"the Via of this request is larger than {LARGEST} bytes: its proxies may lead in a circle")
    return [_UNPRINTABLE.sub(b"?", value) for value in values]
