"""Pairs of connected sockets in the loop of the test itself: ours as the gateway has them, and the peer's."""

import _socket
import socket
import struct
import subprocess

from gevent.hub import get_hub
from harness.peers import peer
from harness.waiting import until

READ, WRITE = 1, 2


def tcp_pair():
    """Two connected TCP sockets on loopback: (ours, raw and non-blocking; the peer's)."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        other = socket.create_connection(server.getsockname())
        ours, _ = server.accept()
    raw = _socket.socket(_socket.AF_INET, _socket.SOCK_STREAM, 0, ours.detach())
    raw.setblocking(False)
    other.setblocking(False)
    return raw, other


def await_io(sock, event):
    get_hub().wait(get_hub().loop.io(sock.fileno(), event))


def read_exactly(sock, size):
    got = bytearray()
    while len(got) < size:
        try:
            piece = sock.recv(min(65536, size - len(got)))
        except BlockingIOError:
            await_io(sock, READ)
            continue
        if not piece:
            break
        got += piece
    return bytes(got)


def count_until_end_or_reset(sock):
    count = 0
    while True:
        try:
            piece = sock.recv(65536)
        except BlockingIOError:
            await_io(sock, READ)
            continue
        except ConnectionResetError:
            return count
        if not piece:
            return count
        count += len(piece)


def send_all(sock, data):
    view = memoryview(data)
    while view:
        try:
            view = view[sock.send(view) :]
        except BlockingIOError:
            await_io(sock, WRITE)


def reset(sock):
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()


def await_keepalive(*places):
    """Wait until sockets with these peers have a keepalive timer: as the kernel shows it once nothing is on its way."""
    ss = peer("ss")

    def timed():
        shown = subprocess.run([ss, "-Htno"], capture_output=True, text=True, timeout=10).stdout.splitlines()
        return {line.split()[4] for line in shown if "timer:(keepalive" in line}

    until(lambda: timed().issuperset(places), what=lambda: (places, timed()))
