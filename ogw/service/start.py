"""The start of the gateway: from a configuration to a supervisor that serves, and what can be wrong with that."""

import logging
import sys
import traceback
from typing import Optional

from ogw.report.events import Event
from ogw.report.log import one_line
from ogw.report.standard import say
from ogw.report.writers import Direct
from ogw.service import fd_store
from ogw.service.control import Channel
from ogw.service.handover.predecessor import Predecessor, refuse
from ogw.service.handover.program import own_program
from ogw.service.limits import StartError
from ogw.service.listener import ListenError
from ogw.service.log import open_log
from ogw.service.notify import tell_of_mistakes
from ogw.service.supervisor import Again, Supervisor
from ogw.settings.settings import Config


def run(config: Config, again: Again, channel: Optional[Channel] = None) -> int:
    """Serve until a signal says to stop; the exit code. Everything that can be wrong at start is one line.

    again    reads the configuration anew, for a reload, given the one in force
    channel  to the supervisor whose successor this is to be; None where it is nobody's
    """
    program = own_program()
    left, closed = fd_store.take(config)
    try:
        log = open_log(config, Direct)
    except OSError as error:
        message = f"the log cannot be written: {error.filename or config.syslog}: {error.strerror}"
        refuse(channel, message)
        return _cannot_start(message)
    for sentence in closed:
        log.event(Event.INFORMATION, sentence, level=logging.WARNING)
    predecessor: Optional[Predecessor] = None
    try:
        if channel is not None:
            predecessor = Predecessor(channel)
        supervisor = Supervisor(config, again, log, program, left, predecessor)
    except (StartError, ListenError, OSError, MemoryError) as error:
        tell_of_mistakes([str(error)])
        log.event(Event.WRONG_CONFIGURATION, str(error))
        if not sys.stdout.isatty() or config.log_file or config.syslog:
            say(f"ogw: OGW-401 {error}", sys.stderr)
        refuse(channel, str(error))
        # After 2 a service is not tried again (RestartPreventExitStatus= of the unit): what is wrong stays wrong. What
        # the system refuses now it may give in a moment.
        return 2 if isinstance(error, (StartError, ListenError)) else 1
    try:
        return supervisor.serve()
    except Exception as error:
        # The workers notice the end of their channel, close the door and leave.
        trace = "".join(traceback.format_exception(error))
        log.event(Event.ERROR, f"{type(error).__name__}: {error}; this is an error of the gateway", traceback=trace)
        say(f"ogw: OGW-400 {type(error).__name__}: {error}; please report it with the log", sys.stderr)
        return 70


def _cannot_start(message: str) -> int:
    tell_of_mistakes([message])
    say(f"ogw: OGW-401 {message}", sys.stderr)
    if not sys.stdout.isatty():
        say(one_line(Event.WRONG_CONFIGURATION, message), sys.stdout)
    return 2
