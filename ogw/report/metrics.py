"""What is counted, and in which cell of a row of the shared table it stands; service/admin/exposition.py tells of it.

Cells are 64-bit numbers that only their own process writes: `cells[TUNNELS] += 1` is all that a count costs.
"""

import enum
import itertools
import time
from bisect import bisect_left
from collections.abc import Iterable
from typing import Any

from ogw.report.events import CATALOGUE

SET_SECONDS = 2.0  # by so much the wall clock and the others come apart only where somebody sets it
_next = itertools.count()
NAMES: dict[str, int] = {}  # every cell by the name that it keeps, by which another version finds it


def _cell(name: str) -> int:
    NAMES[name] = next(_next)
    return NAMES[name]


def _cells(name: str, keys: Iterable[object]) -> int:
    """The first of one cell for each key."""
    return min([_cell(f"{name} {key}") for key in keys])


def _reserve(count: int) -> int:
    """The first of so many cells, which are named elsewhere."""
    return min([next(_next) for _cell in range(count)])


class Moment:
    """When something happened last, by two clocks: what people call the time, which may be set, and how long ago it is.

    `cells[moment.cell]` is in Unix seconds; 0 for never.
    """

    def __init__(self, name: str) -> None:
        self.cell = _cell(name)
        self._since_boot = _cell(f"{name} since boot")  # ms

    @property
    def cells(self) -> tuple[int, int]:
        return self.cell, self._since_boot

    def mark(self, cells: Any) -> None:
        cells[self._since_boot] = int(_since_boot() * 1000)
        cells[self.cell] = max(1, int(time.time()))

    def clear(self, cells: Any) -> None:
        """As if it had never happened."""
        cells[self.cell] = 0

    def seconds_ago(self, cells: Any) -> float:
        """Whatever was done to the clock since; 0 for never."""
        return _since_boot() - cells[self._since_boot] / 1000 if cells[self.cell] else 0.0

    def unix(self, cells: Any) -> int:
        """By the clock as it is set now; 0 for never."""
        stored = int(cells[self.cell])
        right = time.time() - self.seconds_ago(cells)
        return stored if not stored or abs(right - stored) < SET_SECONDS else max(1, round(right))


def _since_boot() -> float:
    # Unlike the monotonic clock it goes on while the machine is suspended.
    return time.clock_gettime(time.CLOCK_BOOTTIME)


# Of a worker, while it lives: they are cleared when it dies.
TUNNELS = _cell("tunnels")  # open ones
PROCESS = _cell("process")  # its process id
LOG_TROUBLE = _cell("log trouble")  # a gauge: a cause, of what its log has now; 0 for none (report/losses.py)

# Of the supervisor, in the last row: the state of the whole gateway.
STARTED = Moment("started")  # when all workers were ready for the first time
DRAINING = _cell("draining")
SERVES_UNTIL = _cell("serves until")  # it does although it drains (drain-delay): ms, monotonic clock; 0 if not
READY_WORKERS = _cell("ready workers")
SILENT_WORKERS = _cell("silent workers")  # that do not answer, or are not replaced yet
ALIVE = _cell("alive")  # seconds of the monotonic clock: the supervisor's last sign of life
POLICY = _cell("policy")  # the hash, as a number
RELOADED = Moment("reloaded")  # when the last reload was taken
RELOAD_REFUSED = Moment("reload refused")  # when the last one was refused; never, where one was taken since
RELOADS_TAKEN = _cell("reloads taken")
RELOADS_REFUSED = _cell("reloads refused")
DEATHS = _cell("deaths")  # of workers
MOST_TUNNELS = _cell("most tunnels")
MOST_DESCRIPTORS = _cell("most descriptors")  # of a worker
RELAYS = _cell("relays")  # relay proxies that are set
PREDECESSOR = _cell("predecessor")  # its process id while it drains; 0 for none
PREDECESSOR_UNTIL = _cell("predecessor until")  # seconds of the monotonic clock
REPORT_UNTIL = _cell("report until")  # Unix seconds until when the policy only reports; 0 where it is enforced
TAKEN_OUT = Moment("taken out")  # when `ogw ready --off` was told; never, where `--on` was since
ABSENT = _cell("absent")  # listen addresses that the machine does not have
LISTEN_CERTIFICATE = _cell("listen certificate")  # Unix seconds until when it is valid; 0 for none
LISTEN_CRL = _cell("listen crl")  # Unix seconds until when the first revocation list is to be used; 0 for none

SOURCES = _cell("sources")  # URLs of lists that are set
MOST_SOURCES = 16  # of those that are told of apart
SOURCE_FETCHED = _cells("source fetched", range(MOST_SOURCES))  # Unix seconds; 0 where there is no list of it
SOURCE_SERIAL = _cells(
    "source serial", range(MOST_SOURCES)
)  # of its signature, and Unix seconds of its end; 0 for none
SOURCE_EXPIRES = _cells("source expires", range(MOST_SOURCES))
SOURCE_FAILING = _cells("source failing", range(MOST_SOURCES))  # 1 where the last download was not taken
SOURCE_HELD = _cells("source held", range(MOST_SOURCES))  # 1 where it is rolled back

# Of the admin process, in its row.
TOLD_READY = _cell("told ready")  # when it last told somebody that the gateway is ready: seconds, monotonic clock
ADMIN_CERTIFICATE = _cell("admin certificate")  # when it ends, in Unix seconds; 0 for none

