"""The dialogue of `ogw setup`, question by question."""

from typing import Optional

from ogw.cli.setup.answers import Answers, preview
from ogw.cli.setup.place import Place
from ogw.cli.setup.questions import agrees, answer, ask_checked, mistake, say
from ogw.cli.setup.relay_dialogue import forget_credentials, settle
from ogw.cli.setup.service_unit import unreachable, what_to_do
from ogw.language.messages import gettext as _
from ogw.settings.elsewhere.preset import PARAMETERS
from ogw.settings.ini.file import EditError
from ogw.settings.setting import shown_as
from ogw.settings.settings import SETTINGS
from ogw.settings.value import meaning

NONE = "-"


def ask(answers: Answers, place: Place, service: Optional[str], firewall: Optional[str]) -> None:
    """Complete the answers; what the command line gave is not asked for. Raises EOFError, EditError."""
    say(_("Setting up the gateway. Enter takes the answer in brackets; Ctrl-C ends this, and nothing is changed."))
    print()
    if "listen-port" not in answers.values:
        _ask_port(answers, place)
    _ask_hosts(answers, place)
    if "relay-proxy" not in answers.values:
        _ask_proxy(answers, place)
    elif answers.values["relay-proxy"]:
        settle(answers, place)
    if service is None:
        _ask_service(answers, place)
    elif answers.service and (why := unreachable(answers.program, place.root)):
        raise EditError(_("a service cannot run ogw as it is installed ({why}); what to do: {advice}").format(
            why=why, advice=what_to_do()))  # fmt: skip
    if firewall is None and place.firewall:
        name = place.firewall.name
        answers.firewall = agrees(_("Open the port in {name}?").format(name=name), True)
    print()


def _ask_port(answers: Answers, place: Place) -> None:
    setting = SETTINGS["listen-port"]
    answers.values["listen-port"] = [
        ask_checked(_("TCP port to listen on, 1-65535"), str(place.port), lambda text: meaning(setting, text))
    ]


def _ask_hosts(answers: Answers, place: Place) -> None:
    if "preset" not in answers.values:
        _ask_presets(answers, place)
    if "allowed-host" in answers.values:
        return
    there = place.texts("allowed-host")
    if there:
        say(_("Allowed hosts so far: {hosts}").format(hosts=", ".join(there)))
    say(_("Hosts that clients may reach, one a line, such as www.example.com or *.example.com; Enter ends the list."))
    rules: list[str] = []

    def check(text: str) -> None:
        if text:
            meaning(SETTINGS["allowed-host"], text)

    while rule := ask_checked(_("Host"), "", check):
        rules.append(rule)
    if rules:
        answers.values["allowed-host"] = rules
    elif not there and not answers.values.get("preset"):
        mistake(_("without an allowed host every target is refused; `ogw allowed-host add RULE` allows one later"))


def _ask_presets(answers: Answers, place: Place) -> None:
    setting = SETTINGS["preset"]
    there = place.texts("preset")
    if there:
        say(_("Presets so far: {names}").format(names=", ".join(there)))
    while True:
        text = answer(_("Presets (known services; `ogw presets` lists them), separated by commas, or Enter:"))
        if not text:
            return
        answers.values["preset"] = setting.split(text)
        mistakes = _wrong_with(answers, place)
        for name in PARAMETERS:
            if any(name in sentence for sentence in mistakes):
                value = answer(f"{name} ({SETTINGS[name].help}):")
                if value:
                    answers.values[name] = SETTINGS[name].split(value)
        mistakes = _wrong_with(answers, place)
        if not mistakes:
            return
        for sentence in mistakes:
            mistake(sentence)
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
    question = _("Relay proxy, such as http://proxy.example.com:3128, or {none} for none").format(none=NONE)

    def check(text: str) -> None:
        if text not in (NONE, default):
            for url in setting.split(text):
                meaning(setting, url)

    while True:
        given = ask_checked(question, default, check)
        if given == default and there:
            return  # as it is, with its credentials
        answers.values["relay-proxy"] = urls = [] if given == NONE else setting.split(given)
        forget_credentials(answers)
        if not urls:
            if not there:
                del answers.values["relay-proxy"]
            return
        if settle(answers, place):
            return


def _ask_service(answers: Answers, place: Place) -> None:
    if why := unreachable(answers.program, place.root):
        say(_("A service cannot run ogw as it is installed: {why}.").format(why=why))
        say(_("What to do: {advice}.").format(advice=what_to_do()))
        if not agrees(_("Go on without a service?"), False):
            raise EditError(_("ended, since a service cannot run ogw as it is installed"))
        answers.service = False
        return
    answers.service = agrees(_("Run the gateway as a service, now and whenever the machine starts?"), True)
