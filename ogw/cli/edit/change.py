"""A change of the INI file by a command: made, told, reported as an event, and applied where that is asked for."""

import argparse
import grp
import json
import os
import shlex
import sys
from collections.abc import Callable, Mapping, Sequence
from io import StringIO
from types import MappingProxyType
from typing import Any, Optional, Union

from ogw.cli.edit.others import Own, in_force, told_of_others, told_of_own, warnings_in_force
from ogw.cli.exits import FAILED, NO_GATEWAY, OK, UNWRITTEN, Failed, Wrong
from ogw.cli.live.gateway import SECONDS, Gateway, file_of, flags_of, gateway_of, query_of
from ogw.cli.live.named_file import ReadsAnother
from ogw.cli.live.orders import RELOAD_SECONDS, tell_of_reload
from ogw.cli.live.sockets import NO_GATEWAY_MEANS, NoGateway, add_run_dir
from ogw.cli.screen import clean
from ogw.cli.who import user_name, who
from ogw.language.messages import gettext as _
from ogw.language.phrases import every
from ogw.machine.systemd import systemd_runs
from ogw.report.events import Event
from ogw.report.log import Log
from ogw.report.sinks import Syslog, open_sink
from ogw.report.writers import Direct
from ogw.service.admin.shapes import Changed, Reloaded
from ogw.service.limits import StartError, limits_of, workers_of
from ogw.settings.editing import Editor, NoEnd, Outcome, edit
from ogw.settings.ini.file import EditError
from ogw.settings.ini.parser import IniParser
from ogw.settings.ini.source import read_ini
from ogw.settings.loader import ConfigError, load
from ogw.settings.named import flags
from ogw.settings.setting import Setting
from ogw.settings.settings import SETTINGS, Config
from ogw.settings.usual import DEFAULT_FILE
from ogw.settings.value import WrongValue

SYSTEM_LOG = "/dev/log"
ENABLED = "/etc/systemd/system/multi-user.target.wants/ogw.service"
CHANGED = "the configuration was changed"
MOST_BYTES, LONGEST_TEXT = 1200, 200  # of what was added, and of what was removed: a line of the log has 4 KiB


def codes() -> dict[int, str]:
    """What the exit codes of a change mean."""
    told = _("the file was changed, but there is no gateway to --reload: {what}")
    return {
        OK: _("done, or there was nothing to do"),
        FAILED: _(
            "not done: the message says why, and the file is as it was; or it was changed, and the --reload was refused"
        ),
        NO_GATEWAY: told.format(what=_(NO_GATEWAY_MEANS)),
        UNWRITTEN: _("done, but the output could not be written"),
    }


def add_flags(parser: argparse.ArgumentParser) -> None:
    """Those that all commands have which change the file."""
    add_config(parser)
    parser.add_argument("--reload", action="store_true", help=_("let the running gateway take the change at once"))
    parser.add_argument("--dry-run", action="store_true", help=_("only say what would change"))
    parser.add_argument("--json", action="store_true", help=_("print the result as JSON"))
    add_run_dir(parser)


def add_config(parser: argparse.ArgumentParser) -> None:
    """The flag that names the file."""
    told = _("the INI file (default: OGW_CONFIG, or {file})").format(file=DEFAULT_FILE)
    parser.add_argument("--config", metavar="FILE", help=told)


def add_replace(parser: argparse.ArgumentParser) -> None:
    """The flag of commands that `add` to lists of host rules."""
    about = _("let a rule that is there, and has no end, end when this one does (until=)")
    parser.add_argument("--replace", action="store_true", help=about)


def adding(
    asked: argparse.Namespace, setting: Setting, values: Sequence[str], command: str
) -> Callable[[Editor], None]:
    """The change that adds these values, and says how where only --replace does.

    command  of this command line, up to its values: `allowed-host add`
    """

    def change(editor: Editor) -> None:
        for value in values:
            try:
                editor.add(setting, value, asked.replace)
            except NoEnd as there:
                rules = " ".join(shlex.quote(one.strip()) for one in values)
                more = flags_of(asked) + (" --reload" if asked.reload else "")
                raise NoEnd(setting.name, there.rule, f"ogw {command} {rules} --replace{more}") from None

    return change


def make(
    asked: argparse.Namespace, change: Callable[[Editor], None], more: Mapping[str, Any] = MappingProxyType({})
) -> int:
    """Make the change, tell of it, and reload where that is asked for; the exit code. Raises Failed.

    more  what else the answer has as JSON
    """
    outcome = changed_file(file_of(asked), change, asked.dry_run)
    return tell(asked, outcome, more)


