"""A change of the INI file by a command: made, told, reported as an event, and applied where that is asked for."""

import argparse
import grp
import json
import os
import pwd
import sys
from collections.abc import Callable, Mapping
from gettext import gettext as _
from types import MappingProxyType
from typing import Any, Optional

from ogw.cli.exits import FAILED, NO_GATEWAY, OK, Failed, Wrong
from ogw.cli.live.gateway import NO_GATEWAY_MEANS, Gateway, NoGateway, add_run_dir
from ogw.cli.live.orders import RELOAD_SECONDS, tell_of_reload
from ogw.cli.screen import clean
from ogw.report.events import Event
from ogw.report.log import Log
from ogw.report.sinks import Syslog, open_sink
from ogw.report.writers import Direct
from ogw.settings.editing import Editor, Outcome, WrongValue, edit
from ogw.settings.ini.file import EditError
from ogw.settings.ini.parser import IniParser
from ogw.settings.ini.source import Unreadable, asked_file
from ogw.settings.loader import DEFAULT_FILE, ConfigError, load
from ogw.settings.settings import SETTINGS

CODES = {
    OK: _("done, or it was so already"),
    FAILED: _("not done: the message says why, and the file is as it was"),
    NO_GATEWAY: _("the file was changed, but there is no gateway to --reload: {what}").format(what=NO_GATEWAY_MEANS),
}
SYSTEM_LOG = "/dev/log"
CHANGED = "the configuration was changed"
MOST_BYTES, LONGEST_TEXT = 1200, 200  # of what was added, and of what was removed: a line of the log has 4 KiB


def add_flags(parser: argparse.ArgumentParser) -> None:
    """Those that all commands have which change the file."""
    add_config(parser)
    parser.add_argument("--reload", action="store_true", help=_("let the running gateway take it at once"))
    parser.add_argument("--dry-run", action="store_true", help=_("only say what would change"))
    parser.add_argument("--json", action="store_true", help=_("say what came of it as JSON"))
    add_run_dir(parser)


def add_config(parser: argparse.ArgumentParser) -> None:
    """The flag that names the file."""
    told = _("the INI file (default: OGW_CONFIG, or {file})").format(file=DEFAULT_FILE)
    parser.add_argument("--config", metavar="FILE", help=told)


def file_of(asked: argparse.Namespace) -> str:
    """The path of the file that is meant. Raises Failed."""
    try:
        return asked_file(asked.config, os.environ, DEFAULT_FILE)
    except Unreadable as unreadable:
        raise Wrong(str(unreadable)) from None


def gateway_of(asked: argparse.Namespace) -> Gateway:
    """The running gateway that is meant: by --run-dir, or by the run-dir of the file that is edited."""
    return Gateway(asked.run_dir, {**os.environ, "OGW_CONFIG": file_of(asked)})


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
        return edit(path, change, dry_run)
    except EditError as error:
        failed = Wrong if isinstance(error, WrongValue) else Failed
        raise failed(_("{error}; nothing was changed").format(error=error)) from None
    except OSError as error:
        raise Failed(f"{path}: {error.strerror}") from None


def tell(asked: argparse.Namespace, outcome: Outcome, more: Mapping[str, Any] = MappingProxyType({})) -> int:
    """Say what came of it, report it, and reload where that is asked for; the exit code."""
    applied: Optional[dict[str, Any]] = None
    code, sentences = OK, [*outcome.said, *outcome.warnings]
    sentences += [_("still wrong in the file: {mistake}").format(mistake=mistake) for mistake in outcome.remaining]
    gateway = gateway_of(asked)
    runs = False
    if not asked.json:
        for text in outcome.removed:
            print(clean(f"- {text}"))
        for text in outcome.added:
            print(clean(f"+ {text}"))
    if outcome.changed and not asked.dry_run:
        if outcome.made:
            sentences.append(_made(outcome.path))
        sentences += _overridden(outcome)
        runs = report(gateway, outcome, sentences)
    if asked.reload and not asked.dry_run:
        try:
            applied = clean(gateway.ask("/reload", "POST", RELOAD_SECONDS, {"mistakes", "changed", "policy"}))
        except NoGateway as error:
            code = NO_GATEWAY
            if outcome.changed:
                sentences.append(_("{path} was changed; a gateway takes it at its start").format(path=outcome.path))
            sentences.append(str(error))
        else:
            strange = _reads_another(gateway, outcome.path, True)
            sentences += strange
            code = FAILED if strange or applied["mistakes"] else OK
    elif outcome.changed and not asked.dry_run:
        sentences += [_how(outcome, runs), *(_reads_another(gateway, outcome.path) if runs else ())]
    if asked.json:
        old, new = outcome.policies
        told = {"file": outcome.path, "changed": outcome.changed, "dry_run": asked.dry_run, "added": outcome.added,
                "removed": outcome.removed, "said": sentences, "mistakes": list(outcome.remaining),
                "old_policy": old, "new_policy": new, "reload": applied}  # fmt: skip
        print(json.dumps({**told, **more}, indent=2))
        return code
    sys.stdout.flush()
    for sentence in sentences:
        for line in sentence.split("\n"):
            print(f"ogw: {clean(line)}", file=sys.stderr)
    if applied is not None:
        code = max(code, tell_of_reload(applied))
    return code


