"""A relay proxy that offers what it is told to, takes some credentials, and keeps what it was sent."""

import base64
import re

from harness.gateway import read_head
from harness.relays import PORT
from harness.upstreams import Server, echo

OPEN = b"HTTP/1.1 200 Connection established\r\n\r\n"
DIGEST = 'Digest realm="x", nonce="abc", qop="auth", algorithm=SHA-256'


class Offering(Server):
    """Use as a context manager.

    takes  USER:PASSWORD that it accepts as Basic; "": none
    sent   the Proxy-Authorization of each request, "" for none
    """

    def __init__(self, *schemes, takes="", **more):
        self.sent = []
        self._takes = f"Basic {base64.b64encode(takes.encode()).decode()}" if takes else None
        challenges = "".join(f"Proxy-Authenticate: {scheme}\r\n" for scheme in schemes)
        self._asks = f"HTTP/1.1 407 Who?\r\n{challenges}Content-Length: 0\r\n\r\n".encode()
        super().__init__(self._serve, port=PORT, **more)

    @property
    def url(self):
        return f"http://{self.host}:{PORT}"

    @property
    def shown(self):
        """What it was sent beside requests without credentials."""
        return [one for one in self.sent if one]

    def _serve(self, connection):
        while head := read_head(connection):
            found = re.search(r"^Proxy-Authorization: (.+?)\r$", head.decode("latin-1"), re.MULTILINE)
            self.sent.append(found[1] if found else "")
            if self.sent[-1] == self._takes:
                connection.sendall(OPEN)
                return echo(connection)
            connection.sendall(self._asks)
