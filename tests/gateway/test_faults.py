"""What peers, crowds and the network do to a gateway, and that the others do not feel it."""

import contextlib
import itertools
import os
import pathlib
import random
import signal
import socket
import statistics
import subprocess
import sys
import threading
import time
from types import SimpleNamespace

import pytest
from harness.gateway import ALLOW, ROOT, Gateway, address, apart, read_exactly, read_head
from harness.load import Load
from harness.peers import peer, root
from harness.upstreams import Server, reset
from harness.waiting import until

LONG = bool(os.environ.get("OGW_TEST_LONG"))


def talks(gateway, target):
    began = time.monotonic()
    with gateway.tunnel(target) as sock:
        sock.sendall(b"hello")
        assert read_exactly(sock, 5) == b"hello"
    return time.monotonic() - began


def median_of(load, tunnels):
    """Seconds that a tunnel of this load takes from begin to end."""
    seen = len(load.took)
    load.wait_for(tunnels)
    return statistics.median(load.took[seen:])


def test_a_crowd_of_slow_heads_does_not_crowd_out_others(upstream):
    """Each of the crowd sends a byte a second, and never a whole head; a hundred honest clients at a time beside it."""
    head = b"CONNECT www.example.com:443 HTTP/1.1\r\nX: " + b"x" * 500
    crowd, stop = [], threading.Event()

    def dribble():
        for at in range(len(head)):
            for first in range(10):  # a tenth of them at a time, ten times a second
                for sock in crowd[first::10]:
                    sock.sendall(head[at : at + 1])
                if stop.wait(0.1):
                    return

    with Gateway(*ALLOW, "--head-timeout", "60s", workers=2) as gateway:
        with Load(gateway, upstream.target, threads=100, turns=2, pace=0.5) as load:
            tunnels = 1500 if LONG else 300
            alone = median_of(load, tunnels)
            crowd += [gateway.connect() for _turn in range(2000 if LONG else 500)]
            thread = threading.Thread(target=dribble, daemon=True)
            thread.start()
            try:
                among = median_of(load, tunnels)
            finally:
                stop.set()
                thread.join(30)
                for sock in crowd:
                    sock.close()
            assert load.broken == []
        print(f"a tunnel takes {alone * 1e3:.1f} ms alone, {among * 1e3:.1f} ms beside {len(crowd)} slow heads")
        assert among < 10 * alone + 0.1
        assert max(load.took) < 5.0
        # All of the crowd were there until we left.
        until(lambda: len(gateway.events(104)) >= len(crowd))
        assert all(line["reason"] == "bad-request" for line in gateway.events(104))
        assert not gateway.events(400) and not gateway.events(405)


def test_a_crowd_of_slow_hellos_does_not_crowd_out_others(upstream):
    with Gateway(*ALLOW, "--handshake-timeout", "30s", workers=2, tls_rules=None) as gateway:
        crowd = [gateway.tunnel(upstream.target, rest=b"\x16\x03\x01") for _turn in range(1000 if LONG else 300)]
        took = []
        for turn in range(100):
            for sock in crowd[turn::100]:
                sock.sendall(b"\x02")
            began = time.monotonic()
            with gateway.tunnel(upstream.target) as sock:
                sock.sendall(b"GET /")
                while sock.recv(100):
                    pass
            took.append(time.monotonic() - began)
        assert max(took) < 5.0
        until(lambda: len([1 for line in gateway.events(106) if line["reason"] == "not-tls"]) >= 100)
        for sock in crowd:
            sock.close()


def test_a_slow_head_has_its_time_and_no_more():
    with Gateway(*ALLOW, "--head-timeout", "500ms") as gateway:
        socks = [gateway.connect() for _turn in range(50)]
        for sock in socks:
            sock.sendall(b"CONNECT ")
        for sock in socks:
            assert read_head(sock).startswith(b"HTTP/1.1 408 ")
            sock.close()


