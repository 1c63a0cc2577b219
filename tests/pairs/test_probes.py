"""The probes of load balancers, a thousand a second: they are no clients, and leave nothing behind."""

import pytest
from harness.admin import metrics
from harness.gateway import Gateway
from harness.storm import SECONDS, storm
from measuring.machine import cpu_of, processes

# Of a core; a tenth on a machine that has nothing else to do (docs/balancers.md).
MOST = 0.2
SILENT = {100, 101, 102, 110}  # what it says of itself, its start and its stop
REQUIRED = ("--proxy-protocol", "required", "--proxy-protocol-from", "127.0.0.0/8")


def used(gateway):
    return sum(cpu_of(processes(gateway.pid)).values())


@pytest.mark.long
@pytest.mark.alone
@pytest.mark.parametrize(
    ("flags", "kinds"),
    [((), ["plain"]), (REQUIRED, ["plain"]), (REQUIRED, ["local"]), (REQUIRED, ["header", "line"])],
    ids=["plain", "plain, where a header is required", "local", "header and no more"],
)
def test_a_storm_of_probes_leaves_no_line_and_no_error_and_costs_little(flags, kinds, capsys):
    with Gateway(*flags) as gateway:
        before = used(gateway)
        late = storm((gateway.address, 8080), *kinds)
        share = (used(gateway) - before) / SECONDS
        counted = metrics(gateway)
    with capsys.disabled():
        told = "where a header is required" if flags else "without the PROXY protocol"
        print(
            f"\n1,000 probes a second ({', '.join(kinds)}) {told}: {share:.1%} of a core (late by {late:.2f} s at most)"
        )
    assert share < MOST
    assert {line["event"] for line in gateway.lines} <= SILENT
    assert {name: value for name, value in counted.items() if name.startswith("ogw_errors_total") and value} == {}
