"""How every command ends, also where it goes wrong in a way that nobody foresaw."""

import subprocess
import sys

from harness.gateway import ROOT


def test_an_error_of_our_own_is_a_sentence_with_its_place_and_no_traceback():
    script = "import sys; from ogw.cli import run, main; del run.__version__; sys.exit(main.main(['version']))"
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, timeout=30)
    assert done.returncode == 70 and done.stdout == ""
    (line,) = done.stderr.splitlines()
    assert line.startswith("ogw: OGW-400 NameError: ") and "run.py:" in line and "please report it" in line
