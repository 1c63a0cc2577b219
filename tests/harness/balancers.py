"""What stands in front of a pair of gateways, with the configurations of conf/: HAProxy, keepalived, nginx."""

import csv
import io
import subprocess
import urllib.request

from harness.netns import ROOT
from harness.peers import peer
from harness.waiting import until

CONF = ROOT / "conf"
STATISTICS = "http://127.0.0.1:8404/;csv"


class Balancer:
    """A program on a machine of a network. Use as a context manager: it is stopped at the end."""

    def __init__(self, machine):
        self.machine = machine
        # What it leaves in /run, it leaves in one of its own.
        machine.run("sh", "-c", "mount -t tmpfs tmpfs /run && mkdir /run/haproxy")

    def command(self):
        raise NotImplementedError

    def wait(self):
        """Until it does what it is for."""

    def __enter__(self):
        self._output = (self.machine.folder / "balancer.output").open("w+")
        command = [*self.machine.first, *map(str, self.command())]
        self._process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=self._output, stderr=self._output, process_group=0
        )
        try:
            self.wait()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *exception):
        self._process.terminate()
        self._process.wait(20)
        self._output.close()

    @property
    def said(self):
        """What it wrote."""
        self._output.seek(0)
        return self._output.read()

    def is_alive(self):
        assert self._process.poll() is None, self.said
        return True


class Haproxy(Balancer):
    """With conf/haproxy/haproxy.cfg as it is, but for fewer tunnels: a test may not have so many descriptors."""

    def command(self):
        return peer("haproxy"), "-db", "-n", 4000, "-f", CONF / "haproxy" / "haproxy.cfg"

    def wait(self):
        self.wait_for("ogw-a", "UP")
        self.wait_for("ogw-b", "UP")

    def states(self):
        """What it thinks of each gateway: {"ogw-a": "UP", ...}."""
        try:
            with self.machine.network(), urllib.request.urlopen(STATISTICS, timeout=5) as answer:
                rows = csv.DictReader(io.StringIO(answer.read().decode().removeprefix("# ")))
        except OSError:  # it does not listen yet
            return {}
        return {row["svname"]: row["status"] for row in rows if row["pxname"] == "gateways"}

    def wait_for(self, name, state):
        """Not the states on the way to another, such as "UP 1/2"."""
        until(
            lambda: self.is_alive() and self.states().get(name, "") == state,
            what=lambda: f"{name} is not {state}: {self.states()}, {self.said}",
        )


class Keepalived(Balancer):
    """With conf/keepalived/keepalived.conf, but for the program that it calls and its user.

    name   of its lines in the file: "ogw-a"
    check  the command that stands for `ogw ready`
    """

    def __init__(self, machine, name, check):
        super().__init__(machine)
        text = (CONF / "keepalived" / "keepalived.conf").read_text()
        for own, here in ('"/usr/bin/ogw ready"', f'"{check}"'), ("script_user ogw", "script_user root"):
            assert text.count(f" {own}\n") == 1
            text = text.replace(f" {own}\n", f" {here}\n")
        self._name, self._path = name, machine.folder / "keepalived.conf"
        self._path.write_text(text)

    def command(self):
        flags = ("--dont-fork", "--vrrp", "--log-console", "--log-detail")
        return peer("keepalived"), *flags, "-i", self._name, "-f", self._path


class Nginx(Balancer):
    """With conf/nginx/ogw-stream.conf as it is."""

    def command(self):
        path = self.machine.folder / "nginx.conf"
        path.write_text(
            "load_module /usr/lib/nginx/modules/ngx_stream_module.so;\n"
            "daemon off; pid /run/nginx.pid; error_log stderr;\n"
            f"events {{ worker_connections 4096; }}\ninclude {CONF}/nginx/ogw-stream.conf;\n"
        )
        return peer("nginx"), "-c", path, "-p", self.machine.folder
