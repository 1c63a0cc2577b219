"""`ogw suggest`: the rules that would let pass what was refused, from logs or from the running gateway."""

import argparse
import json
import os
import re
import shlex
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from io import BufferedReader
from typing import Optional

from ogw.cli.agreement import agreed
from ogw.cli.configuration import load_or_tell
from ogw.cli.edit.change import make
from ogw.cli.edit.suggest_text import lines, value
from ogw.cli.exits import FAILED, NO_GATEWAY, OK, WRONG, Failed, Wrong
from ogw.cli.live.gateway import Gateway, file_of, gateway_of
from ogw.cli.live.sockets import NO_GATEWAY_MEANS, NoGateway, add_run_dir
from ogw.cli.parser import Parser, parser_of
from ogw.cli.screen import clean
from ogw.language.conventions import count
from ogw.language.messages import gettext as _
from ogw.language.messages import ngettext
from ogw.policy.rules import Rule, parse_time
from ogw.policy.suggestions import MOST, Learner, Suggestions
from ogw.report.recorded import Form, NotRead, Recorded, Recording
from ogw.service.admin.origins import file_read
from ogw.service.admin.shapes import Configuration, Remembered
from ogw.settings.editing import Editor
from ogw.settings.kinds import SECONDS
from ogw.settings.settings import SETTINGS, Config
from ogw.settings.usual import DEFAULT_FILE

_ROTATED = re.compile(r"(?:\.[0-9]{1,3}|-[0-9]{8})?(?:\.gz)?\Z")  # the older files of a log are of the same gateway
_AGO = re.compile(r"([1-9][0-9]{0,5})([smhd])\Z")


def parser() -> Parser:
    made = parser_of(
        "suggest",
        _(
            "Suggest the host rules that would let pass what was refused, or what policy-mode = report let pass. Each "
            "is for a host and a port that were asked for, and for no other. Logs may be ours as JSON or text, in what "
            "journalctl, syslog, Docker or Kubernetes make of it, packed with gzip or not, and of many gateways: then "
            "each rule says which of them saw that, by the machine that syslog or journalctl names, or by the file. "
            "Without a log the running gateway is asked for what it remembers, or log-file is read where none runs."
        ),
        examples=[
            "ogw suggest",
            "ogw suggest --apply --reload",
            "ogw suggest --since 2h --per-client",
            "ogw suggest /var/log/ogw/ogw.log /var/log/ogw/ogw.log.1.gz",
            "ogw suggest --per-client collected/*/ogw.log",
            "journalctl -u ogw --since today | ogw suggest - --apply",
        ],
        codes={
            OK: _("done, also if there is nothing to suggest"),
            FAILED: _("a log cannot be read, a file not written, the reload was refused, or the answer was no"),
            WRONG: _("the command line or the configuration is wrong"),
            NO_GATEWAY: _(NO_GATEWAY_MEANS),
        },
    )
    made.add_argument("logs", metavar="LOG", nargs="*", help=_("a log; - is standard input"))
    made.add_argument("--apply", action="store_true", help=_("ask, and add the rules to the INI file"))
    made.add_argument("--reload", action="store_true", help=_("let the running gateway take the added rules at once"))
    made.add_argument("--yes", action="store_true", help=_("do not ask"))
    about = _("make rules only for the clients that asked (from=): by their name, if they have one")
    made.add_argument("--per-client", action="store_true", help=about)
    about = _("only refusals since that time: 2h, 3d, or a time such as 2026-11-24T10:00:00Z")
    made.add_argument("--since", metavar="TIME", type=_since, help=about)
    made.add_argument("--json", action="store_true", help=_("as JSON"))
    about = _("the INI file: what it allows is not suggested, and --apply adds to it (default: OGW_CONFIG, or {file})")
    made.add_argument("--config", metavar="FILE", help=about.format(file=DEFAULT_FILE))
    add_run_dir(made)
    made.set_defaults(dry_run=False)
    made.intermixed = True  # LOGs may stand anywhere
    return made


