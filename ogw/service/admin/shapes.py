"""The shapes of what the admin process answers beside /status (report/status.py): to commands, and to nobody over TCP.

/tunnels and /config are shown over TCP, too, where admin-page says so. What is said there of times, ages and texts from
strangers holds here as well.
"""

from typing import NotRequired, Optional, TypedDict

from ogw.report.status import CountedRefusal, SourceStatus


class OpenTunnel(TypedDict):
    """
    tunnel      its id, as in the log
    client      address:port
    client_subject  of the certificate that it showed to the gateway itself; left out where it showed none
    via         the same of the load balancer that it came through; "" for none
    target      host:port; "" while its head is read
    upstream    address:port that was dialed, or the relay proxy's; "" before that
    state       what it is at (tunnel/tunnel.py)
    duration    seconds since accept
    bytes_up    from the client, so far
    bytes_down  to the client
    """

    tunnel: str
    client: str
    client_subject: NotRequired[str]
    via: NotRequired[str]
    target: str
    upstream: str
    state: str
    duration: float
    bytes_up: int
    bytes_down: int


class Tunnels(TypedDict):
    """GET /tunnels?client=&target=&text=&most=: of a client, to a target, with a text in an address or in the id

    tunnels          the longest open first, as many as were asked for and at most 1,000
    total            how many there are that were asked for
    workers_missing  workers that did not answer in time: theirs are missing
    """

    tunnels: list[OpenTunnel]
    total: int
    workers_missing: int


class ToldRefusal(TypedDict):
    """
    time      when it was refused
    client    address:port
    client_subject  of the certificate that it showed to the gateway itself; left out where it showed none
    via       the same of the load balancer that it came through; "" for none
    target    host:port; "" where it was refused before that was known
    reason    the token, which the client was told, too
    event     its number
    detail    why, for the operator
    enforced  False where it passed all the same: it was only reported
    folded    it has no line of its own in the log: a line counts it with others
    """

    time: str
    client: str
    client_subject: NotRequired[str]
    via: NotRequired[str]
    target: str
    reason: str
    event: int
    detail: str
    enforced: bool
    folded: bool


class FoundTunnel(TypedDict):
    """GET /tunnel?id=: what is known of the tunnel with this id; 404 where that is nothing.

    open             where it is open; None where not
    refusals         its own, the oldest first, as far as they are among the last 1,000 of a worker
    workers_missing  workers that did not answer in time
    deaths           processes that died since the start; what they knew is forgotten
    search           a line for a shell that finds the id in the log; "" where that is not to be searched here
    """

    tunnel: str
    open: Optional[OpenTunnel]
    refusals: list[ToldRefusal]
    workers_missing: int
    deaths: NotRequired[int]
    search: NotRequired[str]


class RememberedRefusal(CountedRefusal):
    """With when it was first refused."""

    first: str


class Remembered(TypedDict):
    """GET /refusals: targets and clients that were not allowed (events 105 and 112).

    refusals         all that the workers remember, the last one first
    complete         False where a worker remembers as many as it can, or did not answer: others may be forgotten
    workers_missing  workers that did not answer in time
    """

    refusals: list[RememberedRefusal]
    complete: bool
    workers_missing: int


class GivenValue(TypedDict):
    """
    value   as it was given; secrets are hidden
    source  the flag, the variable, FILE:LINE, or that it is the default
    """

    value: str
    source: str


class Configuration(TypedDict):
    """GET /config: the configuration in force.

    settings  by name; a list has a value for each place that adds to it
    warnings  what is no mistake, but odd
    """

    settings: dict[str, list[GivenValue]]
    warnings: list[str]


class Reloaded(TypedDict):
    """POST /reload; 409 where there are mistakes.

    mistakes  why nothing was reloaded; none where it was
    changed   names of the settings that have other values now
    policy    the hash of the policy in force
    restart   names of the settings that have other values than at the start, which a restart takes alone
    running   it goes on, and nobody waits for it any more; the mistake says so
    """

    mistakes: list[str]
    changed: list[str]
    policy: str
    restart: NotRequired[list[str]]
    running: NotRequired[bool]


class Taken(TypedDict):
    """POST /take-out?by=, POST /take-back?by=; 409 where that cannot be.

    why    why not; "" where it could
    since  when it had been taken out before; None where it was not
    """

    why: str
    since: Optional[str]


class Upgraded(TypedDict):
    """POST /upgrade?now=; 409 where there is no successor.

    why      why there is none: the running gateway goes on as it was; "" where there is one
    version  of the successor
    pid      its process id
    tunnels  open ones that stay with the predecessor until their end
    flags    by which commands mean the successor, where they are others than before
    """

    why: str
    version: str
    pid: int
    tunnels: int
    flags: NotRequired[str]


class Changed(TypedDict):
    """POST /changed?file=&reload=: what the running gateway makes of a changed INI file.

    reads   the INI file that it reads: the one that was named where it is that, also if that says nothing, else
            another; None where it has settings from none
    beaten  settings of one value that it has from a flag or a variable, which beats any file, and from which
    own     all that it has from flags and variables, by the setting's name: values of lists add to those of a file
    watches its file, as it has been set until now: it takes the change by itself
    reload  how the reload went; None where none was asked for
    """

    reads: Optional[str]
    beaten: dict[str, str]
    own: NotRequired[dict[str, list[GivenValue]]]
    watches: NotRequired[bool]
    reload: Optional[Reloaded]


class Killed(TypedDict):
    """POST /kill?tunnel=; 404 where no tunnel with this id is open.

    workers_missing  workers that did not answer in time: it may be theirs, and then ends later
    """

    killed: bool
    workers_missing: NotRequired[int]


class Sources(TypedDict):
    """GET /sources: every file, folder and URL of allowed-host-source, in their order"""

    sources: list[SourceStatus]


class RolledBack(TypedDict):
    """POST /roll-back?source=&undo=1&by=: a list of a URL; 409 where it was not done

    why       it could not be; "" where the files are changed
    mistakes  why the reload that takes them was refused
    running   it goes on, as in Reloaded
    """

    why: str
    mistakes: list[str]
    running: NotRequired[bool]
