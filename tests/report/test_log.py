"""Log lines: their shape, batches, a reader that is slow, gone or back again."""

import json
import os
import select
import socket
import subprocess
import sys
import threading
import time

import pytest

from ogw.report.events import CATALOGUE, Event, Field
from ogw.report.log import Account, Log, one_line
from ogw.report.sinks import PIPE_ATOMIC, File, Stream, Syslog
from ogw.report.writers import Writer


class Kept:
    """A sink that keeps its lines."""

    longest = 0

    def __init__(self):
        self.lines = []

    def write(self, lines):
        self.lines.extend(lines)


def logged(fill, **options):
    kept = Kept()
    log = Log(Writer(kept), **options)
    fill(log)
    log.close()
    return kept.lines


ACCOUNT = Account("ab12cd-7", "10.0.0.5:50001", "www.example.com:443", "192.0.2.1:443", 10, 2**40, 0.0123, 3601.5)


SUBJECTS = ["", "CN=till-17,O=Shop", 'CN=a\\,b,O="x"', "CN=\u00fc", f"CN={'x' * 300}"]


@pytest.mark.parametrize("subject", SUBJECTS)
@pytest.mark.parametrize("via", ["", "10.0.0.9:40001"])
def test_the_hand_built_line_of_a_tunnel_equals_the_formatters(via, subject):
    account = ACCOUNT._replace(via=via, client_subject=subject)
    by_hand, by_formatter = (
        json.loads(logged(lambda log, m=message: log.tunnel_closed("idle", m, account), policy="0a1b2c3d")[0])
        for message in ("", "x")
    )
    assert by_formatter.pop("message") == "x" and by_hand.pop("message") == ""
    assert by_hand.get("client_subject", "") == subject
    for field in (Field.TIME, Field.PROCESS):
        assert by_hand.pop(field) and by_formatter.pop(field)
    assert by_hand == by_formatter
    assert list(by_hand) == list(by_formatter)


@pytest.mark.parametrize("who", SUBJECTS)
@pytest.mark.parametrize("via", ["", "[2001:db8::9]:40001"])
def test_the_hand_built_line_of_a_verified_session_equals_the_formatters(via, who):
    told = ("ab12cd-7", "10.1.2.3:4", "a.example:443", "a.example", "TLS 1.3", 0.0123456)
    by_hand, by_formatter = (
        json.loads(logged(lambda log, m=more: log.tls_verified(*told, m, False, via, who), policy="0a1b2c3d")[0])
        for more in ("", "CN=x")
    )
    assert by_formatter.pop(Field.SUBJECT) == "CN=x"
    assert by_hand.get("client_subject", "") == who
    for field in (Field.TIME, Field.PROCESS):
        assert by_hand.pop(field) and by_formatter.pop(field)
    assert by_hand == by_formatter
    assert list(by_hand) == list(by_formatter)


@pytest.mark.parametrize("event", CATALOGUE)
def test_every_event_is_one_json_object_on_one_line(event):
    line = one_line(event, 'two\nlines "quoted" \x00 ü', reason="why", client="c")
    assert "\n" not in line
    parsed = json.loads(line)
    assert parsed["event"] == event and parsed["name"] == CATALOGUE[event][1] and parsed["client"] == "c"


def test_every_number_of_the_enum_is_in_the_catalogue():
    assert set(CATALOGUE) == set(Event)


def test_lines_are_numbered_so_that_a_gap_shows():
    lines = [json.loads(line) for line in logged(lambda log: [log.event(100, "x") for _ in range(5)])]
    assert [line["sequence"] for line in lines] == [1, 2, 3, 4, 5]
    assert len({line["process"] for line in lines}) == 1


def test_lines_below_the_level_are_left_out():
    def fill(log):
        log.event(Event.CONNECT_RECEIVED, "debug")
        log.event(Event.INFORMATION, "info")
        log.tunnel_closed("idle", "", ACCOUNT)
        log.event(Event.NETWORK_ERROR, "warning")

    assert [json.loads(line)["event"] for line in logged(fill, level="warning")] == [403]
    assert [json.loads(line)["event"] for line in logged(fill, level="info")] == [100, 108, 403]
    assert [json.loads(line)["event"] for line in logged(fill, level="debug")] == [103, 100, 108, 403]


def test_text_writes_the_number_with_its_prefix_and_quotes_what_a_client_chose():
    [line] = logged(lambda log: log.event(105, "not allowed", "host-not-allowed", target="a b\x1b[2J:443"), text=True)
    assert "OGW-105 target not allowed (host-not-allowed): not allowed" in line
    assert "\x1b" not in line and 'target="a b\\u001b[2J:443"' in line


def test_text_has_the_line_of_a_closed_tunnel_too():
    [line] = logged(lambda log: log.tunnel_closed("idle", "", ACCOUNT), text=True)
    assert "OGW-108 tunnel closed (idle)" in line and "bytes_up=10" in line


