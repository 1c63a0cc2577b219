"""A gateway with a place where clients speak TLS to it, certificates of an authority of its own, and its clients."""

import ssl

from harness.gateway import ALLOW, Gateway, address, read_head
from harness.pki import Authority, write
from harness.tls import limit

from ogw.wire.place import place as at

PORT = 8443


class Secure(Gateway):
    """With a tls:// place, too, or there alone, where it is named. `folder` has its files, which a test may replace."""

    def __init__(self, folder, *flags, required=True, crl=False, ends=7.0, place="", port=PORT, **more):
        self.folder, self.authority, self.port = folder, Authority(), port
        host = place or address()
        write(folder / "own.pem", self.authority.server(host, ends=ends))
        (folder / "ca.pem").write_bytes(self.authority.pem)
        flags = (*flags, "--listen-address", f"tls://{at(host, port)}", "--listen-tls-certificate", folder / "own.pem")
        if required:
            flags += ("--listen-client-certificate", "required", "--listen-client-ca", folder / "ca.pem")
        if crl:
            (folder / "crl.pem").write_bytes(self.authority.crl())
            flags += ("--listen-client-crl", folder / "crl.pem")
        super().__init__(*ALLOW, *map(str, flags), listen="" if place else host, **more)
        self.address = host

    def client(self, *certificates, version=None, authority=None, **more):
        """A client's context, with a certificate or without."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        if version is not None:
            limit(context, version)
        context.load_verify_locations(cadata=(authority or self.authority).pem.decode())
        if certificates:
            context.load_cert_chain(write(self.folder / "client.pem", *certificates, **more))
        return context

    def raw(self):
        return self.reach(self.port)

    def secure(self, context):
        return context.wrap_socket(self.raw(), server_hostname=self.address, suppress_ragged_eofs=False)

    def through(self, context, target, rest=b""):
        """An open tunnel's socket."""
        sock = self.secure(context)
        sock.sendall(f"CONNECT {target} HTTP/1.1\r\n\r\n".encode() + rest)
        head = read_head(sock)
        assert head.startswith(b"HTTP/1.1 200 "), head
        return sock
