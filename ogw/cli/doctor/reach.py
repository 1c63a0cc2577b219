"""What the doctor finds on the way out: DNS servers, relay proxies, and each host that has a name, dialed for real."""

import ssl
import time
import warnings
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from functools import partial
from shlex import quote
from typing import NamedTuple, Optional

from cryptography import x509

from ogw.cli.doctor.findings import Finding, State, ok, problem, untested, warning
from ogw.cli.doctor.relays import AREA as RELAY
from ogw.cli.doctor.relays import RelayProxies
from ogw.language.messages import gettext as _
from ogw.language.messages import ngettext
from ogw.policy.advice import REASONS
from ogw.policy.hosts import Policy
from ogw.policy.names import NOBODY, Names
from ogw.policy.rules import Kind, Rule, of_stage
from ogw.policy.subjects import read_by_others, shown
from ogw.policy.tls_rules import Mode
from ogw.report.log import Log
from ogw.report.sinks import open_sink
from ogw.report.writers import Direct
from ogw.service.dialer import dialer_of, own_places
from ogw.service.probe import Probe, Probed, ask_server, in_parallel
from ogw.settings.named import flags_without_gateway
from ogw.settings.settings import Config
from ogw.tunnel.name_files import RESOLV_CONF, read_resolv_conf
from ogw.wire.connect import Target, parse_target
from ogw.wire.place import place
from ogw.wire.relay_proxy import RelayProxy
from ogw.wire.tls import version_name

AT_A_TIME = 20
SOON = 30  # days
SLOW = 1.0  # seconds for a look-up
MOST_SHOWN = 5  # rules that cannot be tested
VIA = b"ogw-doctor"

AREAS = ("dns", RELAY, "hosts")

Done = Callable[[], object]


class Job(NamedTuple):
    """Something to find out about a place."""

    area: str
    where: str
    do: Callable[[], list[Finding]]


class Wanted(NamedTuple):
    """A target to try, and a client for whom it is allowed: its address, and the names in its certificate."""

    target: Target
    client: str
    names: Names = NOBODY


def wanted_of(config: Config) -> tuple[list[Wanted], list[Rule]]:
    """The targets that the rules name, and the rules that name none: wildcards and networks."""
    ports = (443,) if 443 in config.allowed_port else tuple(sorted(config.allowed_port))[:1]
    wanted: dict[Target, Wanted] = {}
    wide: list[Rule] = []
    for rule in of_stage((*config.allowed_host, *config.sourced_hosts), config.stage):
        single = rule.network is not None and rule.network.num_addresses == 1
        if rule.kind is not Kind.NAME and not single:
            wide.append(rule)
            continue
        for port in ports if rule.port is None else (rule.port,):
            target = parse_target(place(rule.pattern, port).encode())
            wanted.setdefault(target, _wanted(target, rule))
    return list(wanted.values()), wide


def wanted_host(config: Config, target: Target) -> Wanted:
    """This one, for a client that may go there if there is any."""
    policy = config.policy
    rules = [match.rule for match in policy.matches(target, "127.0.0.1") if not match.denies]
    tried = [Wanted(target, "127.0.0.1"), *(_wanted(target, rule) for rule in rules)]
    return next((one for one in tried if policy.judge_target(target, one.client, None, one.names).allowed), tried[0])


def _wanted(target: Target, rule: Rule) -> Wanted:
    if not rule.clients:
        return Wanted(target, "127.0.0.1", frozenset(rule.names[:1]))
    network = rule.clients[0]
    return Wanted(target, str(network[1] if network.num_addresses > 1 else network[0]))


