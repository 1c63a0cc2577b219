"""Each line's level, as the system's log and systemd's journal hear of it."""

import os
import socket

import pytest
from harness.sinks import SystemLog

from ogw.report.log import Account, Log
from ogw.report.severity import as_journal, as_syslog, severity_of
from ogw.report.sinks import Nowhere, Stream, Syslog
from ogw.report.writers import Direct

LEVELS = {"error": 3, "warning": 4, "info": 6, "debug": 7}
EVENTS = {400: "error", 403: "warning", 100: "info", 103: "debug"}


class Kept(Nowhere):
    """What is written, in a list."""

    def __init__(self):
        self.lines = []

    def write(self, lines):
        self.lines += lines


@pytest.mark.parametrize("text", [False, True])
@pytest.mark.parametrize("event", EVENTS)
def test_the_severity_is_that_of_the_level(event, text):
    sink = Kept()
    Log(Direct(sink), text=text, level="debug").event(event, 'level "error" {"level": "debug"', reason="why")
    (line,) = sink.lines
    severity = LEVELS[EVENTS[event]]
    assert severity_of(line) == severity
    assert as_syslog(line) == f"<{24 + severity}>ogw: " and as_journal(line) == f"<{severity}>"


def test_the_lines_that_are_built_by_hand_are_info():
    sink = Kept()
    log = Log(Direct(sink))
    log.tunnel_closed("idle", "", Account("1", "192.0.2.1:1", "a.example:443", "192.0.2.2:443", 1, 2, 0.1, 0.2))
    log.tls_verified("1", "192.0.2.1:1", "a.example:443", "a.example", "1.3", 0.1)
    assert [severity_of(line) for line in sink.lines] == [6, 6]


@pytest.mark.parametrize("line", ["", "{", "{}", "ogw: OGW-401 x", '{"time": "x"}'])
def test_what_is_no_line_of_the_log_is_information_in_the_system_log_and_plain_in_the_journal(line):
    assert as_syslog(line) == "<30>ogw: " and as_journal(line) == ""


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_over_udp_each_line_has_its_severity_whatever_the_family(host):
    with SystemLog((host, 0)) as system:
        log = Log(Direct(Syslog(system._path[:2])), level="debug")
        for event in EVENTS:
            log.event(event, "x")
        log.close()
        assert [line["level"] for line in system.read()] == list(EVENTS.values())  # which looks at the priorities


@pytest.mark.parametrize("is_it", [True, False])
def test_only_the_stream_that_systemd_gave_has_levels_in_front(monkeypatch, is_it):
    ours, theirs = socket.socketpair()
    with ours, theirs:
        there = os.fstat(theirs.fileno())
        monkeypatch.setenv("JOURNAL_STREAM", f"{there.st_dev}:{there.st_ino + (not is_it)}")
        log = Log(Direct(Stream(theirs.fileno())), level="debug")
        for event in EVENTS:
            log.event(event, "x" * 5000)
        log.close()
        found = ours.recv(1 << 16).decode().splitlines()
        assert all(len(line) < 4096 for line in found)
        starts = [line[: line.index("{")] for line in found]
        assert starts == ([f"<{LEVELS[level]}>" for level in EVENTS.values()] if is_it else [""] * 4)
