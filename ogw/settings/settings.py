"""Every setting, declared once in Config: flag, environment variable, INI key, kind, default and help follow."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Optional, Union

from ogw.language.known import AUTO, LANGUAGES
from ogw.language.messages import gettext_noop as N_
from ogw.policy.hosts import Policy
from ogw.policy.index import HostIndex
from ogw.policy.networks import Network, parse_network
from ogw.policy.relay_entry import RelayEntry, parse_relay_entry, shown_relay_entry, split_relay_entries
from ogw.policy.rules import Rule, of_stage
from ogw.policy.subjects import Pattern, Subjects, parse_pattern
from ogw.policy.tls_rules import Mode, TlsRules
from ogw.policy.ways import Ways
from ogw.settings.elsewhere.gather import Seen, Sourced
from ogw.settings.elsewhere.kept import Kept
from ogw.settings.elsewhere.preset import CLOUDS
from ogw.settings.elsewhere.public_key import parse_key
from ogw.settings.elsewhere.source import parse_source
from ogw.settings.key_pair import KeyPair
from ogw.settings.kinds import (
    HOUR,
    ListenPlace,
    admin_endpoint,
    agent_place,
    choice,
    duration,
    duration_or_auto,
    endpoint,
    guid,
    health_endpoint,
    host_name,
    labels,
    listen_place,
    moment,
    number,
    number_or_auto,
    plain,
    preset_name,
    region_name,
    secret,
    size,
    stage_name,
    syslog,
    tls_version,
    user_name,
)
from ogw.settings.listen_tls import Lasts
from ogw.settings.setting import DEFAULT, Given, Setting, by_line
from ogw.settings.tokens import Tokens
from ogw.wire.relay_proxy import Secret
from ogw.wire.url import shown_url

STAYS = ("policy", "admin_key_pair", "admin_tokens")  # what of a Config does not travel to workers
LONGEST_KEEPALIVE = 32767  # seconds (linux/tcp.h, MAX_TCP_KEEPIDLE)


def _group(heading: str) -> Callable[..., Any]:
    """Declares settings that stand together under a heading: in `--help`, in conf/ogw.ini and in the docs."""

    def declare(
        name: str, default: str, read: Optional[Callable[[str], Any]], placeholder: str, purpose: str, **more: Any
    ) -> Any:
        return field(metadata={"setting": Setting(name, default, read, placeholder, purpose, heading, **more)})

    return declare


_listening = _group(N_("Listening"))
_what_may_pass = _group(N_("What may pass"))
_from_elsewhere = _group(N_("Lists from elsewhere"))
_reaching = _group(N_("Reaching targets"))
_tls = _group(N_("TLS rules"))
_certificates = _group(N_("Client certificates"))
_relaying = _group(N_("Relay proxies"))
_limits = _group(N_("Time and size"))
_processes = _group(N_("Processes, reload and stop"))
_status = _group(N_("Status and health"))
_log = _group(N_("Log"))


@dataclass(frozen=True)
class Config:
    """All settings, checked and converted: durations in seconds, sizes in bytes.

    origins   setting name -> where its values came from
    warnings  sentences that the gateway logs at its start

    allowed_host has the local rules alone. What lists from elsewhere give:

    sourced             host rules, by where they came from
    agent_certificates  common names in certificates of this machine's agents
    agent_missing       why agent-config gives nothing; "" where it does, or is not set
    kept                by each URL of a list: what there is to tell of its copy; None for none
    seen                what the files that are watched looked like just before they were read: lists (gather.seen), and
                        in front of them the INI file with reload-on-change

    listen_lasts  until when certificate and revocation lists of tls:// addresses do

    file  the INI file that was asked for, as an absolute path; "" for the default one

    What was in the files of the admin address, for its process alone (`__getstate__`):

    admin_key_pair  of admin-tls-certificate and admin-tls-key; None without
    admin_tokens    of admin-token-file; None without
    """

    listen_address: tuple[ListenPlace, ...] = _listening(
        "listen-address",
        "0.0.0.0, ::",
        listen_place,
        "[tls://]ADDRESS[:PORT]",
        N_("where to listen, one or several; behind tls://, clients speak TLS to the gateway"),
        listed=True,
        most=256,
        restart=True,
    )
    listen_port: int = _listening(
        "listen-port",
        "8080",
        number(1, 65535),
        "PORT",
        N_("the port of listen addresses that name none"),
        restart=True,
        installer="PORTNUMBER",
    )
    listen_freebind: str = _listening(
        "listen-freebind",
        "no",
        choice("yes", "no"),
        "yes|no",
        N_("a listen-address may be one that the machine does not have yet, such as the one that keepalived moves"),
        restart=True,
    )
    proxy_protocol: str = _listening(
        "proxy-protocol",
        "off",
        choice("off", "required"),
        "off|required",
        N_("off, or required: load balancers say with a PROXY header (version 1 or 2) whose connection it is"),
    )
    proxy_protocol_from: tuple[Network, ...] = _listening(
        "proxy-protocol-from",
        "",
        parse_network,
        "NETWORK",
        N_("networks of those load balancers: from them the header is required, from all others it is refused"),
        listed=True,
    )
    listen_tls_certificate: str = _listening(
        "listen-tls-certificate",
        "",
        plain,
        "FILE",
        N_("for tls:// addresses: the gateway's certificate (PEM), and those between it and its authority behind it"),
        beside=True,
    )
    listen_tls_key: str = _listening(
        "listen-tls-key",
        "",
        plain,
        "FILE",
        N_("the key of that certificate (PEM, without a passphrase); by default in the file of the certificate"),
        beside=True,
    )
    listen_client_certificate: str = _listening(
        "listen-client-certificate",
        "off",
        choice("off", "required"),
        "off|required",
        N_(
            "off, or required: at tls:// addresses clients must show a certificate; rules can name its names "
            "(from=cn:NAME)"
        ),
    )
    listen_client_ca: str = _listening(
        "listen-client-ca",
        "",
        plain,
        "FILE",
        N_("the authorities (PEM) whose certificates clients must have"),
        beside=True,
    )
    listen_client_crl: str = _listening(
        "listen-client-crl",
        "",
        plain,
        "FILE",
        N_("their revocation lists (PEM or DER), one of each authority; without them, nothing counts as revoked"),
        beside=True,
    )
    allowed_host: tuple[Rule, ...] = _what_may_pass(
        "allowed-host",
        "",
        None,
        "RULE",
        N_("a host rule: where clients may go; without any, nowhere"),
        listed=True,
        allows=True,
    )
    denied_host: tuple[Rule, ...] = _what_may_pass(
        "denied-host",
        "",
        None,
        "RULE",
        N_("a host rule: where clients may not go, whatever is allowed"),
        listed=True,
        denied=True,
    )
    allowed_port: tuple[int, ...] = _what_may_pass(
        "allowed-port",
        "443",
        number(1, 65535),
        "PORT",
        N_("ports that a rule without a port of its own allows"),
        listed=True,
    )
    allowed_client: tuple[Network, ...] = _what_may_pass(
        "allowed-client",
        "",
        parse_network,
        "NETWORK",
        N_("networks that clients may come from; without any, all"),
        listed=True,
    )
    allowed_target_network: tuple[Network, ...] = _what_may_pass(
        "allowed-target-network",
        "",
        parse_network,
        "NETWORK",
        N_("private or special networks that addresses of any target may lie in"),
        listed=True,
    )
    policy_mode: str = _what_may_pass(
        "policy-mode",
        "enforce",
        choice("enforce", "report"),
        "MODE",
        N_("enforce, or report: what no rule allows passes, and is logged, until report-until"),
    )
    report_until: Optional[float] = _what_may_pass(
        "report-until",
        "",
        moment,
        "TIME",
        N_("when policy-mode = report ends by itself (RFC 3339 with its zone), at most seven days ahead"),
    )
    stage: str = _what_may_pass(
        "stage",
        "",
        stage_name,
        "NAME",
        N_("the gateway's stage in a roll-out: rules with stage=canary are for gateways with stage = canary alone"),
    )
    preset: tuple[str, ...] = _from_elsewhere(
        "preset",
        "",
        preset_name,
        "NAME",
        N_("allow the hosts of a known service; `ogw presets` lists them, and what each expands to"),
        listed=True,
        allows=True,
    )
    cloud: str = _from_elsewhere("cloud", "public", choice(*CLOUDS), "CLOUD", N_("which cloud's hosts presets give"))
    workspace: tuple[str, ...] = _from_elsewhere(
        "workspace", "", guid, "ID", N_("for presets: ids of Log Analytics workspaces"), listed=True
    )
    region: tuple[str, ...] = _from_elsewhere(
        "region", "", region_name, "NAME", N_("for presets: regions, such as westeurope"), listed=True
    )
    account: tuple[str, ...] = _from_elsewhere(
        "account", "", guid, "ID", N_("for presets: ids of Automation accounts"), listed=True
    )
    data_collection_endpoint: tuple[str, ...] = _from_elsewhere(
        "data-collection-endpoint",
        "",
        labels,
        "NAME",
        N_("for presets: data collection endpoints, such as my-endpoint, or my-endpoint.westeurope-1"),
        listed=True,
    )
    presets_folder: str = _from_elsewhere(
        "presets-folder",
        "",
        plain,
        "FOLDER",
        N_("presets (JSON) of your own, or newer ones; they take the place of ogw's own of the same name"),
    )
    allowed_host_source: tuple[str, ...] = _from_elsewhere(
        "allowed-host-source",
        "",
        parse_source,
        "FILE|FOLDER|URL",
        N_("lists of host rules: a file, a folder of files or an https:// URL; one a line"),
        listed=True,
        split=by_line,
        shown=shown_url,
        allows=True,
    )
    allowed_host_source_key: tuple[str, ...] = _from_elsewhere(
        "allowed-host-source-key",
        "",
        parse_key,
        "KEY",
        N_("public keys (ed25519:...): a list from a URL is taken only with a signature by one of them beside it"),
        listed=True,
        most=16,
    )
    source_refresh: float = _from_elsewhere(
        "source-refresh", "1h", duration(1), "DURATION", N_("how often lists are downloaded; files are watched")
    )
    source_timeout: float = _from_elsewhere(
        "source-timeout", "30s", duration(0.2, HOUR), "DURATION", N_("time that the download of a list may take")
    )
    source_max_size: int = _from_elsewhere(
        "source-max-size", "1MiB", size(1024, 64 << 20), "SIZE", N_("the largest list, read or downloaded")
    )
    agent_config: tuple[str, ...] = _from_elsewhere(
        "agent-config",
        "",
        agent_place,
        "auto|FILE|FOLDER",
        N_("allow the endpoints that the agent on this machine is set up with; auto: where agents keep them"),
        listed=True,
        split=by_line,
        allows=True,
    )
    state_dir: str = _from_elsewhere(
        "state-dir",
        "",
        plain,
        "FOLDER",
        N_("where the last good copies of lists are kept; by default /var/lib/ogw, or a folder of the user's"),
    )
    dns_server: tuple[tuple[str, Optional[int]], ...] = _reaching(
        "dns-server",
        "",
        endpoint,
        "ADDRESS[:PORT]",
        N_("DNS servers to ask instead of those in /etc/resolv.conf"),
        listed=True,
        most=32,
    )
    dns_timeout: float = _reaching(
        "dns-timeout", "5s", duration(0.05, HOUR), "DURATION", N_("time for looking up a name")
    )
    dial_timeout: float = _reaching(
        "dial-timeout", "10s", duration(0.05), "DURATION", N_("time for connecting, over all addresses of a target")
    )
    tls_rules: str = _tls(
        "tls-rules",
        "enforce",
        choice("enforce", "report", "off"),
        "MODE",
        N_("only TLS passes, to the server it names: enforce, report (log, but let pass) or off"),
    )
    tls_min_version: int = _tls(
        "tls-min-version", "1.2", tls_version, "VERSION", N_("the least TLS version of a session: 1.0, 1.1, 1.2 or 1.3")
    )
    server_name: str = _tls(
        "server-name",
        "target",
        choice("target", "allowed-hosts"),
        "WHICH",
        N_("the server name of a session must be that of its target, or any of the allowed-hosts"),
    )
    encrypted_client_hello: str = _tls(
        "encrypted-client-hello",
        "allow",
        choice("allow", "report", "deny"),
        "WHAT",
        N_("a ClientHello that may hide its server name (ECH, or what looks like it): allow, report or deny"),
    )
    allowed_client_certificate: tuple[Pattern, ...] = _certificates(
        "allowed-client-certificate",
        "",
        parse_pattern,
        "SUBJECT",
        N_("client certificates that may pass: a subject, a common name, or sha256:...; without any, all do"),
        listed=True,
        split=by_line,
    )
    client_certificate_hosts: tuple[Rule, ...] = _certificates(
        "client-certificate-hosts",
        "",
        None,
        "RULE",
        N_("host rules of the targets for which allowed-client-certificate holds; without any, all"),
        listed=True,
        denied=True,
    )
    unseen_client_certificate: str = _certificates(
        "unseen-client-certificate",
        "reject",
        choice("reject", "allow"),
        "WHAT",
        N_("sessions whose client certificate cannot be seen (TLS 1.3, resumed ones): reject or allow"),
    )
    relay_proxy: tuple[RelayEntry, ...] = _relaying(
        "relay-proxy",
        "",
        parse_relay_entry,
        "URL",
        N_(
            "a proxy to go out through, http://, https://, socks5:// (names are looked up here) or socks5h:// (there), "
            "for all targets or behind it for=RULE,...; further ones are for when it fails"
        ),
        listed=True,
        split=split_relay_entries,
        shown=shown_relay_entry,
        placed=lambda entry, source: replace(entry, source=source),
        better="relay-proxy-password-file",
        installer="PROXY",
    )
    relay_proxy_order: str = _relaying(
        "relay-proxy-order",
        "preference",
        choice("preference", "least-tunnels"),
        "ORDER",
        N_("of several relay proxies first the one that stands first (preference), or that has fewest (least-tunnels)"),
    )
    relay_proxy_auth: str = _relaying(
        "relay-proxy-auth",
        "basic",
        choice("basic", "digest", "negotiate", "ntlm", "auto"),
        "basic|digest|negotiate|ntlm|auto",
        N_("how the gateway authenticates itself to relay proxies; auto: with the best that they offer"),
    )
    relay_proxy_username: Secret = _relaying(
        "relay-proxy-username",
        "",
        user_name,
        "NAME",
        N_("the user name for relay proxies"),
        secret=True,
        installer="USERNAME",
    )
    relay_proxy_password: Secret = _relaying(
        "relay-proxy-password",
        "",
        secret,
        "PASSWORD",
        N_(
            "the password for relay proxies; better in a file, or in this variable, than as a flag, which every user "
            "can read"
        ),
        secret=True,
        better="relay-proxy-password-file",
        installer="PASSWORD",
    )
    relay_proxy_password_file: str = _relaying(
        "relay-proxy-password-file",
        "",
        plain,
        "FILE",
        N_("the file with the password; read again when a relay proxy does not accept it any more"),
        beside=True,
    )
    relay_proxy_keytab: str = _relaying(
        "relay-proxy-keytab",
        "",
        plain,
        "FILE",
        N_("for negotiate: the keytab with the gateway's key, by which it gets and renews its Kerberos tickets"),
        beside=True,
    )
    relay_proxy_principal: Secret = _relaying(
        "relay-proxy-principal",
        "",
        user_name,
        "NAME@REALM",
        N_("for negotiate: who the gateway is to Kerberos; without it, the first name of the keytab"),
        secret=True,
    )
    relay_proxy_ticket_cache: str = _relaying(
        "relay-proxy-ticket-cache",
        "",
        plain,
        "CACHE",
        N_("for negotiate without a keytab: the ticket cache that somebody else renews, such as FILE:/run/ogw.tickets"),
    )
    relay_proxy_ca_file: str = _relaying(
        "relay-proxy-ca-file",
        "",
        plain,
        "FILE",
        N_("the authorities (PEM) that an https:// relay proxy is verified with; without it, those of the system"),
        beside=True,
    )
    relay_proxy_bypass: tuple[Rule, ...] = _relaying(
        "relay-proxy-bypass",
        "",
        None,
        "RULE",
        N_("host rules of targets that are dialed directly, not through a relay proxy"),
        listed=True,
        denied=True,
    )
    head_timeout: float = _limits(
        "head-timeout", "10s", duration(0.05), "DURATION", N_("time from accept to the end of the client's head")
    )
    head_max_size: int = _limits(
        "head-max-size", "16KiB", size(256, 1 << 20), "SIZE", N_("the largest head of a client")
    )
    handshake_timeout: float = _limits(
        "handshake-timeout",
        "10s",
        duration(0.05),
        "DURATION",
        N_("time from the open tunnel to a verified TLS session"),
    )
    handshake_max_size: int = _limits(
        "handshake-max-size", "64KiB", size(1024, 1 << 20), "SIZE", N_("the largest message of a TLS handshake")
    )
    handshake_memory: int = _limits(
        "handshake-memory",
        "64MiB",
        size(128 << 10, 16 << 30),
        "SIZE",
        N_(
            "what a worker holds of unfinished TLS handshakes; above that, a tunnel of the client that holds most is "
            "ended"
        ),
    )
    idle_timeout: float = _limits(
        "idle-timeout", "1h", duration(0.2), "DURATION", N_("a tunnel without a byte for so long is ended")
    )
    half_closed_timeout: float = _limits(
        "half-closed-timeout",
        "5m",
        duration(0.2),
        "DURATION",
        N_("a tunnel of which one direction has ended, and without a byte for so long, is ended"),
    )
    tcp_keepalive: float = _limits(
        "tcp-keepalive",
        "60s",
        duration(0, LONGEST_KEEPALIVE),
        "DURATION",
        N_("TCP keepalive on both sockets of a tunnel; 0 is none"),
        restart=True,
    )
    max_tunnels: int = _limits(
        "max-tunnels", "0", number(0, 10_000_000), "NUMBER", N_("tunnels at a time; 0 is what open files allow")
    )
    max_tunnels_per_client: int = _limits(
        "max-tunnels-per-client",
        "0",
        number(0, 10_000_000),
        "NUMBER",
        N_(
            "tunnels at a time of one client (IPv4 address, IPv6 network, or subject of its certificate); 0 is no limit"
        ),
    )
    client_ipv6_prefix: int = _limits(
        "client-ipv6-prefix",
        "64",
        number(1, 128),
        "LENGTH",
        N_("the prefix length of the IPv6 networks that max-tunnels-per-client counts as one client each"),
    )
    workers: int = _processes(
        "workers",
        "auto",
        number_or_auto(1, 128),
        "NUMBER",
        N_("processes that serve; auto is one for each core that its affinity and its CPU quota allow"),
        restart=True,
    )
    hung_timeout: float = _processes(
        "hung-timeout",
        "30s",
        duration(1),
        "DURATION",
        N_("a worker, or the admin process, that gives no sign of life for so long is killed and replaced"),
    )
    reload_rechecks_tunnels: str = _processes(
        "reload-rechecks-tunnels",
        "no",
        choice("yes", "no"),
        "yes|no",
        N_("at a reload, end open tunnels that the new configuration would not allow"),
    )
    reload_on_change: str = _processes(
        "reload-on-change",
        "no",
        choice("yes", "no"),
        "yes|no",
        N_("reload by itself when the INI file has changed, as a ConfigMap does; else a command or a signal says so"),
    )
    drain_delay: Optional[float] = _processes(
        "drain-delay",
        "auto",
        duration_or_auto(0),
        "DURATION",
        N_(
            "at a stop, serve on for so long: load balancers move away; auto: 5s if anybody asks for readiness, else 0s"
        ),
    )
    drain_timeout: float = _processes(
        "drain-timeout", "20s", duration(0), "DURATION", N_("at a stop, the time that open tunnels have to finish")
    )
    upgrade_drain_timeout: float = _processes(
        "upgrade-drain-timeout",
        "12h",
        duration(0),
        "DURATION",
        N_("at an upgrade, the time that open tunnels have to finish, while the successor serves"),
    )
    admin_address: Optional[tuple[str, int]] = _status(
        "admin-address",
        "127.0.0.1:9180",
        admin_endpoint,
        "ADDRESS[:PORT]",
        N_("where metrics, health and readiness are asked for; empty: only on the socket in run-dir"),
        empty="only on the socket in run-dir",
        restart=True,
    )
    admin_page: str = _status(
        "admin-page",
        "no",
        choice("yes", "no"),
        "yes|no",
        N_("show the page, and what it shows, on admin-address, too: anybody who reaches it may read it"),
        restart=True,
    )
    admin_name: tuple[str, ...] = _status(
        "admin-name",
        "",
        host_name,
        "NAME",
        N_("names to show the page under, beside localhost and the machine's: a DNS alias, a reverse proxy, a service"),
        listed=True,
        most=256,
        restart=True,
    )
    language: str = _status(
        "language",
        AUTO,
        choice(AUTO, *LANGUAGES),
        "LANGUAGE",
        N_(
            "what commands speak, and the page where a browser asks for no language; auto: that of LC_ALL, LC_MESSAGES "
            "or LANG. The log is in English"
        ),
        restart=True,
    )
    admin_tls_certificate: str = _status(
        "admin-tls-certificate",
        "",
        plain,
        "FILE",
        N_("the certificate (PEM) that admin-address speaks TLS with; watched: a renewed one needs no restart"),
        beside=True,
        restart=True,
    )
    admin_tls_key: str = _status(
        "admin-tls-key",
        "",
        plain,
        "FILE",
        N_("the key of that certificate (PEM), watched, too; by default in the file of the certificate"),
        beside=True,
        restart=True,
    )
    admin_token_file: str = _status(
        "admin-token-file",
        "",
        plain,
        "FILE",
        N_("the tokens, one a line, of which who asks admin-address for more than health sends one; watched, too"),
        beside=True,
        restart=True,
    )
    health_address: Optional[tuple[str, int]] = _status(
        "health-address",
        "",
        health_endpoint,
        "ADDRESS[:PORT]",
        N_(
            "where balancers and orchestrators ask for /healthz and /readyz, and nothing else is there; port 9181 by "
            "default"
        ),
        restart=True,
    )
    run_dir: str = _status(
        "run-dir",
        "",
        plain,
        "FOLDER",
        N_("where the socket is that ogw status and the like ask; by default /run/ogw, or a folder of the user's"),
        restart=True,
    )
    log_interval: float = _log(
        "log-interval",
        "1h",
        duration(0.2),
        "DURATION",
        N_("how often the counters are logged, and each tunnel that has been open for so long"),
    )
    log_every_refusal: str = _log(
        "log-every-refusal",
        "no",
        choice("yes", "no"),
        "yes|no",
        N_("log a line for each refusal; without it one that repeats is logged once, then as a count each minute"),
    )
    log_level: str = _log(
        "log-level", "info", choice("debug", "info", "warning", "error"), "LEVEL", N_("debug, info, warning or error")
    )
    log_format: str = _log(
        "log-format",
        "auto",
        choice("auto", "json", "text"),
        "FORMAT",
        N_("json, text, or auto: text on a terminal"),
        restart=True,
    )
    log_file: str = _log(
        "log-file",
        "",
        plain,
        "FILE",
        N_("log there instead of to standard output; opened anew when renamed away"),
        restart=True,
    )
    syslog: Union[str, tuple[str, int], None] = _log(
        "syslog",
        "",
        syslog,
        "PATH|HOST:PORT",
        N_("log to the system's log: /dev/log, or a host over UDP"),
        restart=True,
    )
    origins: Mapping[str, Sequence[Given]] = field(default_factory=dict, compare=False)
    warnings: tuple[str, ...] = ()
    listen_lasts: Lasts = Lasts()
    sourced: tuple[Sourced, ...] = ()
    agent_certificates: tuple[Pattern, ...] = ()
    agent_missing: str = ""
    kept: Mapping[str, Optional[Kept]] = field(default_factory=dict, compare=False)
    seen: Seen = field(default=(), compare=False)
    file: str = field(default="", compare=False)
    admin_key_pair: Optional[KeyPair] = field(default=None, compare=False)
    admin_tokens: Optional[Tokens] = field(default=None, compare=False)

    @cached_property
    def policy(self) -> Policy:
        """All that may refuse a tunnel or reject a session, ready to be asked; `policy.hash` stands in every log line.

        Built when it is first asked for, and kept: who is forked afterwards has it, too. It does not travel with the
        configuration (`__getstate__`), which would be almost twice as long and gain nothing.

        The certificates of this machine's agents are added to a list of allowed ones; they never begin one, since with
        a list everything that is not in it is rejected.
        """
        certificates = self.allowed_client_certificate and (*self.allowed_client_certificate, *self.agent_certificates)
        return Policy(
            (*self.allowed_host, *self.sourced_hosts),
            self.denied_host,
            self.allowed_port,
            self.allowed_client,
            self.allowed_target_network,
            TlsRules(
                mode=Mode(self.tls_rules),
                min_version=self.tls_min_version,
                any_allowed_host=self.server_name == "allowed-hosts",
                ech=self.encrypted_client_hello,
                subjects=Subjects(certificates) if certificates else None,
                certificate_hosts=self._certificate_hosts,
                allow_unseen=self.unseen_client_certificate == "allow",
                max_size=self.handshake_max_size,
            ),
            report_until=self.reports_until,
            stage=self.stage,
        )

    @property
    def _certificate_hosts(self) -> Optional[HostIndex]:
        """None: all. Where each of the rules is of another stage, none is left, which is not the same."""
        rules = self.client_certificate_hosts
        return HostIndex(of_stage(rules, self.stage)) if rules else None

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name not in STAYS}

    @property
    def sourced_hosts(self) -> tuple[Rule, ...]:
        """The host rules that come from presets, lists elsewhere and the agent; each one's source says from where."""
        return tuple(dict.fromkeys(rule for one in self.sourced for rule in one.rules))

    @property
    def names_clients(self) -> bool:
        """The INI file itself says that clients show a certificate: only then it takes rules that name them by it."""
        return self.origins["listen-client-certificate"][-1].source.rpartition(":")[2].isdigit()

    @property
    def left_out(self) -> list[Union[Rule, RelayEntry]]:
        """The host rules and relay proxies of other stages, which are not taken."""
        rules: list[Union[Rule, RelayEntry]] = [*self.allowed_host, *self.sourced_hosts, *self.denied_host]
        rules += [*self.client_certificate_hosts, *self.relay_proxy_bypass, *self.relay_proxy]
        return [rule for rule in rules if rule.stage not in ("", self.stage)]

    @property
    def ways(self) -> Ways:
        """To targets, as a gateway of this stage takes them."""
        entries = [entry for entry in self.relay_proxy if entry.stage in ("", self.stage)]
        return Ways(entries, of_stage(self.relay_proxy_bypass, self.stage))

    @property
    def listen(self) -> tuple[tuple[str, int], ...]:
        """(address, port) pairs to listen on."""
        return tuple(dict.fromkeys((host, port or self.listen_port) for host, port, _tls in self.listen_address))

    def port_setting(self, host: str, port: int) -> str:
        """The name of the setting that says the port of this place to listen on."""
        return "listen-address" if (host, port) in {one[:2] for one in self.listen_address} else "listen-port"

    @property
    def listen_tls(self) -> frozenset[tuple[str, int]]:
        """Those of them where clients speak TLS."""
        return frozenset((host, port or self.listen_port) for host, port, tls in self.listen_address if tls)

    @property
    def allows_any(self) -> bool:
        """A host may be allowed: the settings name some, or who does, or what nobody allows is only reported."""
        named = (getattr(self, setting.attribute) for setting in SETTINGS.values() if setting.allows)
        return any(named) or self.policy_mode == "report"

    @property
    def reports_until(self) -> Optional[float]:
        """Until when the policy only reports, in Unix seconds; that may be over. None: it is enforced."""
        return self.report_until if self.policy_mode == "report" else None

    @property
    def dns_servers(self) -> tuple[tuple[str, int], ...]:
        """(address, port) pairs, one port for all."""
        return tuple((address, port or 53) for address, port in self.dns_server)

    @property
    def listen_is_default(self) -> bool:
        return self.is_default("listen-address")

    def given_by(self, name: str) -> tuple[Any, list[Sourced]]:
        """All that a setting comes to: its value, and the host rules that it gives."""
        return getattr(self, SETTINGS[name].attribute), [one for one in self.sourced if one.setting == name]

    def has_values_of(self, file: str) -> bool:
        """Values that are in force stand in this INI file."""
        mark = f"{file}:"
        found = (one.source for given in self.origins.values() for one in given if one.source.startswith(mark))
        return any(source.removeprefix(mark).isdigit() for source in found)

    def is_default(self, name: str) -> bool:
        """Nobody set it."""
        return self.origins[name][0].source == DEFAULT


SETTINGS: dict[str, Setting] = {
    entry.metadata["setting"].name: entry.metadata["setting"]
    for entry in dataclasses.fields(Config)
    if "setting" in entry.metadata
}

GROUPS = tuple(dict.fromkeys(setting.group for setting in SETTINGS.values()))  # headings, in their order

# Variables that name a file with the value of what may hold a secret, and whose. That of the password is a setting.
FILE = "_FILE"
FILE_VARIABLES = {
    setting.variable + FILE: setting.name
    for setting in SETTINGS.values()
    if setting.hides and f"{setting.name}-file" not in SETTINGS
}
