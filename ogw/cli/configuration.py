"""The configuration as commands load it: whose flags it is made of, which file is meant, and what is wrong with it."""

import argparse
import difflib
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Optional

from ogw.cli.parser import Formatter, Parser, epilog, filled, parser_of
from ogw.cli.spoken import last
from ogw.language.messages import gettext as _
from ogw.language.messages import gettext_noop as N_
from ogw.language.phrases import with_hint
from ogw.report.events import Event
from ogw.report.standard import say
from ogw.service.notify import tell_of_mistakes
from ogw.settings.loader import ConfigError, help_text, load
from ogw.settings.setting import PREFIX
from ogw.settings.settings import SETTINGS, Config
from ogw.settings.usual import DEFAULT_FILE

ALSO = N_("All flags of `ogw run`, its variables and its INI file are taken into account.")


class GatewayParser(Parser):
    """Takes all flags of `ogw run`, too: `asked.flags` are they and what nobody knows, as words that `load` judges."""

    def parse(self, words: Sequence[str]) -> argparse.Namespace:
        own, flags = split_flags(words)
        asked, unknown = self.parse_known_args(own)
        for word in unknown:
            if word.startswith("-"):
                self._require_no_typo(word.partition("=")[0])
        asked.flags = [*flags, *unknown]
        return asked

    def _require_no_typo(self, flag: str) -> None:
        """A flag of the command itself, mistyped, is no mistake of the configuration."""
        known = [*self._option_string_actions, *(flag for setting in SETTINGS.values() for flag in setting.flags)]
        near = difflib.get_close_matches(flag, known, n=1)
        if near and near[0] in self._option_string_actions:
            message = _("{flag}: there is no such flag").format(flag=ascii(flag)[1:-1])
            self.error(with_hint(message, near))


class BareParser(GatewayParser):
    """Takes them and nothing else but switches: `asked.flags` are the words as they were typed.

    Its help is that of all settings, by group; does, examples and codes are as in parser_of.
    """

    def __init__(
        self, program: str, does: str, examples: Sequence[str], codes: Mapping[int, str], switches: Sequence[str] = ()
    ) -> None:
        super().__init__(prog=f"ogw {program}", add_help=False)
        self._usage = " ".join([self.prog, *(f"[{switch}]" for switch in switches)])
        self._texts = {"description": filled(does), "epilog": epilog(examples, codes)}
        for switch in ("-h", "--help", *switches):
            self.add_argument(switch, action="store_true")

    def format_help(self) -> str:
        return help_text(self._usage, formatter_class=Formatter, **self._texts)

    def parse(self, words: Sequence[str]) -> argparse.Namespace:
        if "-h" in words or "--help" in words:
            self.print_help()
            self.exit()
        asked = self.parse_args([word for word in words if word in self._option_string_actions])
        asked.flags = [word for word in words if word not in self._option_string_actions]
        return asked


def gateway_parser(
    words: str,
    does: str,
    examples: Sequence[str] = (),
    codes: Mapping[int, str] | None = None,
    usage: Optional[str] = None,
) -> Parser:
    """One of parser_of that takes all flags of `ogw run`, too, and says so."""
    return parser_of(words, with_all_flags(does), examples, codes, GatewayParser, usage)


def with_all_flags(does: str) -> str:
    """What a command does, in whole sentences, and one more: that it takes all flags of `ogw run`."""
    also = _(ALSO)
    return f"{does} {also}"


def split_flags(words: Sequence[str]) -> tuple[list[str], list[str]]:
    """The words of a command itself, and the gateway's flags with their values."""
    own: list[str] = []
    flags: list[str] = []
    known = {"--config", *(flag for setting in SETTINGS.values() for flag in setting.flags)}
    left = list(words)
    while left:
        word = left.pop(0)
        if word.partition("=")[0] not in known:
            own.append(word)
            continue
        flags.append(word)
        if "=" not in word and left:
            flags.append(left.pop(0))
    return own, flags


def configuration_file(flags: Sequence[str]) -> Optional[str]:
    """The INI file that these flags and the environment mean; None where there is none."""
    if asked := last(flags, "--config") or os.environ.get(f"{PREFIX}CONFIG", ""):
        return asked
    return DEFAULT_FILE if os.path.exists(DEFAULT_FILE) else None


def load_or_tell(
    words: Sequence[str], log: bool = False, also: Callable[[Sequence[str]], None] = lambda mistakes: None
) -> Optional[Config]:
    """The configuration of these flags, the environment and the file, or None after every mistake in it was told.

    log   a gateway starts with it, and standard output is its log: the mistakes go there, too, unless a person reads it
    also  told of them, too
    """
    try:
        return load(words, os.environ, to_start=log)
    except ConfigError as error:
        if log:
            tell_of_mistakes(error.mistakes)
        for mistake in error.mistakes:
            message = _("wrong configuration: {mistake}").format(mistake=mistake)
            say(f"ogw: OGW-{Event.WRONG_CONFIGURATION:d} {message}", sys.stderr)
            if log and not sys.stdout.isatty():
                from ogw.report.log import one_line

                say(one_line(Event.WRONG_CONFIGURATION, mistake), sys.stdout)
        also(error.mistakes)  # last: whoever hears it may end us
        return None
