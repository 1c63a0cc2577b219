"""The shape of /status: what a running gateway says of itself, for the page, the commands and whoever asks.

service/admin/views.py makes it. Every key is there in every answer of a gateway of this version; a command may be asked
about an older one, which does without those that are NotRequired. More keys may come, none is renamed.

Counts are since the start of the gateway, over all workers, and survive a worker's death. Times are RFC 3339 in UTC;
ages and durations are seconds by a clock that nobody sets. Texts may hold what strangers sent: whoever shows them makes
them harmless (cli/screen.py: clean).
"""

from typing import Literal, NotRequired, Optional, TypedDict

# What is spoken over the socket in run-dir, here and in service/admin/shapes.py. It gets the next number where a path
# goes, or a required key goes, comes or changes its meaning; new paths, and what is NotRequired, may come any time.
# Commands understand PROTOCOLS, this number and the one before: they ask the older gateway until it was upgraded.
PROTOCOL = 1
PROTOCOLS = (1,)
PROTOCOL_HEADER = "Ogw-Protocol"  # of each answer there
CONFIG_HEADER = "Ogw-Config"  # the same: the path of the INI file that the gateway reads, percent-encoded
ABSENT_HEADER = "Ogw-Absent"  # of /readyz's, where there are: listen_absent of /status, separated by commas
LATEST_REFUSALS = 20  # that /status has

# How the gateway fares. partly: a worker does not answer, and its share of the clients waits.
State = Literal["serving", "starting", "draining", "partly"]
# How a relay proxy fares: RelayState of report/metrics.py in words.
RelayProxyState = Literal["never tried", "up", "refuses us", "resting"]


class FourCounters(TypedDict):
    """Those of the original.

    tunnels         open ones now; they count from accept on
    clients         distinct addresses with an open tunnel now; exact for few, within a percent for thousands
    errors          events from 400 on
    tls_rejections  tunnels that the TLS rules ended
    """

    tunnels: int
    clients: int
    errors: int
    tls_rejections: int


class Counters(FourCounters):
    """
    allowed          requests that were answered 200
    refused          requests that were refused before a 200, for any reason
    reported         requests that passed only because of policy-mode = report
    verified         TLS sessions that passed the TLS rules
    closed           tunnels that ended, refusals aside: after their 200, or because their client left before it
    bytes_up         bytes from clients to targets, those of open tunnels as of the last seconds
    bytes_down       and from targets to clients
    log_lines        written lines of the log
    log_lines_lost   lines that nobody took
    reloads          reloads that were taken
    reloads_refused  reloads that a mistake, or the drain, refused
    """

    allowed: int
    refused: int
    reported: NotRequired[int]
    verified: NotRequired[int]
    closed: NotRequired[int]
    bytes_up: int
    bytes_down: int
    log_lines: int
    log_lines_lost: int
    reloads: int
    reloads_refused: int


class RefusedReload(TypedDict):
    """The last reload, which was refused.

    time      when
    age       seconds since
    mistakes  why, the first 20; none where the supervisor is too busy to say
    count     how many there are
    """

    time: str
    age: float
    mistakes: list[str]
    count: int


class SourceStatus(TypedDict):
    """A file, a folder or a URL of allowed-host-source; what is None is unknown, or is of URLs alone.

    source        as it is set, without a URL's query
    rules         how many host rules of it are in force; None where there is no list of it
    fetched       when its server last had the list in force
    age           seconds since
    serial        of the list's signature; None where no key is set
    expires       when that expires
    overdue       it has expired; the list stays in force
    key           the public key of who signed it
    failing       why the last download was not taken; "" where it was
    failing_since when that began
    rolled_back   when it was rolled back, and by whom; None where it is not
    by            who did that
    can_roll_back the list before the one of now is kept, and can be used
    """

    source: str
    rules: Optional[int]
    fetched: Optional[str]
    age: Optional[float]
    serial: Optional[int]
    expires: Optional[str]
    overdue: bool
    key: Optional[str]
    failing: str
    failing_since: Optional[str]
    rolled_back: Optional[str]
    by: Optional[str]
    can_roll_back: bool


class PolicyMode(TypedDict):
    """
    mode   report while what no rule allows passes, and is only reported
    until  when that ends; None while the policy is enforced
    """

    mode: Literal["enforce", "report"]
    until: Optional[str]


class LogStatus(TypedDict):
    """
    trouble   why it cannot be written now, and what becomes of its lines; "" where it can
    lost_why  why the last lines that were lost were; "" where none was
    """

    trouble: str
    lost_why: str


class WorkerStatus(TypedDict):
    """
    number       its place, from 0 on; a replacement has that of the dead one
    pid          its process id; 0 while there is none
    tunnels      open ones
    descriptors  open files; 0 where there is no process
    """

    number: int
    pid: int
    tunnels: int
    descriptors: int


class ClientTunnels(TypedDict):
    """How many tunnels of a client address are open."""

    client: str
    tunnels: int


class HostTunnels(TypedDict):
    """How many tunnels to a target, host:port, are open."""

    host: str
    tunnels: int


class RelayProxyStatus(TypedDict):
    """What the workers know of a relay proxy together: the worst of it, but nothing that another has long known better.

    proxy   its URL, without credentials
    up      the same as state == "up"
    state   how it fares
    why     why it is not up; "" while it is, or where no worker has tried it
    age     seconds since it last opened a tunnel, or did not; None where no worker has tried it
    opened  tunnels that it opened; the 16th and those after it are counted together
    failed  and did not open
    scheme  of authenticating that it took last, as relay-proxy-auth has it; "" where it wanted none
    tunnels those over it that are open, or being opened; none of a predecessor's
    named_for  host rules of the targets that it is for; none: for any
    """

    proxy: str
    up: bool
    state: NotRequired[RelayProxyState]
    why: NotRequired[str]
    age: NotRequired[Optional[float]]
    opened: NotRequired[int]
    failed: NotRequired[int]
    scheme: NotRequired[str]
    tunnels: NotRequired[int]
    named_for: NotRequired[list[str]]


