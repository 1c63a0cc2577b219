"""Two gateways on machines of their own, which come, go and are upgraded."""

import contextlib
import ipaddress
import os
import signal
import time

from harness.commands import ogw
from harness.handover import Upgraded, is_alive
from harness.lan import MORE, NETWORK
from harness.origin import ECHO, NAME, UPLOADS
from harness.waiting import until

NAMES = ("ogw-a", "ogw-b")


class Pair(contextlib.ExitStack):
    """Both are there from the start on, and let agents' uploads pass. Use as a context manager.

    lan       has machines of their NAMES
    settings  lines of their INI files; {address} is the machine's
    ini       the path of each one's, by its name
    all       each that ever ran
    """

    def __init__(self, lan, *settings):
        super().__init__()
        self._lan, self._settings = lan, settings
        self.ini = {name: lan[name].folder / "ogw.ini" for name in NAMES}
        self._now = {}
        self.all = []

    def __getitem__(self, name):
        return self._now[name]

    def __enter__(self):
        super().__enter__()
        try:
            for name in NAMES:
                self.start(name)
        except BaseException:
            self.close()
            raise
        return self

    def start(self, name):
        """It serves when this returns."""
        machine = self._lan[name]
        allowed = [f"{NAME}:{port} to={NETWORK}" for port in (UPLOADS, ECHO)]
        lines = ["[ogw]", "workers = 2", "allowed-host =", *(f"    {rule}" for rule in allowed)]
        lines += [f"run-dir = {machine.folder}/run", *self._settings]
        self.ini[name].write_text("\n".join([*lines, ""]).replace("{address}", machine.address))
        gateway = Upgraded(
            f"--config={self.ini[name]}",
            listen="",
            workers=None,
            tls_rules=None,
            leaves=("run-dir", "drain-delay"),
            command=machine.first,
        )
        self._now[name] = self.enter_context(gateway)
        self.all.append(gateway)

    def kill(self, name):
        """All its processes at once: the moments before and after."""
        gateway = self._now[name]
        processes = [gateway.pid, *gateway.children]
        before = time.monotonic()
        os.killpg(gateway.pid, signal.SIGKILL)
        gateway.process.wait()
        until(lambda: not any(map(is_alive, processes)))
        return before, time.monotonic()

    def drain(self, name):
        """As systemd stops it: its exit code, once it has ended."""
        gateway = self._now[name]
        os.kill(gateway.pid, signal.SIGTERM)
        until(lambda: not is_alive(gateway.pid))
        return gateway.process.wait()

    def upgrade(self, name):
        """By the command."""
        done = ogw("upgrade", "--config", self.ini[name])
        assert done.returncode == 0, (done.stdout, done.stderr)
        self._now[name].follow()

    def ready(self, name, *flags):
        """What `ogw ready` of this machine says: its exit code and what it prints."""
        done = ogw("ready", *flags, "--config", self.ini[name])
        return done.returncode, done.stdout + done.stderr

    def assert_all_lines_name_the_client(self, via):
        """Each that has a client has one of Agents, and the address of the balancer."""
        lines = [line for one in self.all for line in one.lines if "client" in line]
        assert lines
        clients = {ipaddress.ip_address(line["client"].rpartition(":")[0]) for line in lines}
        assert [client for client in clients if client not in ipaddress.ip_network(MORE)] == []
        assert {line.get("via", "").rpartition(":")[0] for line in lines} == {via}
