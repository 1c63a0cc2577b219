"""The example of HAProxy in front of two gateways."""

import subprocess

from harness.balancers import CONF
from harness.peers import peer


def test_haproxy_takes_the_example_without_a_warning():
    done = subprocess.run(
        [peer("haproxy"), "-c", "-f", CONF / "haproxy" / "haproxy.cfg"], capture_output=True, text=True, timeout=60
    )
    assert (done.returncode, done.stderr) == (0, "")
