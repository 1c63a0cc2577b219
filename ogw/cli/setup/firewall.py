"""The firewalls of Linux machines: whether a port is open in them, and the commands that open and close it."""

import json
import os
import re
import shlex
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from typing import Any, Optional

from ogw.cli.setup.service_unit import quoted
from ogw.language.messages import gettext as _

SECONDS = 90  # firewalld takes its time
COMMENT = "ogw"
_PATH = os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/sbin", "/sbin"])


class CallFailed(Exception):
    """A command failed; the sentence says which, and what it said."""


def call(*words: str) -> str:
    """What a command prints. Raises CallFailed."""
    shown = shlex.join(words)
    try:
        done = subprocess.run(
            [program(words[0]) or words[0], *words[1:]],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=SECONDS,
            env={**os.environ, "LC_ALL": "C"},
        )
    except subprocess.TimeoutExpired:
        raise CallFailed(
            _("`{command}` did not end within {seconds} s").format(command=shown, seconds=SECONDS)
        ) from None
    except OSError as error:
        raise CallFailed(_("`{command}`: {error}").format(command=shown, error=error.strerror)) from None
    if done.returncode:
        said = (
            done.stderr.strip() or done.stdout.strip() or _("exit code {code}").format(code=done.returncode)
        ).splitlines()
        raise CallFailed(_("`{command}` failed: {said}").format(command=shown, said=said[0]))
    return done.stdout


def succeeds(*words: str) -> bool:
    """Whether it ends with 0."""
    try:
        call(*words)
    except CallFailed:
        return False
    return True


def program(name: str) -> Optional[str]:
    """Its path, also where a user's PATH leaves out the folders of root's programs."""
    return shutil.which(name, path=_PATH)


class Firewall:
    """A firewall that runs here. Its commands are lists of words.

    keeper  the file that lets what it opens last beyond a reboot, where it takes one
    """

    name = ""
    keeper = ""

    def is_open(self, port: int) -> bool:
        """Raises CallFailed."""
        raise NotImplementedError

    def opening(self, port: int) -> list[list[str]]:
        """Raises CallFailed."""
        raise NotImplementedError

    def closing(self, port: int) -> list[list[str]]:
        """What undoes it. Raises CallFailed."""
        raise NotImplementedError

    def keeping(self, port: int) -> str:
        """What `keeper` has to say; "" where it lasts by itself, or cannot be made to. Raises CallFailed."""
        return ""

    def forgets(self, port: int) -> str:
        """What to do so that it lasts, as a sentence, where `keeping` does not help; "" for nothing."""
        return ""


class Firewalld(Firewall):
    name = "firewalld"

    def is_open(self, port: int) -> bool:
        return all(succeeds("firewall-cmd", *more, f"--query-port={port}/tcp") for more in (["--permanent"], []))

    def opening(self, port: int) -> list[list[str]]:
        return [["firewall-cmd", "--permanent", f"--add-port={port}/tcp"], ["firewall-cmd", f"--add-port={port}/tcp"]]

    def closing(self, port: int) -> list[list[str]]:
        return [[word.replace("--add-", "--remove-") for word in words] for words in self.opening(port)]


class Ufw(Firewall):
    name = "ufw"

    def is_open(self, port: int) -> bool:
        return re.search(rf"^{port}/tcp\s+ALLOW", call("ufw", "status"), re.MULTILINE) is not None

    def opening(self, port: int) -> list[list[str]]:
        return [["ufw", "allow", f"{port}/tcp"]]

    def closing(self, port: int) -> list[list[str]]:
        return [["ufw", "delete", "allow", f"{port}/tcp"]]


class Nftables(Firewall):
    """Its rule goes first into every chain that filters what comes in: an accept in a table of our own would not help
    against a drop in another."""

    name = "nftables"
    keeper = "/etc/systemd/system/nftables.service.d/ogw.conf"

    def chains(self) -> list[tuple[str, str, str]]:
        """(family, table, name) of those that filter what comes in. Raises CallFailed."""
        return [
            (chain["family"], chain["table"], chain["name"])
            for chain in self._list("chain")
            if chain.get("hook") == "input"
            and chain.get("type") == "filter"
            and chain["family"] in ("inet", "ip", "ip6")
        ]

    def is_open(self, port: int) -> bool:
        return {place for place, _handle in self._ours(port)} >= set(self.chains())

    def opening(self, port: int) -> list[list[str]]:
        there = {place for place, _handle in self._ours(port)}
        return [self._insertion(place, port) for place in self.chains() if place not in there]

    def closing(self, port: int) -> list[list[str]]:
        return [["nft", "delete", "rule", *place, "handle", str(handle)] for place, handle in self._ours(port)]

    def keeping(self, port: int) -> str:
        """Its service flushes all rules and reads its file, at a boot and at a reload: ours is inserted behind that."""
        if not self._is_service():
            return ""
        nft = program("nft") or "nft"
        commands = [" ".join(map(quoted, [nft, *self._insertion(place, port)[1:]])) for place in self.chains()]
        lines = [f"{when}=-{command}" for when in ("ExecStartPost", "ExecReload") for command in commands]
        return "\n".join(["# Written by `ogw setup`, to open its port.", "[Service]", *lines, ""])

    def forgets(self, port: int) -> str:
        if self._is_service():
            return ""
        told = _("nftables forgets this rule at a reboot: add `tcp dport {port} accept` to your own rules")
        return told.format(port=port)

    @staticmethod
    def _is_service() -> bool:
        return succeeds("systemctl", "is-enabled", "--quiet", "nftables")

    @staticmethod
    def _insertion(place: tuple[str, str, str], port: int) -> list[str]:
        return ["nft", "insert", "rule", *place, "tcp", "dport", str(port), "accept", "comment", f'"{COMMENT}"']

    def _ours(self, port: int) -> Iterator[tuple[tuple[str, str, str], int]]:
        for rule in self._list("rule"):
            matches = [part["match"] for part in rule["expr"] if "match" in part]
            if rule.get("comment") == COMMENT and any(match.get("right") == port for match in matches):
                yield (rule["family"], rule["table"], rule["chain"]), rule["handle"]

    @staticmethod
    def _list(kind: str) -> list[dict[str, Any]]:
        found: Sequence[dict[str, Any]] = json.loads(call("nft", "-j", "list", "ruleset"))["nftables"]
        return [entry[kind] for entry in found if kind in entry]


def find_firewall() -> Optional[Firewall]:
    """The one that is in charge here: of those that work on top of each other, the topmost."""
    if program("firewall-cmd") and succeeds("firewall-cmd", "--state"):
        return Firewalld()
    try:
        if program("ufw") and re.search(r"^Status: active", call("ufw", "status"), re.MULTILINE):
            return Ufw()
    except CallFailed:
        pass
    try:
        if program("nft") and Nftables().chains():
            return Nftables()
    except (CallFailed, ValueError):
        pass
    return None
