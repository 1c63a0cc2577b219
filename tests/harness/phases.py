"""What agents saw in each phase of a test in which gateways come and go."""

import contextlib
import time
from typing import NamedTuple

HEAD = ("what happens", "seconds", "tunnels", "not opened", "cut", "longest gap", "longest wait", "lasting ended")


class Phase(NamedTuple):
    """Moments of time.monotonic(), and what came to its end in between."""

    name: str
    began: float
    ended: float

    def uploads(self, agents):
        return [one for one in agents.uploads if self.began <= one.ended < self.ended]

    def unopened(self, agents):
        """Those whose CONNECT was not answered with 200."""
        return [one for one in self.uploads(agents) if one.opened is None]

    def cut(self, agents):
        """Those that broke later."""
        return [one for one in self.uploads(agents) if one.opened is not None and one.why]

    def gap(self, agents):
        """The longest time in which nobody's CONNECT was answered with 200."""
        opened = (one.opened for one in agents.uploads if one.opened is not None)
        moments = sorted(moment for moment in opened if self.began <= moment < self.ended)
        pairs = zip([self.began, *moments], [*moments, self.ended], strict=True)
        return max(later - before for before, later in pairs)

    def wait(self, agents):
        """The longest time from a client's connect to the 200."""
        opened = (one for one in self.uploads(agents) if one.opened is not None)
        return max((one.opened - one.began for one in opened), default=0.0)

    def row(self, agents):
        lasting = sum(self.began <= one.moment < self.ended for one in agents.ended)
        counts = [len(found(agents)) for found in (self.uploads, self.unopened, self.cut)]
        return (
            *(self.name, f"{self.ended - self.began:.1f}", *map(str, counts)),
            *(f"{self.gap(agents):.2f} s", f"{self.wait(agents):.2f} s", str(lasting)),
        )


class Phases(list):
    """Those that there were, one after another; `table` shows them."""

    @contextlib.contextmanager
    def phase(self, name):
        began = time.monotonic()
        yield
        self.append(Phase(name, began, time.monotonic()))

    def named(self, name):
        return next(phase for phase in self if phase.name == name)

    def table(self, agents):
        """As it stands in docs/balancers.md."""
        rows = [HEAD, ("---",) * len(HEAD), *(phase.row(agents) for phase in self)]
        return "\n".join(f"| {' | '.join(row)} |" for row in rows)
