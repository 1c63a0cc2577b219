"""Make docs/page.png, the picture of the page in docs/running.md: tools/page_shot.py [--all FOLDER] [--seconds SECONDS]

A real gateway, real TLS sessions through two relay proxies and real refusals, on a machine of its own as far as its
network, /run and its name go; all addresses lie on its loopback (unshare from util-linux; Chromium and its driver; the
font Inter makes it look the same each time, pngquant makes it small). --all makes pictures of both themes, of a phone
and of blocked scripts, too.
"""

import argparse
import base64
import contextlib
import os
import pathlib
import random
import shutil
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from typing import Any

sys.path.insert(0, str(pathlib.Path(__file__).parent.parent / "tests"))

import trustme
from harness.browser import block_scripts, browser, look
from harness.dns import Dns
from harness.gateway import Gateway, read_head
from harness.relays import PORT
from harness.tls import client, serving
from harness.upstreams import Server

ROOT = pathlib.Path(__file__).parent.parent
WIDTH = 1120
GATEWAY, CLOUD, PROXIES = "10.20.0.10", "198.51.100.7", ("10.20.1.1", "10.20.1.2")
NAMES = ("till.data.example", "lab.ods.example", "lab.oms.example", "agents.blob.example")
CLIENTS = {"10.20.8.11": 9, "10.20.8.15": 5, "10.20.9.12": 4, "10.20.12.14": 3, "10.20.12.30": 2}  # busy how much
FLAGS = (
    *("--allowed-host", ", ".join(NAMES), "--allowed-client", "10.20.0.0/16", "--max-tunnels", "500"),
    *("--admin-address", f"{GATEWAY}:9180", "--admin-page", "yes", "--log-every-refusal", "no"),
    *("--relay-proxy", f"http://proxy-a.hospital.example:{PORT}"),
    *("--relay-proxy", f"http://proxy-b.hospital.example:{PORT}"),
    *("--run-dir", "/run/ogw"),  # the usual one, so that no command of the page has to name it
)


def ask(place: str, target: str) -> tuple[socket.socket, bytes]:
    """A CONNECT from this client's address: the socket, the answer's head."""
    sock = socket.create_connection((GATEWAY, 8080), timeout=20, source_address=(place, 0))
    sock.sendall(f"CONNECT {target} HTTP/1.1\r\n\r\n".encode())
    return sock, read_head(sock)


def work(stop: threading.Event, place: str, seed: int) -> None:
    """A client that delivers something now and then."""
    chance = random.Random(seed)
    context = client()
    while not stop.wait(chance.uniform(0, 6)):
        name = chance.choices(NAMES, (8, 5, 3, 1))[0]
        with contextlib.suppress(OSError):
            sock, _head = ask(place, f"{name}:443")
            with context.wrap_socket(sock, server_hostname=name) as tls:
                for _turn in range(chance.randrange(2, 12)):
                    tls.sendall(bytes(chance.randrange(500, 60_000)))
                    if stop.wait(chance.uniform(0.2, 3)):
                        return


def be_refused(stop: threading.Event, seconds: float) -> None:
    """All kinds of refusals, over so long."""
    for place, target, times, share in (
        ("10.20.12.14", "telemetry.vendor.example:443", 9, 0.4),
        ("10.21.4.2", f"{NAMES[0]}:443", 3, 0.2),
        ("10.20.12.14", "telemetry.vendor.example:443", 5, 0.2),
        ("10.20.8.15", "", 1, 0.1),
        ("10.20.8.11", "updates.vendor.example:443", 1, 0.0),
    ):
        for _turn in range(times):
            sock, _head = ask(place, target or f"{NAMES[1]}:443")
            with contextlib.suppress(OSError), sock:
                if not target:  # allowed, but its client does not name the server
                    client().wrap_socket(sock)
        stop.wait(seconds * share)


