"""Every message between the processes, as a type: who sends it to whom, and what comes of it.

    supervisor -> worker   Open, Drain, Retire, End, DoorClosed, Ping, Reopen, Prepare, Take, Forget, AskWorker
    worker -> supervisor   Ready, Pong, Prepared, Taken, Answered, NotAnswered, Closing, Drained
    supervisor -> admin    Ping, Reply, NoReply, Leave
    admin -> supervisor    Ready, Pong, AskSupervisor

The admin process and the workers never speak to each other: a question about tunnels goes through the supervisor, which
gathers the answers of all workers. On the way a message is a dict of plain values under its name (`packed`). Whoever
receives one without such a name, or that lacks a field, hangs up: the sender is not to be trusted (`order_of`,
`saying_of`).
"""

import base64
import pickle
from collections.abc import Mapping
from typing import Any, NamedTuple, Union, get_origin

from ogw.settings.settings import Config

Fields = dict[str, Any]

# Questions: what the admin process wants to know, or to have done. In braces stand the fields of the answer; of what
# goes on to the workers, they are what each worker said (service/answers.py) and how many workers said nothing.


class Overview(NamedTuple):
    """Who has most tunnels, where to, how the relay proxies fare, what was refused lately. {"answers", "missing"}"""


class ListTunnels(NamedTuple):
    """The open tunnels, the longest open first. {"answers", "missing"}

    client  their client's address, "" for any
    target  their target's host or host:port, "" for any
    most    of each worker
    text    a part of their id, or of their client's, target's or upstream's address:port, in lower case; "" for any
    """

    client: str
    target: str
    most: int
    text: str = ""


class ListRefusals(NamedTuple):
    """All refusals that are remembered of these events, by their numbers. {"answers", "missing"}"""

    events: list[int]


class FindTunnel(NamedTuple):
    """The tunnel with this id, where it is open, and its refusals, where they are remembered. {"answers", "missing"}"""

    tunnel: str


class KillTunnel(NamedTuple):
    """End the tunnel with this id, wherever it is. {"answers", "missing"}"""

    tunnel: str


class ReloadNow(NamedTuple):
    """Read the configuration anew; answered once it is in force, or not: {"mistakes", "changed", "policy"}"""


class DrainNow(NamedTuple):
    """Drain the gateway, as SIGTERM does; answered at once: {"serves_on"}, as in /status"""


class TakeOut(NamedTuple):
    """Say "not ready" to whoever asks, and serve those who come as before; answered at once: {"why", "since"}

    by  who wants that
    """

    by: str


class TakeBack(NamedTuple):
    """Take TakeOut back; answered at once: {"why", "since"}

    by  who wants that
    """

    by: str


class UpgradeNow(NamedTuple):
    """Hand over to a successor, as SIGUSR2 does; answered once it serves, or not: {"why", "pid", "version", "tunnels"}

    now  what the upgrade before has left open is ended first, instead of refusing another

    And "flags", where commands mean the successor by others than before.
    """

    now: bool


class NoteChange(NamedTuple):
    """Log that somebody changed the configuration with a command; the fields of the line. {}"""

    change: dict[str, Any]


class RollBack(NamedTuple):
    """Roll a list back, or undo that: {"why"} where it cannot be; else, after the reload, as ReloadNow

    source  the URL, as it is set or shown
    by      who wants that
    """

    source: str
    undo: bool
    by: str


class ShowSources(NamedTuple):
    """How the lists from elsewhere stand: {"sources"}, each as in report/status.py"""


class ShowReload(NamedTuple):
    """The last reload: {"mistakes", "count", "restart"}; the first of so many, and the settings that await a restart"""


class ShowConfig(NamedTuple):
    """The configuration in force, secrets hidden: {"settings": {name: [[source, value], ...]}, "warnings"}"""


ForWorkers = Union[Overview, ListTunnels, ListRefusals, FindTunnel, KillTunnel]
Question = Union[
    ForWorkers,
    ReloadNow,
    DrainNow,
    TakeOut,
    TakeBack,
    UpgradeNow,
    NoteChange,
    RollBack,
    ShowSources,
    ShowReload,
    ShowConfig,
]


# Orders: from the supervisor to a child.


class Open(NamedTuple):
    """To all workers of a successor: the door is theirs now, accept."""


class Retire(NamedTuple):
    """To all workers, after a handover: close the door, which the successor holds open, and serve whom you have.

    seconds  that their tunnels have from now on. It may come again, with fewer.
    """

    seconds: float


class Leave(NamedTuple):
    """To the admin process, after a handover: answer what was asked, and end."""


class Drain(NamedTuple):
    """To all workers: drain. Each says Closing, after so many seconds in which it serves as usual, and Drained."""

    delay: float


class End(NamedTuple):
    """To all workers that drain: wait for nothing more, cut what is open."""


class DoorClosed(NamedTuple):
    """To a worker that said Closing: the supervisor's copies of its listening sockets are closed."""


class Ping(NamedTuple):
    """To every child now and then: give a sign of life. Any message is one; who has nothing to say says Pong."""


class Reopen(NamedTuple):
    """To all workers, after SIGUSR1: tell what you hold, where log-level is debug."""


class Prepare(NamedTuple):
    """To all workers, the first half of a reload: build this configuration, take nothing. Answered by Prepared.

    number  of the reload
    config  as `config_text` makes it
    """

    number: int
    config: str


class Take(NamedTuple):
    """To all workers, the second half: take what was built. Answered by Taken.

    recheck  ask again whether open tunnels may go on
    """

    number: int
    recheck: bool


