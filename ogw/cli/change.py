"""A change of the INI file by a command: made, told, reported as an event, and applied where that is asked for."""

import argparse
import json
import os
import pwd
import sys
from collections.abc import Callable
from gettext import gettext as _

from ogw.cli.commands import Failed
from ogw.cli.gateway import NO_GATEWAY, NO_GATEWAY_MEANS, Gateway, NoGateway, add_run_dir
from ogw.cli.orders import RELOAD_SECONDS, tell_of_reload
from ogw.cli.screen import clean
from ogw.report.events import Event
from ogw.report.log import Log
from ogw.report.sinks import Syslog, open_sink
from ogw.report.writers import Direct
from ogw.settings.editing import Editor, Outcome, edit
from ogw.settings.ini_file import EditError
from ogw.settings.loader import DEFAULT_FILE, ConfigError, load
from ogw.settings.settings import SETTINGS

OK, NOT_DONE, WRONG = 0, 1, 2  # exit codes
CODES = {
    OK: _("done, or it was so already"),
    NOT_DONE: _("not done: the message says why, and the file is as it was"),
    NO_GATEWAY: _("the file was changed, but there is no gateway to --reload: {what}").format(what=NO_GATEWAY_MEANS),
}
SYSTEM_LOG = "/dev/log"
CHANGED = "the configuration was changed"


def add_flags(parser: argparse.ArgumentParser) -> None:
    """Those that all commands have which change the file."""
    add_config(parser)
    parser.add_argument("--reload", action="store_true", help=_("let the running gateway take it at once"))
    parser.add_argument("--dry-run", action="store_true", help=_("only say what would change"))
    add_run_dir(parser)


def add_config(parser: argparse.ArgumentParser) -> None:
    """The flag that names the file."""
    told = _("the INI file (default: OGW_CONFIG, or {file})").format(file=DEFAULT_FILE)
    parser.add_argument("--config", metavar="FILE", default="", help=told)


def file_of(asked: argparse.Namespace) -> str:
    """The path of the file that is meant."""
    return str(asked.config or os.environ.get("OGW_CONFIG") or DEFAULT_FILE)


def gateway_of(asked: argparse.Namespace) -> Gateway:
    """The one that is meant: by --run-dir, by the environment, or by the file that is edited."""
    return Gateway(asked.run_dir, {**os.environ, "OGW_CONFIG": file_of(asked)})


def make(asked: argparse.Namespace, change: Callable[[Editor], None]) -> int:
    """Make the change, tell of it, and reload where that is asked for; the exit code. Raises Failed."""
    outcome = changed_file(file_of(asked), change, asked.dry_run)
    return tell(asked, outcome)


def changed_file(path: str, change: Callable[[Editor], None], dry_run: bool = False) -> Outcome:
    """Raises Failed; the file is then as it was."""
    try:
        if path == DEFAULT_FILE and not dry_run:
            os.makedirs(os.path.dirname(path), 0o755, exist_ok=True)
        return edit(path, change, dry_run)
    except EditError as error:
        raise Failed(_("{error}; nothing was changed").format(error=error)) from None
    except OSError as error:
        raise Failed(f"{path}: {error.strerror}") from None


def tell(asked: argparse.Namespace, outcome: Outcome) -> int:
    """Say what came of it, report it, and reload where that is asked for; the exit code."""
    for sentence in outcome.said:
        print(f"ogw: {sentence}", file=sys.stderr)
    for text in outcome.removed:
        print(f"- {text}")
    for text in outcome.added:
        print(f"+ {text}")
    for mistake in outcome.remaining:
        print(_("ogw: still wrong in the file: {mistake}").format(mistake=mistake), file=sys.stderr)
    if asked.dry_run:
        return OK
    if outcome.changed:
        _tell_of_overrides(outcome)
        _report(asked, outcome)
    if asked.reload:
        needs = {"mistakes", "changed", "policy"}
        return tell_of_reload(clean(gateway_of(asked).ask("/reload", "POST", RELOAD_SECONDS, needs)))
    if outcome.changed:
        how = _("{path} was changed; the running gateway takes it with `ogw reload`")
        print(f"ogw: {how.format(path=outcome.path)}", file=sys.stderr)
    return OK


def _tell_of_overrides(outcome: Outcome) -> None:
    for name in {text.split(" ", 1)[0] for text in (*outcome.added, *outcome.removed)}:
        setting = SETTINGS[name]
        if not setting.listed and setting.variable in os.environ:
            told = _("ogw: {variable} is set in this environment, and beats the file")
            print(told.format(variable=setting.variable), file=sys.stderr)


def who() -> str:
    """Who types: "alice", or "alice (root)" behind sudo."""
    try:
        user = pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        user = str(os.geteuid())
    before = os.environ.get("SUDO_USER", "")
    return f"{before} ({user})" if before and before != user else user


def _report(asked: argparse.Namespace, outcome: Outcome) -> None:
    """The event of a change, in the log of the gateway: through it where it runs, else where its lines go."""
    told: dict[str, object] = {
        "by": who(),
        "file": outcome.path,
        "old_policy": outcome.policies[0] or None,
        "new_policy": outcome.policies[1] or None,
        "added": outcome.added,
        "removed": outcome.removed,
    }
    try:
        gateway_of(asked).ask("/changed", "POST", body=json.dumps(told).encode())
        return
    except NoGateway:
        pass
    if not _log(outcome.path, told):
        print(_("ogw: no log to write this change to: no gateway runs, and there is no log-file"), file=sys.stderr)


def _log(path: str, told: dict[str, object]) -> bool:
    try:
        config = load(["--config", path], os.environ)
        file, syslog, as_text = config.log_file, config.syslog, config.log_format == "text"
    except ConfigError:
        file, syslog, as_text = "", None, False
    try:
        sink = open_sink(file, syslog) if file or syslog else Syslog(SYSTEM_LOG)
    except OSError:
        return False
    log = Log(Direct(sink), as_text)
    log.event(Event.INFORMATION, CHANGED, **told)  # type: ignore[arg-type]
    log.close()
    return True
