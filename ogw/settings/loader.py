"""All sources together: flags beat the environment beats the file beats the default; lists add up over all three."""

import argparse
import difflib
import os
from collections.abc import Mapping, Sequence
from io import StringIO
from typing import Any, Optional

from configargparse import ArgumentParser

from ogw.language.messages import gettext as _
from ogw.language.messages import gettext_noop as N_
from ogw.language.messages import ngettext
from ogw.language.phrases import with_hint
from ogw.policy.rules import Rule, of_stage, parse_rules
from ogw.settings.admin_files import check_admin
from ogw.settings.checks import check_start, check_together
from ogw.settings.elsewhere import gather
from ogw.settings.elsewhere.copies import default_state_dir
from ogw.settings.ini.parser import IniParser, has_comment
from ogw.settings.ini.source import Unreadable, absolute, ini_text, require_path
from ogw.settings.kinds import require_printable, require_short, require_utf_8
from ogw.settings.mistakes import Mistakes, behind_value, given_at
from ogw.settings.named import flags as named_flags
from ogw.settings.password_file import read_password, read_values
from ogw.settings.renames import RENAMES, name_now
from ogw.settings.setting import (
    DEFAULT,
    PREFIX,
    Given,
    Setting,
    flag_of,
    quoted,
    shown_as,
    variable_of,
    with_commas,
)
from ogw.settings.settings import FILE, FILE_VARIABLES, GROUPS, SETTINGS, Config
from ogw.settings.usual import DEFAULT_FILE
from ogw.wire.relay_proxy import HIDDEN
from ogw.wire.url import shown_url

LONGEST_SHOWN = 200  # characters of a wrong value
MOST_TOLD = 100  # mistakes
NOTHING_ALLOWED = N_("allowed-host is empty: every target is denied")
_SINGLE = {name for name, setting in SETTINGS.items() if not setting.listed}


class ConfigError(Exception):
    """The configuration is wrong: its mistakes, one line each; of a file that is something else, the first ones."""

    def __init__(self, mistakes: Sequence[str]) -> None:
        told = list(mistakes[:MOST_TOLD])
        if len(mistakes) > MOST_TOLD:
            more = len(mistakes) - MOST_TOLD
            told.append(ngettext("and {number} mistake more", "and {number} mistakes more", more).format(number=more))
        super().__init__("\n".join(told))
        self.mistakes = tuple(told)


def load(
    arguments: Sequence[str],
    environment: Mapping[str, str],
    before: Optional[Config] = None,
    to_start: bool = False,
) -> Config:
    """The configuration that flags, variables and the file add up to. Raises ConfigError with all mistakes at once.

    before    the one in force, at a reload
    to_start  a gateway starts with it, or would: what only a start needs is looked at, too, such as the log's folder
    """
    return _Loader(arguments, environment, before).load(to_start)


def help_text(program: str, **more: Any) -> str:
    """What `--help` shows: every flag with its variable, its default and what it does. `more` goes to argparse."""
    parser = _parser(program)
    vars(parser).update(more)
    return str(parser.format_help())


class _Keep(argparse.Action):
    """Keeps every text that a setting is given. Not argparse's append: configargparse would read lists into `[::1]`."""

    def __call__(self, parser: Any, namespace: Any, values: Any, option_string: Optional[str] = None) -> None:
        getattr(namespace, self.dest).append(values)


def _parser(program: str = "ogw run", nargs: Optional[str] = None) -> ArgumentParser:
    parser = ArgumentParser(
        prog=program,
        usage=f"{program} [--allowed-host RULE] ...",
        description=_("A CONNECT gateway: only to listed hosts, only on listed ports."),
        config_file_parser_class=IniParser,
        add_config_file_help=False,
        add_env_var_help=False,  # it would also add a paragraph at the end
        allow_abbrev=False,
        formatter_class=argparse.HelpFormatter,
    )
    where = _("the INI file (default: {file} if it is there) [env var: OGW_CONFIG]").format(file=DEFAULT_FILE)
    shared: dict[str, Any] = {"action": _Keep, "default": [], "nargs": nargs}
    parser.add_argument("--config", metavar="FILE", env_var=PREFIX + "CONFIG", help=where, **shared)
    groups = {heading: parser.add_argument_group(_(heading)) for heading in GROUPS}
    for setting in SETTINGS.values():
        text = _with_more(setting)
        text = f"{text} [env var: {setting.variable}]".replace("%", "%%")
        groups[setting.group].add_argument(
            setting.flag, metavar=setting.placeholder, env_var=setting.variable, help=text, **shared
        )
    for old in RENAMES:
        parser.add_argument(flag_of(old), env_var=variable_of(old), help=argparse.SUPPRESS, **shared)
    return parser


