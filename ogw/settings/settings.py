"""Every setting, declared once in Config: flag, environment variable, INI key, kind, default and help follow.

Flags beat the environment beats the file beats the default; lists add up over all three.
"""

import argparse
import dataclasses
import difflib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from gettext import gettext as _
from io import StringIO
from typing import Any, NamedTuple, Optional, Union

from configargparse import ArgumentParser

from ogw.policy.networks import Network, parse_network
from ogw.policy.rules import Rule, parse_rules
from ogw.policy.subjects import Pattern, parse_pattern
from ogw.settings.ini import IniParser
from ogw.settings.kinds import choice, duration, endpoint, number, plain, size, syslog, tls_version

DEFAULT_FILE = "/etc/ogw/ogw.ini"
PREFIX = "OGW_"
DEFAULT = "default"
HIDDEN = "(hidden)"


class Given(NamedTuple):
    """A value as somebody wrote it, and where: "--flag", "OGW_NAME", "/etc/ogw/ogw.ini:12" or "default"."""

    source: str
    text: str


@dataclass(frozen=True)
class Setting:
    """What is the same for a setting wherever it is given.

    read      one text to one value, raising ValueError; rules are read by parse_rules instead
    listed    it takes many values, and they add up
    denied    for lists of rules: these allow nothing (parse_rules)
    by_line   for lists: only the end of a line ends a value, since it may have commas in it
    """

    name: str
    default: str
    read: Optional[Callable[[str], Any]]
    placeholder: str
    help: str
    listed: bool = False
    denied: bool = False
    by_line: bool = False
    secret: bool = False

    @property
    def flag(self) -> str:
        return f"--{self.name}"

    @property
    def variable(self) -> str:
        return PREFIX + self.name.upper().replace("-", "_")

    @property
    def attribute(self) -> str:
        return self.name.replace("-", "_")


def _setting(
    name: str, default: str, read: Optional[Callable[[str], Any]], placeholder: str, help: str, **more: bool
) -> Any:
    return field(metadata={"setting": Setting(name, default, read, placeholder, help, **more)})


