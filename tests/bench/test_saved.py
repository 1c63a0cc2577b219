"""A run of the benchmarks beside one that was saved, as `tox -e bench` makes it."""

import subprocess
import sys

from harness.commands import ROOT, clean
from harness.waiting import PATIENCE


def bench(storage, *words):
    command = [sys.executable, "-m", "pytest", "tests/bench", "-k", "test_a_head", "--benchmark-only"]
    command += ["-p", "no:xdist", f"--benchmark-storage={storage}", *words]
    # Of the run that this test is in, which may be one of several side by side, that one is not a part.
    environment = {name: text for name, text in clean().items() if not name.startswith("PYTEST_")}
    done = subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=100 * PATIENCE, check=False
    )
    assert done.returncode == 0, done
    return done.stdout + done.stderr


def test_the_first_run_is_saved_and_later_ones_are_compared(tmp_path):
    assert "Saved benchmark data in" in bench(tmp_path)
    second = bench(tmp_path)
    assert "(0001_first)" in second and "(NOW)" in second and "Saved" not in second
    assert "0002_after" in bench(tmp_path, "--benchmark-save=after")
    assert "(0002_after)" in bench(tmp_path)
