"""A successor that fails: the running gateway is as it was, with an event, and an exit code for who asked."""

import pathlib
import signal
import sys

import pytest
from harness.admin import asked
from harness.commands import ogw
from harness.gateway import ALLOW, ROOT
from harness.handover import Upgraded, exchange, is_alive, program
from harness.load import Load
from harness.waiting import until

FAILURES = {
    "dies": ("if SUCCESSOR: os._exit(3)", "it ended before it served"),
    "cannot be imported": ("if SUCCESSOR: sys.modules['gevent'] = None", "it ended before it served"),
    "is killed by a signal": ("if SUCCESSOR: os.kill(os.getpid(), 9)", "it ended before it served"),
    "has workers that die": (
        "import ogw.service.worker as w\nif SUCCESSOR: w.Worker.serve = lambda self: os._exit(3)",
        "times before they were ready",
    ),
    "has workers that die when they open": (
        "import ogw.service.worker as w\nif SUCCESSOR: w.Worker._open_door = lambda self: os._exit(3)",
        "times before they were ready",
    ),
    "hangs at its start": ("if SUCCESSOR: import time; time.sleep(1000)", "it did not become ready within 2 s"),
    "hangs before it serves": (
        "from ogw.service.handover import succession as s\nif SUCCESSOR: s.Succession._open = lambda self: None",
        "it did not serve within 2 s",
    ),
    "is stopped": ("import signal\nif SUCCESSOR: os.kill(os.getpid(), signal.SIGSTOP)", "it did not become ready"),
    "has another protocol": (
        "from ogw.service.handover import predecessor as p\nif SUCCESSOR: p.PROTOCOL = 2",
        "hands over by protocol 1, ogw 0.1.0 knows 2",
    ),
    "has no protocol": ("os.environ.pop('_OGW_PREDECESSOR', None)", "it ended before it served"),
    "talks nonsense": (
        "if SUCCESSOR: os.write(int(os.environ['_OGW_PREDECESSOR']), b'\\0\\0\\0\\x02{]')\n"
        "if SUCCESSOR: import signal; signal.pause()",
        "it ended before it served",
    ),
    "says that it is somebody else": (
        "from ogw.service.handover import succession as s\nif SUCCESSOR: s.os.getpid = lambda: 7",
        "it says that it is process 7",
    ),
}


QUICK = "from ogw.service.handover import successor as q\nq.{} = 2.0\n"


@pytest.mark.parametrize("name", FAILURES)
def test_a_successor_that_fails_changes_nothing(upstream, name):
    code, why = FAILURES[name]
    quick = QUICK.format("GO_SECONDS" if "serve within" in why else "READY_SECONDS") if "did not" in why else ""
    with Upgraded(*ALLOW, program=program(quick + code), workers=2) as gateway:
        held = gateway.tunnel(upstream.target)
        children = gateway.children
        with Load(gateway, upstream.target, threads=2) as load:
            load.wait_for(5)
            done = ogw("upgrade", "--run-dir", gateway.run_dir)
            load.wait_for(20)
        assert load.broken == []
        assert done.returncode == 1 and why in done.stderr and "the running gateway goes on as before" in done.stderr
        assert why in gateway.failed()
        exchange(held)
        assert gateway.children == children and not gateway.events(113)
        status = asked(gateway, "/status")
        assert status["state"] == "serving" and status["predecessor"] is None
        until(lambda: not is_alive(gateway.successor()))
        held.close()
        assert gateway.stop() == 0


def test_a_wrong_configuration_changes_nothing_and_a_right_one_is_taken_then(upstream, tmp_path):
    ini = tmp_path / "ogw.ini"
    good = "[ogw]\nallowed-host = 127.0.0.0/8\nallowed-target-network = 127.0.0.0/8\n"
    ini.write_text(good)
    with Upgraded("--config", str(ini)) as gateway, gateway.tunnel(upstream.target) as sock:
        ini.write_text(good + "idle-timeout = soon\n")
        done = ogw("upgrade", "--run-dir", gateway.run_dir)
        assert done.returncode == 1 and f"wrong configuration: {ini}:4: idle-timeout: 'soon'" in done.stderr
        assert any("idle-timeout" in line["message"] for line in gateway.events(401))
        exchange(sock)
        gateway.tunnel(upstream.target).close()
        ini.write_text(good)
        gateway.upgrade()
        exchange(sock)


def test_a_program_that_is_gone_changes_nothing(upstream, tmp_path):
    own = tmp_path / "ogw"
    own.write_text(f"#!{sys.executable}\nimport sys\nfrom ogw.cli.main import main\nsys.exit(main())\n")
    own.chmod(0o755)
    with Upgraded(*ALLOW, program=[own, "run"], environment={"PYTHONPATH": str(ROOT)}) as gateway:
        own.rename(tmp_path / "elsewhere")
        gateway.send(signal.SIGUSR2)
        assert "it ended before it served" in gateway.failed()
        gateway.tunnel(upstream.target).close()
        # What is there now is what is started, by the interpreter that it names itself.
        told = "import sys, ogw\nogw.__version__ = '9.9.9'\nfrom ogw.cli.main import main\nsys.exit(main())\n"
        own.write_text(f"#!{sys.executable} -s\n{told}")
        own.chmod(0o755)
        assert gateway.upgrade()["version"] == "9.9.9"
        assert (
            pathlib.Path(f"/proc/{gateway.pid}/cmdline").read_text().startswith(f"{sys.executable}\0-s\0{own}\0run\0")
        )
