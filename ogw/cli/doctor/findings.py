"""What the doctor finds, one sentence each: how bad it is, where, and what to do about it."""

import enum
from collections.abc import Sequence
from typing import Any, NamedTuple


class State(enum.Enum):
    """How bad it is."""

    OK = "ok"
    UNTESTED = "untested"  # nobody knows
    WARNING = "warning"
    PROBLEM = "problem"


class Finding(NamedTuple):
    """What was found out about one thing.

    area   what it is about: "listen", "dns", "hosts" and so on
    where  the place: a file, an address, a target; "" where there is none
    what   what is so, or is wrong
    do     what to do about it; "" for nothing
    """

    area: str
    state: State
    where: str
    what: str
    do: str = ""

    def as_dict(self) -> dict[str, Any]:
        return {"area": self.area, "state": self.state.value, "where": self.where, "what": self.what, "do": self.do}


def ok(area: str, where: str, what: str) -> Finding:
    return Finding(area, State.OK, where, what)


def untested(area: str, where: str, what: str, do: str = "") -> Finding:
    return Finding(area, State.UNTESTED, where, what, do)


def warning(area: str, where: str, what: str, do: str) -> Finding:
    return Finding(area, State.WARNING, where, what, do)


def problem(area: str, where: str, what: str, do: str) -> Finding:
    return Finding(area, State.PROBLEM, where, what, do)


def count_of(findings: Sequence[Finding], state: State) -> int:
    return sum(finding.state is state for finding in findings)
