"""A relay proxy is tried before it is configured: asked for a tunnel with what will stand in the INI file."""

from gettext import gettext as _

from ogw.cli.setup.answers import Answers, ca_file
from ogw.cli.setup.place import Place
from ogw.policy.relay_entry import parse_relay_entry
from ogw.policy.rules import parse_rules
from ogw.service.probe import try_relay_proxy
from ogw.settings.editing import meaning_or_none
from ogw.settings.ini.file import EditError
from ogw.settings.settings import SETTINGS
from ogw.tunnel.upstream import DialError
from ogw.wire.connect import parse_target
from ogw.wire.place import place as host_and_port
from ogw.wire.relay_proxy import credentials

SECONDS = 10.0
ANY_TARGET = "www.example.com:443"


class TrialFailed(Exception):
    """What is wrong with the relay proxy: a sentence."""


def try_proxy(url: str, answers: Answers, place: Place) -> str:
    """Ask this one for a tunnel; the sentence that says it works. Raises TrialFailed, or EditError for a wrong URL."""
    try:
        proxy = parse_relay_entry(url).proxy
        given = credentials(answers.username, answers.password or "") if answers.username else None
    except ValueError as error:
        raise EditError(f"relay-proxy: {error}") from None
    target = parse_target(target_of(answers, place).encode())
    try:
        try_relay_proxy(proxy, given, target, SECONDS, _dns_servers(answers, place), ca_file(answers, place))
    except DialError as error:
        # An address that the URL names need not be told twice.
        detail = error.detail.replace(f" cannot be reached: {proxy.target.host}: ", " cannot be reached: ")
        raise TrialFailed(detail) from None
    except OSError as error:
        raise TrialFailed(f"relay-proxy-ca-file: {error.filename}: {error.strerror}") from None
    return _("{proxy} opens a tunnel to {target}").format(proxy=proxy, target=target)


def target_of(answers: Answers, place: Place) -> str:
    """HOST:PORT to try a relay proxy with: an allowed host, if one is named without a star."""
    for text in [*answers.values.get("allowed-host", []), *place.texts("allowed-host")]:
        rules, _mistakes = parse_rules(text, "")
        for rule in rules:
            pattern = str(rule.pattern)
            if not any(character in pattern for character in "*/") and not pattern.startswith("."):
                return host_and_port(pattern, rule.port or 443)
    return ANY_TARGET


def _dns_servers(answers: Answers, place: Place) -> list[tuple[str, int]]:
    setting = SETTINGS["dns-server"]
    texts = [*place.texts(setting.name), *answers.values.get(setting.name, [])]
    listed = [meaning_or_none(setting, one) for text in texts for one in setting.split(text)]
    return [(one[0], one[1] or 53) for one in listed if one is not None]
