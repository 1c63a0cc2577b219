"""What commands and gateway speak over the socket has a number, which stays while what is recorded of it does."""

import json
import re
import subprocess
import sys
from typing import is_typeddict

import pytest
from harness.admin import ask
from harness.commands import ROOT, clean
from harness.gateway import Gateway, address
from harness.waiting import PATIENCE

from ogw.report import status
from ogw.report.status import PROTOCOL, PROTOCOLS
from ogw.service.admin import shapes

RECORDED = ROOT / "tests" / "data" / "protocol"
# A program that is nothing else than one with another number.
OTHER = f"""
import sys
from ogw.report import status
status.PROTOCOL = {PROTOCOL + 1}
from ogw.cli.main import main
sys.exit(main())
"""
RULE = (
    "what is required of an answer changed: make it NotRequired, or give report/status.py the next PROTOCOL and record "
    "that, in tests/data/protocol"
)


def required():
    """What an answer must have: the keys by the name of their shape."""
    found = {**vars(status), **vars(shapes)}
    return {name: sorted(one.__required_keys__) for name, one in found.items() if is_typeddict(one)}


def paths(gateway):
    said = ask(gateway, "/nothing")[2].decode()
    return re.findall(r"/[a-z]*", said.partition("there is nothing here; there is ")[2])


@pytest.fixture(scope="module")
def gateway():
    with Gateway("--allowed-host", "www.example.com") as gateway:
        yield gateway


def test_each_number_that_is_understood_is_recorded():
    assert [number for number in (PROTOCOL - 1, PROTOCOL) if number] == [*PROTOCOLS]
    assert {int(path.stem) for path in RECORDED.glob("*.json")} == {*range(1, PROTOCOL + 1)}


def test_what_was_required_under_this_number_still_is_and_nothing_else(gateway):
    recorded = json.loads((RECORDED / f"{PROTOCOL}.json").read_text())
    now = required()
    assert {name: now.get(name) for name in recorded["shapes"]} == recorded["shapes"], RULE
    assert {*recorded["paths"]} <= {*paths(gateway)}, RULE


def test_every_answer_over_the_socket_has_it_and_none_over_tcp(gateway):
    for path in (*paths(gateway), "/nothing"):
        assert ask(gateway, path)[1]["Ogw-Protocol"] == str(PROTOCOL), path
    place = f"{address()}:9180"
    with Gateway("--allowed-host", "www.example.com", "--admin-address", place) as other:
        assert not {"Ogw-Protocol", "Ogw-Config"} & {*ask(other, "/metrics", tcp=place)[1]}


@pytest.mark.parametrize("words", ["status", "tunnels", "reload", "events 3fa1c2-17"])
def test_a_command_of_another_number_says_so(words):
    with Gateway("--allowed-host", "www.example.com", program=[sys.executable, "-c", OTHER, "run"]) as gateway:
        command = [sys.executable, "-m", "ogw", *words.split(), "--run-dir", gateway.run_dir]
        done = subprocess.run(command, cwd=ROOT, env=clean(), capture_output=True, text=True, timeout=60 * PATIENCE)
    assert done.returncode == 3
    assert f"(protocol {PROTOCOL + 1}), this command " in done.stderr and f"(protocol {PROTOCOL})" in done.stderr
