"""What a supervisor and its successor say to each other, over a channel like those of their children.

    predecessor -> successor   Offer, Go, Yours, ReloadToo         until the successor serves
    successor -> predecessor   Ready, Unable, Called, Serving
    successor -> predecessor   Asked, Stop, EndNow, ReloadToo,     until the predecessor is gone
                               Reloaded
    predecessor -> successor   Told, Ended

They may be of different versions. What one of them does not know it does not hear; what both must understand alike has
the number PROTOCOL, and a successor of another number says that it is unable. The answers in Told are those of
service/answers.py, and belong to it.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple, Optional, Union, get_origin

from ogw.service.messages import Fields

PROTOCOL = 1


class Offer(NamedTuple):
    """The first message. All but the first three are numbers of descriptors that the successor has inherited.

    protocol  of the predecessor
    version   of the predecessor
    pid       and its process id
    doors     its listening sockets, in the order of its workers
    admin     the sockets of its admin process: by "tcp", "health" and "unix" those that there are
    path      of the last one, "" for none
    tables    what it counts, and what was counted before it: report/table.py
    """

    protocol: int
    version: str
    pid: int
    doors: list[int]
    admin: dict[str, int]
    path: str
    tables: list[int]


class Ready(NamedTuple):
    """The configuration is read, all workers are there. Nothing was accepted yet, and nothing will be without Go."""

    version: str
    pid: int


class Unable(NamedTuple):
    """It will not become ready, and why; it leaves."""

    why: str


class Go(NamedTuple):
    """Open the doors. The predecessor's are open, too, until it hears Serving."""


class Called(NamedTuple):
    """By these flags commands mean it, as in /status: run-dir may be another one now."""

    flags: str


class Serving(NamedTuple):
    """The doors are open; the predecessor is to close its own and drain."""


class Yours(NamedTuple):
    """Whoever manages this service knows by now that its main process is the successor.

    seconds  that the predecessor's tunnels have
    """

    seconds: float


class Asked(NamedTuple):
    """A question to the predecessor's workers (service/messages.py: ForWorkers), as it travels. Answered by Told."""

    number: int
    question: dict[str, Any]


class Told(NamedTuple):
    """What they answered, {"answers", "missing"}."""

    number: int
    answer: dict[str, Any]


class Stop(NamedTuple):
    """The gateway stops: open tunnels have so many seconds from now on."""

    seconds: float


class EndNow(NamedTuple):
    """The tunnels have no time any more."""


class ReloadToo(NamedTuple):
    """To the predecessor: the configuration changed, read it, for those tunnels that are open; or keep your own.

    To the successor: somebody wished for a reload while it read the configuration; read it again. Answered by Reloaded.
    """


class Reloaded(NamedTuple):
    """To the predecessor, whose admin process is asked for it yet: what came of the reload that it has handed on."""

    mistakes: list[str]
    changed: list[str]
    policy: str
    restart: list[str]


class Ended(NamedTuple):
    """The last words of the predecessor: how many tunnels did not end by themselves."""

    cut: int


Message = Union[Offer, Ready, Unable, Go, Called, Serving, Yours, Asked, Told, Stop, EndNow, ReloadToo, Reloaded, Ended]

MESSAGES: Mapping[str, type[Message]] = {
    "offer": Offer,
    "ready": Ready,
    "unable": Unable,
    "go": Go,
    "called": Called,
    "serving": Serving,
    "yours": Yours,
    "asked": Asked,
    "told": Told,
    "stop": Stop,
    "end now": EndNow,
    "reload too": ReloadToo,
    "reloaded": Reloaded,
    "ended": Ended,
}
_NAMES: Mapping[type, str] = {kind: name for name, kind in MESSAGES.items()}


def packed(message: Message) -> Fields:
    """As it travels."""
    return {"message": _NAMES[type(message)], **message._asdict()}


def message_of(fields: Fields) -> Optional[Message]:
    """None for one that this version does not know. Raises ValueError where a field is missing or of another type."""
    kind: Any = MESSAGES.get(str(fields.get("message")))
    if kind is None:
        return None
    given = [fields.get(field) for field in kind.__annotations__]
    for value, hint in zip(given, kind.__annotations__.values(), strict=True):
        if not isinstance(value, (int, float) if hint is float else get_origin(hint) or hint):
            raise ValueError("not a message")
    message: Message = kind(*given)
    return message
