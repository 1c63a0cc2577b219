"""`ogw setup`: the dialogue that sets a gateway up, its silent form, and the way back."""

import argparse
import difflib
import os
import shlex
import sys
from collections.abc import Sequence

from ogw.cli.edit.relay_proxy import from_stdin
from ogw.cli.exits import FAILED, INTERRUPTED, OK, Failed, Wrong
from ogw.cli.parser import Parser, parser_of
from ogw.cli.setup import dialogue
from ogw.cli.setup.answers import Answers, allows_any
from ogw.cli.setup.firewall import CallFailed, find_firewall
from ogw.cli.setup.place import Place, place_of
from ogw.cli.setup.plan import plan
from ogw.cli.setup.questions import agrees
from ogw.cli.setup.relay_dialogue import settle_silently
from ogw.cli.setup.removal import undo
from ogw.cli.setup.service_unit import find_program, unreachable, what_to_do
from ogw.cli.setup.step import Step, perform, show
from ogw.language.messages import gettext as _
from ogw.language.phrases import with_hint
from ogw.machine.systemd import systemd_runs
from ogw.settings.ini.file import EditError
from ogw.settings.settings import SETTINGS
from ogw.settings.value import meaning

# Its own flags are for what is secret, and for what keeps a secret.
NOT_FLAGS = {name for one in SETTINGS.values() for name in (one.secret and one.name, one.better) if name}
SHOWN_FLAGS = ("listen-port", "allowed-host", "preset", "workspace", "region", "relay-proxy", "relay-proxy-auth",
               "relay-proxy-keytab")  # fmt: skip
# What the original's installer takes.
PARAMETERS = (
    *(setting.installer for setting in SETTINGS.values() if setting.installer),
    *("HASPROXY", "HASAUTH", "INSTALLDIR", "LICENSEACCEPTED"),
)


def parser() -> Parser:
    made = parser_of(
        "setup",
        _(
            "Set the gateway up: ask for port, hosts, relay proxy, service and firewall, show the steps, and do "
            "them: write /etc/ogw/ogw.ini (what is in there stays) and the systemd unit, open the port in the "
            "firewall, and start the service. Done again, it changes only what is different. With --yes it asks "
            "nothing; every setting of `ogw run` is a flag here, too, and so are the parameters of the original's "
            "installer: PORTNUMBER=8080 HASPROXY=1 PROXY=URL HASAUTH=1 USERNAME=NAME PASSWORD=... LicenseAccepted=1."
        ),
        examples=[
            "ogw setup",
            "ogw setup --yes --listen-port 8080 --allowed-host www.example.com",
            "ogw setup --yes --relay-proxy http://proxy.example.com --username gateway --password-stdin < password",
            "ogw setup --yes --service no --firewall no --root /mnt/image --allowed-host www.example.com",
            "ogw setup --uninstall",
        ],
        codes={
            OK: _("done, or there was nothing to do"),
            FAILED: _("not done: the message says why, what was done and what was not"),
            INTERRUPTED: _("ended by Ctrl-C; nothing is changed before the steps begin"),
        },
    )
    made.add_argument("--yes", action="store_true", help=_("ask nothing"))
    made.add_argument("--dry-run", action="store_true", help=_("only say what would be done, and ask nothing"))
    made.add_argument(
        "--root", default="", metavar="FOLDER", help=_("set up the image in this folder instead of this machine")
    )
    made.add_argument("--service", choices=("yes", "no"), help=_("install and start the systemd unit (default: yes)"))
    made.add_argument("--firewall", choices=("yes", "no"), help=_("open the port in the firewall (default: yes)"))
    made.add_argument(
        "--program", default="", metavar="FILE", help=_("the program that the service runs (default: this one)")
    )
    made.add_argument(
        "--username", default="", metavar="NAME", help=_("user name for the relay proxy; DOMAIN\\NAME for NTLM")
    )
    made.add_argument(
        "--password-stdin", action="store_true", help=_("read the password for the relay proxy from standard input")
    )
    made.add_argument("--uninstall", action="store_true",
                        help=_("stop and remove unit and firewall rule; the INI file stays"))  # fmt: skip
    made.add_argument(
        "--purge", action="store_true", help=_("with --uninstall: remove configuration, state and logs, too")
    )
    for name, setting in SETTINGS.items():
        if name not in NOT_FLAGS:
            text = setting.help.replace("%", "%%") if name in SHOWN_FLAGS else argparse.SUPPRESS
            made.add_argument(setting.flag, dest=f"={name}", action="append", metavar=setting.placeholder, help=text)
            for flag in setting.flags[1:]:
                made.add_argument(flag, dest=f"={name}", action="append", help=argparse.SUPPRESS)
    made.add_argument("parameters", nargs="*", metavar="NAME=VALUE", help=_("a parameter of the original's installer"))
    made.intermixed = True
    return made


