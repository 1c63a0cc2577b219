"""What a proxy asks for with a 407: its challenges (RFC 9110, section 11.6.1), read from headers that are hostile."""

from typing import NamedTuple


class Challenge(NamedTuple):
    """One way of authenticating that is offered.

    scheme   its name in lower case
    token68  what stands behind the name where that is one text, as of Negotiate and NTLM; "" where it is none
    params   names in lower case, values without quotes
    """

    scheme: str
    token68: str
    params: dict[str, str]
