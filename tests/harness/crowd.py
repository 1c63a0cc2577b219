"""Many tunnels through a gateway to an echo, some of them at once: each must open, and say back what it is told."""

import threading

from harness.gateway import read_exactly
from harness.waiting import PATIENCE, until

TUNNELS, AT_ONCE = 1000, 50


def talks(gateway, target):
    with gateway.tunnel(target) as sock:
        sock.sendall(b"hello")
        assert read_exactly(sock, 5) == b"hello"


def refused(gateway, target):
    """What it answers."""
    sock, head = gateway.ask(target)
    sock.close()
    return head.decode()


def failures(gateway, target, meanwhile=lambda: None):
    """What went wrong with TUNNELS of them, AT_ONCE at a time. When half of them are over, `meanwhile` happens."""
    turns = iter(range(TUNNELS))
    lock, failed, done = threading.Lock(), [], []

    def work():
        while True:
            with lock:
                number = next(turns, None)
            if number is None:
                return
            try:
                talks(gateway, target)
            except (AssertionError, OSError) as error:
                failed.append(repr(error))
            done.append(number)

    threads = [threading.Thread(target=work) for _number in range(AT_ONCE)]
    for thread in threads:
        thread.start()
    until(lambda: len(done) >= TUNNELS // 2)
    meanwhile()
    for thread in threads:
        thread.join(100 * PATIENCE)
    assert len(done) == TUNNELS
    return failed