@dataclass(frozen=True)
class Config:
    """All settings, checked and converted: durations in seconds, sizes in bytes.

    origins   setting name -> where its values came from
    warnings  sentences that the gateway logs at its start
    """

    listen_address: tuple[tuple[str, Optional[int]], ...] = _setting(
        "listen-address", "0.0.0.0, ::", endpoint, "ADDRESS[:PORT]", _("where to listen, one or several"), listed=True
    )
    listen_port: int = _setting(
        "listen-port", "8080", number(1, 65535), "PORT", _("the port of listen addresses that name none")
    )
    allowed_host: tuple[Rule, ...] = _setting(
        "allowed-host", "", None, "RULE", _("a host rule: where clients may go; without any, nowhere"), listed=True
    )
    denied_host: tuple[Rule, ...] = _setting(
        "denied-host",
        "",
        None,
        "RULE",
        _("a host rule: where clients may not go, whatever is allowed"),
        listed=True,
        denied=True,
    )
    allowed_port: tuple[int, ...] = _setting(
        "allowed-port",
        "443",
        number(1, 65535),
        "PORT",
        _("ports that a rule without a port of its own allows"),
        listed=True,
    )
    allowed_client: tuple[Network, ...] = _setting(
        "allowed-client",
        "",
        parse_network,
        "NETWORK",
        _("networks that clients may come from; without any, all"),
        listed=True,
    )
    allowed_target_network: tuple[Network, ...] = _setting(
        "allowed-target-network",
        "",
        parse_network,
        "NETWORK",
        _("private or special networks that addresses of any target may lie in"),
        listed=True,
    )
    dns_server: tuple[tuple[str, Optional[int]], ...] = _setting(
        "dns-server",
        "",
        endpoint,
        "ADDRESS[:PORT]",
        _("DNS servers to ask instead of those in /etc/resolv.conf"),
        listed=True,
    )
    tls_rules: str = _setting(
        "tls-rules",
        "enforce",
        choice("enforce", "report", "off"),
        "MODE",
        _("only TLS passes, to the server it names: enforce, report (log, but let pass) or off"),
    )
    tls_min_version: int = _setting(
        "tls-min-version", "1.2", tls_version, "VERSION", _("the least TLS version of a session: 1.0, 1.1, 1.2 or 1.3")
    )
    server_name: str = _setting(
        "server-name",
        "target",
        choice("target", "allowed-hosts"),
        "WHICH",
        _("the server name of a session must be that of its target, or any of the allowed-hosts"),
    )
    encrypted_client_hello: str = _setting(
        "encrypted-client-hello",
        "allow",
        choice("allow", "report", "deny"),
        "WHAT",
        _("a ClientHello that may hide its server name (ECH, or what looks like it): allow, report or deny"),
    )
    allowed_client_certificate: tuple[Pattern, ...] = _setting(
        "allowed-client-certificate",
        "",
        parse_pattern,
        "SUBJECT",
        _("client certificates that may pass: a subject, a common name, or sha256:...; without any, all do"),
        listed=True,
        by_line=True,
    )
    client_certificate_hosts: tuple[Rule, ...] = _setting(
        "client-certificate-hosts",
        "",
        None,
        "RULE",
        _("host rules of the targets for which allowed-client-certificate holds; without any, all"),
        listed=True,
        denied=True,
    )
    unseen_client_certificate: str = _setting(
        "unseen-client-certificate",
        "reject",
        choice("reject", "allow"),
        "WHAT",
        _("sessions whose client certificate cannot be seen (TLS 1.3, resumed ones): reject or allow"),
    )
    head_timeout: float = _setting(
        "head-timeout", "10s", duration(0.05), "DURATION", _("from accept to the end of the client's head")
    )
    head_max_size: int = _setting(
        "head-max-size", "16KiB", size(256, 1 << 20), "SIZE", _("the largest head of a client")
    )
    dns_timeout: float = _setting("dns-timeout", "5s", duration(0.05), "DURATION", _("for a name's look-up"))
    dial_timeout: float = _setting(
        "dial-timeout", "10s", duration(0.05), "DURATION", _("for connecting, over all addresses of a target")
    )
    handshake_timeout: float = _setting(
        "handshake-timeout", "10s", duration(0.05), "DURATION", _("from the open tunnel to a verified TLS session")
    )
    handshake_max_size: int = _setting(
        "handshake-max-size", "64KiB", size(1024, 1 << 20), "SIZE", _("the largest message of a TLS handshake")
    )
    idle_timeout: float = _setting(
        "idle-timeout", "1h", duration(0.2), "DURATION", _("a tunnel without a byte for so long is ended")
    )
    half_closed_timeout: float = _setting(
        "half-closed-timeout", "5m", duration(0.2), "DURATION", _("the same, once one direction has ended")
    )
    drain_delay: float = _setting(
        "drain-delay", "0s", duration(0), "DURATION", _("at a stop, serve on for so long: load balancers move away")
    )
    drain_timeout: float = _setting(
        "drain-timeout", "20s", duration(0), "DURATION", _("at a stop, what open tunnels have to finish")
    )
    tcp_keepalive: float = _setting(
        "tcp-keepalive", "60s", duration(0), "DURATION", _("TCP keepalive on both sockets of a tunnel; 0 is none")
    )
    max_tunnels: int = _setting(
        "max-tunnels", "0", number(0, 10_000_000), "NUMBER", _("tunnels at a time; 0 is what open files allow")
    )
    max_tunnels_per_client: int = _setting(
        "max-tunnels-per-client",
        "0",
        number(0, 10_000_000),
        "NUMBER",
        _("tunnels at a time of one client address; 0 is no limit"),
    )
    log_level: str = _setting(
        "log-level", "info", choice("debug", "info", "warning", "error"), "LEVEL", _("debug, info, warning or error")
    )
    log_format: str = _setting(
        "log-format", "auto", choice("auto", "json", "text"), "FORMAT", _("json, text, or auto: text on a terminal")
    )
    log_file: str = _setting(
        "log-file", "", plain, "FILE", _("log there instead of to standard output; opened anew when renamed away")
    )
    syslog: Union[str, tuple[str, int], None] = _setting(
        "syslog", "", syslog, "PATH|HOST:PORT", _("log to the system's log: /dev/log, or a host over UDP")
    )
    origins: Mapping[str, Sequence[Given]] = field(default_factory=dict, compare=False)
    warnings: tuple[str, ...] = ()

    @property
    def listen(self) -> tuple[tuple[str, int], ...]:
        """(address, port) pairs to listen on."""
        return tuple(dict.fromkeys((host, port or self.listen_port) for host, port in self.listen_address))

    @property
    def dns_servers(self) -> tuple[tuple[str, int], ...]:
        """(address, port) pairs, one port for all."""
        return tuple((address, port or 53) for address, port in self.dns_server)

    @property
    def listen_is_default(self) -> bool:
        return self.origins["listen-address"][0].source == DEFAULT


