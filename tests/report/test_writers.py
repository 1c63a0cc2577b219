"""Writers: each line is written or lost, and the counts add up."""

import errno
import os

import pytest
from harness.sinks import Pipe, drained
from harness.waiting import until
from hypothesis import given
from hypothesis import strategies as st

from ogw.report.log import Log
from ogw.report.losses import SLOW
from ogw.report.metrics import CELLS, EVENTS, LINES, LINES_LOST, LINES_SAID, LINES_TOLD, LOG_TROUBLE, LOST_WHY
from ogw.report.sinks import Stream
from ogw.report.writers import Direct, Writer

LONG_LINE = "x" * 3000


class Script:
    """A sink that does what it is told, one thing a line: take it, wait ("full"), or an error number."""

    longest = 0
    bounced = 0

    def __init__(self, *steps):
        self.steps = list(steps)
        self.lines = []

    def write(self, lines):
        taken = 0
        for line in lines:
            step = self.steps.pop(0) if self.steps else "take"
            if step == "take":
                self.lines.append(line)
                taken += 1
                continue
            if taken:
                self.steps.insert(0, step)
                return taken
            if step == "full":
                return 0
            raise OSError(step, os.strerror(step))
        return taken

    def wait(self, seconds):
        pass

    def fresh(self):
        return self

    def close(self):
        pass


STEPS = st.lists(st.sampled_from(["take", "take", "full", errno.ENOSPC, errno.EPIPE]), max_size=40)


@given(STEPS, st.integers(0, 30), st.booleans(), st.sampled_from(["info", "error"]))
def test_each_line_is_written_or_lost_and_the_counts_add_up(steps, lines, direct, level):
    cells = [0] * CELLS
    sink = Script(*steps)
    log = Log(Direct(sink) if direct else Writer(sink, most_lines=10), level=level, cells=cells)
    for number in range(lines):
        log.event(400, f"line {number}")
    log.report_lost()
    log.close()
    assert cells[LINES] == len(sink.lines)
    assert cells[LINES] + cells[LINES_LOST] == cells[LINES_SAID] == log.sequence
    told = [int(text.split('"message": "')[1].split()[0]) for text in sink.lines if "log lines were lost" in text]
    assert cells[LINES_TOLD] <= cells[LINES_LOST]
    assert sum(told) == cells[LINES_TOLD]
    assert len(told) <= cells[EVENTS[302]]


def test_what_a_dead_process_said_and_did_not_write_is_lost_and_told_of():
    cells, sink = [0] * CELLS, Script()
    cells[LINES_SAID], cells[LINES], cells[LINES_LOST], cells[LINES_TOLD] = 100, 60, 10, 4
    log = Log(Direct(sink))
    log.take_over(cells)
    log.take_over(cells)  # it is told of once
    log.report_lost()
    assert cells[LINES] + cells[LINES_LOST] == 100
    (line,) = sink.lines
    assert "36 log lines were lost" in line


def test_a_line_that_is_too_long_is_lost_alone():
    sink = Script("take", errno.EMSGSIZE, "take", "take")
    writer = Writer(sink)
    for number in range(4):
        writer.put(f"{number}")
    writer.close()
    assert sink.lines == ["0", "2", "3"] and (writer.written, writer.lost) == (3, 1)


def test_a_buffer_whose_sink_hangs_is_closed_in_time_and_all_of_it_counted():
    with Pipe() as pipe:
        writer = Writer(Stream(pipe.writing))
        for _turn in range(500):
            writer.put(LONG_LINE)
        writer.close()  # the test's own time limit judges
        assert writer.written == 1 and writer.lost == 499
        assert drained(pipe.reading) == LONG_LINE.encode() + b"\n"