def run(asked: argparse.Namespace) -> int:
    original = _parameters(asked)
    place = _place(asked)
    try:
        if asked.uninstall:
            return _uninstall(asked, place)
        answers = _answers(asked, original)
        silent = bool(asked.yes or asked.dry_run)
        if not silent:
            if not sys.stdin.isatty():
                parser().error(_("--yes is needed where nobody can be asked (standard input is no terminal)"))
            dialogue.ask(answers, place, asked.service, asked.firewall)
        else:
            _complete(answers, asked, place)
        return _carry_out(asked, answers, place, silent)
    except (EditError, CallFailed) as error:
        raise Failed(_("{error}; nothing was changed").format(error=error)) from None
    except EOFError:
        raise Failed(_("the answers ended early; nothing was changed")) from None
    except KeyboardInterrupt:
        print(file=sys.stderr)
        print(_("ogw: nothing was changed"), file=sys.stderr)
        raise


def _parameters(asked: argparse.Namespace) -> dict[str, str]:
    """Those of the original's installer; the one that says yes to all counts as --yes."""
    original: dict[str, str] = {}
    for word in asked.parameters:
        name, equals, value = word.partition("=")
        if not equals or name.upper() not in PARAMETERS:
            near = difflib.get_close_matches(name.upper(), PARAMETERS, 1, 0.6)
            shown = f"{name}=" if equals else name
            wrong = _("{word} is no parameter of the installer").format(word=ascii(shown))
            parser().error(with_hint(wrong, [f"{one}=" for one in near if equals]))
        if name.upper() in original:
            parser().error(_("{name} is given twice").format(name=name.upper()))
        original[name.upper()] = value
    if asked.purge and not asked.uninstall:
        parser().error(_("--purge goes with --uninstall"))
    if "LICENSEACCEPTED" in original:
        if not _is_one(original, "LICENSEACCEPTED", "0"):
            parser().error(
                _("LICENSEACCEPTED=0 says no, and nothing was changed; leave it out, or say 1, which is --yes")
            )
        asked.yes = True
    return original


def _is_one(original: dict[str, str], name: str, default: str) -> bool:
    value = original.get(name, default)
    if value.lower() not in ("0", "1", "yes", "no", "true", "false"):
        parser().error(_("{name}: {value} is neither 1 nor 0").format(name=name, value=ascii(value)))
    return value.lower() in ("1", "yes", "true")


def _place(asked: argparse.Namespace) -> Place:
    root = asked.root
    if root and not os.path.isdir(root):
        raise Wrong(_("--root: {root} is no folder").format(root=ascii(root)))
    if not root and not asked.dry_run and os.geteuid() != 0:
        raise Failed(_("this writes to /etc and starts a service: run it as root (sudo ogw setup), or with --root"))
    return place_of(root, None if root or asked.firewall == "no" else find_firewall())


def _answers(asked: argparse.Namespace, original: dict[str, str]) -> Answers:
    """What the command line says, checked. Ends with 2 where it is wrong, with every mistake."""
    given = {name: list(texts) for name in SETTINGS if (texts := getattr(asked, f"={name}", None)) is not None}
    answers = Answers(given, asked.username, service=asked.service != "no", firewall=asked.firewall != "no")
    _take_original(answers, original)
    if asked.password_stdin:
        answers.password = from_stdin()
    if answers.password is not None and not answers.username:
        parser().error(_("--username is missing: there is a password for it"))
    if answers.username and "relay-proxy" not in answers.values:
        parser().error(_("--relay-proxy is missing: there is a user name for it"))
    mistakes = _tidy(answers)
    if mistakes:
        raise Wrong(_("{mistakes}; nothing was changed").format(mistakes="\nogw: ".join(mistakes)))
    answers.program = [asked.program] if asked.program else find_program(asked.root if asked.root != "/" else "")
    if asked.program and not os.path.isabs(asked.program):
        parser().error(_("--program must be a path that begins with /"))
    return answers


def _tidy(answers: Answers) -> list[str]:
    """Bring the texts in the form in which the file has them; what is wrong with them."""
    mistakes = []
    if answers.username or answers.password:
        for name, text in (
            ("relay-proxy-username", answers.username),
            ("relay-proxy-password", answers.password or ""),
        ):
            try:
                meaning(SETTINGS[name], text)
            except EditError as error:
                mistakes.append(str(error))
    for name, texts in answers.values.items():
        setting = SETTINGS[name]
        if not setting.listed and len(texts) > 1:
            mistakes.append(_("{flag} takes one value").format(flag=setting.flag))
        if setting.listed and setting.read is not None:
            texts[:] = [one for text in texts for one in setting.split(text)]
        for text in texts:
            try:
                meaning(setting, text)
            except EditError as error:
                mistakes.append(str(error))
    return mistakes


