"""How long ago something was is told by a clock that nobody sets; when it was, by the one that people set."""

import time
from datetime import datetime

import pytest

from ogw.report.metrics import RELOAD_REFUSED, RELOADED, STARTED
from ogw.report.table import Table
from ogw.service.admin.exposition import Exposition
from ogw.service.admin.history import History
from ogw.service.admin.views import Views

SET_BY = (-7200, 7200, -20_775 * 86400, 86400 * 365)  # seconds


def started_before_the_clock_was_set(seconds, moment=STARTED):
    """A table in which something happened just now, by a clock that was then set by so many seconds."""
    table = Table(1)
    cells = table.gateway.cells
    moment.mark(cells)
    cells[moment.cell] -= seconds
    return table


class Nobody:
    """Whoever could be asked about workers: there are none here."""

    def ask(self, what, seconds=0.0, **about):
        return {"answers": [], "missing": 0}


class Sockets:
    place = health_place = ""


class Config:
    listen = ()
    listen_tls: frozenset = frozenset()
    file = run_dir = ""
    listen_freebind = "no"


@pytest.mark.parametrize("by", SET_BY)
def test_the_gateway_has_been_running_for_as_long_as_it_has_whatever_the_clock_was_set_to(by):
    table = started_before_the_clock_was_set(by)
    status = Views(table, Nobody(), Config(), Sockets()).status()
    assert 0 <= status["uptime"] < 60
    assert abs(datetime.fromisoformat(status["started"]).timestamp() - time.time()) < 60
    assert 0 <= History(table).now()[0] < 60


@pytest.mark.parametrize("by", SET_BY)
@pytest.mark.parametrize(
    ("moment", "name"),
    [
        (STARTED, "ogw_start_time_seconds"),
        (RELOADED, "ogw_reload_time_seconds"),
        (RELOAD_REFUSED, "ogw_reload_refused_time_seconds"),
    ],
)
def test_metrics_tell_moments_by_the_clock_as_it_is_now(by, moment, name):
    table = started_before_the_clock_was_set(by, moment)
    (value,) = [sample.value for one in Exposition(table).collect() for sample in one.samples if sample.name == name]
    assert abs(value - time.time()) < 60


def test_a_moment_is_told_alike_each_time_while_nobody_sets_the_clock():
    table = Table(1)
    STARTED.mark(table.gateway.cells)
    told = {STARTED.unix(table.gateway.cells) for _turn in range(1000)}
    assert len(told) == 1


def test_what_never_happened_was_at_no_time():
    cells = Table(1).gateway.cells
    assert (STARTED.unix(cells), STARTED.seconds_ago(cells), RELOADED.unix(cells)) == (0, 0.0, 0)


def test_what_happened_on_the_first_day_of_the_clock_happened(monkeypatch):
    """A machine without a battery begins at 0."""
    monkeypatch.setattr(time, "time", lambda: 0.3)
    cells = Table(1).gateway.cells
    STARTED.mark(cells)
    assert cells[STARTED.cell]
