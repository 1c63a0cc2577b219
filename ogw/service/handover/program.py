"""The program that a supervisor runs as, and how it starts the same one again, which may be another version by then."""

import os
import shutil
import signal
import sys
from collections.abc import Mapping, MutableMapping, Sequence
from contextlib import suppress
from typing import NamedTuple, NoReturn

CHANNEL = "_OGW_PREDECESSOR"  # the variable that names the descriptor; not OGW_, as settings are
SYSTEMD, HELD_BACK = "NOTIFY_SOCKET", "_OGW_NOTIFY_SOCKET"
NOT_INHERITED = ("WATCHDOG_PID", "LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES")  # they are for one process alone
DEAF = (signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2)  # which would end it before it can hear them
CANNOT = 127  # the exit code of a program that is not there


class Program(NamedTuple):
    """
    words        its command line, as whoever manages this service has it
    environment  as it was at the start
    """

    words: Sequence[str]
    environment: Mapping[str, str]

    def start(self, channel: int, inherited: Sequence[int]) -> int:
        """Its process id. Raises OSError where there can be none; a program that is not there ends at once.

        channel    the descriptor of its end of the channel to us
        inherited  the other descriptors that it has, by the same numbers

        It is not our child but our parent's, as we are: systemd hears only of the end of its own children.
        """
        reading, writing = os.pipe()
        try:
            between = os.fork()
            if not between:
                _fork_again(self, writing, channel, inherited)
        finally:
            os.close(writing)
        with open(reading, "rb") as pipe:
            said = pipe.read()
        with suppress(ChildProcessError):
            os.waitpid(between, 0)
        if not said:
            raise OSError(0, "no process is to be had")
        return int(said)


def _fork_again(program: Program, writing: int, channel: int, inherited: Sequence[int]) -> NoReturn:
    """The process between: it says the number of the next one, and is gone."""
    with suppress(BaseException):
        pid = os.fork()
        if pid:
            os.write(writing, str(pid).encode())
            os._exit(0)
        os.close(writing)
        _become(program, channel, inherited)
    os._exit(CANNOT)


def _become(program: Program, channel: int, inherited: Sequence[int]) -> NoReturn:
    for number in DEAF:
        signal.signal(number, signal.SIG_IGN)
    for descriptor in (channel, *inherited):
        os.set_inheritable(descriptor, True)
    kept = {name: text for name, text in program.environment.items() if name not in NOT_INHERITED}
    os.execvpe(program.words[0], list(program.words), {**kept, CHANNEL: str(channel)})


def own_program() -> Program:
    """That of this process."""
    environment = dict(os.environ)
    speak(environment)
    return Program(_words(sys.orig_argv, sys.argv[0]), environment)


def keep_silent(environment: MutableMapping[str, str]) -> None:
    """Systemd does not hear us until `speak`: it listens to the main process of the service alone."""
    if SYSTEMD in environment:
        environment[HELD_BACK] = environment.pop(SYSTEMD)


def speak(environment: MutableMapping[str, str]) -> None:
    """It does."""
    if HELD_BACK in environment:
        environment[SYSTEMD] = environment.pop(HELD_BACK)


def _words(words: Sequence[str], script: str) -> list[str]:
    """Without the interpreter where the script names it itself: the new version's may name another.

    words   the whole command line, interpreter and all
    script  what Python calls itself by
    """
    place = words.index(script) if script in words else 0
    if place and os.access(script, os.X_OK) and _interpreter(script) in (" ".join(words[:place]), "/bin/sh"):
        return list(words[place:])
    whole = shutil.which(words[0]) if os.sep not in words[0] else None  # what PATH means now it may not mean later
    return [whole or words[0], *words[1:]]


def _interpreter(script: str) -> str:
    """What its first line names, "" for none. /bin/sh stands there where the path of the interpreter is too long."""
    try:
        with open(script, "rb") as file:
            line = file.readline(1000)
    except OSError:
        return ""
    words = line[2:].decode("utf-8", "replace").split() if line[:2] == b"#!" else []
    return " ".join(words[1:] if words and os.path.basename(words[0]) == "env" else words)
