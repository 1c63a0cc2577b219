"""The shared table: what processes count together."""

import os

import pytest

from ogw.report.metrics import BYTES_UP, DIAL, TUNNELS
from ogw.report.table import Table


def test_what_a_child_counts_its_parent_sees():
    table = Table(2)
    child = os.fork()
    if not child:
        table.rows[1].cells[BYTES_UP] += 7
        table.rows[1].opened("192.0.2.1")
        os._exit(0)
    os.waitpid(child, 0)
    assert (table.sum(BYTES_UP), table.tunnels, table.tunnels_of("192.0.2.1")) == (7, 1, 1)


def test_a_dead_workers_tunnels_are_gone_and_its_counters_stay():
    table = Table(2)
    for row in table.rows:
        row.cells[BYTES_UP] += 5
        row.opened("192.0.2.1")
    table.rows[0].clear()
    assert (table.tunnels, table.tunnels_of("192.0.2.1"), table.sum(BYTES_UP)) == (1, 1, 10)


@pytest.mark.parametrize("count", [0, 1, 2, 10, 100, 1000, 5000])
def test_distinct_clients_are_counted_over_all_workers(count):
    table = Table(2)
    for number in range(count):
        for row in table.rows:  # each client has tunnels in both, and several
            for _turn in range(3):
                row.opened(f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}")
    assert abs(table.clients() - count) <= max(1, count * 0.03)
    for number in range(count):
        for row in table.rows:
            for _turn in range(3):
                row.closed(f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}")
    assert table.clients() == 0 and table.tunnels == 0


@pytest.mark.parametrize(("seconds", "bucket"), [(0.0, 0), (0.001, 0), (0.0011, 1), (10.0, 12), (11.0, 13), (1e6, 13)])
def test_a_histogram_counts_what_is_up_to_an_edge_with_it(seconds, bucket):
    cells = Table(1).rows[0].cells
    DIAL.observe(cells, seconds)
    assert cells[DIAL.first + bucket] == 1 and cells[DIAL.sum] == int(seconds * 1e6)
    assert sum(cells) == 1 + int(seconds * 1e6)


def test_the_supervisors_row_is_no_workers():
    table = Table(1)
    table.gateway.cells[TUNNELS] = 99
    assert table.tunnels == 0


def test_a_count_is_cheap(benchmark):
    cells = Table(1).rows[0].cells

    def count():
        cells[BYTES_UP] += 1

    benchmark(count)
    assert cells[BYTES_UP] > 0


def test_a_client_may_have_more_tunnels_than_sixteen_bits_count():
    row = Table(1).rows[0]
    for _turn in range(70_000):
        row.opened("192.0.2.1")
    for _turn in range(1_000):
        row.closed("192.0.2.1")
    table_says = Table(2)
    for own in table_says.rows:
        own.clients[:] = row.clients
    assert table_says.tunnels_of("192.0.2.1") == 138_000
    for _turn in range(69_000):
        row.closed("192.0.2.1")
    assert not any(row.clients) and row.tunnels == 0


def test_addresses_of_one_network_are_one_client_to_the_limits_and_several_to_the_count():
    table = Table(1)
    for number in range(10):
        table.rows[0].opened("2001:db8::/64", f"2001:db8::{number}")
    assert (table.tunnels_of("2001:db8::/64"), table.clients()) == (10, 10)
    for number in range(10):
        table.rows[0].closed("2001:db8::/64", f"2001:db8::{number}")
    assert (table.tunnels_of("2001:db8::/64"), table.clients()) == (0, 0)
