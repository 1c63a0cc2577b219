"""Record TLS handshakes of the stacks on this machine into tests/data/handshakes, for the tests of the TLS rules.

Each is two files: NAME.up, what the client sent, and NAME.down, what the server answered; both without what came after
the handshake. The server is Python's (OpenSSL); its authority lives as long as this program.
"""

import contextlib
import pathlib
import shutil
import socket
import ssl
import subprocess
import tempfile
import threading
from collections.abc import Callable, Iterator
from typing import Any, Optional

import trustme

HANDSHAKES = pathlib.Path(__file__).parent.parent / "tests" / "data" / "handshakes"
HOST = "agent.bench.example"
LARGEST = 32768  # bytes of each direction that are kept
V = ssl.TLSVersion
OLD = "ALL:@SECLEVEL=0"  # ciphers that still serve TLS 1.0
NODE = (
    "const [port, servername, minVersion] = process.argv.slice(1); "
    "const s = require('tls').connect({port, host: '127.0.0.1', servername, rejectUnauthorized: false, minVersion, "
    "maxVersion: minVersion}, () => s.end()); s.on('error', () => {})"
)
JAVA = """
import javax.net.ssl.*; import java.net.*;
public class Hello {
  public static void main(String[] a) throws Exception {
    SSLSocketFactory f = (SSLSocketFactory) SSLSocketFactory.getDefault();
    Socket plain = new Socket("127.0.0.1", Integer.parseInt(a[0]));
    SSLSocket s = (SSLSocket) f.createSocket(plain, a[1], 443, true);
    try { s.startHandshake(); } catch (SSLException e) { }
  }
}
"""

Client = Callable[[int], None]


def command(*words: str) -> Client:
    """A program that connects to the port in its {port}."""

    def run(port: int) -> None:
        subprocess.run(
            [word.format(port=port, host=HOST, node=NODE) for word in words],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=30,
            check=False,
        )

    return run


def openssl(*flags: str) -> Client:
    return command("openssl", "s_client", "-connect", "127.0.0.1:{port}", "-servername", "{host}", *flags)


def gnutls(version: str) -> Client:
    return command(
        "gnutls-cli", "--insecure", "--priority", f"NORMAL:-VERS-ALL:+VERS-{version}:%UNSAFE_RENEGOTIATION", "-p",
        "{port}", "--sni-hostname", "{host}", "127.0.0.1",
    )  # fmt: skip


def node(version: str) -> Client:
    return command("node", "-e", "{node}", "{port}", "{host}", version)