class _Loader:
    def __init__(self, arguments: Sequence[str], environment: Mapping[str, str], before: Optional[Config]) -> None:
        self._before = before
        self._arguments = list(arguments)
        self._environment = {name: text for name, text in environment.items() if name.startswith(PREFIX)}
        self._state_dir = default_state_dir(environment)
        self._mistakes = Mistakes()
        self._warnings: list[str] = []
        self._path = ""  # of the INI file
        self._file = ""  # the same, absolute; "" for the default one
        self._file_seen: gather.Seen = ()  # what it looked like just before it was read
        self._commented: list[tuple[str, str]] = []  # where it has a comment behind a value, and what is told of that

    def load(self, to_start: bool) -> Config:
        flags = self._from_flags()
        variables = self._from_variables()
        file = self._from_file(_last(flags["config"]) or _last(variables["config"]))
        for old in RENAMES:
            self._take_by_new_name(old, [flags, variables, file])
        values: dict[str, Any] = {}
        origins: dict[str, list[Given]] = {}
        for name, setting in SETTINGS.items():
            given = self._weigh(setting, flags[name], variables[name], file.get(name, []))
            # What nobody may see is converted and then forgotten.
            origins[name] = [Given(source, shown_as(setting, text)) for source, text in given]
            values[setting.attribute] = self._convert(setting, given)
            if setting.beside and values[setting.attribute]:
                values[setting.attribute] = _beside(given[-1], values[setting.attribute])
            self._warn_of_flag(setting, given)
        elsewhere = self._gather(values)
        check_together(values, self._mistakes, self._warnings, self._before)
        guarded = check_admin(values, self._mistakes, self._warnings)
        if to_start:
            check_start(values, self._mistakes, named_flags(self._file))
        if self._mistakes.told:
            raise ConfigError(self._mistakes.in_order(self._path, {where for where, _told in self._commented}))
        self._warnings += [behind_value(told) for _where, told in self._commented]
        more = {**elsewhere, **guarded}
        return Config(**values, **more, origins=origins, warnings=tuple(self._warnings), file=self._file)

    # One source at a time.

    def _from_flags(self) -> dict[str, list[Given]]:
        # With "?" a flag without its value is None, and the search for mistakes goes on.
        texts, unknown = self._parse(_parser(nargs="?"), self._arguments, {})
        after_unknown_flag = False
        for word in unknown:
            flag = word.partition("=")[0]
            if flag.startswith("-"):
                told = _("{flag}: there is no such flag").format(flag=_short(ascii(flag)[1:-1]))
                self._mistakes.add(with_hint(told, self._near(flag, "--")))
            elif not after_unknown_flag:
                self._mistakes.add(
                    _("{word}: it is neither a flag nor the value of a flag").format(
                        word=_short(ascii(shown_url(word)))
                    )
                )
            after_unknown_flag = flag.startswith("-")
        for name in [name for name, values in texts.items() if None in values]:
            self._mistakes.add(_("--{name}: its value is missing").format(name=name))
            texts[name] = [text for text in texts[name] if text is not None]
        return {name: [Given(flag_of(name), text or "") for text in values] for name, values in texts.items()}

    def _from_variables(self) -> dict[str, list[Given]]:
        texts, _unknown = self._parse(_parser(), [], self._environment)
        files = _file_variables()
        known = {PREFIX + "CONFIG", *(one for setting in SETTINGS.values() for one in setting.variables), *files}
        for variable in sorted(self._environment.keys() - known):
            # A warning only: Kubernetes sets OGW_PORT and OGW_SERVICE_* for a Service that is named ogw.
            told = _("{variable}: there is no such setting, the variable is ignored")
            told = told.format(variable=_short(ascii(variable)[1:-1]))
            self._warnings.append(with_hint(told, self._near(variable, PREFIX)))
        given = {name: [Given(variable_of(name), text or "") for text in values] for name, values in texts.items()}
        for variable, name in files.items():
            given[name] += self._from_named_file(variable, SETTINGS[name_now(name)])
        return given

    def _from_named_file(self, variable: str, setting: Setting) -> list[Given]:
        """What stands in the file that a variable names, as secrets are handed to containers."""
        path = self._environment.get(variable, "")
        if not path:
            return []
        if self._environment.get(variable.removesuffix(FILE)):
            told = _("{variable} is set, too; only one of them can be set").format(variable=variable.removesuffix(FILE))
            self._mistakes.at(variable, setting.name, told)
            return []
        try:
            return [Given(variable, read_values(path) if setting.listed else read_password(path))]
        except OSError as error:
            why = error.strerror or str(error)
        except ValueError as error:
            why = str(error)
        self._mistakes.at(variable, setting.name, f"{_short(ascii(path)[1:-1])}: {why}")
        return []

    def _from_file(self, asked: Optional[Given]) -> dict[str, list[Given]]:
        try:
            path = require_path(asked, DEFAULT_FILE) if asked else DEFAULT_FILE
            self._file = absolute(path) if path != DEFAULT_FILE else ""
            self._file_seen = (gather.look(self._file or DEFAULT_FILE),)
            contents = ini_text(path, asked.source if asked else "", self._before)
        except Unreadable as unreadable:
            self._mistakes.add(str(unreadable))
            return {}
        if contents is None:
            return {}
        # Read beside configargparse, which would forget the lines and replace lists instead of adding them up.
        self._path = path
        ini = IniParser()
        ini.parse(StringIO(contents))
        ini.take_out_indented(lambda key: name_now(key) in SETTINGS)
        at_lines = list(ini.mistakes)
        unknown = sorted((line, key) for key, line in ini.keys.items() if name_now(key) not in SETTINGS)
        for number, (line, key) in enumerate(unknown):
            told = _("there is no setting {key}").format(key=_short(ascii(key)))
            at_lines.append((line, with_hint(told, self._near(key, "") if number < MOST_TOLD else [])))
        self._mistakes.told += [f"{path}:{line}: {sentence}" for line, sentence in sorted(at_lines)]
        self._look_around_values(path, ini)
        for key, values in ini.again.items():
            if name_now(key) in SETTINGS and SETTINGS[name_now(key)].listed:
                ini.values[key] += values
        return {key: [Given(f"{path}:{line}", text) for line, text in values] for key, values in ini.values.items()}

    def _look_around_values(self, path: str, ini: IniParser) -> None:
        for key, values in (*ini.values.items(), *ini.again.items()):
            setting = SETTINGS.get(name_now(key))
            if setting is None:
                continue
            lines = [(f"{path}:{line}", text) for line, text in values if has_comment(text)]
            for at, text in lines if setting is not SETTINGS["relay-proxy-password"] else ():
                said = HIDDEN if setting.secret else _short(ascii(quoted(setting, text)))
                self._commented.append((at, f"{at}: {key}: {said}"))
            if not setting.secret:
                continue
            told = _("{where}: {key}: the blanks around its value are cut off; if it has them, put it into {better}")
            better = setting.better or setting.variable
            self._warnings += [
                told.format(where=f"{path}:{line}", key=key, better=better) for line, _text in values if line in ini.cut
            ]

    def _parse(
        self, parser: ArgumentParser, arguments: list[str], environment: Mapping[str, str]
    ) -> tuple[dict[str, list[Optional[str]]], list[str]]:
        """What configargparse finds in one source: setting name -> texts, and the words that it does not know."""
        namespace = argparse.Namespace(**{name.replace("-", "_"): [] for name in ("config", *SETTINGS, *RENAMES)})
        _same, unknown = parser.parse_known_args(
            arguments, namespace=namespace, config_file_contents="", env_vars=environment
        )
        return {name.replace("_", "-"): texts for name, texts in vars(namespace).items()}, unknown

    # All sources together.

    def _take_by_new_name(self, old: str, sources: Sequence[dict[str, list[Given]]]) -> None:
        """What is given by an old name is given by the new one, unless that is given, too: only one can be meant."""
        new = RENAMES[old].new
        by_old_name = [source.pop(old, []) for source in sources]
        found = [given[0].source for given in by_old_name if given]
        others = [given[0].source for source in sources if (given := source.get(new))]
        if found and others:
            told = _("{what} is the old name of {name}, which {other} gives, too; leave the old one out")
            self._mistakes.wrong.add(new)
            self._mistakes.add(told.format(what=given_at(found[0], old), name=new, other=others[0]))
            return
        for source, given in zip(sources, by_old_name, strict=True):
            source[new] = given or source.get(new, [])
        self._warnings += [self._call_for_new_name(source, old) for source in found]

    @staticmethod
    def _call_for_new_name(source: str, old: str) -> str:
        renamed = RENAMES[old]
        new = source.replace(flag_of(old), flag_of(renamed.new)).replace(variable_of(old), variable_of(renamed.new))
        return _("{what} is called {new} since version {version}; its old name is taken until {until} at least").format(
            what=given_at(source, old),
            new=new if new != source else renamed.new,
            version=renamed.version,
            until=renamed.until,
        )

    def _weigh(self, setting: Setting, flags: list[Given], variables: list[Given], file: list[Given]) -> list[Given]:
        """The values that count: for a list those of all sources, else the one of the strongest."""
        if setting.listed:
            given = [*flags, *variables, *file]
            return given or [Given(DEFAULT, setting.default)]
        if len(file) > 1:
            self._mistakes.wrong.add(setting.name)
            self._mistakes.add(_("{source}: {name} takes one value").format(source=file[1].source, name=setting.name))
        return [_last(flags) or _last(variables) or _last(file) or Given(DEFAULT, setting.default)]

    def _convert(self, setting: Setting, given: list[Given]) -> Any:
        if setting.read is None:
            return self._rules(setting, given)
        values: list[Any] = []
        for source, text in given:
            single = text if setting.secret else text.strip()
            for one in setting.split(text) if setting.listed else [single]:
                try:
                    require_short(one)
                    require_utf_8(one)
                    value = setting.read(one)
                    require_printable(one)
                    values.append(setting.placed(value, source) if setting.placed is not None else value)
                    self._mistakes.place(setting.name, source, value)
                except ValueError as error:
                    said = HIDDEN if setting.secret else _short(ascii(quoted(setting, one)))
                    told = with_commas(f"{said}: {error}", setting, one)
                    self._mistakes.at(source, setting.name, _with_advice(told, one, setting))
        if not setting.listed:
            return values[0] if values else None
        if not values and not setting.takes_empty and setting.name not in self._mistakes.wrong:
            source, text = given[-1]
            told = _("{value} names nothing; it is empty: leave it out for the default, {default}")
            self._mistakes.at(source, setting.name, told.format(value=_short(ascii(text)), default=setting.default))
        if setting.most and len(values) > setting.most:
            told = _("{number} values are too many; at most {most} are possible")
            self._mistakes.of(setting.name, told.format(number=len(values), most=setting.most))
        return tuple(values)

    def _warn_of_flag(self, setting: Setting, given: list[Given]) -> None:
        for source, text in given:
            if source in setting.flags and setting.better and shown_as(setting, text) != text:
                self._warnings.append(
                    _("{flag}: every user of this machine can read a password in a command line, if only for a moment; "
                      "a better place is {better}").format(flag=source, better=setting.better)
                )  # fmt: skip

    def _rules(self, setting: Setting, given: list[Given]) -> tuple[Rule, ...]:
        rules: list[Rule] = []
        for source, text in given:
            try:
                require_utf_8(text)
                require_printable(text, separators="\t\n\r")
            except ValueError as error:
                self._mistakes.at(source, setting.name, f"{_short(ascii(text))}: {error}")
                continue
            found, mistakes = parse_rules(text, source, setting.denied)
            rules += found
            self._mistakes.place(setting.name, source, text)
            self._mistakes.told += mistakes
            if mistakes:
                self._mistakes.wrong.add(setting.name)
        return tuple(rules)

    def _gather(self, values: dict[str, Any]) -> dict[str, Any]:
        """What lists from elsewhere give, as fields of a Config."""
        values["state_dir"] = values["state_dir"] or self._state_dir
        readable = {**values, **{SETTINGS[name].attribute: _default(name) for name in self._mistakes.wrong & _SINGLE}}
        seen = gather.seen(readable)  # before they are read: a change meanwhile is seen later
        found = gather.gather(readable, self._mistakes.wrong)
        for mistake in found.mistakes:
            self._mistakes.wrong.add(mistake.setting)
            self._mistakes.near(*mistake)
        self._warnings += found.warnings
        self._warn_of_rules(values, found.sourced)
        return {
            "sourced": found.sourced,
            "agent_certificates": found.certificates,
            "agent_missing": found.agent_missing,
            "kept": found.kept,
            "seen": (self._file_seen if readable["reload_on_change"] == "yes" else ()) + seen,
        }

    def _warn_of_rules(self, values: dict[str, Any], sourced: Sequence[gather.Sourced]) -> None:
        stage = values["stage"] or ""
        taken = [(one, of_stage(one.rules, stage)) for one in sourced]
        for one, rules in taken if values["listen_client_certificate"] == "off" else ():
            if number := sum(bool(rule.names) for rule in rules):
                told = ngettext(
                    "{setting}: {place}: {number} of its rules names clients by their certificates, and holds for "
                    "nobody: no client shows a certificate (listen-client-certificate)",
                    "{setting}: {place}: {number} of its rules name clients by their certificates, and hold for "
                    "nobody: no client shows a certificate (listen-client-certificate)",
                    number,
                )
                self._warnings.append(told.format(setting=one.setting, place=one.where, number=number))
        nothing = not of_stage(values["allowed_host"], stage) and not any(rules for _one, rules in taken)
        if nothing and not self._mistakes.told and values["policy_mode"] != "report":
            self._warnings.append(_(NOTHING_ALLOWED))

    def _near(self, name: str, prefix: str) -> list[str]:
        """The name that was probably meant, if there is one."""
        wanted = name.lower().replace("_", "-").removeprefix(prefix.lower().replace("_", "-")).lstrip("-")
        close = difflib.get_close_matches(wanted, ["config", *SETTINGS] if prefix else list(SETTINGS), 1, 0.7)
        return [prefix + (one.upper().replace("-", "_") if prefix == PREFIX else one) for one in close]