SETTINGS: dict[str, Setting] = {
    entry.metadata["setting"].name: entry.metadata["setting"]
    for entry in dataclasses.fields(Config)
    if "setting" in entry.metadata
}


class ConfigError(Exception):
    """The configuration is wrong: every mistake of it, one line each."""

    def __init__(self, mistakes: Sequence[str]) -> None:
        super().__init__("\n".join(mistakes))
        self.mistakes = tuple(mistakes)


def load(arguments: Sequence[str], environment: Mapping[str, str]) -> Config:
    """The configuration that flags, variables and the file add up to. Raises ConfigError with all mistakes at once."""
    return _Loader(arguments, environment).load()


def help_text(program: str) -> str:
    """What `--help` shows: every flag with its variable, its default and what it does."""
    return str(_parser(program).format_help())


class _Keep(argparse.Action):
    """Keeps every text that a setting is given. Not argparse's append: configargparse would read lists into `[::1]`."""

    def __call__(self, parser: Any, namespace: Any, values: Any, option_string: Optional[str] = None) -> None:
        getattr(namespace, self.dest).append(values)


def _parser(program: str = "ogw run", nargs: Optional[str] = None) -> ArgumentParser:
    parser = ArgumentParser(
        prog=program,
        usage=f"{program} [--config FILE] [--allowed-host RULE] ...",
        description=_("A CONNECT gateway: only to listed hosts, only on listed ports."),
        config_file_parser_class=IniParser,
        add_config_file_help=False,
        allow_abbrev=False,
        formatter_class=argparse.HelpFormatter,
    )
    where = _("the INI file (default: {file} if it is there)").format(file=DEFAULT_FILE)
    shared: dict[str, Any] = {"action": _Keep, "default": [], "nargs": nargs}
    parser.add_argument("--config", metavar="FILE", env_var=PREFIX + "CONFIG", help=where, **shared)
    for setting in SETTINGS.values():
        default = _("default: {default}").format(default=setting.default) if setting.default else ""
        more = ", ".join(part for part in (_("may be repeated") if setting.listed else "", default) if part)
        text = f"{setting.help} ({more})" if more else setting.help
        text = text.replace("%", "%%")
        parser.add_argument(setting.flag, metavar=setting.placeholder, env_var=setting.variable, help=text, **shared)
    return parser