class CountedRefusal(TypedDict):
    """Refusals of one client, target and reason, told once.

    client    an address; where gathered ones are told together, that of the last
    client_subject  of the certificate that it showed to the gateway itself; left out where it showed none
    target    host:port as it was asked for; "" for none that could be read, or for many
    reason    the token of the last one's decision (policy/decision.py)
    event     its number
    detail    why, in a sentence, for the operator only
    count     how many there were, as far as is remembered
    last      when the last was
    age       seconds since
    enforced  False where it passed all the same and was only reported
    """

    client: str
    client_subject: NotRequired[str]
    target: str
    reason: str
    event: int
    detail: str
    count: int
    last: str
    age: float
    enforced: NotRequired[bool]


class LatestRefusal(CountedRefusal):
    """With the command that would allow it; None where there is none."""

    command: Optional[str]


class PredecessorStatus(TypedDict):
    """The process that handed over at the last upgrade, while it drains. Its tunnels are in all counts and lists.

    pid      its process id
    tunnels  open ones that are still its own; None where it is of a version that counts otherwise
    seconds  that they have at most (upgrade-drain-timeout)
    """

    pid: int
    tunnels: Optional[int]
    seconds: float


class ListenTls(TypedDict):
    """Of the doors where clients speak TLS.

    listen             host:port of each
    certificate_until  when the gateway's certificate there expires; None where it has none
    crl_until          when the first revocation list of clients' certificates is to be replaced; None for none
    """

    listen: list[str]
    certificate_until: Optional[str]
    crl_until: Optional[str]


class WorkersPart(TypedDict):
    """What only the workers know, of all that answered in time.

    top_clients      the clients with most tunnels, at most 10
    top_hosts        the targets with most tunnels, at most 10
    relay_proxies    those of the settings, in their order
    refusals         the latest, at most 20, the last one first
    workers_missing  workers that did not answer: the lists lack what they know
    """

    top_clients: list[ClientTunnels]
    top_hosts: list[HostTunnels]
    relay_proxies: list[RelayProxyStatus]
    refusals: list[LatestRefusal]
    workers_missing: int


class Status(WorkersPart):
    """
    version          of the gateway
    machine          the name of its machine, or of its container
    state            whether it serves
    serves_on        while it drains: seconds for which whoever comes is still served (drain-delay); else 0
    taken_out        when `ogw ready --off` took it out: it serves, but readiness says no; None where it did not
    started          when it was first ready; None before that
    uptime           seconds since; 0 before that
    policy           the hash of the policy in force, as in every line of the log
    policy_mode      whether the policy is enforced
    reload_refused   the last reload, if it was refused; None once one was taken
    awaits_restart   settings that changed since the start, and that only a restart takes
    listen           host:port of each door, as the settings name them
    listen_tls       of those of them where clients speak TLS; None where they do nowhere
    listen_absent    those of them whose address the machine does not have now: no client reaches them there
    listen_freebind  and whether that may be so
    admin            host:port of metrics and health; None for none
    health           host:port where there is nothing but health and readiness; None for none
    workers          those that there are to be
    predecessor      what the last upgrade left to drain; None for nothing
    worker_deaths    processes, the admin process too, that died and were replaced
    max_tunnels      how many may be open; beyond that clients get 503
    max_descriptors  open files that each worker may have
    counters         what was counted
    log              how its log fares
    reasons          refusals and rejections by reason token; those that never happened are left out
    sources          the lists of URLs; none where the supervisor is too busy to say
    flags            by which commands mean this gateway, such as " --config /srv/ogw.ini"; "" where it needs none
    admin_tls_until  when the certificate of admin-address expires; None where it has none
    admin_files_refused  why its watched files, of that or of tokens, were not taken; what was in force before stays
    attention        a sentence for each thing that an operator should look at, in the language of the gateway
    """

    version: str
    machine: NotRequired[str]
    state: State
    serves_on: NotRequired[float]
    taken_out: NotRequired[Optional[str]]
    started: Optional[str]
    uptime: float
    policy: str
    policy_mode: NotRequired[PolicyMode]
    reload_refused: NotRequired[Optional[RefusedReload]]
    awaits_restart: NotRequired[list[str]]
    listen: list[str]
    listen_tls: NotRequired[Optional[ListenTls]]
    listen_absent: NotRequired[list[str]]
    listen_freebind: NotRequired[bool]
    admin: Optional[str]
    health: NotRequired[Optional[str]]
    workers: list[WorkerStatus]
    predecessor: NotRequired[Optional[PredecessorStatus]]
    worker_deaths: int
    max_tunnels: int
    max_descriptors: int
    counters: Counters
    log: NotRequired[LogStatus]
    reasons: dict[str, int]
    sources: NotRequired[list[SourceStatus]]
    flags: NotRequired[str]
    admin_tls_until: NotRequired[Optional[str]]
    admin_files_refused: NotRequired[list[str]]
    attention: NotRequired[list[str]]


def state_of(relay: RelayProxyStatus) -> RelayProxyState:
    """How a relay proxy fares, of an older gateway, too, which only said whether it was up."""
    return relay.get("state") or ("up" if relay["up"] else "resting")


def doors(status: Status) -> list[str]:
    """Where it listens, as listen-address has it: host:port, behind tls:// where clients speak TLS."""
    of_tls = status.get("listen_tls")
    encrypted = of_tls["listen"] if of_tls else []
    return [f"tls://{one}" if one in encrypted else one for one in status["listen"]]