def changed_file(path: str, change: Callable[[Editor], None], dry_run: bool = False) -> Outcome:
    """Raises Failed; the file is then as it was."""
    try:
        if path == DEFAULT_FILE and not dry_run and os.geteuid() == 0:
            os.makedirs(os.path.dirname(path), 0o755, exist_ok=True)
        return edit(path, change, dry_run, _why_no_start)
    except EditError as error:
        failed = Wrong if isinstance(error, WrongValue) else Failed
        raise failed(_("{error}; nothing was changed").format(error=error)) from None
    except OSError as error:
        raise Failed(f"{path}: {error.strerror}") from None


def _why_no_start(config: Config) -> list[str]:
    try:
        limits_of(config, workers_of(config))
    except StartError as error:
        return [str(error)]
    return []


def tell(asked: argparse.Namespace, outcome: Outcome, more: Mapping[str, Any] = MappingProxyType({})) -> int:
    """Say what came of it, and to the running gateway, too, which reloads where that is asked for; the exit code."""
    code, reload, own = OK, None, None
    of_gateway: list[str] = []
    if not asked.json:
        for sign, texts in (("-", outcome.removed), ("+", outcome.added)):
            for text in texts:
                print(clean(f"{sign} {text}"))
    if (outcome.changed or asked.reload) and not asked.dry_run:
        code, reload, own = _tell_gateway(asked, outcome, of_gateway)
    config = in_force(outcome, own)
    sentences = [*outcome.said, *warnings_in_force(outcome, own, config), *told_of_others(outcome, own, config)]
    sentences += [_("still wrong in the file: {mistake}").format(mistake=mistake) for mistake in outcome.remaining]
    sentences += of_gateway
    if asked.json:
        old, new = outcome.policies
        told = {"file": outcome.path, "changed": outcome.changed, "dry_run": asked.dry_run, "added": outcome.added,
                "removed": outcome.removed, "said": sentences, "mistakes": list(outcome.remaining),
                "old_policy": old, "new_policy": new, "reload": reload}  # fmt: skip
        print(json.dumps({**told, **more}, indent=2))
        return code
    sys.stdout.flush()
    for sentence in sentences:
        for line in sentence.split("\n"):
            print(f"ogw: {clean(line)}", file=sys.stderr)
    return code if reload is None else max(code, tell_of_reload(reload))


def _tell_gateway(
    asked: argparse.Namespace, outcome: Outcome, sentences: list[str]
) -> tuple[int, Optional[Reloaded], Optional[Own]]:
    """Let the running gateway log the change, and reload: the exit code, what came of the reload, and what it has from
    flags and variables of its own; None where it does not say that.

    `sentences` get what is to be said of it. Where no gateway runs, the change is logged where its lines go.
    """
    if outcome.changed:
        sentences += [*_made(outcome), *_overridden(outcome)]
    try:
        answer = _answer(gateway_of(asked), outcome, asked.reload)
    except (NoGateway, Wrong) as trouble:
        sentences += _without_gateway(outcome, asked.reload, trouble)
        return NO_GATEWAY if asked.reload else OK, None, None
    own = answer.get("own")
    sentences += _beaten(answer["beaten"], outcome)
    sentences += told_of_own(outcome, own or {})
    strange = _reads_another(answer["reads"], outcome.path)
    reload: Optional[Reloaded] = clean(answer["reload"])
    if reload is None:
        sentences += [_later(outcome), *strange] if strange else [_how(outcome, flags_of(asked), answer)]
        return OK, None, own
    sentences += strange
    return NO_GATEWAY if strange else FAILED if reload["mistakes"] else OK, reload, own


def _answer(gateway: Gateway, outcome: Outcome, reload: bool) -> Changed:
    """Raises NoGateway."""
    query = query_of(file=outcome.path, reload=int(reload))
    body = json.dumps(_event(outcome)).encode() if outcome.changed else None
    return gateway.ask(f"/changed?{query}", Changed, "POST", RELOAD_SECONDS if reload else SECONDS, body)


def _without_gateway(outcome: Outcome, reload: bool, trouble: Union[NoGateway, Wrong]) -> list[str]:
    """What there is to say; a change is logged.

    trouble  none answers, or the file does not say which one is meant
    """
    told = []
    if outcome.changed and not _log(outcome):
        told.append(_("no log has a line of this change: no gateway runs, and there is neither a log-file nor a "
                      "log of the system"))  # fmt: skip
    start = [_("the service is not running; start it with: systemctl start ogw")] if _waits(outcome) else []
    if not reload and not isinstance(trouble, (ReadsAnother, Wrong)):
        how = _("{path} was changed; no running gateway was found: the change takes effect when one starts")
        return [*told, how.format(path=outcome.path), *start]
    if outcome.changed:
        told.append(_later(outcome))
    return [*told, str(trouble), *start]


