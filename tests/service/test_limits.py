"""What the machine allows: cores by affinity and control groups."""

import os
import subprocess
import sys

import pytest
from harness.gateway import ROOT
from harness.peers import peer

from ogw.service.limits import cores, granted_cores


@pytest.mark.parametrize(
    ("limits", "granted"),
    [
        ({}, []),
        ({"": "max 100000"}, []),
        ({"": "150000 100000"}, [2]),
        ({"a/b": "50000 100000", "a": "400000 100000"}, [1, 4]),
        ({"a/b": "max 100000", "a": "300000 100000"}, [3]),
        ({"a/b": "nonsense"}, []),
    ],
)
def test_the_control_groups_of_the_process_and_above_it_count(tmp_path, limits, granted):
    for path, text in limits.items():
        (tmp_path / path).mkdir(parents=True, exist_ok=True)
        (tmp_path / path / "cpu.max").write_text(text)
    (tmp_path / "own").write_text("0::/a/b\n")
    assert granted_cores(tmp_path, tmp_path / "own") == granted


@pytest.mark.parametrize(
    ("limits", "granted"),
    [
        ({}, []),
        ({"": "-1 100000"}, []),
        ({"a/b": "150000 100000", "a": "-1 100000"}, [2]),
        ({"a/b": "50000 100000", "a": "400000 100000"}, [1, 4]),
        ({"": "50000 100000"}, [1]),  # a container that sees its own group as the root of all
        ({"a/b": "150000 0"}, []),
        ({"a/b": "nonsense 100000"}, []),
    ],
)
def test_those_of_version_1_count_too(tmp_path, limits, granted):
    for path, text in limits.items():
        group = tmp_path / "cpu" / path
        group.mkdir(parents=True, exist_ok=True)
        quota, period = text.split()
        (group / "cpu.cfs_quota_us").write_text(f"{quota}\n")
        (group / "cpu.cfs_period_us").write_text(f"{period}\n")
    (tmp_path / "own").write_text("9:memory:/else\n4:cpu,cpuacct:/a/b\n3:cpuset:/else\n0::/\n")
    assert granted_cores(tmp_path, tmp_path / "own") == granted


def test_a_group_that_cannot_be_seen_is_no_limit(tmp_path):
    assert granted_cores(tmp_path, tmp_path / "none") == []
    (tmp_path / "own").write_text("0::/../../elsewhere\n")
    assert granted_cores(tmp_path, tmp_path / "own") == []


def test_the_affinity_counts():
    command = [peer("taskset"), "-c", str(min(os.sched_getaffinity(0))), sys.executable, "-c"]
    script = "from ogw.service.limits import cores; print(cores())"
    done = subprocess.run([*command, script], cwd=ROOT, capture_output=True, text=True, timeout=30)
    assert done.stdout == "1\n" and cores() >= 1