@pytest.mark.parametrize("readers", [100, pytest.param(1000, marks=pytest.mark.long)])
def test_readers_that_stop_reading_hold_the_gateways_memory_steady(upstream, readers):
    """While the origin sends: the kernel's buffers fill up, and the gateway holds one piece of 64 KiB of each."""
    sent = [0] * readers
    numbers = itertools.count()

    def flood(connection):
        number = next(numbers)
        with contextlib.suppress(OSError):
            connection.recv(1)
            while True:
                sent[number] += connection.send(bytes(1 << 16))

    with Server(flood) as origin, Gateway(*ALLOW, workers=2) as gateway:
        with Load(gateway, upstream.target, lasting=2) as load:
            load.wait_for(200)
            before, pages = gateway.memory(), tcp_pages()
            socks = []
            for _turn in range(readers):
                sock = gateway.tunnel(origin.target)
                sock.sendall(b"x")
                socks.append(sock)
            end = time.monotonic() + 60
            while True:  # until none of the origin's bytes is taken any more, for as long as the load needs for these
                count = sum(sent)
                load.wait_for(300)
                if sum(sent) == count and all(sent):
                    break
                assert time.monotonic() < end, "the gateway takes more and more"
            own, kernel = (gateway.memory() - before) / readers, (tcp_pages() - pages) * PAGE / readers
            taken = sum(sent) / readers
            load.wait_for(20)
            assert load.broken == []
            print(f"a reader that stopped costs the workers {own / 1024:.1f} KiB of their own memory")
            print(
                f"{taken / 1024:.0f} KiB of its bytes are under way, in {kernel / 1024:.0f} KiB of the kernel's memory"
            )
            assert own < 100 * 1024
            assert taken < largest("tcp_rmem") * 2 + largest("tcp_wmem") * 2 + (64 + 256) * 1024
            for sock in socks:
                sock.close()
        until(lambda: len([1 for line in gateway.events(108) if line["upstream"] == origin.target]) >= readers)
        assert not gateway.events(400) and not gateway.events(405)


PAGE = os.sysconf("SC_PAGE_SIZE")


def tcp_pages():
    """What all TCP buffers of this machine take, in pages."""
    for line in pathlib.Path("/proc/net/sockstat").read_text().splitlines():
        if line.startswith("TCP:"):
            return int(line.split()[line.split().index("mem") + 1])
    raise AssertionError("no TCP in sockstat")


def largest(name):
    """The most that one socket's buffer may take (tcp(7))."""
    return int(pathlib.Path(f"/proc/sys/net/ipv4/{name}").read_text().split()[2])


def test_a_storm_of_resets_leaves_nothing_behind(upstream):
    chance = random.Random(3)
    stages = [b"", b"C", b"CONNECT ", f"CONNECT {upstream.target} HTTP/1.1\r\n\r\n".encode()]
    with Gateway(*ALLOW, workers=2) as gateway:
        talks(gateway, upstream.target)
        descriptors = gateway.descriptors()
        with Load(gateway, upstream.target, lasting=2) as load:
            load.wait_for(5)
            for _turn in range(5000 if LONG else 1000):
                sock = gateway.connect()
                sock.sendall(chance.choice(stages))
                reset(sock)
            load.wait_for(5)
            assert load.broken == []
        until(lambda: gateway.descriptors() <= descriptors + 4)
        assert not gateway.events(400) and not gateway.events(405)


