"""A network of machines: namespaces of their own, each with an address, at one switch."""

import contextlib
import pathlib
import subprocess

from harness.booted import network_of
from harness.netns import Namespace
from harness.peers import peer

NETWORK = "10.1.0.0/24"
MORE = "10.2.0.0/16"  # addresses of one machine that has many


class Machine(Namespace):
    """One of them, at `address`; it knows the others by the names in `hosts`."""

    def __init__(self, folder, address, hosts):
        folder.mkdir(parents=True)
        super().__init__(folder, "nameserver 127.0.0.1\n", hosts)
        self.address, self.folder = address, folder

    def run(self, *words):
        """What a command in it says."""
        done = subprocess.run([*self.command, *map(str, words)], capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, (words, done.stdout, done.stderr)
        return done.stdout

    @property
    def first(self):
        """`command` for what is not to wait because this machine, which all of them are, is busy with other things."""
        return [*self.command, peer("nice"), "--adjustment=-15"]

    def ip(self, line):
        return self.run(peer("ip"), *line.split())

    def network(self):
        """Sockets that this thread opens meanwhile, and those of threads that it starts, are on its network."""
        return network_of(self.pid)

    def has(self, address):
        """Whether it has that address just now."""
        return f" {address}/" in self.ip("-4 -oneline address show")

    def unplug(self):
        """As if its cable were pulled: it keeps its addresses."""
        self.ip("link set eth0 down")

    def plug_in(self):
        self.ip("link set eth0 up")


class Lan(contextlib.ExitStack):
    """Machines by their names: Lan(folder, {"client": "10.1.0.20", ...}). Needs root; use as a context manager.

    hosts  the text of /etc/hosts of all
    many   the one that has all addresses of MORE, too
    """

    def __init__(self, folder, addresses, hosts, many):
        super().__init__()
        self._folder, self._addresses, self._many = pathlib.Path(folder), addresses, many
        self._hosts = f"127.0.0.1 localhost\n{hosts}"
        self._machines = {}

    def __getitem__(self, name):
        return self._machines[name]

    def __enter__(self):
        super().__enter__()
        try:
            switch = self._machine("switch", "")
            switch.ip("link add switch type bridge forward_delay 0 mcast_snooping 0")
            switch.ip("link set switch up")
            for name, address in self._addresses.items():
                self._plug(self._machine(name, address), switch, name)
            self._machines[self._many].ip(f"route add local {MORE} dev lo")
        except BaseException:
            self.close()
            raise
        return self

    def _machine(self, name, address):
        self._machines[name] = self.enter_context(Machine(self._folder / name, address, self._hosts))
        return self._machines[name]

    def _plug(self, machine, switch, name):
        switch.ip(f"link add port-{name} type veth peer name eth0 netns {machine.pid}")
        switch.ip(f"link set port-{name} master switch up")
        machine.ip(f"address add {machine.address}/24 dev eth0")
        machine.plug_in()
        if name != self._many:
            machine.ip(f"route add {MORE} via {self._addresses[self._many]}")
