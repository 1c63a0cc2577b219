"""Files that the settings name: what they were when they were read is in force, whatever becomes of them."""

import os
import signal

import pytest
from harness.gateway import ALLOW, Gateway, address
from harness.upstreams import Server, echo
from harness.waiting import until


@pytest.mark.parametrize("what", ["gone", "pipes", "empty"])
def test_a_worker_that_is_started_later_does_not_need_the_files_of_the_relay_proxy(tmp_path, authority, what):
    password, ca = tmp_path / "password", tmp_path / "ca.pem"
    password.write_text("s3cret")
    password.chmod(0o600)
    authority.cert_pem.write_to_path(str(ca))
    flags = (
        *("--relay-proxy", f"https://{address()}:1", "--relay-proxy-bypass", "127.0.0.0/8"),
        *("--relay-proxy-username", "u", "--relay-proxy-password-file", str(password)),
        *("--relay-proxy-ca-file", str(ca)),
    )
    with Server(echo) as upstream, Gateway(*ALLOW, *flags) as gateway:
        for file in (password, ca):
            file.unlink()
            if what == "pipes":
                os.mkfifo(file)
            elif what == "empty":
                file.touch()
        for _death in range(6):
            worker = gateway.workers[0]
            os.kill(worker, signal.SIGKILL)
            until(lambda worker=worker: worker not in gateway.children)
            gateway.tunnel(upstream.target).close()
        gateway.process.send_signal(signal.SIGHUP)
        assert str(tmp_path) in gateway.wait_for(event=401)["message"]
        gateway.tunnel(upstream.target).close()