def test_a_thread_that_cannot_be_started_yet_is_tried_again(monkeypatch):
    def refuse(_thread):
        raise RuntimeError("can't start new thread")

    sink = Script()
    writer = Writer(sink)
    with monkeypatch.context() as patched:
        patched.setattr("threading.Thread.start", refuse)
        assert writer.put("one")
    assert writer.put("two")
    writer.close()
    assert sink.lines == ["one", "two"]


def test_a_forked_process_leaves_its_parents_counts_alone():
    cells = memoryview(bytearray(CELLS * 8)).cast("q")
    log = Log(Direct(Script(errno.EPIPE)), cells=cells)
    log.event(400, "x")
    log.in_child([0] * CELLS)
    assert cells[LINES_LOST] == 0
    log.close()
    assert cells[LINES_LOST] == 1


def lost_lines(steps, lines, direct=True):
    """What a log says of the lines that its sink did not take."""
    cells, sink = [0] * CELLS, Script(*steps)
    log = Log(Direct(sink) if direct else Writer(sink), cells=cells)
    for number in range(lines):
        log.event(400, f"line {number}")
    log.count_lines()
    until(lambda: cells[LINES] + cells[LINES_LOST] == cells[LINES_SAID])
    log.report_lost()
    log.close()
    return cells, [text for text in sink.lines if "log lines were lost" in text]


@pytest.mark.parametrize("direct", [True, False])
@pytest.mark.parametrize("cause", [errno.ENOSPC, errno.EACCES, errno.EFBIG, errno.EDQUOT, errno.EIO])
def test_the_line_and_the_cells_name_the_cause(cause, direct):
    cells, (line,) = lost_lines([cause, cause], 2, direct)
    assert f"2 log lines were lost: {os.strerror(cause)}" in line
    assert cells[LOST_WHY] == cause and cells[LOG_TROUBLE] == 0


def test_of_what_takes_nothing_the_reader_is_the_cause():
    cells, (line,) = lost_lines(["full"], 1)
    assert "1 log lines were lost: they were not taken as fast as they came" in line
    assert cells[LOST_WHY] == SLOW and cells[LOG_TROUBLE] == 0


def test_the_dead_are_the_cause_of_their_own_losses_only():
    dead, own, sink = [0] * CELLS, [0] * CELLS, Script()
    dead[LINES_SAID] = 5
    log = Log(Direct(sink), cells=own)
    log.take_over(dead)
    log.report_lost()
    sink.steps = [errno.ENOSPC] * 3
    for _turn in range(3):
        log.event(400, "x")
    log.report_lost()
    first, second = sink.lines
    assert "5 log lines were lost: they were in a process that died" in first
    assert "3 log lines were lost: No space left on device" in second
    dead = [0] * CELLS
    dead[LINES_SAID], dead[LINES_LOST], dead[LOST_WHY] = 5, 3, errno.EACCES
    log.take_over(dead)
    log.report_lost()
    assert "5 log lines were lost: Permission denied; they were in a process that died" in sink.lines[-1]


def test_losses_are_in_the_cells_while_they_happen_and_news_that_are_refused_are_none():
    """Nobody calls: the thread counts, and tries the news again."""
    cells, sink = [0] * CELLS, Script(*[errno.ENOSPC] * 4)
    log = Log(Writer(sink), cells=cells)
    log.event(400, "x")
    until(lambda: cells[LINES_LOST] == 1)
    assert cells[LOG_TROUBLE] == errno.ENOSPC
    log.report_lost()  # the news are refused three times
    until(lambda: cells[LINES_TOLD] == 1)
    assert (cells[LINES_SAID], cells[LINES], cells[LINES_LOST], cells[LOG_TROUBLE]) == (2, 1, 1, 0)
    log.close()


def test_where_only_errors_are_wanted_losing_them_is_one():
    sink = Script(errno.ENOSPC)
    log = Log(Direct(sink), level="error")
    log.event(400, "x")
    log.report_lost()
    assert '"level": "error", "event": 302' in sink.lines[0] and "1 log lines were lost" in sink.lines[0]
