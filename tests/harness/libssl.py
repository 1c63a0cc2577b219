"""A TLS client that does what Python's own cannot: it asks for new keys as often as it likes."""

import ctypes
import pathlib
import re
import ssl

assert ssl.OPENSSL_VERSION  # it is loaded, wherever it is


def _library():
    mapped = re.search(r"/\S*/libssl\S*\.so\S*", pathlib.Path("/proc/self/maps").read_text())
    return ctypes.CDLL(mapped[0] if mapped else "libssl.so.3")


class RawTls:
    """Over a connected socket, which stays the caller's; it verifies nobody."""

    def __init__(self, sock):
        self._of = _library()
        for name in ("TLS_client_method", "SSL_CTX_new", "SSL_new"):
            getattr(self._of, name).restype = ctypes.c_void_p
        sock.settimeout(None)
        self._context = ctypes.c_void_p(self._of.SSL_CTX_new(ctypes.c_void_p(self._of.TLS_client_method())))
        self._tls = ctypes.c_void_p(self._of.SSL_new(self._context))
        self._of.SSL_set_fd(self._tls, sock.fileno())
        assert self._of.SSL_connect(self._tls) == 1

    def say(self, data):
        assert self._of.SSL_write(self._tls, data, len(data)) == len(data)

    def hear(self):
        """What came, b"" at the end."""
        buffer = ctypes.create_string_buffer(1 << 16)
        size = self._of.SSL_read(self._tls, buffer, 1 << 16)
        return buffer.raw[: max(0, size)]

    def ask_for_new_keys(self):
        """And that the peer has new ones, too, and says so. Whether that could be sent."""
        return self._of.SSL_key_update(self._tls, 1) == 1 and self._of.SSL_do_handshake(self._tls) == 1

    def close(self):
        self._of.SSL_free(self._tls)
        self._of.SSL_CTX_free(self._context)
