"""A program that is measured: started, waited for, stopped."""

import contextlib
import os
import pathlib
import secrets
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from typing import Any

from measuring.machine import processes

ROOT = pathlib.Path(__file__).parent.parent.parent
START_SECONDS = 30.0
STOP_SECONDS = 10.0
PORT = 8080


class Failed(Exception):
    """What cannot be done, as a sentence for whoever started the tool."""


def loopback() -> str:
    """An address on loopback that hardly anybody else uses, so that ports need no choice."""
    first, second, third = secrets.token_bytes(3)
    return f"127.{1 + first % 62}.{second}.{1 + third % 250}"


class Program:
    """A command that listens at `place`. Use as a context manager.

    Its standard output is read and dropped, by a process of its own, as a log is by what collects it.
    """

    def __init__(
        self, command: Sequence[str], place: tuple[str, int], environment: dict[str, str] | None = None
    ) -> None:
        self.place = place
        self._command, self._environment = list(command), environment
        self._stack = contextlib.ExitStack()
        self.pid = 0

    def __enter__(self) -> "Program":
        with contextlib.ExitStack() as stack:
            self._said = stack.enter_context(tempfile.TemporaryFile())
            self._process: Any = self._start(stack)
            self.pid = self._process.pid
            stack.callback(self._stop)
            self._wait_until_it_listens()
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *exception: object) -> None:
        self._stack.close()

    @property
    def processes(self) -> list[int]:
        return processes(self.pid)

    def _start(self, stack: contextlib.ExitStack) -> Any:
        try:
            # In a group of its own: Ctrl-C is for the tool, which then stops it.
            process = subprocess.Popen(
                self._command,
                cwd=ROOT,
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=self._said,
                process_group=0,
            )
        except OSError as error:
            raise Failed(f"{self._command[0]} cannot be started: {error.strerror}") from None
        reader = subprocess.Popen(["cat"], stdin=process.stdout, stdout=subprocess.DEVNULL, process_group=0)
        stack.callback(reader.wait)
        assert process.stdout is not None
        process.stdout.close()
        return process

    def _wait_until_it_listens(self) -> None:
        until = time.monotonic() + START_SECONDS
        while True:
            with contextlib.suppress(OSError), socket.create_connection(self.place, 1):
                return
            if self._process.poll() is not None:
                raise Failed(f"{self._command[0]} ended before it listened: {self.said}")
            if time.monotonic() > until:
                raise Failed(f"{self._command[0]} did not listen within {START_SECONDS:g} s: {self.said}")
            time.sleep(0.05)

    @property
    def said(self) -> str:
        """The end of what it wrote to standard error."""
        self._said.seek(0)
        return self._said.read().decode(errors="replace").strip()[-500:] or "it said nothing"

    def _stop(self) -> None:
        for number in (signal.SIGTERM, signal.SIGKILL):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.pid, number)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(STOP_SECONDS)


class OwnGateway(Program):
    """`ogw run` of this clone, that nobody else finds, and that heeds no configuration of this machine."""

    def __init__(self, flags: Sequence[str], workers: int) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="ogw-")
        host, folder = loopback(), self._folder.name
        apart = ("--config", os.devnull, "--run-dir", folder, "--state-dir", folder, "--admin-address", "")
        listens = ("--listen-address", host, "--listen-port", str(PORT), "--workers", str(workers))
        # Nobody has a tunnel to lose when it is stopped.
        words = (*apart, *listens, "--drain-timeout", "0s", *flags)
        inherited = {name: text for name, text in os.environ.items() if not name.startswith("OGW_")}
        super().__init__([sys.executable, "-m", "ogw", "run", *words], (host, PORT), inherited)

    def __exit__(self, *exception: object) -> None:
        super().__exit__(*exception)
        self._folder.cleanup()