def _later(outcome: Outcome) -> str:
    return _("{path} was changed; the change takes effect when a gateway starts").format(path=outcome.path)


def _waits(outcome: Outcome) -> bool:
    """There is a service that reads the file, and is to run: it ended if no host was allowed."""
    return outcome.path == os.path.realpath(DEFAULT_FILE) and systemd_runs() and os.path.lexists(ENABLED)


def _made(outcome: Outcome) -> list[str]:
    if not outcome.made:
        return []
    status = os.stat(outcome.path)
    owner, group = user_name(status.st_uid), _group(status.st_gid)
    return [_("{path} was made; only its owner {owner} and the group {group} may read it, so the gateway must run "
              "as one of them").format(path=outcome.path, owner=owner, group=group)]  # fmt: skip


def _how(outcome: Outcome, flags: str, answer: Changed) -> str:
    """How the running gateway comes to take the change."""
    if late := outcome.needs_restart:
        return _(
            "{path} was changed; restart the gateway for {names}; for the rest `ogw reload{flags}` is enough"
        ).format(path=outcome.path, names=every(late), flags=flags)
    if answer.get("watches"):
        told = _("{path} was changed; the running gateway takes the change by itself (reload-on-change)")
        return told.format(path=outcome.path)
    return _("{path} was changed; the running gateway takes the change with `ogw reload{flags}`").format(
        path=outcome.path, flags=flags
    )


def _overridden(outcome: Outcome) -> list[str]:
    """Single settings of the change that a variable of this environment beats."""
    return [
        _("{variable} is set in this environment, and takes precedence over the file").format(variable=variable)
        for name in outcome.names
        for variable in SETTINGS[name].variables
        if not SETTINGS[name].listed and variable in os.environ
    ]


def _beaten(by: Mapping[str, str], outcome: Outcome) -> list[str]:
    """Single settings of the change that the running gateway has from a flag or a variable of its own."""
    told = _("the running gateway was started with {source}, which takes precedence over the file: the change has no "
             "effect on it")  # fmt: skip
    return [told.format(source=by[name]) for name in outcome.names if name in by]


def _reads_another(reads: Optional[str], path: str) -> list[str]:
    """A sentence where the running gateway takes its settings from another file, or from none."""
    if reads is None:
        told = _(
            "the running gateway does not read {path}; it was started without this file, or is not allowed to read it"
        )
        return [told.format(path=path)] if _says_something(path) else []
    if os.path.realpath(reads) == path:
        return []
    told = _("the running gateway reads {other}, and not {path}; name that file: {flag}")
    return [told.format(other=reads, path=path, flag=flags(reads).strip())]


def _says_something(path: str) -> bool:
    parser = IniParser()
    try:
        parser.parse(StringIO(read_ini(path).decode("utf-8-sig")))
    except (OSError, ValueError):
        return False
    return bool(parser.values)


def _group(number: int) -> str:
    try:
        return grp.getgrgid(number).gr_name
    except KeyError:
        return str(number)


def _event(outcome: Outcome) -> dict[str, Any]:
    """The fields of its line in the log, but for the file."""
    told: dict[str, Any] = clean({
        "by": who(),
        "old_policy": outcome.policies[0] or None,
        "new_policy": outcome.policies[1] or None,
        "added": _bounded(outcome.added),
        "removed": _bounded(outcome.removed),
    })  # fmt: skip
    return told


def _bounded(texts: list[str]) -> list[str]:
    """As many of them as a line of the log has room for, and how many more there are."""
    kept: list[str] = []
    room = MOST_BYTES
    for number, text in enumerate(texts):
        short = text if len(text) <= LONGEST_TEXT else f"{text[:LONGEST_TEXT]}..."
        room -= len(json.dumps(short))
        if room < 0:
            return [*kept, f"and {len(texts) - number} more"]
        kept.append(short)
    return kept


def _log(outcome: Outcome) -> bool:
    """The event of a change, where the lines of the gateway go that does not run; whether that could be."""
    try:
        config = load(["--config", outcome.path], os.environ)
        file, syslog, as_text = config.log_file, config.syslog, config.log_format == "text"
    except ConfigError:
        file, syslog, as_text = "", None, False
    if not os.access(file, os.W_OK):
        file = ""  # if we made it, the gateway might not be allowed to write to it
    try:
        sink = open_sink(file, syslog) if file or syslog else Syslog(SYSTEM_LOG)
    except OSError:
        return False
    writer = Direct(sink)
    log = Log(writer, as_text, policy=outcome.policies[1])
    log.event(Event.INFORMATION, CHANGED, file=clean(outcome.path), **_event(outcome))
    log.close()
    return not writer.lost
