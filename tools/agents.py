"""Simulate agents that upload through a gateway: how many does this machine carry, and what is the first limit?

Each agent uploads something every period, as tills and monitoring agents do: a CONNECT, a TLS 1.3 handshake, the
upload, the server's answer, the end. Without --gateway, a gateway of this clone is started beside the load; without
--target, the load brings the TLS server that it uploads to. So it needs nothing but this clone, and tells first of all
about this machine: the load's own TLS costs several times what the gateway costs. To learn what a gateway carries,
start the load on another machine and give it --gateway.
"""

import argparse
import sys
from typing import NamedTuple, Optional

from measuring.crew import end_as_by_ctrl_c
from measuring.flags import place_of, value_of
from measuring.machine import CORES, raise_descriptors
from measuring.program import Failed
from measuring.scene import ORIGIN_PORT, Asked, Scene, scene
from measuring.tally import Outcome, percentile
from measuring.trial import Progress, Trial, milliseconds
from measuring.verdict import AGENTS, GATEWAY, ORIGIN, computed, first_limit, load_of, why_not

from ogw.cli.exits import FAILED, INTERRUPTED, OK
from ogw.settings.kinds import duration, number, size

EXAMPLES = """
examples:
  tools/agents 8000                              a shop's tills, 200,000 bytes every 6 s each, beside the gateway
  tools/agents 8000 --gateway 10.1.0.5:8080      through one that runs, here or elsewhere
  tools/agents --find --workers 1                how many does one worker carry?
  tools/agents 500 --period 1m --size 2MiB

exit codes:
  0    carried: no error, and 99 % of the uploads within --p99
  1    not carried, or not even begun: the message says why
  2    the command line is wrong
  130  Ctrl-C: the table shows what was seen until then
"""
GROWTH = 1.5  # from one step of --find to the next
CLOSE = 1.1  # between what was carried and what was not, --find is content
FEWEST = 10
SPARE = 64  # descriptors of a process that are not agents'


def parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(
        "tools/agents", description=__doc__, epilog=EXAMPLES, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = made.add_argument
    add("agents", nargs="?", type=value_of(number(1, 1_000_000)), default=1000, help="how many (default: 1000)")
    add("--find", action="store_true", help="begin with so many, and find out how many are carried")
    add("--period", type=value_of(duration(0.1)), default="6s", help="from an agent's upload to its next (6s)")
    add("--size", type=value_of(size(1, 1 << 30)), default="200000", help="of an upload (200000; 64KiB, 2MiB)")
    add("--seconds", type=value_of(duration(1)), default="20s", help="how long, or each step of --find (20s)")
    add("--p99", type=value_of(duration(0.001)), default="250ms", help="within this, 99 %% must be done (250ms)")
    add("--workers", type=value_of(number(1, 1024)), default=CORES, help="of the gateway of this clone (one per core)")
    add("--processes", type=value_of(number(1, 1024)), default=CORES, help="of the agents; as many for the server")
    add("--gateway", type=value_of(place_of), metavar="HOST:PORT", help="a gateway that runs already")
    add("--target", type=value_of(place_of), metavar="HOST:PORT", help="upload to this TLS server, by POST /upload")
    add(
        "--origin-port",
        type=value_of(number(1, 65535)),
        default=ORIGIN_PORT,
        metavar="PORT",
        help=f"where the load's own server listens ({ORIGIN_PORT})",
    )
    return made


def times(ordered: list[float]) -> str:
    return ", ".join(f"p{share * 100:.0f} {milliseconds(percentile(ordered, share))}" for share in (0.5, 0.95, 0.99))


def mebibytes(octets: int) -> str:
    return f"{octets / (1 << 20):.0f} MiB"


def table(outcome: Outcome, agents: int, most: float) -> str:
    gateway, load = outcome.costs[GATEWAY], load_of(outcome)
    memory = outcome.costs[AGENTS].memory + outcome.costs[ORIGIN].memory
    rows = [
        ("agents", f"{agents:,}"),
        ("tunnels", f"{len(outcome.uploads):,} in {outcome.seconds:.0f} s; {outcome.open:,} open at the end"),
        *(("errors", f"{count:,}: {error}") for error, count in outcome.errors.most_common()),
        *(() if outcome.errors else [("errors", "none")]),
        ("set-up", f"{times(outcome.setups)} (connect, CONNECT, TLS handshake)"),
        ("whole upload", times(outcome.uploads)),
        ("begun late by", times(outcome.lags)),
    ]
    if gateway.cores:
        each = ", ".join(f"{one:.2f}" for one in sorted(gateway.cores, reverse=True) if one >= 0.005)
        rows.append(("the gateway", f"{gateway.sum:.2f} cores ({each}), {mebibytes(gateway.memory)}"))
    rows.append(("the load", f"{load:.2f} cores, {mebibytes(memory)}"))
    rows.append(
        ("other programs", f"{max(0.0, outcome.busy - load - gateway.sum):.2f} of this machine's {CORES} cores")
    )
    rows.append(("first limit", first_limit(outcome, most)))
    return "\n".join(f"{name:16}{text}" for name, text in rows)


def verdict(reason: str, agents: int) -> str:
    return f"{agents:,} agents are not carried here: {reason}." if reason else f"{agents:,} agents are carried here."


def run_once(on: Scene, asked: argparse.Namespace) -> int:
    """As many as were asked for, and the table."""
    trial = Trial(on, asked.agents, asked.processes)
    outcome = trial.run(asked.seconds, Progress())
    if outcome is None:
        return INTERRUPTED
    print(table(outcome, asked.agents, asked.p99))
    reason = why_not(outcome, asked.p99)
    print(f"\n{verdict(reason, asked.agents)}")
    if asked.gateway is None and not outcome.errors:
        print(computed(outcome, asked.period, asked.workers))
    if trial.interrupted:
        return INTERRUPTED
    return FAILED if reason else OK


class Step(NamedTuple):
    """Of a search: so many agents, and what came of it."""

    agents: int = 0
    outcome: Optional[Outcome] = None


def find(on: Scene, asked: argparse.Namespace) -> int:
    """More and more until they are not carried, then between, until it is known well enough."""
    carried, failed, agents, interrupted = Step(), Step(), max(asked.agents, FEWEST), False
    print(f"{'agents':>10}{'errors':>9}{'set-up p99':>13}{'upload p99':>13}{'gateway':>14}{'load':>14}", flush=True)
    while agents >= FEWEST and (failed.outcome is None or failed.agents > carried.agents * CLOSE):
        trial = Trial(on, agents, asked.processes)
        outcome = trial.run(asked.seconds, Progress())
        if interrupted := outcome is None or trial.interrupted:
            break
        print(row(outcome, agents), flush=True)
        if why_not(outcome, asked.p99):
            failed = Step(agents, outcome)
        else:
            carried = Step(agents, outcome)
        agents = int(agents * GROWTH) if failed.outcome is None else (carried.agents + failed.agents) // 2
    conclude(asked, carried, failed)
    if interrupted:
        return INTERRUPTED
    return OK if carried.agents else FAILED


def row(outcome: Outcome, agents: int) -> str:
    setup, upload = (milliseconds(percentile(ordered, 0.99)) for ordered in (outcome.setups, outcome.uploads))
    errors, gateway = sum(outcome.errors.values()), outcome.costs[GATEWAY].sum
    return f"{agents:10,}{errors:9,}{setup:>13}{upload:>13}{gateway:8.2f} cores{load_of(outcome):8.2f} cores"


def conclude(asked: argparse.Namespace, carried: Step, failed: Step) -> None:
    print()
    if carried.outcome is not None:
        print(table(carried.outcome, carried.agents, asked.p99), end="\n\n")
    if failed.outcome is not None:
        print(f"With {failed.agents:,} agents, the first limit is {first_limit(failed.outcome, asked.p99)}.")
        print(f"This machine carries {carried.agents:,} agents.")
    elif carried.agents:
        print(f"This machine carries {carried.agents:,} agents at least.")
    if carried.outcome is not None and asked.gateway is None:
        print(computed(carried.outcome, asked.period, asked.workers))


def require_descriptors(asked: argparse.Namespace) -> None:
    """Raise Failed where not all agents could be busy at once."""
    most = raise_descriptors()
    wanted = asked.agents // asked.processes + SPARE
    if wanted > most:
        raise Failed(
            f"{asked.agents:,} agents in {asked.processes} processes may need {wanted:,} descriptors each, and this "
            f"user may have {most:,}: raise that limit (`ulimit -n {wanted}`, as root), or take "
            f"--processes {asked.agents // (most - SPARE) + 1}"
        )


def main() -> int:
    asked = parser().parse_args()
    end_as_by_ctrl_c()
    try:
        require_descriptors(asked)
        with scene(Asked(*(getattr(asked, name) for name in Asked._fields))) as made:
            rate = f"{asked.agents / asked.period:,.0f} tunnels a second"
            print(f"{asked.agents:,} agents, {asked.size:,} bytes every {asked.period:g} s each: {rate}")
            print(*made.told, sep="\n", end="\n\n", flush=True)
            return (find if asked.find else run_once)(made, asked)
    except Failed as error:
        print(f"tools/agents: {error}", file=sys.stderr)
        return FAILED
    except KeyboardInterrupt:
        return INTERRUPTED


if __name__ == "__main__":
    sys.exit(main())