def test_writes_to_a_pipe_hold_whole_lines_and_at_most_pipe_buf():
    read_end, write_end = os.pipe()
    os.set_blocking(read_end, False)
    lines = ["x" * 700 for _ in range(60)]
    stream = Stream(write_end)
    pieces = []
    # A packet-mode pipe keeps the writes apart.
    read_end2, write_end2 = os.pipe2(os.O_DIRECT)
    Stream(write_end2).write(lines)
    os.set_blocking(read_end2, False)
    try:
        while True:
            pieces.append(os.read(read_end2, 65536))
    except BlockingIOError:
        pass
    assert b"".join(pieces).decode().split("\n")[:-1] == lines
    assert all(len(piece) <= PIPE_ATOMIC and piece.endswith(b"\n") for piece in pieces)
    assert len(pieces) == 12
    stream.write(["y"])
    for fd in (read_end, write_end, read_end2, write_end2):
        os.close(fd)


@pytest.mark.parametrize("text", [False, True])
@pytest.mark.parametrize("letter", ["x", "\u00fc", '"', "\x00"])
@pytest.mark.parametrize("field", ["message", "traceback", "target"])
def test_a_line_that_a_pipe_would_not_take_whole_is_shortened(text, letter, field):
    long = "first " + letter * 20_000 + " last"
    texts = {"message": "", "traceback": "short", "target": "short", field: long}
    read_end, write_end = os.pipe()
    log = Log(Writer(Stream(write_end)), text=text)
    log.event(400, texts.pop("message"), "internal-error", **texts)
    log.close()
    line = os.read(read_end, 65536)
    assert 1000 < len(line) <= PIPE_ATOMIC and line.endswith(b"\n")
    kept = line.decode() if text else json.loads(line)[field]
    assert (" last" in kept) is (field == "traceback") and ("first " in kept) is (field != "traceback")
    os.close(read_end)
    os.close(write_end)


def test_a_line_in_a_file_is_never_shortened(tmp_path):
    log = Log(Writer(File(str(tmp_path / "log"))))
    log.event(400, "x" * 20_000)
    log.close()
    assert json.loads((tmp_path / "log").read_text())["message"] == "x" * 20_000


def test_a_log_file_is_opened_again_after_it_was_renamed(tmp_path):
    path = tmp_path / "ogw.log"
    sink = File(str(path))
    sink.write(["one"])
    path.rename(tmp_path / "ogw.log.1")
    sink.write(["two"])
    (tmp_path / "ogw.log").unlink()
    sink.write(["three"])
    assert (tmp_path / "ogw.log.1").read_text() == "one\n"
    assert path.read_text() == "three\n"


def test_syslog_gets_a_datagram_a_line(tmp_path):
    path = str(tmp_path / "log")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as server:
        server.bind(path)
        server.settimeout(5)
        sink = Syslog(path)
        log = Log(Writer(sink))
        log.event(105, "no", "host-not-allowed")
        log.close()
        sink.close()
        datagram = server.recv(65536)
    assert datagram.startswith(b"<28>ogw: {")
    assert json.loads(datagram.split(b"ogw: ", 1)[1])["event"] == 105


def test_a_reader_that_reads_nothing_costs_lines_but_never_blocks_and_the_loss_is_told():
    read_end, write_end = os.pipe()
    writer = Writer(Stream(write_end), most_lines=100)
    log = Log(writer)
    for _ in range(5000):
        log.event(100, "x" * 500)
    assert writer.lost > 0
    lost = writer.lost
    got = b""
    told = []
    # Now somebody reads again: the next lines tell how many were lost.
    while sum(int(line["message"].split(" ", 1)[0]) for line in told) < lost:
        log.event(100, "room again")
        while select.select([read_end], [], [], 0.05)[0]:
            got += os.read(read_end, 65536)
        told = [json.loads(line) for line in got.split(b"\n")[:-1] if b"log lines were lost" in line]
    assert {line["event"] for line in told} == {302}
    log.close()
    os.close(read_end)
    os.close(write_end)


def test_a_closed_reader_is_survived(tmp_path):
    script = (
        "import sys,os; from ogw.report.log import *; from ogw.report.sinks import *; w=Writer(Stream(1)); l=Log(w)\n"
        "l.event(100,'one'); l.close(); sys.exit(0 if w.lost else 1)"
    )
    read_end, write_end = os.pipe()
    os.close(read_end)
    done = subprocess.run([sys.executable, "-c", script], stdout=write_end, stderr=subprocess.PIPE, timeout=30)
    os.close(write_end)
    assert (done.returncode, done.stderr) == (0, b"")


def test_closing_a_log_whose_reader_hangs_takes_about_a_second_not_forever():
    read_end, write_end = os.pipe()
    log = Log(Writer(Stream(write_end)))
    for _ in range(1000):
        log.event(100, "x" * 500)
    closing = threading.Thread(target=log.close, daemon=True)
    began = time.monotonic()
    closing.start()
    closing.join(20)
    seconds = time.monotonic() - began
    os.close(read_end)  # whatever still writes fails now
    closing.join(20)
    os.close(write_end)
    assert 0.5 < seconds < 10