class Outside:
    """All that is tried, for one configuration. Raises OSError or ValueError where a file of it cannot be read."""

    def __init__(self, config: Config, wanted: Sequence[Wanted], wide: Sequence[Rule]) -> None:
        self._config = config
        self._policy: Policy = config.policy
        self._wanted = wanted
        self._wide = wide
        self._own = own_places(config)
        self._ways = config.ways
        self._log = Log(Direct(open_sink("/dev/null", None)))
        self._dialer = dialer_of(config, self._policy, self._log, VIA, self._own)
        context = ssl.create_default_context()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # of versions that somebody may need all the same
            context.minimum_version = ssl.TLSVersion(self._policy.tls.min_version)
        self._probe = Probe(self._dialer, context, config.handshake_timeout)
        self._straight = [one for one in wanted if self._dialer.goes_straight(one.target, one.client)]
        self._youngest: Optional[tuple[float, str]] = None  # the latest begin of a certificate, and whose
        self._relays = RelayProxies(config, self._targets())
        self._stages = self._all_stages()

    def _all_stages(self) -> list[list[Job]]:
        """The jobs, of which those of a stage are done at the same time."""
        proxies = self._config.ways.proxies
        first = self._dns_jobs() + [Job(RELAY, str(one), partial(self._relays.ask, one)) for one in proxies]
        first += [Job("hosts", str(one.target), partial(self._host, one)) for one in self._straight]
        if not proxies:
            return [first]
        behind = [one for one in self._wanted if one not in self._straight]
        trial = Job(RELAY, "", self._relays.try_those_that_want_credentials)
        return [first, [trial], [Job("hosts", str(one.target), partial(self._host_behind, one)) for one in behind]]

    @property
    def number(self) -> int:
        """Of jobs."""
        return sum(map(len, self._stages))

    def examine(self, seconds: float, finished: Done) -> list[Finding]:
        """Run all jobs within so many seconds. `finished` is called after each."""
        until = time.monotonic() + seconds
        late = _("not finished within {seconds:g} s").format(seconds=seconds)
        found: list[Finding] = []
        try:
            for jobs in self._stages:
                left = max(until - time.monotonic(), 0.0)
                results = in_parallel([job.do for job in jobs], AT_A_TIME, left, finished)
                for job, result in zip(jobs, results, strict=True):
                    more = [untested(job.area, job.where, late, _("allow more time: --timeout SECONDS"))]
                    found += more if result is None else result
        finally:
            self._dialer.close()
        found.sort(key=lambda finding: AREAS.index(finding.area))
        return [*found, *self._not_testable(), *self._clock()]

    # DNS.

    def _dns_jobs(self) -> list[Job]:
        names = [one.target.host for one in self._wanted if self._dialer.resolves(one.target, one.client)]
        names += [proxy.target.host for proxy in self._ways.proxies if proxy.target.address is None]
        servers = list(self._config.dns_servers) or resolv_conf()
        jobs: list[Job] = []
        for server in servers:
            where = place(*server)
            jobs.append(Job("dns", where, partial(self._dns_server, server, where, names[:1])))
        if not servers:
            jobs.append(Job("dns", RESOLV_CONF, partial(_no_dns_server, bool(names))))
        return jobs

    def _dns_server(self, server: tuple[str, int], where: str, names: Sequence[str]) -> list[Finding]:
        if not names:
            return [untested("dns", where, _("there is no host name to ask this server for"))]
        answered = ask_server(server, names[0], self._config.dns_timeout)
        if answered is None:
            what = _("no answer when asked for {name}").format(name=names[0])
            do = _("check this server, and the firewalls on the way (UDP and TCP port 53); or set dns-server")
            return [problem("dns", where, what, do)]
        if answered.refuses:
            what = _("no useful answer when asked for {name}: {why}").format(name=names[0], why=answered.refuses)
            do = _("ask the owner of this server to let it answer this machine; or set dns-server")
            return [warning("dns", where, what, do)]
        took = f"{answered.seconds * 1000:.0f}"
        if not answered.keeps_case:
            what = _("answers in {milliseconds} ms; this server, or something on the way, changes the letters of "
                     "names, so that answers are easier to forge").format(milliseconds=took)  # fmt: skip
            do = _("update the server, or set another one (dns-server), unless the network in between is your own")
            return [warning("dns", where, what, do)]
        return [ok("dns", where, _("answers in {milliseconds} ms").format(milliseconds=took))]

    # Relay proxies.

    def _targets(self) -> dict[RelayProxy, Optional[Target]]:
        """What to ask each of them for."""
        behind = [one for one in self._wanted if one not in self._straight]
        ways = self._config.ways
        through = [self._through(number, behind) for number in range(len(ways.proxies))]
        return {proxy: found[0].target if found else None for proxy, found in zip(ways.proxies, through, strict=True)}

    def _through(self, number: int, behind: Sequence[Wanted]) -> list[Wanted]:
        """Whose way leads through this relay proxy, first of all or where others fail."""
        first, later = [], []
        for one in behind:
            way = self._ways.of(one.target, one.client)
            first += [one] if number in (way.named or way.general) else []
            later += [one] if way.named and number in way.general else []
        return first + later

    def _host_behind(self, one: Wanted) -> list[Finding]:
        if self._relays.refused:
            what = _(
                "not tried: a relay proxy refused the credentials, and an account may be locked after a few refusals"
            )
            return [untested("hosts", str(one.target), what)]
        return self._host(one)

    # Hosts.

    def _host(self, one: Wanted) -> list[Finding]:
        where = str(one.target)
        decision = self._policy.judge_target(one.target, one.client, None, one.names)
        if not decision.allowed:
            what = _("refused ({reason}): {detail}").format(reason=decision.reason.token, detail=decision.detail)
            return [warning("hosts", where, what, self._explained(one))]
        probed = self._probe.try_target(one.target, decision.to, one.client)
        found = []
        if probed.look_up is not None and probed.look_up > SLOW:
            what = _("the look-up takes {seconds:.1f} s").format(seconds=probed.look_up)
            found.append(warning("dns", where, what, _("check the DNS servers; the first one may not answer")))
        judged = self._judged(where, probed)
        ending = self._policy.dead_end(one.target, one.client, decision)
        if judged.state is not State.PROBLEM and not ending.allowed:
            judged = warning("hosts", where, f"{judged.what}; {ending.detail}", self._explained(one))
        return [*found, judged]

    def _explained(self, one: Wanted) -> str:
        client = "" if one.client == "127.0.0.1" else f" --client {one.client}"
        client += "".join(f" --from {quote(name)}" for name in one.names)
        flags = flags_without_gateway(self._config)
        return _("`ogw explain {target}{flags}` says more").format(target=quote(str(one.target)), flags=client + flags)

    def _judged(self, where: str, probed: Probed) -> Finding:
        if probed.failure is not None:
            what = _("not reached ({reason}): {detail}").format(reason=probed.failure.token, detail=probed.detail)
            return problem("hosts", where, what, _(REASONS[probed.failure.token].do))
        if not probed.version:
            what = _("reached at {address} in {milliseconds} ms, but there is no TLS session: {why}").format(
                address=probed.address, milliseconds=f"{probed.dial * 1000:.0f}", why=probed.detail
            )
            if self._policy.tls.mode is Mode.OFF:
                return ok("hosts", where, what)
            least = version_name(self._policy.tls.min_version)
            do = _("let the server speak {least} or newer; a firewall in between may be the one that ends it")
            return problem("hosts", where, what, do.format(least=least))
        return self._with_certificate(where, probed)

    def _with_certificate(self, where: str, probed: Probed) -> Finding:
        def read() -> tuple[str, datetime, datetime]:
            certificate = x509.load_der_x509_certificate(probed.certificate)
            begins, ends = _utc(certificate, "not_valid_before"), _utc(certificate, "not_valid_after")
            return shown(certificate.issuer.rfc4514_string()), begins, ends

        reached = {
            "address": probed.address,
            "milliseconds": f"{probed.dial * 1000:.0f}",
            "version": probed.version.replace("TLSv", "TLS "),
        }
        try:
            issuer, begins, ends = read_by_others(read)
        except ValueError:
            what = _("reached at {address} in {milliseconds} ms, {version}; its certificate cannot be read")
            do = _("look at the certificate with `openssl s_client`")
            return warning("hosts", where, what.format(**reached), do)
        if self._youngest is None or begins.timestamp() > self._youngest[0]:
            self._youngest = begins.timestamp(), where
        now = datetime.now(UTC)
        until = ends.strftime("%Y-%m-%d")
        if ends <= now:
            what = _("reached at {address} in {milliseconds} ms, {version}; its certificate expired on {until}")
            do = _("tell the owner of the host; and check the clock of this machine")
            return problem("hosts", where, what.format(**reached, until=until), do)
        if probed.untrusted:
            what = _("reached at {address} in {milliseconds} ms, {version}; this machine does not trust its "
                     "certificate: {why}; its issuer is {issuer}")  # fmt: skip
            do = _("if the host does not have its certificate from this issuer, a firewall in between opens TLS "
                   "sessions: exempt the host there; if it has, clients that trust the issuer have no problem"
                   )  # fmt: skip
            return warning("hosts", where, what.format(**reached, why=probed.untrusted, issuer=issuer), do)
        days = (ends - now).days
        if days < SOON:
            what = ngettext(
                "reached at {address} in {milliseconds} ms, {version}; its certificate ends in {days} day ({until})",
                "reached at {address} in {milliseconds} ms, {version}; its certificate ends in {days} days ({until})",
                days,
            ).format(**reached, days=days, until=until)
            return warning("hosts", where, what, _("tell the owner of the host, unless it is renewed automatically"))
        what = _("reached at {address} in {milliseconds} ms, {version}, certificate until {until} by {issuer}")
        return ok("hosts", where, what.format(**reached, until=until, issuer=issuer))

    def _not_testable(self) -> list[Finding]:
        if not self._wide:
            return []
        number = len(self._wide)
        what = ngettext(
            "{number} rule names no single host: {rules}", "{number} rules name no single host: {rules}", number
        )
        listed = ", ".join(str(rule) for rule in self._wide[:MOST_SHOWN]) + (", ..." if number > MOST_SHOWN else "")
        return [untested("hosts", "", what.format(number=number, rules=listed), _("try one of the hosts: --host HOST"))]

    def _clock(self) -> list[Finding]:
        """A certificate is never made before its time, so the clock cannot be right where it is before one's begin."""
        if self._youngest is None:
            return []
        begins, where = self._youngest
        behind = begins - time.time()
        if behind > 0:
            what = _("the clock is at least {hours:.1f} h behind: the certificate of {where} begins later").format(
                hours=behind / 3600, where=where
            )
            return [problem("clock", "", what, _("set the clock; let chrony or systemd-timesyncd keep it"))]
        what = _("the clock is not before the begin of any certificate that was seen (the latest: {where}); whether it "
                 "is ahead is not known").format(where=where)  # fmt: skip
        return [ok("clock", "", what)]


def _utc(certificate: x509.Certificate, name: str) -> datetime:
    """A time of a certificate; cryptography before 42 gave it without its zone."""
    found: Optional[datetime] = getattr(certificate, f"{name}_utc", None)
    if found is None:
        found = getattr(certificate, name).replace(tzinfo=UTC)
    assert found is not None
    return found


def resolv_conf() -> list[tuple[str, int]]:
    """The DNS servers of the system."""
    try:
        return read_resolv_conf().servers
    except OSError:
        return []


def _no_dns_server(needed: bool) -> list[Finding]:
    if needed:
        do = _("add a DNS server to the file, or set dns-server")
        return [problem("dns", RESOLV_CONF, _("the file names no DNS server"), do)]
    return [ok("dns", RESOLV_CONF, _("the file names no DNS server, and none is needed"))]
