"""`python -m ogw`, forked of a process that has imported it already: most of the time of its start went there.

Each is a process of its own and a child of the test's, with its own words, environment and files; only its interpreter
started before. What shows of that (its words in /proc, what is imported) a test sees of a real start only: of
subprocess.Popen.
"""

import atexit
import collections
import json
import os
import pathlib
import platform
import resource
import socket
import subprocess
import sys
import threading

ROOT = pathlib.Path(__file__).parent.parent.parent
OGW = [sys.executable, "-m", "ogw"]
ON_TERMINAL = ["setsid", "--ctty"]
# Variables that Python itself does not read, nor what is imported.
ASIDE = ("OGW_", "COLUMNS", "LINES", "NO_COLOR", "PYTEST_")
MOST = 50_000  # bytes of what one is started with
KEPT = 4  # processes to fork of, which differ in their other variables, namespaces or limits
REAL = {"executable", "preexec_fn", "pass_fds", "shell", "start_new_session", "umask", "user", "group", "extra_groups"}
CLONES = ("x86_64", "aarch64")


class Popen(subprocess.Popen):
    """As the library's; forked where it is ogw that is started, and in a way that a fork can follow."""

    def __init__(self, args, **more):
        self._may_be_forked = not REAL & {*more} and platform.machine() in CLONES
        super().__init__(args, **more)

    def _execute_child(self, args, *more):
        pid = self._forked([*map(str, args)], more) if self._may_be_forked else 0
        if pid:
            self.pid = pid
            self._child_created = True
            self._close_pipe_fds(*more[9:15])
        else:
            super()._execute_child(args, *more)

    def _forked(self, words, more):
        """Its number; 0 where it takes a real start."""
        folder, environment, group = more[4], more[5], more[-1]
        on_terminal = words[: len(ON_TERMINAL)] == ON_TERMINAL
        words = words[len(ON_TERMINAL) if on_terminal else 0 :]
        if words[: len(OGW)] != OGW or not os.path.samefile(folder or ".", ROOT):
            return 0
        environment = dict(os.environ if environment is None else environment)
        told = json.dumps([words[len(OGW) :], environment, group, on_terminal]).encode()
        fork = _forks.of(environment) if len(told) < MOST else None
        files = [number if given == -1 else given for number, given in enumerate((more[9], more[12], more[14]))]
        return fork.start(told, files) if fork else 0


def run(args, timeout, **more):
    """As subprocess.run with output that is kept."""
    with Popen(args, stdout=more.pop("stdout", subprocess.PIPE), stderr=subprocess.PIPE, **more) as process:
        try:
            out, err = process.communicate(timeout=timeout)
        except BaseException:
            process.kill()
            raise
        return subprocess.CompletedProcess(args, process.returncode, out, err)


def _surroundings():
    """What a process inherits of this thread, beside its variables."""
    yield from (os.readlink(f"/proc/thread-self/ns/{kind}") for kind in ("net", "mnt", "pid_for_children"))
    yield resource.getrlimit(resource.RLIMIT_NOFILE)
    yield frozenset(os.sched_getaffinity(0))


class _Fork:
    """A process that others are forked of."""

    def __init__(self, environment):
        self._lock = threading.Lock()
        self._socket, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "harness.forked", str(theirs.fileno())],
                cwd=ROOT / "tests",
                env=environment,
                stdin=subprocess.DEVNULL,
                pass_fds=(theirs.fileno(),),
            )

    def start(self, told, files):
        with self._lock:
            socket.send_fds(self._socket, [told], files)
            return int(self._socket.recv(20))

    def close(self):
        self._socket.close()
        self._process.wait()


class _Forks:
    """Those of this process: one for each set of variables and so on, from the second time on that it is asked for."""

    def __init__(self):
        self._lock = threading.Lock()
        self._asked = collections.Counter()
        self._made = {}

    def of(self, environment):
        kept = {name: text for name, text in environment.items() if not name.startswith(ASIDE)}
        key = frozenset(kept.items()), *_surroundings()
        with self._lock:
            self._asked[key] += 1
            if key not in self._made and self._asked[key] > 1 and len(self._made) < KEPT:
                self._made[key] = _Fork(kept)
        return self._made.get(key)

    def close(self):
        for fork in self._made.values():
            fork.close()


_forks = _Forks()
atexit.register(_forks.close)