class _Loader:
    def __init__(self, arguments: Sequence[str], environment: Mapping[str, str]) -> None:
        self._arguments = list(arguments)
        self._environment = {name: text for name, text in environment.items() if name.startswith(PREFIX)}
        self._mistakes: list[str] = []
        self._warnings: list[str] = []

    def load(self) -> Config:
        flags = self._from_flags()
        variables = self._from_variables()
        file = self._from_file(_last(flags["config"]) or _last(variables["config"]))
        values: dict[str, Any] = {}
        origins: dict[str, list[Given]] = {}
        for name, setting in SETTINGS.items():
            given = self._weigh(setting, flags[name], variables[name], file.get(name, []))
            origins[name] = given
            values[setting.attribute] = self._convert(setting, given)
        self._check_together(values)
        if self._mistakes:
            raise ConfigError(self._mistakes)
        return Config(**values, origins=origins, warnings=tuple(self._warnings))

    # One source at a time.

    def _from_flags(self) -> dict[str, list[Given]]:
        # With "?" a flag without its value is None, and the search for mistakes goes on.
        texts, unknown = self._parse(_parser(nargs="?"), self._arguments, {})
        after_unknown_flag = False
        for word in unknown:
            flag = word.partition("=")[0]
            if flag.startswith("-"):
                near = self._near(flag, "--")
                self._mistakes.append(
                    _("{flag}: there is no such flag{near}").format(flag=ascii(flag)[1:-1], near=near)
                )
            elif not after_unknown_flag:
                self._mistakes.append(_("{word}: neither a flag nor the value of one").format(word=ascii(word)))
            after_unknown_flag = flag.startswith("-")
        for name in [name for name, values in texts.items() if None in values]:
            self._mistakes.append(_("--{name}: its value is missing").format(name=name))
            texts[name] = [text for text in texts[name] if text is not None]
        return {name: [Given(f"--{name}", text or "") for text in values] for name, values in texts.items()}

    def _from_variables(self) -> dict[str, list[Given]]:
        texts, _unknown = self._parse(_parser(), [], self._environment)
        known = {setting.variable for setting in SETTINGS.values()} | {PREFIX + "CONFIG"}
        for variable in sorted(self._environment.keys() - known):
            # A warning only: Kubernetes sets OGW_PORT and OGW_SERVICE_* for a Service that is named ogw.
            self._warnings.append(
                _("{variable}: there is no such setting, the variable is ignored{near}").format(
                    variable=variable, near=self._near(variable, PREFIX)
                )
            )
        return {
            name: [Given(PREFIX + name.upper().replace("-", "_"), text or "") for text in values]
            for name, values in texts.items()
        }

    def _from_file(self, asked: Optional[Given]) -> dict[str, list[Given]]:
        path = asked.text if asked else DEFAULT_FILE
        try:
            with open(path, encoding="utf-8-sig", newline="\n") as file:
                contents = file.read()
        except FileNotFoundError as error:
            if asked:
                self._mistakes.append(f"{asked.source}: {path}: {error.strerror}")
            return {}
        except OSError as error:
            if asked:
                self._mistakes.append(f"{asked.source}: {path}: {error.strerror}")
            else:
                self._warnings.append(_("{path}: {error}; going on without it").format(path=path, error=error.strerror))
            return {}
        except ValueError:
            self._mistakes.append(_("{path}: not a text file in UTF-8").format(path=path))
            return {}
        # Read beside configargparse, which would forget the lines and replace lists instead of adding them up.
        ini = IniParser()
        ini.parse(StringIO(contents))
        at_lines = list(ini.mistakes)
        for key in ini.values.keys() - SETTINGS.keys():
            line = ini.values[key][0][0]
            at_lines.append(
                (line, _("there is no setting {key}{near}").format(key=ascii(key), near=self._near(key, "")))
            )
        self._mistakes += [f"{path}:{line}: {sentence}" for line, sentence in sorted(at_lines)]
        return {key: [Given(f"{path}:{line}", text) for line, text in values] for key, values in ini.values.items()}

    def _parse(
        self, parser: ArgumentParser, arguments: list[str], environment: Mapping[str, str]
    ) -> tuple[dict[str, list[Optional[str]]], list[str]]:
        """What configargparse finds in one source: setting name -> texts, and the words that it does not know."""
        namespace = argparse.Namespace(**{name.replace("-", "_"): [] for name in ("config", *SETTINGS)})
        _same, unknown = parser.parse_known_args(
            arguments, namespace=namespace, config_file_contents="", env_vars=environment
        )
        return {name.replace("_", "-"): texts for name, texts in vars(namespace).items()}, unknown

    # All sources together.

    def _weigh(self, setting: Setting, flags: list[Given], variables: list[Given], file: list[Given]) -> list[Given]:
        """The values that count: for a list those of all sources, else the one of the strongest."""
        if setting.listed:
            given = [*flags, *variables, *file]
            return given or [Given(DEFAULT, setting.default)]
        if len(file) > 1:
            self._mistakes.append(
                _("{source}: {name} takes one value").format(source=file[1].source, name=setting.name)
            )
        return [_last(flags) or _last(variables) or _last(file) or Given(DEFAULT, setting.default)]

    def _convert(self, setting: Setting, given: list[Given]) -> Any:
        if setting.read is None:
            return self._rules(setting, given)
        values: list[Any] = []
        for source, text in given:
            for one in _split(text, setting.by_line) if setting.listed else [text.strip()]:
                try:
                    values.append(setting.read(one))
                except ValueError as error:
                    shown = HIDDEN if setting.secret else ascii(one)
                    where = source if source.startswith(("--", PREFIX)) else f"{source}: {setting.name}"
                    self._mistakes.append(f"{where}: {shown} {error}")
        if setting.listed:
            return tuple(values)
        return values[0] if values else None

    def _rules(self, setting: Setting, given: list[Given]) -> tuple[Rule, ...]:
        rules: list[Rule] = []
        for source, text in given:
            found, mistakes = parse_rules(text, source, setting.denied)
            rules += found
            self._mistakes += mistakes
        return tuple(rules)

    def _check_together(self, values: dict[str, Any]) -> None:
        if not values["allowed_host"] and not self._mistakes:
            self._warnings.append(_("allowed-host is empty: every target is denied"))
        if values["tls_rules"] == "report":
            self._warnings.append(_("tls-rules = report: what the TLS rules would reject is logged and let pass"))
        if values["tls_rules"] == "off":
            self._warnings.append(_("tls-rules = off: anything passes to an allowed target, TLS or not"))
        if values["tls_rules"] == "off" and values["allowed_client_certificate"]:
            self._mistakes.append(_("allowed-client-certificate: nothing looks at certificates with tls-rules = off"))
        if values["client_certificate_hosts"] and not values["allowed_client_certificate"]:
            self._mistakes.append(_("client-certificate-hosts: set allowed-client-certificate, too; it is empty"))
        if len({port or 53 for _address, port in values["dns_server"]}) > 1:
            self._mistakes.append(_("dns-server: all DNS servers must have the same port"))
        if values["log_file"] and values["syslog"]:
            self._mistakes.append(_("log-file and syslog: only one of them can be set"))

    def _near(self, name: str, prefix: str) -> str:
        """The name that was probably meant, as the end of a sentence."""
        wanted = name.lower().replace("_", "-").removeprefix(prefix.lower().replace("_", "-")).lstrip("-")
        close = difflib.get_close_matches(wanted, ["config", *SETTINGS] if prefix else list(SETTINGS), 1, 0.7)
        if not close:
            return ""
        shown = prefix + (close[0].upper().replace("-", "_") if prefix == PREFIX else close[0])
        return _("; did you mean {name}?").format(name=shown)


def _last(given: list[Given]) -> Optional[Given]:
    return given[-1] if given else None


def _split(text: str, by_line: bool) -> list[str]:
    """The values of a list: one per line, or separated by commas unless they may have some in them."""
    parts = text.split("\n") if by_line else text.replace("\n", ",").split(",")
    return [part.strip() for part in parts if part.strip()]
