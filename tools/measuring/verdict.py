"""Whether a gateway carried so many agents, and what its first limit was, or would be."""

from measuring.machine import CORES
from measuring.tally import Outcome, percentile

FULL = 0.9  # of a core: a process with one thread is busy all the time then, but for what measuring misses
IDLE = 0.05  # of all cores: less than that is none
LITTLE = 0.1  # cores: what a gateway does for itself, and the kernel's ticks, weigh too much in less
BUSY_WORKER = 0.7  # of a core: what an administrator plans with, so that peaks find room
# Of those that stand for a limit of their own: what an error has in it, and what the limit is.
OF_THE_LOAD = "the load, not the gateway"
KNOWN = (
    ("no descriptor left", f"descriptors of {OF_THE_LOAD}: raise `ulimit -n`, or take more --processes"),
    ("no local port", f"local ports of {OF_THE_LOAD}: widen net.ipv4.ip_local_port_range, or share the load"),
    ("no-descriptors", "descriptors of the gateway: raise LimitNOFILE of its unit, or `ulimit -n`"),
    ("too-many-tunnels-for-client", "max-tunnels-per-client of the gateway"),
    ("too-many-tunnels", "max-tunnels of the gateway; by default it is what its descriptors allow"),
)
GATEWAY, AGENTS, ORIGIN = "gateway", "agents", "origin"


def load_of(outcome: Outcome) -> float:
    """Cores of all that is not the gateway."""
    return outcome.costs[AGENTS].sum + outcome.costs[ORIGIN].sum


def why_not(outcome: Outcome, most: float) -> str:
    """Why it was not carried: 99 % of uploads within `most` seconds, and no error; "" where it was."""
    errors = sum(outcome.errors.values())
    if errors:
        return f"{errors:,} error{'s' * (errors > 1)}"
    if not outcome.uploads:
        return "no upload came to its end"
    late = percentile(outcome.lags, 0.99)
    if late > most:
        return f"the load began its uploads up to {late * 1000:,.0f} ms too late"
    took = percentile(outcome.uploads, 0.99)
    return f"1 % of the uploads took longer than {took * 1000:,.0f} ms" if took > most else ""


def first_limit(outcome: Outcome, most: float) -> str:
    """What stands, or would stand, in the way of more agents, as a sentence without a full stop."""
    return _known(outcome) or _of_cores(outcome) or _other(outcome, most)


def _known(outcome: Outcome) -> str:
    return next((limit for part, limit in KNOWN if any(part in error for error in outcome.errors)), "")


def _of_cores(outcome: Outcome) -> str:
    gateway, agents, origin = (outcome.costs[kind] for kind in (GATEWAY, AGENTS, ORIGIN))
    load = load_of(outcome)
    if gateway.most > FULL:
        return f"the gateway's CPU: its busiest process used {gateway.most:.2f} of a core; give it more --workers"
    if max(agents.most, origin.most) > FULL:
        return f"CPU of {OF_THE_LOAD}: one of its processes used a whole core; take more --processes or machines"
    if CORES - outcome.busy > IDLE * CORES:
        return ""
    others = max(0.0, outcome.busy - load - gateway.sum)
    shares = f"of {CORES} cores the load used {load:.2f}, the gateway {gateway.sum:.2f}, others {others:.2f}"
    if others > max(load, gateway.sum):
        return f"other programs on this machine: {shares}"
    if load > gateway.sum:
        return f"CPU of {OF_THE_LOAD}: {shares}; the gateway carries more where the load is on another machine"
    return f"the gateway's CPU: {shares}"


def _other(outcome: Outcome, most: float) -> str:
    if outcome.errors:
        return f"errors, with cores to spare: {outcome.errors.most_common(1)[0][0]}"
    if reason := why_not(outcome, most):
        return f"time, with cores to spare: {reason}"
    idle = max(0.0, CORES - outcome.busy)
    return f"none was reached: {idle:.2f} of {CORES} cores were idle"


def computed(outcome: Outcome, period: float, workers: int) -> str:
    """What so many workers would carry by their CPU alone, of agents with this period."""
    used = outcome.costs[GATEWAY].sum
    agents = len(outcome.uploads) / outcome.seconds * period  # that got their turn
    if used < LITTLE:
        return f"The gateway used {used:.2f} cores: too little to compute from it what more agents would cost."
    would = round(workers * BUSY_WORKER / used * agents)
    would -= would % 10 ** max(0, len(str(would)) - 2)
    who = "1 worker, on a core of its own" if workers == 1 else f"{workers} workers, each on a core of its own"
    return (
        f"The gateway used {used / agents * 1000:.3f} cores for each 1,000 agents. By that alone, {who} that is "
        f"{BUSY_WORKER:.0%} busy, would carry about {would:,} (computed, not measured)."
    )
