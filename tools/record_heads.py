"""Record the CONNECT heads of the clients on this machine into tests/data/heads, for the reader's tests.

WinINet's cannot be recorded here; it is written down as the original's users saw it in their proxies' traces.
"""

import pathlib
import shutil
import socket
import subprocess
import sys
import threading

HEADS = pathlib.Path(__file__).parent.parent / "tests" / "data" / "heads"
TARGET = "agent.bench.example"
URL = f"https://{TARGET}/"
WININET = (
    f"CONNECT {TARGET}:443 HTTP/1.0\r\nUser-Agent: Mozilla/4.0 (compatible; MSIE 6.0)\r\nHost: {TARGET}\r\n"
    "Content-Length: 0\r\nProxy-Connection: Keep-Alive\r\nPragma: no-cache\r\n\r\n"
)
HTTP_CLIENT = "import http.client, sys; c = http.client.HTTPSConnection('127.0.0.1', int(sys.argv[1]), timeout=5)"
REQUESTS = "import requests, sys; requests.get(sys.argv[2], proxies={{'https': sys.argv[1]}}, timeout=5)"
CLIENTS = {
    "curl": ["curl", "-s", "-x", "{proxy}", URL],
    "git": ["git", "-c", "http.proxy={proxy}", "ls-remote", URL],
    "http.client": [
        sys.executable,
        "-c",
        HTTP_CLIENT + f"; c.set_tunnel('{TARGET}', 443); c.request('GET', '/')",
        "{port}",
    ],
    "openssl": ["openssl", "s_client", "-proxy", "{place}", "-connect", f"{TARGET}:443"],
    "requests": [sys.executable, "-c", REQUESTS, "{proxy}", URL],
    "wget": ["wget", "-q", "-t", "1", "-e", "use_proxy=yes", "-e", "https_proxy={proxy}", "-O", "-", URL],
}


def record(command: list[str]) -> bytes:
    """What the command sends up to the blank line; it is refused then."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        host, port = server.getsockname()
        values = {"proxy": f"http://{host}:{port}", "port": port, "place": f"{host}:{port}"}
        heads: list[bytes] = []

        def serve() -> None:
            client, _ = server.accept()
            head = b""
            with client:
                while b"\r\n\r\n" not in head:
                    piece = client.recv(4096)
                    if not piece:
                        break
                    head += piece
                client.sendall(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
            heads.append(head)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        subprocess.run(
            [part.format(**values) for part in command], stdin=subprocess.DEVNULL, capture_output=True, timeout=20
        )
        thread.join(5)
        return heads[0]


def main() -> None:
    HEADS.mkdir(parents=True, exist_ok=True)
    (HEADS / "wininet.head").write_bytes(WININET.encode())
    for name, command in CLIENTS.items():
        if shutil.which(command[0]) is None:
            print(f"{name}: not on this machine, its recording is left as it is")
            continue
        head = record(command)
        (HEADS / f"{name}.head").write_bytes(head)
        print(f"{name}: {len(head)} bytes")


if __name__ == "__main__":
    main()
