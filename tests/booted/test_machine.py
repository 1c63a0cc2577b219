"""The machines themselves that the other tests here boot."""

import socket

import pytest
from harness.booted import Booted
from harness.roots import RELEASES, Copy
from harness.upstreams import Server, echo

pytestmark = [pytest.mark.long, pytest.mark.timeout(1200)]


@pytest.mark.parametrize("release", RELEASES)
def test_a_root_boots_in_a_network_of_its_own_and_what_is_written_lasts_until_its_end(release):
    with Copy(release) as copy:
        copy.write("/etc/of-the-test", "here")
        assert copy.run("cat", "/etc/of-the-test").stdout == "here"
        with Booted(copy.folder) as machine:
            assert machine.unit("dbus.socket", "ActiveState") == {"ActiveState": "active"}
            with machine.network(), Server(echo, host="127.0.0.1", port=443) as server:
                assert "127.0.0.1:443 " in machine.run("ss", "-ltn").stdout
                with socket.create_connection((server.host, server.port)) as sock:
                    sock.sendall(b"hello")
                    assert sock.recv(5) == b"hello"
            with pytest.raises(ConnectionRefusedError):
                socket.create_connection(("127.0.0.1", 443))
            machine.reboot()
            assert machine.run("cat", "/etc/of-the-test").stdout == "here"
    with Copy(release) as other:
        assert not (other.folder / "etc/of-the-test").exists()