def test_a_peer_that_vanishes_is_found_by_keepalive(upstream, tmp_path):
    """A client in a network namespace of its own, whose link is taken down: nobody ever hears of it again."""
    root()
    ip, nsenter, unshare = peer("ip"), peer("nsenter"), peer("unshare")
    number = os.getpid() % 250
    ours, theirs = f"10.213.{number}.1", f"10.213.{number}.2"
    names = f"ogwa{number}", f"ogwb{number}"
    holder = subprocess.Popen([unshare, "--net", "cat"], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    try:
        inside = [nsenter, "--target", str(holder.pid), "--net", "--"]
        until(lambda: os.readlink(f"/proc/{holder.pid}/ns/net") != os.readlink("/proc/self/ns/net"))
        for command in (
            [ip, "link", "add", names[0], "type", "veth", "peer", "name", names[1], "netns", str(holder.pid)],
            [ip, "address", "add", f"{ours}/24", "dev", names[0]],
            [ip, "link", "set", names[0], "up"],
            [*inside, ip, "address", "add", f"{theirs}/24", "dev", names[1]],
            [*inside, ip, "link", "set", names[1], "up"],
        ):
            subprocess.run(command, check=True, timeout=20)
        with Gateway(*ALLOW, "--tcp-keepalive", "1s", listen=ours) as gateway:
            script = (
                "import socket, sys; s = socket.create_connection((sys.argv[1], 8080), 20); "
                "s.sendall(f'CONNECT {sys.argv[2]} HTTP/1.1\\r\\n\\r\\nx'.encode()); "
                "print(s.recv(999), flush=True); sys.stdin.read()"
            )
            command = [*inside, sys.executable, "-c", script, ours, upstream.target]
            with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as client:
                assert b" 200 " in client.stdout.readline()
                with Load(gateway, upstream.target, threads=4, lasting=2, pace=0.01) as load:
                    load.wait_for(5)
                    subprocess.run([ip, "link", "set", names[0], "down"], check=True, timeout=20)
                    line = gateway.closed(reason="client-reset", seconds=60)
                    assert "did not answer for too long" in line["message"]
                    assert load.broken == []
                client.kill()
            subprocess.run([ip, "link", "set", names[0], "up"], check=True, timeout=20)
    finally:
        holder.communicate("", timeout=10)


def test_a_standard_output_that_was_closed_stops_no_tunnel(upstream, tmp_path):
    read_end, write_end = os.pipe()
    place = address()
    words = [*ALLOW, *apart(tmp_path), "--listen-address", place, "--tls-rules", "off"]
    command = [sys.executable, "-m", "ogw", "run", *words]
    with subprocess.Popen(command, cwd=ROOT, stdout=write_end, stderr=subprocess.PIPE) as process:
        os.close(write_end)
        assert b'"event": 101' in os.read(read_end, 65536)
        os.close(read_end)  # with the first line that it writes from now on, the pipe is broken
        with Load(SimpleNamespace(address=place), upstream.target, lasting=2) as load:
            load.wait_for(200)
            assert load.broken == []
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0
        assert process.stderr.read().startswith(
            b"ogw: OGW-302 the log cannot be written: standard output: Broken pipe; "
        )


def test_a_full_disk_stops_no_tunnel(upstream, tmp_path):
    place = address()
    words = [*ALLOW, *apart(tmp_path), "--listen-address", place, "--tls-rules", "off", "--log-file", "/dev/full"]
    with subprocess.Popen([sys.executable, "-m", "ogw", "run", *words], cwd=ROOT, stderr=subprocess.PIPE) as process:
        try:
            until(lambda: connection_to(place)).close()
            with Load(SimpleNamespace(address=place), upstream.target, lasting=2) as load:
                load.wait_for(200)
                assert load.broken == []
            process.send_signal(signal.SIGTERM)
            assert process.wait(20) == 0
            assert process.stderr.read().startswith(b"ogw: OGW-302 the log cannot be written: /dev/full: No space left")
        finally:
            process.kill()


def connection_to(place):
    """A connection, if there is somebody to connect to."""
    try:
        return socket.create_connection((place, 8080), timeout=20)
    except ConnectionRefusedError:
        return None


@pytest.mark.long
def test_a_standard_output_that_is_blocked_for_a_minute_loses_lines_and_says_so(upstream):
    with Gateway(*ALLOW, "--log-level", "debug", workers=1) as gateway:
        with Load(gateway, upstream.target, threads=8, lasting=2) as load:
            load.wait_for(5)
            gateway.pause_reading()
            end = time.monotonic() + 60
            while time.monotonic() < end:
                load.wait_for(100)
            assert load.broken == [] and load.done > 6000, "too few lines to fill the buffer"
            gateway.go_on_reading()
            line = gateway.wait_for(event=302, seconds=60)
            assert "log lines were lost" in line["message"]
            load.wait_for(5)
            assert load.broken == []


@pytest.mark.parametrize("tunnels", [1000, pytest.param(10_000, marks=pytest.mark.long)])
def test_bytes_of_one_tunnel_never_reach_another(upstream, tunnels):
    """Tunnels with bytes of their own, closed, reset and left at random, while workers are killed and others drain."""
    with Gateway(*ALLOW, workers=2) as gateway:
        with Load(gateway, upstream.target, threads=12, rude=True) as load:
            step = tunnels // 5
            for turn in range(5):
                load.wait_for(step)
                if turn < 3:
                    os.kill(random.Random(turn).choice(gateway.workers), signal.SIGKILL)
            gateway.process.send_signal(signal.SIGTERM)
        assert load.done >= tunnels and load.mixed == []
        assert gateway.process.wait(40) == 0
        assert not gateway.events(400)