def _take_original(answers: Answers, original: dict[str, str]) -> None:
    """The parameters of the original's installer, as ours."""
    notes = []
    for name, setting in (("PORTNUMBER", "listen-port"), ("PROXY", "relay-proxy"), ("HASPROXY", "relay-proxy")):
        if name in original and setting in answers.values:
            parser().error(_("{name}: --{setting} says the same, too").format(name=name, setting=setting))
    if "PORTNUMBER" in original:
        answers.values["listen-port"] = [original["PORTNUMBER"]]
    proxy, user, password = (original.get(name, "") for name in ("PROXY", "USERNAME", "PASSWORD"))
    if _is_one(original, "HASPROXY", "1" if proxy else "0"):
        if not proxy:
            parser().error(_("PROXY is missing: HASPROXY says that there is a relay proxy"))
        answers.values["relay-proxy"] = [proxy]
        if _is_one(original, "HASAUTH", "1" if user or password else "0"):
            if not user:
                parser().error(_("USERNAME is missing: HASAUTH or PASSWORD says that there is a user name"))
            answers.username, answers.password = user, password
        else:
            answers.anonymous = "HASAUTH" in original or "USERNAME" in original
            if user or password:
                notes.append(_("HASAUTH=0: USERNAME and PASSWORD are ignored"))
    else:
        if "HASPROXY" in original or "PROXY" in original:
            answers.values["relay-proxy"] = []
        if proxy:
            notes.append(_("HASPROXY=0: PROXY is ignored"))
        if user or password or _is_one(original, "HASAUTH", "0"):
            notes.append(
                _("without PROXY there is no relay proxy to log in to: HASAUTH, USERNAME and PASSWORD are ignored")
            )
    if password:
        notes.append(
            _("PASSWORD: every user of this machine can read a password in a command line, if only for a moment; "
              "use --password-stdin instead")
        )  # fmt: skip
    if "INSTALLDIR" in original:
        notes.append(_("INSTALLDIR means nothing here: ogw stays where it is installed"))
    for sentence in notes:
        print(f"ogw: {sentence}", file=sys.stderr)


def _complete(answers: Answers, asked: argparse.Namespace, place: Place) -> None:
    """What the dialogue would find out: whether a service can run the program, whether the relay proxy works."""
    if answers.service and (why := unreachable(answers.program, place.root)):
        told = _("nothing was changed: a service cannot run ogw as it is installed ({why}); what to do: {advice}")
        raise Failed(told.format(why=why, advice=what_to_do()))
    if answers.values.get("relay-proxy") and not asked.dry_run:
        settle_silently(answers, place)


def _carry_out(asked: argparse.Namespace, answers: Answers, place: Place, silent: bool) -> int:
    steps = plan(answers, place)
    print(_("This would be done:") if asked.dry_run else _("This will be done:"))
    todo = show(steps)
    later = [step for step in steps if step.do is None]
    if not todo:
        print(_("Nothing to do: all of this is done already."))
    if todo and not asked.dry_run:
        if not silent and not agrees(_("Do this?"), True):
            raise Failed(_("nothing was changed"))
        _perform(todo, asked)
    if not allows_any(answers, place):
        command = "ogw allowed-host add RULE"
        if place.root:
            command = f"ogw setup --root {shlex.quote(place.root)} --allowed-host RULE"
        told = _("allowed-host is empty: every target is refused; `{command}` allows one").format(command=command)
        if answers.service and place.systemd:
            told = _("no host is allowed yet, so the gateway does not serve; allow one and start it: "
                     "ogw allowed-host add www.example.com && systemctl start ogw")  # fmt: skip
        print(f"ogw: {told}", file=sys.stderr)
    if later:
        print(_("To be done by hand:"))
    for step in later:
        print(f"  {step.name}", *(f"      {line}" for line in step.by_hand), sep="\n")
    if not answers.service:
        start = ["ogw", "run", *(["--config", place.ini] if place.root else [])]
        print(_("Start the gateway with: {command}").format(command=shlex.join(start)))
    elif not systemd_runs() and not place.root:
        print(_("systemd does not run here; start the gateway with: ogw run"))
    return OK


def _perform(todo: Sequence[Step], asked: argparse.Namespace) -> None:
    failed = perform(todo)
    if failed is None:
        return
    root = f" --root {shlex.quote(asked.root)}" if asked.root else ""
    if asked.uninstall:
        again = _("correct this; `ogw setup --uninstall{root}` then goes on").format(root=root)
    else:
        again = _(
            "correct this; the same command then goes on where it stopped, or `ogw setup --uninstall{root}` undoes it"
        ).format(root=root)
    raise Failed(f"{failed}\n{again}")


def _uninstall(asked: argparse.Namespace, place: Place) -> int:
    steps = undo(place, asked.purge)
    print(_("This would be done:") if asked.dry_run else _("This will be done:"))
    todo = show(steps)
    if not todo:
        print(_("Nothing to do: all of this is done already."))
    elif not asked.dry_run:
        question = _("Do this? The configuration is removed, too.") if asked.purge else _("Do this?")
        if not asked.yes:
            if not sys.stdin.isatty():
                raise Wrong(_("--yes is needed where nobody can be asked (standard input is no terminal)"))
            if not agrees(question, not asked.purge):
                raise Failed(_("nothing was changed"))
        _perform(todo, asked)
    if not asked.purge and os.path.exists(place.ini):
        print(_("{file} stays; --purge removes it, too").format(file=place.ini))
    return OK
