"""TLS servers that remember what reached them, and doors for clients that cannot speak to a proxy."""

import socket
import ssl
import threading
from types import SimpleNamespace

from harness.gateway import read_head
from harness.upstreams import Server

V = ssl.TLSVersion
VERSIONS = {"1.0": V.TLSv1, "1.1": V.TLSv1_1, "1.2": V.TLSv1_2, "1.3": V.TLSv1_3}
OLD = "ALL:@SECLEVEL=0"  # ciphers that still serve TLS 1.0


def limit(context, version):
    """Make a context speak one version only; None leaves it to speak all."""
    context.set_ciphers(OLD)
    context.minimum_version = VERSIONS[version or "1.0"]
    if version is not None:
        context.maximum_version = VERSIONS[version]
    return context


def serving(authority, *names, version=None, asks=False):
    """A server's context; `asks` for a client certificate and takes any, or none."""
    context = limit(ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), version)
    authority.issue_cert(*names).configure_cert(context)
    if asks:
        context.verify_mode = ssl.CERT_OPTIONAL
        # Who signed a client's certificate is not what is tested: whatever reaches the server is remembered below.
        authority.configure_trust(context)
    return context


def client(version=None, certificate=None):
    """A client's context that trusts every server."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    limit(context, version)
    if certificate is not None:
        context.load_cert_chain(certificate)
    return context


class TlsServer(Server):
    """Says back what it hears behind TLS. `seen` has for each connection what reached the server: the raw bytes, the
    server name, whether the session was resumed, the certificate and the error that ended the handshake, if any did.
    """

    def __init__(self, context, **more):
        super().__init__(self._speak, **more)
        self._context = context
        self._context.sni_callback = self._named
        self._local = threading.local()
        self.seen = []

    def _named(self, _object, name, _context):
        self._local.seen.server_name = name

    def _speak(self, connection):
        seen = SimpleNamespace(raw=bytearray(), server_name=None, resumed=False, certificate=None, error=None)
        self.seen.append(seen)
        self._local.seen = seen
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        tls = self._context.wrap_bio(incoming, outgoing, server_side=True)

        def step(call, *arguments):
            while True:
                try:
                    return call(*arguments)
                except ssl.SSLWantReadError:
                    connection.sendall(outgoing.read())
                    data = connection.recv(1 << 16)
                    seen.raw += data
                    incoming.write(data) if data else incoming.write_eof()
                finally:
                    data = outgoing.read()
                    if data:
                        connection.sendall(data)

        try:
            step(tls.do_handshake)
            seen.resumed, seen.certificate = tls.session_reused, tls.getpeercert(binary_form=True)
            while data := step(tls.read, 1 << 16):
                step(tls.write, data)
            step(tls.unwrap)
        except (ssl.SSLError, OSError) as error:
            seen.error = error


class Door(Server):
    """A port that leads through a tunnel of the gateway to a target, for clients that do not know proxies."""

    def __init__(self, gateway, target, **more):
        super().__init__(self._through, port=0, **more)
        self.port = self._listener.getsockname()[1]
        self._gateway, self._target = gateway, target

    def _through(self, connection):
        with self._gateway.connect() as upstream:
            upstream.sendall(f"CONNECT {self._target} HTTP/1.1\r\n\r\n".encode())
            assert read_head(upstream).startswith(b"HTTP/1.1 200 ")
            back = threading.Thread(target=self._pump, args=(upstream, connection), daemon=True)
            back.start()
            self._pump(connection, upstream)
            back.join(20)

    @staticmethod
    def _pump(source, sink):
        try:
            while data := source.recv(1 << 16):
                sink.sendall(data)
            sink.shutdown(socket.SHUT_WR)
        except OSError:
            pass