def run(asked: argparse.Namespace) -> int:
    if (asked.reload or asked.yes) and not asked.apply:
        parser().error(_("--reload and --yes go with --apply; without --apply nothing is changed"))
    if asked.json and asked.apply:
        parser().error(_("--json and --apply do not go together"))
    gateway = gateway_of(asked)
    if asked.config is None and not asked.logs:
        asked.config = _file_of_gateway(gateway, file_of(asked))
    config = load_or_tell([] if asked.config is None else ["--config", asked.config])
    if config is None:
        return WRONG
    learner = Learner(config.policy, config.denied_host, config.allowed_port)
    _learn(learner, asked.logs, asked.since, gateway, config)
    found = learner.suggestions(asked.per_client)
    if asked.json:
        print(json.dumps(value(found), indent=2))
        return OK
    _show(found)
    if not asked.apply or not found.rules:
        return OK
    rules = [replace(one.rule, note=f"suggested {datetime.now(UTC):%Y-%m-%d}") for one in found.rules]
    if not asked.yes and not _agrees(len(rules), file_of(asked), "-" in asked.logs):
        return FAILED
    return _add(rules, asked, gateway)


def _file_of_gateway(gateway: Gateway, usual: str) -> Optional[str]:
    """The INI file that the running gateway reads, where it is not the usual one: what that allows is to be judged."""
    try:
        settings = gateway.ask("/config", Configuration)["settings"]
    except NoGateway:
        return None
    file = file_read(settings, os.path.realpath(usual))
    if file is None or os.path.realpath(file) == os.path.realpath(usual):
        return None
    print(
        clean(
            _("ogw: the running gateway reads {file}: what that allows or denies is not suggested").format(file=file)
        ),
        file=sys.stderr,
    )
    return file


# Where refusals are read from.


def _learn(learner: Learner, logs: list[str], since: Optional[float], gateway: Gateway, config: Config) -> None:
    """Raises Failed."""
    if not logs:
        try:
            _take(learner, _remembered(gateway), since)
        except NoGateway:
            if not config.log_file or not os.access(config.log_file, os.R_OK):
                raise
            print(_("ogw: no gateway runs; reading {file}").format(file=config.log_file), file=sys.stderr)
            logs = [config.log_file]
    if logs:
        recording = Recording()
        for log in dict.fromkeys(logs):
            _take(learner, _recorded(recording, log), since)
        _tell_of(recording)
    if learner.strange:
        message = ngettext(
            "ogw: {number} refusal was left out: its client or target cannot exist",
            "ogw: {number} refusals were left out: their clients or targets cannot exist",
            learner.strange,
        )
        print(message.format(number=count(learner.strange)), file=sys.stderr)
    if learner.beyond:
        message = ngettext(
            "ogw: {number} refusal was left out: there are more than {most} different ones; --since takes fewer",
            "ogw: {number} refusals were left out: there are more than {most} different ones; --since takes fewer",
            learner.beyond,
        )
        print(message.format(number=count(learner.beyond), most=count(MOST)), file=sys.stderr)


def _take(learner: Learner, records: Iterator[Recorded], since: Optional[float]) -> None:
    for one in records:
        if since is None or (one.last is not None and one.last >= since):
            counts, who = (one.count, one.first, one.last), (one.subject, one.gateway)
            learner.add(one.reason, one.client, one.target, *counts, one.detail, *who)


def _remembered(gateway: Gateway) -> Iterator[Recorded]:
    answer = gateway.ask("/refusals", Remembered)
    for one in answer["refusals"]:
        last = time.time() - one["age"]  # not what was told then: the clock may have been set since
        first = last - max(0.0, parse_time(one["last"]) - parse_time(one["first"]))
        client, target, detail = one["client"], one["target"], one["detail"]
        subject = one.get("client_subject", "")
        yield Recorded(one["event"], one["reason"], client, target, detail, one["count"], first, last, subject)
    if missing := answer["workers_missing"]:
        message = ngettext(
            "ogw: {number} worker did not answer in time; what it refused is missing",
            "ogw: {number} workers did not answer in time; what they refused is missing",
            missing,
        )
        print(message.format(number=missing), file=sys.stderr)
    elif not answer["complete"]:
        print(_("ogw: the gateway had to forget some refusals; its log has all of them"), file=sys.stderr)