# Counters: they outlive the worker that wrote them.
ALLOWED = _cell("allowed")  # CONNECTs that were answered with 200
BYTES_UP = _cell("bytes up")
BYTES_DOWN = _cell("bytes down")
LINES_SAID = _cell("lines said")  # log lines: each is written or lost in the end
LINES = _cell("lines")  # written
LINES_LOST = _cell("lines lost")
LINES_TOLD = _cell("lines told")  # of the lost ones: so many a line tells of
LOST_WHY = _cell("lost why")  # why the last ones were lost: report/losses.py

ADMIN_CAUSES = ("no-token", "wrong-token", "tls")  # why somebody was refused on admin-address
ADMIN_REFUSED = {cause: _cell(f"admin refused {cause}") for cause in ADMIN_CAUSES}

MOST_REASONS = 128
REFUSED = _reserve(MOST_REASONS)  # + index of the reason
PASSED = _reserve(MOST_REASONS)  # with policy-mode = report: would have been refused
REJECTED = _reserve(MOST_REASONS)
REPORTED = _reserve(MOST_REASONS)  # with tls-rules = report: would have been rejected
CLOSED = _reserve(MOST_REASONS)
OF_REASONS = {"refused": REFUSED, "passed": PASSED, "rejected": REJECTED, "reported": REPORTED, "closed": CLOSED}
EVENTS = {number: _cell(f"event {number:d}") for number in CATALOGUE}
TLS_VERSIONS = {0x0301: "1.0", 0x0302: "1.1", 0x0303: "1.2", 0x0304: "1.3", 0: "other"}
VERIFIED = {version: _cell(f"verified {name}") for version, name in TLS_VERSIONS.items()}  # by the protocol's number

CLIENT_TLS_VERSIONS = ("TLSv1.2", "TLSv1.3")
CLIENT_TLS = _cells("client tls", CLIENT_TLS_VERSIONS)  # sessions of clients with the gateway itself

MOST_RELAYS = 16  # of those that are counted apart
RELAY_STATE = _cells("relay state", range(MOST_RELAYS))  # a gauge: a RelayState
RELAY_SINCE = _cells("relay since", range(MOST_RELAYS))  # when it last did what that says, by the monotonic clock
RELAY_OPENED = _cells("relay opened", range(MOST_RELAYS))
RELAY_FAILED = _cells("relay failed", range(MOST_RELAYS))
# By the slot of its URL (report/slots.py), which a reload leaves as it is.
RELAY_TUNNELS = _cells("relay slot tunnels", range(MOST_RELAYS))  # a gauge: open ones
RELAY_RESTS = _cells("relay slot rests", range(MOST_RELAYS))  # a gauge: relay proxies that rest
RELAY_TRIED = _cells("relay slot tried", range(MOST_RELAYS))  # when a trial began, in ms of the monotonic clock
RELAY_ANSWERED = _cells("relay slot answered", range(MOST_RELAYS))  # when it opened, or woke, by the same
RELAY_REASONS = _reserve(MOST_RELAYS * MOST_REASONS)  # + MOST_REASONS * slot + index of why it did not open a tunnel

AUTH_SCHEMES = ("basic", "digest", "negotiate", "ntlm", "socks5")  # the last: a login over SOCKS
AUTH_RESULTS = ("accepted", "refused", "withheld", "failed")
# How the gateway authenticated itself to relay proxies: (scheme, result).
RELAY_AUTH = {
    (scheme, result): _cell(f"relay auth {scheme} {result}") for scheme in AUTH_SCHEMES for result in AUTH_RESULTS
}


class RelayState(enum.IntEnum):
    """How a relay proxy fares; of several workers' the highest counts."""

    NEVER_TRIED = 0
    UP = 1
    REFUSES_US = 2  # it answers, but opens no tunnel
    RESTING = 3  # it failed, and is left out for a while


class Histogram:
    """A histogram of seconds: a cell for each bucket, one for what is over the last edge, one for the sum in us."""

    def __init__(self, name: str, *edges: float) -> None:
        self.edges = edges
        self.first = _cells(name, (*edges, "over"))
        self.sum = _cell(f"{name} sum")

    def observe(self, cells: Any, seconds: float) -> None:
        cells[self.first + bisect_left(self.edges, seconds)] += 1
        cells[self.sum] += int(seconds * 1e6)


QUICK = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
DNS = Histogram("dns", *QUICK)
DIAL = Histogram("dial", *QUICK)
HANDSHAKE = Histogram("handshake", *QUICK)
RELAY_CONNECT = [Histogram(f"r{slot}", *QUICK) for slot in range(MOST_RELAYS)]
DURATION = Histogram("duration", 0.1, 0.5, 1.0, 5.0, 15.0, 60.0, 300.0, 900.0, 3600.0, 14400.0, 86400.0)

CELLS = next(_next)
CONTINUED = (
    *STARTED.cells,
    *RELOADED.cells,
    *TAKEN_OUT.cells,
    RELOADS_TAKEN,
    RELOADS_REFUSED,
    DEATHS,
)  # of the state: by a successor
GAUGES = (  # what dies with its worker
    TUNNELS,
    PROCESS,
    LOG_TROUBLE,
    *range(RELAY_STATE, RELAY_STATE + MOST_RELAYS),
    *range(RELAY_TUNNELS, RELAY_TUNNELS + MOST_RELAYS),
    *range(RELAY_RESTS, RELAY_RESTS + MOST_RELAYS),
)
