"""The command `ogw`: finds the sub-command that was typed and runs it; how every command ends.

What it imports it imports late: a signal that comes before `ogw run` hears it may be lost.
"""

import os
import sys
from collections.abc import Sequence
from typing import Any, Optional

from ogw import __version__
from ogw.cli import streams
from ogw.cli.exits import INTERRUPTED, OK, OWN_ERROR, UNWRITTEN, WRONG, Failed
from ogw.cli.spoken import spoken
from ogw.language.messages import gettext as _
from ogw.language.messages import use
from ogw.service.signals import SIGNALS


def main(arguments: Optional[Sequence[str]] = None) -> int:
    """Run a command line; the exit code."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    try:
        streams.mend()
        if words[:1] == ["run"]:
            SIGNALS.keep()
        code = _run(words)
    except KeyboardInterrupt:
        code = INTERRUPTED
    return _flushed(code)


def _run(words: list[str]) -> int:
    hide_passwords(words)
    try:
        use(spoken(words, os.environ, getattr(sys.stdout, "encoding", None) or "ascii"))
        code = _command(words)
    except SystemExit as leave:  # argparse's
        code = leave.code if isinstance(leave.code, int) else WRONG
    except Failed as failed:
        print(f"ogw: {failed}", file=sys.stderr)
        code = failed.code
    except Exception as error:
        code = _own_error(error)
    return code


def _own_error(error: Exception) -> int:
    """One that nobody foresaw: a sentence with the place of it, for a report, instead of a traceback."""
    import traceback

    places = traceback.extract_tb(error.__traceback__)
    place = f"{os.path.basename(places[-1].filename)}:{places[-1].lineno}" if places else "?"
    message = _(
        "ogw: OGW-400 {kind}: {error} (ogw {version}, {place}): this is an error of ogw itself, please report it"
    )
    print(message.format(kind=type(error).__name__, error=error, version=__version__, place=place), file=sys.stderr)
    return OWN_ERROR


def _flushed(code: int) -> int:
    """The exit code, once all output is out: at the interpreter's end it could only fail with a traceback."""
    try:
        if sys.stdout is not None:
            sys.stdout.flush()
    except KeyboardInterrupt:
        streams.drop_output()
        return INTERRUPTED
    if streams.lost is None or isinstance(streams.lost, BrokenPipeError):
        return code  # the reader of our output may leave (`ogw ... | head`): nothing is wrong
    told = _("ogw: cannot write the output: {error}")
    if code == OK:
        told = _("ogw: what was to be done is done, but the output cannot be written: {error}")
    print(told.format(error=streams.lost.strerror), file=sys.stderr)
    return code or UNWRITTEN


def hide_passwords(words: Sequence[str]) -> None:
    """Take passwords among the flags out of the process's command line, which every user of the machine can read."""
    from ogw.cli import commands

    found = commands.find(words)
    if found is not None and found[0].group == commands.RUNNING:
        return  # these take no setting, and some of them are called every second
    from ogw.settings.setting import shown_as
    from ogw.settings.settings import SETTINGS
    from ogw.wire.relay_proxy import HIDDEN

    if words and commands.is_cmdlet(words) and (len(words) > 1 or " " in words[0]):
        # One of the words may be a password, by its place alone.
        _show_as([commands.whole_name(words)[0].split()[0], HIDDEN])
        return
    shown: list[str] = []
    secret = {flag: setting for setting in SETTINGS.values() if setting.hides for flag in setting.flags}
    installer = {setting.installer: setting for setting in SETTINGS.values() if setting.installer}
    edited = secret.get(f"--{words[2]}") if len(words) > 3 and words[0] == "config" else None
    if words[:2] == ["relay-proxy", "set"]:
        edited = secret["--relay-proxy"]
    before = ""
    for number, word in enumerate(words):
        flag, equals, value = word.partition("=")
        if words[0] == "setup" and equals and flag.upper() in installer:
            flag = word = f"{flag}={shown_as(installer[flag.upper()], value)}"
            equals = ""
        if flag in secret and equals:
            shown.append(f"{flag}={shown_as(secret[flag], value)}")
        elif before in secret:
            shown.append(shown_as(secret[before], word))
        elif edited is not None and number > 1 and word[:2] != "--" and f"--{word}" not in secret:
            shown.append(shown_as(edited, word))
        else:
            shown.append(word)
        before = word
    if shown != list(words):
        _show_as(shown)


def _show_as(words: Sequence[str]) -> None:
    import setproctitle  # here: few need it, and the wait for it is the time that the password can be read

    title = " ".join(["ogw", *words])
    setproctitle.setproctitle(title.encode("utf-8", "backslashreplace").decode())  # it may have bytes that are no UTF-8


def _command(words: list[str]) -> int:
    from ogw.cli import commands

    if words and words[0] == "help":
        words = [*words[1:], "--help"]
    if words and words[0] == "--version":
        words = ["version", *words[1:]]
    if not words or words[0] in ("-h", "--help"):
        return _usage(commands.COMMANDS, bool(words))
    if commands.is_cmdlet(words):
        return _called(commands.CMDLET.where, words)
    found = commands.find(words)
    if found is not None:
        command, rest = found
        return _called(command.where, rest)
    group = commands.of_group(words[0])
    if group and (len(words) == 1 or words[1] in ("-h", "--help")):
        return _usage(group, len(words) > 1)
    return _unknown(words)


def _usage(shown: Sequence[Any], asked: bool) -> int:
    """Of these commands; the exit code, by whether somebody asked for it."""
    from ogw.cli.usage import usage

    print(usage(shown), end="", file=sys.stdout if asked else sys.stderr)
    return OK if asked else WRONG


def _called(where: str, words: list[str]) -> int:
    """Run the command that is there (commands.py) with the words behind its own; the exit code."""
    from importlib import import_module

    name, _colon, verb = where.partition(":")
    module = import_module(f"ogw.cli.{name}")
    parser = module.parser(verb) if verb else module.parser()
    code: int = module.run(parser.parse(words))
    return code


def _unknown(words: list[str]) -> int:
    from ogw.cli import commands
    from ogw.language.phrases import either

    typed = " ".join(word for word in words[: 2 if commands.of_group(words[0]) else 1])
    meant = [f"ogw {words}" for words in commands.meant(words)]
    message = _("ogw: {word} is not a command; `{command} --help` lists all")
    if meant:
        message = _("ogw: {word} is not a command; did you mean {near}? `{command} --help` lists all")
    command = f"ogw {words[0]}" if commands.of_group(words[0]) else "ogw"
    print(message.format(word=ascii(typed), near=either(meant), command=command), file=sys.stderr)
    return WRONG