def _made(path: str) -> str:
    status = os.stat(path)
    return _("{path} was made; its owner {owner} and the group {group} may read it, so the gateway must be one of "
             "them").format(path=path, owner=_user(status.st_uid), group=_group(status.st_gid))  # fmt: skip


def _how(outcome: Outcome, runs: bool) -> str:
    names = {text.split(" ", 1)[0] for text in (*outcome.added, *outcome.removed)}
    if not runs:
        return _("{path} was changed; no gateway was found that runs, the next one starts with it").format(
            path=outcome.path
        )
    if late := sorted(name for name in names if SETTINGS[name].restart):
        return _("{path} was changed; {names} needs a restart of the gateway, the rest `ogw reload`").format(
            path=outcome.path, names=", ".join(late)
        )
    return _("{path} was changed; the running gateway takes it with `ogw reload`").format(path=outcome.path)


def _overridden(outcome: Outcome) -> list[str]:
    """Single settings of the change that a variable of this environment beats."""
    names = dict.fromkeys(text.split(" ", 1)[0] for text in (*outcome.added, *outcome.removed))
    return [
        _("{variable} is set in this environment, and beats the file").format(variable=SETTINGS[name].variable)
        for name in names
        if not SETTINGS[name].listed and SETTINGS[name].variable in os.environ
    ]


def _beaten(settings: dict[str, Any], outcome: Outcome) -> list[str]:
    """Single settings of the change that the running gateway has from a flag or a variable of its own."""
    told = []
    for name in dict.fromkeys(text.split(" ", 1)[0] for text in (*outcome.added, *outcome.removed)):
        sources = [given["source"] for given in settings.get(name, ())]
        if not SETTINGS[name].listed and sources and sources[0] in (SETTINGS[name].flag, SETTINGS[name].variable):
            told.append(
                _("the running gateway was started with {source}, which beats the file: the change has no effect on it")
                .format(source=sources[0])
            )  # fmt: skip
    return told


def _reads_another(gateway: Gateway, path: str, reloaded: bool = False) -> list[str]:
    """A sentence where the running gateway takes its settings from another file, or, after a reload, from none."""
    try:
        settings = gateway.ask("/config", needs={"settings"})["settings"]
    except NoGateway:
        return []
    sources = [given["source"].rpartition(":") for rows in settings.values() for given in rows]
    files = {file for file, _colon, line in sources if line.isdigit() and not file.startswith("--")}
    if any(not os.path.isabs(file) or os.path.realpath(file) == path for file in files):
        return []
    if files:
        return [_("the running gateway reads {other}, and not {path}; name it: --config {other}").format(
            other=sorted(files)[0], path=path)]  # fmt: skip
    return [_("the running gateway does not read {path}; it was started without it, or may not read it").format(
        path=path)] if reloaded and _says_something(path) else []  # fmt: skip


def _says_something(path: str) -> bool:
    parser = IniParser()
    try:
        with open(path, encoding="utf-8-sig", newline="\n") as file:
            parser.parse(file)
    except (OSError, ValueError):
        return False
    return bool(parser.values)


def who() -> str:
    """Who types: "alice", or "alice (root)" behind sudo."""
    user = _user(os.geteuid())
    before = os.environ.get("SUDO_USER", "")
    return f"{before} ({user})" if before and before != user else user


def _user(number: int) -> str:
    try:
        return pwd.getpwuid(number).pw_name
    except KeyError:
        return str(number)


def _group(number: int) -> str:
    try:
        return grp.getgrgid(number).gr_name
    except KeyError:
        return str(number)


def report(gateway: Gateway, outcome: Outcome, sentences: list[str]) -> bool:
    """The event of a change, in the log of the gateway: through it where it runs, else where its lines go.

    Whether it runs; `sentences` get what is to be said of it.
    """
    told: dict[str, Any] = {
        "by": who(),
        "file": outcome.path,
        "old_policy": outcome.policies[0] or None,
        "new_policy": outcome.policies[1] or None,
        "added": _bounded(outcome.added),
        "removed": _bounded(outcome.removed),
    }
    told = clean(told)
    try:
        gateway.ask("/changed", "POST", body=json.dumps(told).encode())
        sentences += _beaten(gateway.ask("/config", needs={"settings"})["settings"], outcome)
        return True
    except NoGateway:
        pass
    if not _log(outcome, told):
        sentences.append(_("no log has a line of this change: no gateway runs, and there is neither a log-file nor a "
                           "system's log"))  # fmt: skip
    return False


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


def _log(outcome: Outcome, told: dict[str, Any]) -> bool:
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
    log.event(Event.INFORMATION, CHANGED, **told)
    log.close()
    return not writer.lost