def java(port: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        source = pathlib.Path(folder) / "Hello.java"
        source.write_text(JAVA)
        command("java", str(source), str(port), HOST)(port)


def chromium(port: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        command(
            "chromium", "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
            "--disable-background-networking", "--disable-component-update", "--disable-sync",
            "--ignore-certificate-errors", f"--user-data-dir={folder}",
            f"--host-resolver-rules=MAP {HOST} 127.0.0.1", "--dump-dom", f"https://{HOST}:{port}/",
        )(port)  # fmt: skip


def python(version: ssl.TLSVersion, certificate: Optional[trustme.LeafCert] = None, again: bool = False) -> Client:
    """Python's own client; with `again` it connects a second time, with the first one's session."""

    def run(port: int) -> None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        context.set_ciphers(OLD)
        context.minimum_version = context.maximum_version = version
        if certificate is not None:
            certificate.configure_cert(context)
        session = None
        for _turn in range(2 if again else 1):
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=10) as sock:
                with context.wrap_socket(sock, server_hostname=HOST, session=session) as tls:
                    tls.sendall(b"x")
                    tls.recv(1)
                    session = tls.session

    return run


@contextlib.contextmanager
def server(context: ssl.SSLContext) -> Iterator[int]:
    """An echo of one byte behind TLS, on a port of its own."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve(connection: socket.socket) -> None:
            connection.settimeout(10)
            with contextlib.suppress(OSError), context.wrap_socket(connection, server_side=True) as tls:
                tls.sendall(tls.recv(1))
                tls.unwrap()  # or OpenSSL would not resume the session

        def accept() -> None:
            with contextlib.suppress(OSError):
                while True:
                    threading.Thread(target=serve, args=(listener.accept()[0],), daemon=True).start()

        threading.Thread(target=accept, daemon=True).start()
        yield listener.getsockname()[1]


@contextlib.contextmanager
def relay(port: int, seen: list[tuple[bytearray, bytearray]]) -> Iterator[int]:
    """Passes connections on to the port and keeps what goes by: (up, down) of each."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def pump(source: socket.socket, sink: socket.socket, kept: bytearray) -> None:
            with contextlib.suppress(OSError):
                while piece := source.recv(65536):
                    kept += piece
                    sink.sendall(piece)
            with contextlib.suppress(OSError):
                sink.shutdown(socket.SHUT_WR)

        def accept() -> None:
            with contextlib.suppress(OSError):
                while True:
                    client = listener.accept()[0]
                    upstream = socket.create_connection(("127.0.0.1", port))
                    both = bytearray(), bytearray()
                    seen.append(both)
                    threading.Thread(target=pump, args=(client, upstream, both[0]), daemon=True).start()
                    threading.Thread(target=pump, args=(upstream, client, both[1]), daemon=True).start()

        threading.Thread(target=accept, daemon=True).start()
        yield listener.getsockname()[1]


def main() -> None:
    authority = trustme.CA()
    known = authority.issue_cert("till-7.example", common_name="till-7", organization_name="Example")

    def context(version: Optional[ssl.TLSVersion] = None, asks: bool = False, **more: Any) -> ssl.SSLContext:
        made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        made.set_ciphers(OLD)
        made.minimum_version = version or V.TLSv1
        if version is not None:
            made.maximum_version = version
        authority.issue_cert(HOST).configure_cert(made)
        if asks:
            made.verify_mode = ssl.CERT_OPTIONAL
            authority.configure_trust(made)
        if more.get("curve"):
            made.set_ecdh_curve(more["curve"])
        if more.get("no_ticket"):
            made.options |= ssl.OP_NO_TICKET
        return made

    cases: dict[str, tuple[ssl.SSLContext, Client, str]] = {
        "openssl-1.0": (context(), openssl("-tls1", "-cipher", OLD), "openssl"),
        "openssl-1.1": (context(), openssl("-tls1_1", "-cipher", OLD), "openssl"),
        "openssl-1.2": (context(), openssl("-tls1_2"), "openssl"),
        "openssl-1.3": (context(), openssl("-tls1_3"), "openssl"),
        "openssl-1.3-retry": (context(curve="secp384r1"), openssl("-groups", "X25519:P-384"), "openssl"),
        "gnutls-1.0": (context(), gnutls("TLS1.0"), "gnutls-cli"),
        "gnutls-1.2": (context(), gnutls("TLS1.2"), "gnutls-cli"),
        "gnutls-1.3": (context(), gnutls("TLS1.3"), "gnutls-cli"),
        "node-1.2": (context(), node("TLSv1.2"), "node"),
        "node-1.3": (context(), node("TLSv1.3"), "node"),
        "java": (context(), java, "java"),
        "chromium": (context(), chromium, "chromium"),
        "python-1.2-certificate": (context(V.TLSv1_2, asks=True), python(V.TLSv1_2, known), ""),
        "python-1.0-certificate": (context(V.TLSv1, asks=True), python(V.TLSv1, known), ""),
        "python-1.3-certificate": (context(V.TLSv1_3, asks=True), python(V.TLSv1_3, known), ""),
        "python-1.2-none-sent": (context(V.TLSv1_2, asks=True), python(V.TLSv1_2), ""),
        "python-1.2-ticket": (context(V.TLSv1_2), python(V.TLSv1_2, again=True), ""),
        "openssl-1.2-id": (context(V.TLSv1_2, no_ticket=True), openssl("-tls1_2", "-reconnect"), "openssl"),
        "python-1.3-ticket": (context(V.TLSv1_3), python(V.TLSv1_3, again=True), ""),
    }
    HANDSHAKES.mkdir(parents=True, exist_ok=True)
    for name, (serving, client, program) in cases.items():
        if program and shutil.which(program) is None:
            print(f"{name}: not on this machine, its recording is left as it is")
            continue
        seen: list[tuple[bytearray, bytearray]] = []
        with server(serving) as port, relay(port, seen) as door:
            client(door)
        up, down = seen[-1]
        (HANDSHAKES / f"{name}.up").write_bytes(up[:LARGEST])
        (HANDSHAKES / f"{name}.down").write_bytes(down[:LARGEST])
        print(f"{name}: {len(up)} bytes up, {len(down)} down, {len(seen)} connections")


if __name__ == "__main__":
    main()
