"""The questions of `ogw setup`: each answer is checked as it is given, and asked for again where it is wrong."""

import getpass
from collections.abc import Callable
from gettext import gettext as _
from typing import Optional

from ogw.cli.parser import filled, wrapped
from ogw.cli.setup.answers import Answers, preview
from ogw.cli.setup.place import Place
from ogw.cli.setup.service_unit import unreachable, what_to_do
from ogw.cli.setup.trial import TrialFailed, try_proxy
from ogw.policy.relay_entry import parse_relay_entry
from ogw.settings.editing import meaning
from ogw.settings.elsewhere.preset import PARAMETERS
from ogw.settings.ini.file import EditError
from ogw.settings.setting import shown_as
from ogw.settings.settings import SETTINGS

NONE = "-"


def ask(answers: Answers, place: Place, service: Optional[str], firewall: Optional[str]) -> None:
    """Complete the answers; what the command line gave is not asked for. Raises EOFError, EditError."""
    _say(_("Setting up the gateway. Enter takes what stands in brackets; Ctrl-C leaves, and nothing is changed."))
    print()
    if "listen-port" not in answers.values:
        _ask_port(answers, place)
    _ask_hosts(answers, place)
    if "relay-proxy" not in answers.values:
        _ask_proxy(answers, place)
    else:
        _try(answers, place)
    if service is None:
        _ask_service(answers, place)
    elif answers.service and (why := unreachable(answers.program, place.root)):
        raise EditError(_("a service cannot run ogw as it is installed: {why}; {what}").format(
            why=why, what=what_to_do()))  # fmt: skip
    if firewall is None and place.firewall:
        name = place.firewall.name
        answers.firewall = agrees(_("Open the port in {name}?").format(name=name), True)
    print()


def agrees(question: str, default: bool) -> bool:
    """Whether the operator says yes. Raises EOFError."""
    while True:
        answer = _answer(f"{question} [{_('Y/n') if default else _('y/N')}]").lower()
        if not answer:
            return default
        if answer in ("y", "yes", "n", "no"):
            return answer[0] == "y"
        _mistake(_("answer y or n"))


def _answer(question: str) -> str:
    """What is typed behind the last line of the question. Raises EOFError."""
    *before, last = wrapped(question)
    for line in before:
        print(line)
    return input(f"{last} ").strip()


def _say(text: str) -> None:
    print(*wrapped(text), sep="\n")


def _mistake(sentence: str) -> None:
    print(filled(sentence, "  "))


def _ask_checked(question: str, default: str, check: Callable[[str], object]) -> str:
    """The first answer that `check` does not raise EditError of."""
    while True:
        answer = _answer(f"{question} [{default}]:" if default else f"{question}:") or default
        try:
            check(answer)
        except EditError as error:
            for line in str(error).splitlines():
                _mistake(line)
        else:
            return answer


def _ask_port(answers: Answers, place: Place) -> None:
    setting = SETTINGS["listen-port"]
    default = (place.texts("listen-port") or [setting.default])[0]
    answers.values["listen-port"] = [
        _ask_checked(_("TCP port to listen on, 1-65535"), default, lambda text: meaning(setting, text))
    ]


def _ask_hosts(answers: Answers, place: Place) -> None:
    if "preset" not in answers.values:
        _ask_presets(answers, place)
    if "allowed-host" in answers.values:
        return
    there = place.texts("allowed-host")
    if there:
        _say(_("Allowed hosts so far: {hosts}").format(hosts=", ".join(there)))
    _say(_("Hosts that clients may reach, one a line, such as www.example.com or *.example.com; Enter ends the list."))
    rules: list[str] = []

    def check(text: str) -> None:
        if text:
            meaning(SETTINGS["allowed-host"], text)

    while answer := _ask_checked(_("Host"), "", check):
        rules.append(answer)
    if rules:
        answers.values["allowed-host"] = rules
    elif not there and not answers.values.get("preset"):
        _mistake(_("without any, every target is denied; `ogw allowed-host add RULE` allows one later"))


def _ask_presets(answers: Answers, place: Place) -> None:
    setting = SETTINGS["preset"]
    there = place.texts("preset")
    if there:
        _say(_("Presets so far: {names}").format(names=", ".join(there)))
    while True:
        text = _answer(_("Presets (known services; `ogw presets` lists them), separated by commas, or Enter:"))
        if not text:
            return
        answers.values["preset"] = setting.split(text)
        mistakes = _wrong_with(answers, place)
        for name in PARAMETERS:
            if any(name in mistake for mistake in mistakes):
                value = _answer(f"{name} ({SETTINGS[name].help}):")
                if value:
                    answers.values[name] = SETTINGS[name].split(value)
        mistakes = _wrong_with(answers, place)
        if not mistakes:
            return
        for mistake in mistakes:
            _mistake(mistake)
        for name in ("preset", *PARAMETERS):
            answers.values.pop(name, None)


def _wrong_with(answers: Answers, place: Place) -> list[str]:
    try:
        preview(answers, place)
    except EditError as error:
        return str(error).splitlines()
    return []


def _ask_proxy(answers: Answers, place: Place) -> None:
    setting = SETTINGS["relay-proxy"]
    there = place.texts("relay-proxy")
    default = ", ".join(shown_as(setting, text) for text in there) or NONE
    question = _("Relay proxy to go out through, such as http://proxy.example.com:3128; {none} is none").format(
        none=NONE
    )

    def check(text: str) -> None:
        if text not in (NONE, default):
            for url in setting.split(text):
                meaning(setting, url)

    while True:
        answer = _ask_checked(question, default, check)
        if answer == default and there:
            return  # as it is, with its credentials
        answers.values["relay-proxy"] = urls = [] if answer == NONE else setting.split(answer)
        answers.username, answers.password = "", None
        if not urls:
            if not there:
                del answers.values["relay-proxy"]
            return
        if all(parse_relay_entry(url).proxy.credentials is None for url in urls):
            _ask_credentials(answers)
        if _try(answers, place):
            return


def _ask_credentials(answers: Answers) -> None:
    answers.username = _ask_checked(
        _("Its user name, or Enter for none"), "", lambda text: meaning(SETTINGS["relay-proxy-username"], text)
    )
    while answers.username:
        try:
            answers.password = getpass.getpass(_("Its password (not shown): "))
            meaning(SETTINGS["relay-proxy-password"], answers.password)
            return
        except UnicodeDecodeError:
            _mistake(_("the terminal's locale does not have all of these characters; --password-stdin takes them"))
        except EditError as error:
            _mistake(str(error))


def _try(answers: Answers, place: Place) -> bool:
    """Try the relay proxies; whether to go on with them."""
    for url in answers.values["relay-proxy"]:
        print(_("  trying it ..."), flush=True)
        try:
            message = try_proxy(url, answers, place)
        except TrialFailed as error:
            _mistake(str(error))
            if not agrees(_("Use it all the same?"), False):
                return False
        else:
            _mistake(message)
    return True


def _ask_service(answers: Answers, place: Place) -> None:
    if why := unreachable(answers.program, place.root):
        _say(_("A service cannot run ogw as it is installed: {why}.").format(why=why))
        _say(_("To have one: {what}.").format(what=what_to_do()))
        if not agrees(_("Go on without a service?"), False):
            raise EditError(_("left without a service that can run"))
        answers.service = False
        return
    answers.service = agrees(_("Run it as a service, now and whenever the machine starts?"), True)
