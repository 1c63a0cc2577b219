"""How commands end: the exit codes, and the errors that end one with a sentence on standard error."""

OK = 0  # done; the answer is yes
FAILED = 1  # not done; the answer is no
WRONG = 2  # the command line or the configuration is wrong; argparse ends so, too
NO_GATEWAY = 3  # none was found, it may not be asked, or it does not answer
OWN_ERROR = 70  # EX_SOFTWARE of sysexits.h
UNWRITTEN = 74  # EX_IOERR of it: done, or the answer is yes, but the output could not be written
INTERRUPTED = 130  # Ctrl-C


class Failed(Exception):
    """What a command could not do, as a sentence; it ends with `code`."""

    code = FAILED


class Wrong(Failed):
    """What was asked for is not there, or not right."""

    code = WRONG
