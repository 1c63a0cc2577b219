"""The README's first command, in a fresh copy, with an empty environment: nothing but PATH and HOME."""

import os
import pathlib
import shutil
import subprocess

import pytest
from harness.gateway import Gateway
from harness.peers import peer

ROOT = pathlib.Path(__file__).parent.parent


@pytest.mark.long
@pytest.mark.timeout(600)
def test_tools_run_sets_itself_up_and_runs_the_gateway(tmp_path):
    copy = tmp_path / "copy"
    listed = subprocess.run([peer("git"), "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True, timeout=30)
    for name in listed.stdout.decode().rstrip("\0").split("\0"):
        (copy / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / name, copy / name)
    empty = ["env", "-i", f"PATH={os.environ['PATH']}", f"HOME={tmp_path}"]
    help_text = subprocess.run([*empty, copy / "tools" / "run", "--help"], capture_output=True, text=True, timeout=500)
    assert help_text.stdout.startswith("usage: ogw run"), help_text.stderr
    with Gateway("--allowed-host", "www.example.com", program=[*empty, copy / "tools" / "run"]) as gateway:
        done = subprocess.run(
            [peer("curl"), "-sS", "-x", gateway.url, "https://www.example.org/"],
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert "CONNECT tunnel failed, response 403" in done.stderr
        assert "www.example.org is not in the allowed hosts; " in gateway.wait_for(event=105)["message"]
        assert gateway.stop() == 0