def _beside(given: Given, path: str) -> str:
    """A path that the INI file names; a relative one is meant from its folder, not from wherever somebody is."""
    file, colon, _line = given.source.rpartition(":")
    return os.path.join(os.path.dirname(os.path.abspath(file)), path) if colon else path


def _file_variables() -> dict[str, str]:
    """Variables that name a file with the value of a setting, and the name that they say; by old names, too."""
    old = {variable_of(old) + FILE: old for old in RENAMES if variable_of(name_now(old)) + FILE in FILE_VARIABLES}
    return {**FILE_VARIABLES, **old}


def _default(name: str) -> Any:
    setting = SETTINGS[name]
    return setting.read(setting.default) if setting.read is not None else ()


def _with_advice(mistake: str, text: str, setting: Setting) -> str:
    """The mistake of a value, and of an empty one what to do about it."""
    if text:
        return mistake
    told = _("{mistake}; it is empty: leave it out for the default, {default}")
    return told.format(mistake=mistake, default=setting.default)


def _with_more(setting: Setting) -> str:
    """What a setting is for, and what else its help says."""
    told = setting.help
    if setting.listed and setting.default:
        told = _("{help} (may be repeated, default: {default})").format(help=told, default=setting.default)
    elif setting.listed:
        told = _("{help} (may be repeated)").format(help=told)
    elif setting.default:
        told = _("{help} (default: {default})").format(help=told, default=setting.default)
    return told


def _short(text: str) -> str:
    return text if len(text) <= LONGEST_SHOWN else f"{text[:LONGEST_SHOWN]}..."


def _last(given: list[Given]) -> Optional[Given]:
    return given[-1] if given else None
