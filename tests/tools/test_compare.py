"""tools/compare: what tunnels cost, in a table and a plot."""

import re
import subprocess
import sys
from xml.etree import ElementTree

import compare
import pytest
from harness.commands import ROOT, clean
from harness.peers import peer
from harness.waiting import PATIENCE
from measuring import subjects
from measuring.plot import Panel, plot
from measuring.program import Failed
from measuring.works import KINDS

SVG = "{http://www.w3.org/2000/svg}"


def run(*words):
    command = [sys.executable, str(ROOT / "tools" / "compare.py"), "--rounds", "1", "--seconds", "0.2s", *words]
    return subprocess.run(
        command, cwd=ROOT, env=clean(), capture_output=True, text=True, timeout=200 * PATIENCE, check=False
    )


LONG = [pytest.param(program, marks=pytest.mark.long) for program in ("squid", "tinyproxy", "haproxy")]


@pytest.mark.parametrize("program", ["ogw", *LONG])
def test_each_is_measured_on_all_kinds_of_work(program, tmp_path):
    if program != "ogw":
        peer(program)
    done = run("--only", program, "--plot", str(tmp_path / "plot.svg"))
    assert done.returncode == 0 and "Traceback" not in done.stderr, done
    heads, _line, row = ([cell.strip() for cell in line.split("|")[1:-1]] for line in done.stdout.splitlines())
    assert len(heads) == len(row) == len(KINDS) + 2
    assert re.match(rf"{program}.* [0-9]+\.[0-9]", row[0])
    assert float(row[1]) > 1, "no tunnel costs nothing"
    assert all(re.fullmatch(r"[0-9,.e-]+", cell) for cell in row[1:-1]), row
    bars = ElementTree.parse(tmp_path / "plot.svg").getroot().findall(f"{SVG}rect")
    assert len(bars) == 1 + len(KINDS)  # and what is behind them


def test_what_tls_costs_is_measured_beside_the_same_without(tmp_path):
    done = run("--only", "ogw", "--tls")
    assert done.returncode == 0 and "Traceback" not in done.stderr, done
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in done.stdout.splitlines()][2:]
    assert [re.sub(r" [0-9].*", "", row[0]) for row in rows] == ["ogw", "ogw (tls://)"], done.stderr
    assert all(re.fullmatch(r"[0-9,.e-]+", cell) for row in rows for cell in row[1:-1]), rows


def test_who_is_not_installed_is_left_out_and_that_is_told(monkeypatch, capsys):
    monkeypatch.setenv("PATH", "")
    monkeypatch.setattr(subjects, "_SBIN", "")
    assert [known.name for known in compare.wanted("")] == ["ogw"]
    said = capsys.readouterr().err
    for name in ("squid", "tinyproxy", "haproxy"):
        assert f"{name} is left out: it is not installed (apt install {name})" in said


def test_an_unknown_name_is_told():
    with pytest.raises(Failed, match=r"nginx is none of ogw, squid, tinyproxy, haproxy"):
        compare.wanted("ogw,nginx")


def test_bars_are_as_long_as_their_values():
    drawn = ElementTree.fromstring(plot([Panel("a <title>", [("ogw", 1.0), ("other", 4.0)])], "a note"))
    _ground, ours, other = drawn.findall(f"{SVG}rect")
    assert float(other.get("width")) == pytest.approx(4 * float(ours.get("width")), rel=0.01)
    assert [text.text for text in drawn.findall(f"{SVG}text")] == ["a <title>", "ogw", "1", "other", "4", "a note"]
