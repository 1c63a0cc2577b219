"""The shared table: what processes count together."""

import os
import subprocess
import sys

import pytest
from harness.gateway import ROOT

from ogw.report import table as ours
from ogw.report.metrics import BYTES_UP, DEATHS, DIAL, NAMES, RELAY_TUNNELS, STARTED, TUNNELS
from ogw.report.slots import OTHERS
from ogw.report.table import Earlier, OtherForm, Table


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
    table = Table(2)
    row, other = table.rows
    for _turn in range(70_000):
        row.opened("192.0.2.1")
    for _turn in range(1_000):
        row.closed("192.0.2.1")
    other.clients[:] = row.clients
    assert table.tunnels_of("192.0.2.1") == 138_000
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


# A successor's, which goes on with its predecessor's.


def test_a_successor_counts_on_with_its_predecessor():
    old = Table(2)
    for row in old.rows:
        row.opened("192.0.2.1")
        row.cells[BYTES_UP] += 5
    old.gateway.cells[DEATHS] = 3
    STARTED.mark(old.gateway.cells)
    new = Table(1, before=[Earlier(old.descriptor)])
    new.go_on()
    new.rows[0].opened("192.0.2.1")
    new.rows[0].opened("192.0.2.2")
    assert (new.tunnels, new.tunnels_of("192.0.2.1"), new.tunnels_of("192.0.2.2"), new.clients()) == (4, 3, 1, 2)
    assert new.sum(BYTES_UP) == 10 and new.gateway.cells[DEATHS] == 3
    assert STARTED.unix(new.gateway.cells) == STARTED.unix(old.gateway.cells)
    old.rows[1].closed("192.0.2.1")
    old.rows[1].cells[BYTES_UP] += 1
    assert (new.tunnels, new.tunnels_of("192.0.2.1"), new.sum(BYTES_UP)) == (3, 2, 11)
    new.predecessor.clear()
    assert (new.tunnels, new.tunnels_of("192.0.2.1"), new.sum(BYTES_UP)) == (2, 1, 11)


def test_counters_go_on_over_many_upgrades_and_nothing_is_counted_twice():
    tables = [Table(1)]
    for generation in range(1, 6):
        tables[-1].rows[0].cells[BYTES_UP] += generation
        tables[-1].gateway.cells[BYTES_UP] += 100
        tables.append(Table(1, before=[Earlier(one.descriptor) for one in tables[-1:-3:-1]]))
        assert tables[-1].sum(BYTES_UP) == sum(range(generation + 1)) + 100 * generation


OTHER_PROGRAM = """
import sys
from ogw.report.table import Earlier, Table
table = Table(1, before=[Earlier(int(sys.argv[1]))])
table.rows[0].opened("192.0.2.1")
print(table.tunnels_of("192.0.2.1"), table.tunnels_of("192.0.2.2"), table.clients())
"""


def test_a_relay_proxy_keeps_its_slot_over_reloads_and_an_upgrade_and_the_last_slot_is_for_what_finds_none():
    old = Table(1)
    old.slots.claim(["http://a:1", "http://b:1"])
    old.rows[0].cells[RELAY_TUNNELS + old.slots.of("http://b:1")] = 3
    old.slots.claim(["http://b:1", "http://c:1"])
    assert old.slots.names() == ["http://a:1", "http://b:1", "http://c:1"]
    new = Table(1, before=[Earlier(old.descriptor)])
    new.slots.claim(["http://d:1"])
    assert [new.slots.of(f"http://{name}:1") for name in "abcdx"] == [0, 1, 2, 3, OTHERS]
    new.rows[0].cells[RELAY_TUNNELS + 1] = 2
    assert new.sum(RELAY_TUNNELS + 1) == 5
    new.slots.claim(f"http://{number}:1" for number in range(20))
    assert len(new.slots.names()) == OTHERS and new.slots.of("http://19:1") == OTHERS


def test_another_program_counts_the_same_clients_alike():
    """Python's own hash of a text is another in each."""
    old = Table(1)
    for client in ("192.0.2.1", "192.0.2.1", "192.0.2.2"):
        old.rows[0].opened(client)
    words = [sys.executable, "-c", OTHER_PROGRAM, str(old.descriptor)]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, timeout=60, pass_fds=[old.descriptor])
    assert done.stdout.split() == ["3", "1", "2"], done.stderr


def test_what_another_version_counts_elsewhere_is_found_by_its_name():
    renamed = {**NAMES, "bytes up": NAMES["bytes down"], "bytes down": NAMES["bytes up"]}
    del renamed["deaths"]
    old = Table(1, renamed)
    old.rows[0].opened("192.0.2.1")
    old.rows[0].cells[renamed["bytes up"]] = 7
    old.gateway.cells[DEATHS] = 3
    new = Table(1, before=[Earlier(old.descriptor)])
    new.go_on()
    assert (new.sum(BYTES_UP), new.gateway.cells[DEATHS], new.tunnels) == (7, 0, 1)


def test_a_table_of_another_form_is_not_read(monkeypatch):
    old = Table(1)
    monkeypatch.setattr(ours, "FORM", 2)
    with pytest.raises(OtherForm, match="form 1"):
        Earlier(old.descriptor)


@pytest.mark.parametrize(
    "memory",
    [
        b"",
        b"{}",
        b"{}\n" * 9000,
        b"\xff" * 70_000,
        b'{"form": 1, "key": 5, "rows": 3, "cells": 9, "names": {}}\n' + b" " * 70_000,
    ],
)
def test_memory_that_is_no_table_is_not_read(tmp_path, memory):
    path = tmp_path / "memory"
    path.write_bytes(memory)
    with path.open("r+b") as file, pytest.raises(OtherForm):
        Earlier(file.fileno())


def test_every_cell_has_a_name_and_the_description_has_room():
    assert len(set(NAMES.values())) == len(NAMES)
    assert NAMES["tunnels"] == TUNNELS == 0, "all versions must find it there"
    longest = Table(1, {f"{name} {'x' * 40}": cell for name, cell in NAMES.items()})
    assert Earlier(longest.descriptor).tunnels == 0
