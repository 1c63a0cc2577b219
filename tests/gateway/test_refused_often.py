"""A client that is refused for thousands of targets, and the others that are refused beside it."""

import socket
import subprocess
import sys

from harness.admin import ask, asked
from harness.gateway import ROOT, Gateway, read_all

from ogw.report.refusals import MOST, SHARES


def refused(gateway, target, client):
    with socket.create_connection((gateway.address, 8080), timeout=20, source_address=(client, 0)) as sock:
        sock.sendall(f"CONNECT {target} HTTP/1.1\r\n\r\n".encode())
        assert read_all(sock).startswith(b"HTTP/1.1 403 ")


def test_one_client_with_many_targets_hides_nobody_else_and_has_few_lines():
    few, many = "127.0.0.2", "127.0.0.3"
    targets = MOST // SHARES * 3
    with Gateway("--log-every-refusal=no") as gateway:
        refused(gateway, "till.example:443", few)
        for _turn in range(3):
            for number in range(targets):
                refused(gateway, f"t{number}.example:443", many)
            refused(gateway, "till.example:443", few)
        shown = asked(gateway, "/status")["refusals"]
        (till,) = [one for one in shown if one["client"] == few]
        assert till["count"] == 4 and len(shown) > 5
        (others,) = [one for one in shown if not one["target"]]
        assert others["client"] == many and others["command"] is None
        assert ask(gateway, "/")[0] == 200
        remembered = asked(gateway, "/refusals")
        assert not remembered["complete"]
        assert sum(one["count"] for one in remembered["refusals"]) == 3 * targets + 4
        words = [sys.executable, "-m", "ogw", "suggest", "--run-dir", gateway.run_dir]
        told = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, timeout=60)
        assert "till.example" in told.stdout and "had to forget some" in told.stderr, told
        for words in (["status"], ["top", "--count", "1"]):
            done = subprocess.run(
                [sys.executable, "-m", "ogw", *words, "--run-dir", gateway.run_dir],
                cwd=ROOT,
                capture_output=True,
                text=True,
                timeout=60,
            )
            assert "Traceback" not in done.stderr and few in done.stdout and done.returncode == 0
        gateway.stop()
        first = [line for line in gateway.events(105) if "count" not in line]
        assert len(first) == targets + 1  # each has its line once
        counted = sum(line["count"] for line in gateway.events(105) if "count" in line)
        assert len(first) + counted == 3 * targets + 4
        assert [line["count"] for line in gateway.events(105) if line["client"] == few] == [3]
