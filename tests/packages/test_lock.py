"""The committed lock files: whole, and of what setup.py asks for."""

import re

import pytest
from harness.commands import ROOT

PINS = re.compile(r"^([a-z0-9-]+)==(\S+) \\\n((?:    --hash=sha256:[0-9a-f]{64}(?: \\)?\n)+)", re.MULTILINE)


@pytest.mark.parametrize("name", ["gateway", "build"])
def test_every_line_pins_a_version_to_hashes(name):
    text = (ROOT / "conf" / "lock" / f"{name}.txt").read_text()
    assert re.fullmatch(r"(# .*\n){2}", PINS.sub("", text)), text


def test_setup_py_asks_for_nothing_else():
    pinned = {name: version for name, version, _hashes in PINS.findall((ROOT / "conf/lock/gateway.txt").read_text())}
    asked = (ROOT / "setup.py").read_text().partition("install_requires=[")[2].partition("]")[0]
    for name, bound in re.findall(r'"([A-Za-z0-9-]+)>=([0-9.]+)"', asked):
        assert numbers(pinned.get(name.lower(), "0")) >= numbers(bound), f"{name}: renew it with tools/package lock"


def numbers(version):
    return [int(part) for part in re.findall("[0-9]+", version)]
