"""Writers: each line is written or lost, and the counts add up."""

import errno
import os

from harness.sinks import Pipe, drained
from hypothesis import given
from hypothesis import strategies as st

from ogw.report.log import Log
from ogw.report.metrics import CELLS, EVENTS, LINES, LINES_LOST, LINES_SAID, LINES_TOLD
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
    if level == "info":
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
    log.leave_behind()
    assert cells[LINES_LOST] == 0
    log.close()
    assert cells[LINES_LOST] == 1
