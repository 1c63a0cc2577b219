"""What harness.forks forks of: it imports ogw, and in each child goes on as `python -m ogw` does."""

import ctypes
import fcntl
import gc
import importlib
import io
import json
import os
import platform
import socket
import sys
import termios

import setproctitle
from harness.forks import MOST, OGW, ROOT

CLONE = {"x86_64": 56, "aarch64": 220}[platform.machine()]  # syscalls(2)
CLONE_PARENT, SIGCHLD = 0x8000, 17  # linux/sched.h: whose child we are, its child it is
# The most of what any command imports, and the gateway.
IMPORTED = ("ogw.cli.main", "ogw.cli.ask.check", "ogw.cli.live.status", "ogw.service.start")


def fork():
    """As os.fork, for our parent."""
    c = ctypes.PyDLL(None)
    c.PyOS_BeforeFork()
    pid = c.syscall(CLONE, CLONE_PARENT | SIGCHLD, 0, 0, 0, 0)
    c.PyOS_AfterFork_Parent() if pid else c.PyOS_AfterFork_Child()
    return pid


def serve(asked):
    """Start what is asked for; the words of it in each child, None in the end."""
    while True:
        message, files, _flags, _address = socket.recv_fds(asked, MOST, 3)
        if not message:
            return None
        pid = fork()
        if pid == 0:
            break
        for file in files:
            os.close(file)
        asked.send(b"%d" % pid)
    words, environment, group, on_terminal = json.loads(message)
    if on_terminal:
        os.setsid()
        fcntl.ioctl(files[0], termios.TIOCSCTTY, 0)
    elif group != -1:
        os.setpgid(0, group)
    for number, file in enumerate(files):
        os.dup2(file, number)
    for file in files:
        os.close(file)
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        setattr(sys, name, opened(number, getattr(sys, name)))
        setattr(sys, f"__{name}__", getattr(sys, name))
    os.environ.clear()
    os.environ.update(environment)
    return words


def opened(number, before):
    """As Python opens it at its start: by the encoding that it found there."""
    raw = io.FileIO(number, "r" if number == 0 else "w", closefd=False)
    buffer = io.BufferedReader(raw) if number == 0 else io.BufferedWriter(raw)
    by_lines = number == 2 or raw.isatty()
    return io.TextIOWrapper(buffer, before.encoding, before.errors, line_buffering=by_lines)


if __name__ == "__main__":
    os.chdir(ROOT)
    sys.path[0] = str(ROOT)  # as `python -m` there has it
    imported = [importlib.import_module(name) for name in IMPORTED]
    setproctitle.getproctitle()  # which finds its place by the variables that were there at the start
    gc.freeze()  # it would be copied where a child's collection touches it
    asked = socket.socket(fileno=int(sys.argv[1]))
    words = serve(asked)
    asked.close()
    if words is not None:
        sys.orig_argv[:] = [*OGW, *words]
        sys.argv[:] = [str(ROOT / "ogw" / "__main__.py"), *words]
        sys.exit(imported[0].main())