def relaying(connection: socket.socket) -> None:
    """A relay proxy to which every name is the cloud."""
    read_head(connection)
    with socket.create_connection((CLOUD, 443)) as upstream:
        connection.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
        threading.Thread(target=pump, args=(upstream, connection), daemon=True).start()
        pump(connection, upstream)


def pump(source: socket.socket, sink: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(1 << 16):
            sink.sendall(data)
        sink.shutdown(socket.SHUT_WR)


@contextlib.contextmanager
def busy_gateway() -> Iterator[threading.Event]:
    context = serving(trustme.CA(), *NAMES)

    def thank(connection: socket.socket) -> None:
        with contextlib.suppress(OSError), context.wrap_socket(connection, server_side=True) as tls:
            while data := tls.recv(1 << 16):
                tls.sendall(bytes(len(data) // 3))

    dns = Dns({f"proxy-{letter}.hospital.example": [place] for letter, place in zip("ab", PROXIES, strict=True)})
    stop = threading.Event()
    with contextlib.ExitStack() as stack:
        stack.enter_context(Server(thank, host=CLOUD))
        for place in PROXIES:
            stack.enter_context(Server(relaying, port=PORT, host=place))
        stack.enter_context(dns)
        stack.enter_context(Gateway(*FLAGS, *dns.flags, listen=GATEWAY, tls_rules="enforce", workers=2))
        for seed, place in enumerate(place for place, busy in CLIENTS.items() for _turn in range(busy)):
            threading.Thread(target=work, args=(stop, place, seed), daemon=True).start()
        yield stop
        stop.set()


def shoot(chrome: Any, path: pathlib.Path) -> None:
    size = chrome.execute_cdp_cmd("Page.getLayoutMetrics", {})["cssContentSize"]
    clip = {"x": 0, "y": 0, "width": size["width"], "height": size["height"], "scale": 1}
    shot = chrome.execute_cdp_cmd("Page.captureScreenshot", {"captureBeyondViewport": True, "clip": clip})
    path.write_bytes(base64.b64decode(shot["data"]))
    if smaller := shutil.which("pngquant"):
        subprocess.run([smaller, "--force", "--skip-if-larger", "--output", path, path], check=False)
    print(f"{path}: {path.stat().st_size / 1024:.0f} KiB")


def inside(seconds: float, folder: pathlib.Path | None) -> None:
    for words in ("link set lo up", "address add 10.20.0.0/15 dev lo", "address add 198.51.100.0/24 dev lo"):
        subprocess.run(["ip", *words.split()], check=True)
    subprocess.run(["mount", "-t", "tmpfs", "tmpfs", "/run"], check=True)
    socket.sethostname("gateway-1")
    with busy_gateway() as stop, browser() as chrome:
        look(chrome, WIDTH)
        chrome.get(f"http://{GATEWAY}:9180/")
        be_refused(stop, seconds)
        stop.wait(5)
        shoot(chrome, ROOT / "docs" / "page.png")
        if folder is None:
            return
        for theme in ("light", "dark"):
            look(chrome, theme=theme)
            shoot(chrome, folder / f"desktop-{theme}.png")
            look(chrome, 390, 844, theme, touch=True)
            shoot(chrome, folder / f"phone-{theme}.png")
        look(chrome)
        block_scripts(chrome)
        chrome.get(f"http://{GATEWAY}:9180/")
        shoot(chrome, folder / "no-script.png")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--all", metavar="FOLDER", type=pathlib.Path, help="where the other pictures go")
    parser.add_argument("--seconds", type=float, default=90.0, help="how long the plots are")
    parser.add_argument("--inside", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if not given.inside:
        own = [
            "unshare",
            "--map-root-user",
            "--net",
            "--mount",
            "--uts",
            sys.executable,
            __file__,
            "--inside",
            *sys.argv[1:],
        ]
        os.execvp(own[0], own)
    inside(given.seconds, given.all)


if __name__ == "__main__":
    main()