class Forget(NamedTuple):
    """To all workers, instead of Take: somebody could not build it."""


class AskWorker(NamedTuple):
    """To a worker; the number is that of the supervisor's round. It says Answered or NotAnswered."""

    number: int
    question: ForWorkers


class Reply(NamedTuple):
    """To the admin process: the answer to its question of this number, in the shape that the question names."""

    number: int
    answer: dict[str, Any]


class NoReply(NamedTuple):
    """To the admin process: there is no answer to its question, and why."""

    number: int
    error: str


Order = Union[
    Open, Drain, Retire, End, DoorClosed, Ping, Reopen, Prepare, Take, Forget, AskWorker, Reply, NoReply, Leave
]


# Sayings: from a child to the supervisor.


class Ready(NamedTuple):
    """Of every child, once after its start: it serves. A successor's worker says it before Open, and again after it."""


class Pong(NamedTuple):
    """The answer to Ping."""


class Prepared(NamedTuple):
    """Of a worker: the configuration of this reload is built, or, with a mistake, cannot be."""

    number: int
    mistake: str


class Taken(NamedTuple):
    """Of a worker: what was built is in force."""

    number: int


class Answered(NamedTuple):
    """Of a worker, to the AskWorker of this number."""

    number: int
    answer: dict[str, Any]


class NotAnswered(NamedTuple):
    """Of a worker that has none to the AskWorker of this number, and why."""

    number: int
    error: str


class Closing(NamedTuple):
    """Of a worker that drains: it is about to close its door. Answered by DoorClosed."""


class Drained(NamedTuple):
    """Of a worker, its last: the drain is over; so many tunnels had to be cut."""

    cut: int


class AskSupervisor(NamedTuple):
    """Of the admin process; the number is its own. Answered by Reply or NoReply."""

    number: int
    question: Question


Saying = Union[Ready, Pong, Prepared, Taken, Answered, NotAnswered, Closing, Drained, AskSupervisor]


# How they travel: the name stands under "order", "said" or "what", the fields beside it.

ORDERS: Mapping[str, type[Order]] = {
    "open": Open,
    "drain": Drain,
    "retire": Retire,
    "end": End,
    "door closed": DoorClosed,
    "ping": Ping,
    "reopen": Reopen,
    "prepare": Prepare,
    "take": Take,
    "forget": Forget,
    "ask": AskWorker,
    "reply": Reply,
    "no reply": NoReply,
    "leave": Leave,
}
SAYINGS: Mapping[str, type[Saying]] = {
    "ready": Ready,
    "pong": Pong,
    "prepared": Prepared,
    "taken": Taken,
    "answered": Answered,
    "not answered": NotAnswered,
    "closing": Closing,
    "drained": Drained,
    "asks": AskSupervisor,
}
FOR_WORKERS: Mapping[str, type[ForWorkers]] = {
    "overview": Overview,
    "tunnels": ListTunnels,
    "refusals": ListRefusals,
    "tunnel": FindTunnel,
    "kill": KillTunnel,
}
QUESTIONS: Mapping[str, type[Question]] = {
    **FOR_WORKERS,
    "reload": ReloadNow,
    "drain": DrainNow,
    "take out": TakeOut,
    "take back": TakeBack,
    "upgrade": UpgradeNow,
    "changed": NoteChange,
    "roll back": RollBack,
    "sources": ShowSources,
    "last reload": ShowReload,
    "config": ShowConfig,
}
_NAMES: Mapping[type, tuple[str, str]] = {
    kind: (key, name)
    for key, known in (("order", ORDERS), ("said", SAYINGS), ("what", QUESTIONS))
    for name, kind in known.items()
}


def packed(message: Union[Order, Saying, Question]) -> Fields:
    """As it travels."""
    key, name = _NAMES[type(message)]
    fields = {field: packed(value) if type(value) in _NAMES else value for field, value in message._asdict().items()}
    return {key: name, **fields}


def order_of(fields: Fields) -> Order:
    """What the supervisor orders. Raises ValueError where it is no order."""
    message: Order = _unpacked(fields, "order", ORDERS)
    return message


def saying_of(fields: Fields) -> Saying:
    """What a child says. Raises ValueError where it is no saying."""
    message: Saying = _unpacked(fields, "said", SAYINGS)
    return message


def question_of(fields: Any) -> ForWorkers:
    """What the workers are asked. Raises ValueError where it is no question that they know."""
    question: ForWorkers = _unpacked(fields, "what", FOR_WORKERS)
    return question


def _unpacked(fields: Any, key: str, known: Mapping[str, Any]) -> Any:
    name = fields.get(key) if isinstance(fields, dict) else None
    kind = known.get(name) if isinstance(name, str) else None
    if kind is None:
        raise ValueError("not a message")
    return kind(*(_value(fields.get(field), hint) for field, hint in kind.__annotations__.items()))


def _value(value: Any, hint: Any) -> Any:
    """Raises ValueError."""
    if hint is Question or hint is ForWorkers:
        return _unpacked(value, "what", QUESTIONS if hint is Question else FOR_WORKERS)
    if not isinstance(value, get_origin(hint) or hint):
        raise ValueError("not a message")
    return value


def config_text(config: Config) -> str:
    """A configuration as a message carries it: read and checked once, and the same for every worker."""
    return base64.b64encode(pickle.dumps(config)).decode("ascii")


def config_of(text: str) -> Config:
    config: Config = pickle.loads(base64.b64decode(text))
    return config
