"""One minute of tools/soak.py: everything at once, and nothing of it left behind."""

import pathlib
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).parent.parent


@pytest.mark.long
@pytest.mark.timeout(300)
def test_a_minute_of_everything_leaves_nothing_behind():
    done = subprocess.run([sys.executable, str(ROOT / "tools" / "soak.py"), "60"], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
