"""What clients' TLS handshakes begin with."""

import errno
import os
import ssl

from ogw.service.handshakes import MOST_SESSIONS, Terms


def test_where_no_descriptor_is_to_be_had_the_last_context_goes_on():
    """A context is made of files, if only in memory."""
    first, then = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    made = iter([first, OSError(errno.EMFILE, os.strerror(errno.EMFILE)), then])

    def make():
        one = next(made)
        if isinstance(one, OSError):
            raise one
        return one

    terms = Terms(make, None)
    contexts = [terms.round().context for _client in range(MOST_SESSIONS + 2)]
    assert contexts == [*[first] * (MOST_SESSIONS + 1), then]
