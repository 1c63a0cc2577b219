"""Compare what tunnels cost: ogw beside squid, tinyproxy and haproxy, as far as they are installed, in one run.

Each has one worker or thread, and its usual log. They take turns, round by round, on the same work: real TLS
handshakes, set-ups, round trips, bytes up and down, idle tunnels. The figure is the minimum over the rounds: noise of
a shared machine only adds. CPU is that of all processes of each, as the kernel counts it; a proxy's speed would be that
of this load, which is made of Python, too. Compare figures of one run, never those of two.
"""

import argparse
import contextlib
import pathlib
import sys
import tempfile
from collections.abc import Iterator

from measuring.crew import Crew, end_as_by_ctrl_c, serve
from measuring.flags import value_of
from measuring.machine import raise_descriptors
from measuring.origin import SERVICES, listener, make_certificate
from measuring.plot import Panel, plot, rounded
from measuring.program import Failed, loopback
from measuring.subjects import KNOWN, KNOWN_TLS, Known, Places
from measuring.trial import Progress
from measuring.works import IDLE, KINDS, settle

from ogw.cli.exits import FAILED, INTERRUPTED, OK
from ogw.settings.kinds import duration, number

EXAMPLES = """
examples:
  tools/compare                                   a table, after some minutes
  tools/compare --rounds 7 --plot docs/compare.svg
  tools/compare --only ogw,squid --rounds 2
  tools/compare --tls --rounds 7                  what TLS between client and gateway costs
"""
FIRST_PORT = 8443

# By name of who was measured: the least of each kind, in the order of KINDS.
Figures = dict[str, dict[str, float]]


def parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(
        "tools/compare", description=__doc__, epilog=EXAMPLES, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = made.add_argument
    add("--rounds", type=value_of(number(1, 1000)), default=5, help="how often each is measured (5)")
    add("--seconds", type=value_of(duration(0.1)), default="3s", help="of each kind of work in each round (3s)")
    add("--only", default="", metavar="NAMES", help="none but these of ogw,squid,tinyproxy,haproxy")
    add(
        "--tls", action="store_true", help="ogw and haproxy where clients speak TLS to them, each beside itself without"
    )
    add("--plot", type=pathlib.Path, metavar="FILE", help="write bars there, as SVG")
    return made


def wanted(names: str, tls: bool = False) -> list[Known]:
    """Those that were asked for and are installed; who is left out is told. Raises Failed.

    tls  each beside itself without TLS, as far as it has it
    """
    asked = [name for name in names.split(",") if name]
    by_name = {known.program or known.name: known for known in KNOWN}
    for name in asked:
        if name not in by_name:
            raise Failed(f"{name} is none of {', '.join(by_name)}")
    with_tls = {known.program for known in KNOWN_TLS}
    found = [known for name, known in by_name.items() if (not asked or name in asked)]
    if tls:
        found = [known for known in found if known.program in with_tls]
        found += [known for known in KNOWN_TLS if known.program in {one.program for one in found}]
    for known in found:
        if known.program and not known.path:
            print(f"{known.program} is left out: it is not installed (apt install {known.program})", file=sys.stderr)
    return [known for known in found if not known.program or known.path]


@contextlib.contextmanager
def origin() -> Iterator[Places]:
    """A server of all services, in a process of its own."""
    host = loopback()
    places = {service: (host, FIRST_PORT + place) for place, service in enumerate(SERVICES)}
    with tempfile.TemporaryDirectory(prefix="ogw-") as folder, Crew() as crew:
        certificate = pathlib.Path(folder) / "certificate.pem"
        make_certificate(certificate)
        doors = {service: listener(place) for service, place in places.items()}
        crew.start(serve, certificate, doors)
        for door in doors.values():
            door.close()
        yield places


def measure(known: Known, places: Places, seconds: float, progress: Progress, told: str) -> dict[str, float]:
    """All kinds of work, once."""
    with known.start(places) as subject:
        figures = {}
        for kind in KINDS:
            if progress.due:
                progress.tell(f"{told}, {known.name}: {kind.name} ...")
            settle(subject)
            figures[kind.name] = kind.measure(subject, seconds)
        return figures


def run(asked: argparse.Namespace, figures: Figures) -> None:
    """Fill in the figures, round by round. What fails is told, and the others go on."""
    measured, progress = wanted(asked.only, asked.tls), Progress()
    with origin() as places:
        for turn in range(asked.rounds):
            for known in measured:
                try:
                    seen = measure(known, places, asked.seconds, progress, f"round {turn + 1} of {asked.rounds}")
                except Failed as error:
                    progress.end()
                    print(f"{known.name}: {error}", file=sys.stderr)
                    continue
                before = figures.setdefault(known.name, seen)
                figures[known.name] = {kind: min(value, before[kind]) for kind, value in seen.items()}
    progress.end()


def table(figures: Figures, note: str) -> str:
    """Markdown, as docs/costs.md has it."""
    heads = " | ".join(f"{kind.name}, {kind.unit}" for kind in KINDS)
    lines = [f"| {note} | {heads} | what it does |", "|---" * (len(KINDS) + 2) + "|"]
    for known in (*KNOWN, *KNOWN_TLS):
        if known.name in figures:
            values = " | ".join(rounded(figures[known.name][kind.name]) for kind in KINDS)
            lines.append(f"| {known.name} {known.version} | {values} | {known.told} |")
    return "\n".join(lines)


def bars(figures: Figures, note: str) -> str:
    names = [known.name for known in (*KNOWN, *KNOWN_TLS) if known.name in figures]
    panels = [
        Panel(f"{kind.name}, {kind.unit}", [(name, figures[name][kind.name]) for name in names]) for kind in KINDS
    ]
    return plot(panels, f"{note}; less is better. haproxy does less: it forwards to one server, whatever is asked.")


def main() -> int:
    asked = parser().parse_args()
    end_as_by_ctrl_c()
    figures: Figures = {}
    code = OK
    try:
        if raise_descriptors() < 2 * IDLE + 500:
            raise Failed(f"too few descriptors for {IDLE:,} idle tunnels: `ulimit -n {2 * IDLE + 500}`")
        run(asked, figures)
    except Failed as error:
        print(f"tools/compare: {error}", file=sys.stderr)
        code = FAILED
    except KeyboardInterrupt:
        code = INTERRUPTED
    if figures:
        note = f"minimum of {asked.rounds} round{'s' * (asked.rounds > 1)}"
        print(table(figures, note))
        if asked.plot is not None:
            asked.plot.write_text(bars(figures, note), encoding="utf-8")
    return code


if __name__ == "__main__":
    sys.exit(main())
