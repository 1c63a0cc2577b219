"""`reload-on-change`: an INI file that changed is taken by itself; a wrong one is told once, and changes nothing."""

import os

import pytest
from harness.gateway import Gateway
from harness.mounted import Mounted
from harness.waiting import until

from ogw.report.metrics import CELLS
from ogw.service.refresh import Refresh
from ogw.settings.loader import load

INI = "[ogw]\nreload-on-change = yes\nallowed-target-network = 127.0.0.0/8\nallowed-host = {}\n"
NO_TUNNELS = "192.0.2.1"


@pytest.fixture
def mounted(tmp_path):
    return Mounted(tmp_path / "config", {"ogw.ini": INI.format(NO_TUNNELS)})


def start(folder):
    return Gateway("--config", str(folder / "ogw.ini"))


def answer(gateway, target):
    sock, head = gateway.ask(target)
    sock.close()
    return int(head.split()[1])


def test_a_config_map_is_taken_when_it_is_swapped_and_no_tunnel_is_dropped(mounted, upstream):
    mounted.swap({"ogw.ini": INI.format(upstream.host)})
    with start(mounted.folder) as gateway, gateway.tunnel(upstream.target) as sock:
        mounted.swap({"ogw.ini": INI.format(NO_TUNNELS)})
        assert gateway.wait_for(event=109)["changed"] == ["allowed-host"]
        assert answer(gateway, upstream.target) == 403
        sock.sendall(b"hello")
        assert sock.recv(5) == b"hello"


def test_a_wrong_one_is_told_once_and_what_was_in_force_stays(mounted, upstream):
    mounted.swap({"ogw.ini": INI.format(upstream.host)})
    with start(mounted.folder) as gateway:
        mounted.swap({"ogw.ini": INI.format("*.com")})
        refused = gateway.wait_for(event=401)
        assert f"{mounted.folder}/ogw.ini:4" in refused["message"]
        assert answer(gateway, upstream.target) == 200
        mounted.swap({})
        gone = until(lambda: gateway.events(401)[1:])[0]
        assert "No such file or directory" in gone["message"]
        assert answer(gateway, upstream.target) == 200
        mounted.swap({"ogw.ini": INI.format(NO_TUNNELS)})
        assert gateway.wait_for(event=109)["policy"] != refused["policy"] == gone["policy"]
        assert len(gateway.events(401)) == 2
        assert answer(gateway, upstream.target) == 403


@pytest.mark.parametrize("how", ["in place", "replaced"])
def test_so_is_a_plain_file_however_it_is_written(tmp_path, how):
    file = tmp_path / "ogw.ini"
    file.write_text(INI.format(NO_TUNNELS))
    with start(tmp_path) as gateway:
        policy = gateway.wait_for(event=101)["policy"]
        for host in ("one.example.com", "two.example.com"):
            if how == "in place":
                file.write_text(INI.format(host))
            else:
                (tmp_path / "new").write_text(INI.format(host))
                os.replace(tmp_path / "new", file)
            taken = gateway.wait_for(event=109, old_policy=policy)
            policy = taken["policy"]
            assert taken["changed"] == ["allowed-host"]


def test_without_it_nothing_is_looked_at(tmp_path):
    file = tmp_path / "ogw.ini"
    file.write_text(INI.format(NO_TUNNELS))
    assert Refresh(load(["--config", str(file)], {}), None, None, [0] * CELLS).next_time() is not None
    file.write_text(INI.format(NO_TUNNELS).replace("yes", "no"))
    assert Refresh(load(["--config", str(file)], {}), None, None, [0] * CELLS).next_time() is None