def _recorded(recording: Recording, log: str) -> Iterator[Recorded]:
    name = _("standard input") if log == "-" else log
    try:
        with _opened(log) as file:
            for one in recording.read(file):
                yield one if one.gateway else replace(one, gateway=_ROTATED.sub("", name))
    except EOFError:
        raise Failed(
            _("{log}: the end of the file is missing, so that gzip cannot unpack it").format(log=name)
        ) from None
    except NotRead as error:
        raise Failed(_not_read(log, error.form)) from None
    except OSError as error:
        raise Failed(f"{name}: {error.strerror or error}") from None


def _not_read(log: str, form: Form) -> str:
    message = _("{log}: ogw does not read this form ({form}); use `{command}`, with the flags that you gave")
    if log == "-":
        way, name = f"... | {form.command} | ogw suggest -", _("standard input")
    else:
        way, name = f"{form.command} {shlex.quote(log)} | ogw suggest -", log
    return message.format(log=name, form=form.name, command=way)


def _opened(log: str) -> BufferedReader:
    return os.fdopen(os.dup(sys.stdin.fileno()), "rb") if log == "-" else open(log, "rb")


def _tell_of(recording: Recording) -> None:
    message = ngettext(
        "ogw: {refusals} of {lines} line tells of a refusal",
        "ogw: {refusals} of {lines} lines tell of a refusal",
        recording.lines,
    )
    if recording.unreadable:
        message = ngettext(
            "ogw: {refusals} of {lines} line tells of a refusal, {unreadable} could not be read",
            "ogw: {refusals} of {lines} lines tell of a refusal, {unreadable} could not be read",
            recording.lines,
        )
    numbers = (recording.refusals, recording.lines, recording.unreadable)
    refusals, all_lines, unreadable = map(count, numbers)
    print(message.format(refusals=refusals, lines=all_lines, unreadable=unreadable), file=sys.stderr)


# What comes of it.


def _show(found: Suggestions) -> None:
    print(*lines(found), sep="\n", end="\n" if found.rules or found.denied or found.addresses or found.clients else "")
    if not found.rules:
        message = _("ogw: there is no rule to suggest")
        if found.allowed:
            message = ngettext(
                "ogw: there is no rule to suggest; what was refused {number} time is allowed by now",
                "ogw: there is no rule to suggest; what was refused {number} times is allowed by now",
                found.allowed,
            )
        print(message.format(number=count(found.allowed)), file=sys.stderr)


def _agrees(number: int, file: str, stdin_is_log: bool) -> bool:
    """Ask at the terminal. Raises Failed where there is none."""
    question = ngettext("Add this rule to {file}? [y/N]", "Add these {number} rules to {file}? [y/N]", number)
    question = f"{question.format(number=number, file=file)} "
    answer = ""
    try:
        sys.stdout.flush()
        if stdin_is_log:
            with open("/dev/tty", encoding="utf-8", errors="replace") as terminal:
                print(question, end="", file=sys.stderr, flush=True)
                answer = terminal.readline()
        elif sys.stdin is not None and sys.stdin.isatty():
            print(question, end="", file=sys.stderr, flush=True)
            answer = sys.stdin.readline()
        else:
            raise OSError
    except (OSError, UnicodeDecodeError):
        raise Wrong(_("nothing was added: there is no terminal to ask at; --yes adds them without asking")) from None
    if agreed(answer):
        return True
    print(_("ogw: nothing was added"), file=sys.stderr)
    return False


def _add(rules: list[Rule], asked: argparse.Namespace, gateway: Gateway) -> int:
    """Add them as `ogw allowed-host add` does; the exit code. Raises Failed."""
    if asked.reload:
        gateway.value("/status")  # where none runs nothing is changed

    def change(editor: Editor) -> None:
        for rule in rules:
            editor.add(SETTINGS["allowed-host"], str(rule))

    return make(asked, change)


# Words of the command line.


def _since(text: str) -> float:
    ago = _AGO.match(text)
    if ago is not None:
        return time.time() - int(ago[1]) * SECONDS[ago[2]]
    try:
        return parse_time(text)
    except ValueError:
        message = _("{text} is neither a time ago (30m, 2h, 3d) nor a time (2026-11-24T10:00:00Z)")
        raise argparse.ArgumentTypeError(message.format(text=ascii(text))) from None
