"""Sinks by themselves: none waits, and no line is glued to a torn one."""

import contextlib
import errno
import fcntl
import os
import pathlib
import pty
import select
import signal
import socket
import subprocess
import sys

import pytest
from harness.peers import peer, root
from harness.sinks import Pipe, SystemLog, Terminal, drained, lines_of
from harness.waiting import until
from hypothesis import given
from hypothesis import strategies as st

from ogw.report.lines import PIPE_ATOMIC, Lines
from ogw.report.log import Log
from ogw.report.metrics import CELLS, LINES, LINES_LOST, LINES_SAID
from ogw.report.sinks import File, Stream, Syslog
from ogw.report.writers import Direct

LONG_LINE = "x" * 3000


def fill(sink, lines=None):
    """Write until nothing more is taken; how many were."""
    taken = 0
    while sink.write([LONG_LINE] if lines is None else lines) != 0:
        taken += 1
        assert taken < 10_000, "it takes everything"
    return taken


def test_what_is_closed_writes_nowhere():
    with Pipe() as pipe:
        stream = Stream(pipe.writing)
        stream.close()
        with pytest.raises(OSError, match="closed"):
            stream.write(["x"])
        assert drained(pipe.reading) == b""


def test_nothing_is_set_on_a_descriptor_that_others_share():
    with Pipe() as pipe:
        before = fcntl.fcntl(pipe.writing, fcntl.F_GETFL)
        stream = Stream(pipe.writing)
        fill(stream)
        assert fcntl.fcntl(pipe.writing, fcntl.F_GETFL) == before and os.get_blocking(pipe.writing)
        stream.close()


def test_two_processes_at_one_pipe_never_wait_for_room_that_the_other_took():
    """That it was writable a moment ago says nothing: the other may have been faster."""
    script = (
        "import sys; from ogw.report.sinks import Stream; stream = Stream(1)\n"
        "taken = sum(stream.write(['y' * 4000]) for turn in range(20000)); print(taken, file=sys.stderr)"
    )
    with Pipe(1 << 16) as pipe:
        both = [
            subprocess.Popen([sys.executable, "-c", script], stdout=pipe.writing, stderr=subprocess.PIPE)
            for _turn in range(2)
        ]
        while any(one.poll() is None for one in both):
            if select.select([pipe.reading], [], [], 0.05)[0]:
                pipe.data += os.read(pipe.reading, 4001)  # slowly: it is full nearly always
        pipe.data += drained(pipe.reading)
        taken = 0
        for one in both:
            assert one.wait(30) == 0
            taken += int(one.stderr.read())
            one.stderr.close()
        assert pipe.data == (b"y" * 4000 + b"\n") * taken


def test_a_pipe_that_may_not_be_opened_anew_does_not_wait_either(monkeypatch):
    def refuse(*_arguments, **_more):
        raise PermissionError(errno.EACCES, "not yours")

    with Pipe(1 << 16) as pipe:
        monkeypatch.setattr("ogw.report.stream.os.open", refuse)
        stream = Stream(pipe.writing)
        assert fill(stream) == 16
        assert pipe.read() == [{"unreadable": LONG_LINE}] * 16
        assert stream.write(["a", "b"]) == 2
        assert drained(pipe.reading) == b"a\nb\n"
        pipe.hang_up()
        with pytest.raises(BrokenPipeError):
            stream.write(["c"])
        stream.close()


SOMEBODY_ELSE_LOGGED_IN = """
import fcntl, os, sys, termios
from ogw.report.sinks import Stream
os.setsid()
if sys.argv[1]: fcntl.ioctl(1, termios.TIOCSCTTY, 0)
os.fchmod(1, 0o600); os.setgid(65534); os.setuid(65534)
stream = Stream(1)
lines = [str(number) * 1000 for number in range(10)]
while stream.write(lines): pass
print("it did not wait", file=sys.stderr)
"""


@pytest.mark.parametrize("controls", ["yes", ""])
def test_a_terminal_of_another_user_does_not_wait_either(controls):
    """As behind sudo: it may not be opened by its name, but as the controlling terminal, if it is that."""
    root()
    own, other = pty.openpty()
    words = [sys.executable, "-c", SOMEBODY_ELSE_LOGGED_IN, controls]
    done = subprocess.run(words, stdin=subprocess.DEVNULL, stdout=other, stderr=subprocess.PIPE, timeout=60)
    os.close(own)
    os.close(other)
    assert done.stderr == b"it did not wait\n"


def test_a_terminal_that_is_stopped_takes_nothing_and_goes_on_later():
    with Terminal() as terminal:
        stream = Stream(terminal.other)
        terminal.press(b"\x13")
        until(lambda: stream.write(["{}"]) == 0)
        terminal.press(b"\x11")
        until(lambda: stream.write(['{"a": 1}']) == 1)
        stream.close()
        assert terminal.read()[-1] == {"a": 1}


@pytest.mark.parametrize("flags", [os.O_RDONLY])
def test_what_is_not_open_for_writing_is_a_mistake(flags):
    with open(os.devnull, "rb") as file, pytest.raises(OSError, match="not open for writing"):
        Stream(file.fileno())


def test_a_closed_descriptor_is_a_mistake():
    read_end, write_end = os.pipe()
    os.close(read_end)
    os.close(write_end)
    with pytest.raises(OSError):
        Stream(write_end)


class Taking:
    """A send() that takes so many bytes, call by call; 0 is "not now"."""

    def __init__(self, amounts):
        self._amounts = list(amounts)
        self.data = b""

    def __call__(self, data):
        most = self._amounts.pop(0) if self._amounts else len(data)
        if not most:
            raise BlockingIOError(errno.EAGAIN, "not now")
        self.data += data[:most]
        return min(most, len(data))


AMOUNTS = st.lists(st.integers(0, 30), max_size=30)
TEXTS = st.lists(st.text("abü", max_size=12), min_size=1, max_size=12)


@given(TEXTS, AMOUNTS, st.sampled_from([0, 10, 4096]))
def test_lines_come_whole_however_little_is_taken_at_a_time(texts, amounts, most):
    """By one that comes again with what was not taken: the rest of a torn line is sent, so nothing is torn at all."""
    lines, send, at = Lines(most), Taking(amounts), 0
    while at < len(texts):
        at += lines.send(texts[at:], send)
    assert send.data.decode() == "".join(f"{text}\n" for text in texts)


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 5)), min_size=1, max_size=30), AMOUNTS)
def test_no_line_is_glued_to_a_torn_one_whoever_tore_it(turns, amounts):
    """Two processes share the place; each gives up a line that is not taken."""
    send = Taking(amounts)
    one = Lines(0)
    other = Lines(0, one.torn)
    whole = []
    for number, (is_one, size) in enumerate(turns):
        line = f"<{number}{'x' * size}>"
        if (one if is_one else other).send([line], send):
            whole.append(line)
    found = send.data.decode().split("\n")
    assert [line for line in found if line in whole] == whole
    assert all(line.count("<") <= 1 for line in found)


def test_a_log_file_is_ended_where_it_was_torn(tmp_path):
    path = tmp_path / "log"
    path.write_text("torn")
    sink = File(str(path))
    sink.write(["one", "two"])
    sink.fresh().write(["three"])
    assert path.read_text() == "torn\none\ntwo\nthree\n"
    path.write_text("")
    again = File(str(path))
    again.write(["four"])
    assert path.read_text() == "four\n"


FULL = """
import os, resource, sys
from ogw.report.log import Log
from ogw.report.sinks import File, Stream
from ogw.report.writers import Direct
sink = File(sys.argv[1]) if sys.argv[2] else Stream(1)
log, other = Log(Direct(sink)), Log(Direct(sink.fresh()))
log.event(100, "before")
size = os.stat(sys.argv[1]).st_size
resource.setrlimit(resource.RLIMIT_FSIZE, (size + 30, resource.RLIM_INFINITY))
for number in range(3):
    log.event(100, f"lost {number}")
if sys.argv[3]:
    os.truncate(sys.argv[1], {"all": 0, "torn": size}[sys.argv[3]])
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
other.event(100, "of another")
log.report_lost()
log.event(100, "after")
"""


@pytest.mark.parametrize("made_room", ["", "torn", "all"])
@pytest.mark.parametrize("given", ["log-file", ""])
def test_where_no_room_was_left_the_cause_is_told_and_the_torn_line_ended(tmp_path, given, made_room):
    """Room is made elsewhere, or by cutting off what was torn, or all of the file."""
    path = tmp_path / "log"
    with open(path, "ab") as file:
        words = [sys.executable, "-c", FULL, str(path), given, made_room]
        done = subprocess.run(words, stdout=file, stderr=subprocess.PIPE, text=True, timeout=60)
    assert done.stderr == ""
    lines = lines_of(path.read_bytes())
    told = [line.get("message", "torn") for line in lines]
    assert told == [
        *(["before"] if made_room != "all" else []),
        *(["torn"] if not made_room else []),
        "of another",
        "3 log lines were lost: File too large",
        "after",
    ]
    assert b"\n\n" not in path.read_bytes() and not path.read_bytes().startswith(b"\n")


def test_standard_output_that_is_a_file_with_a_torn_line_is_ended_first(tmp_path):
    path = tmp_path / "log"
    for before, after in ((b"torn", b"torn\none\n"), (b"", b"one\n"), (b"whole\n", b"whole\none\n")):
        path.write_bytes(before)
        with open(path, "ab") as file:
            Stream(file.fileno()).write(["one"])
        assert path.read_bytes() == after
    path.write_bytes(b"torn")
    with open(path, "r+b", buffering=0) as file:  # systemd's file: writes from the beginning on
        Stream(file.fileno()).write(["on"])
    assert path.read_bytes() == b"on\nn"


def test_a_file_of_the_same_name_and_a_folder_that_comes_back(tmp_path):
    folder = tmp_path / "a"
    folder.mkdir()
    sink = File(str(folder / "log"))
    (folder / "log").unlink()
    folder.rmdir()
    with pytest.raises(FileNotFoundError):
        sink.write(["lost"])
    fresh = sink.fresh()  # of a worker that is started meanwhile
    with pytest.raises(FileNotFoundError):
        fresh.write(["lost"])
    folder.mkdir()
    assert sink.write(["one"]) == fresh.write(["two"]) == 1
    assert (folder / "log").read_text() == "one\ntwo\n"
    with pytest.raises(FileNotFoundError):
        File(str(tmp_path / "b" / "log"))


@pytest.mark.parametrize("kind", [socket.SOCK_DGRAM, socket.SOCK_STREAM])
def test_a_system_log_is_connected_anew_as_soon_as_it_is_back(tmp_path, kind):
    with SystemLog(str(tmp_path / "log"), kind) as log:
        sink = Syslog(log.place)
        assert sink.write(['{"a": 1}', '{"a": 2}']) == 2
        assert log.read() == [{"a": 1}, {"a": 2}]
        log.go()
        for _turn in range(3):
            with pytest.raises(OSError):
                sink.write(["{}"])
        fresh = sink.fresh()
        with pytest.raises(OSError):
            fresh.write(["{}"])
        log.come()
        assert sink.write(['{"a": 3}']) == fresh.write(['{"a": 4}']) == 1
        assert log.read() == [{"a": number} for number in (1, 2, 3, 4)]
        sink.close()
        fresh.close()


@pytest.mark.parametrize("kind", [socket.SOCK_DGRAM, socket.SOCK_STREAM])
def test_a_system_log_that_hangs_is_not_waited_for(tmp_path, kind):
    with SystemLog(str(tmp_path / "log"), kind) as log:
        sink = Syslog(log.place)
        assert fill(sink) > 1
        before = len(log.read())
        assert sink.write(["{}"]) == 1
        assert len(log.read()) == before + 1
        sink.close()


def test_a_system_log_whose_queue_of_connections_is_full_is_not_waited_for(tmp_path):
    path = str(tmp_path / "log")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        listener.listen(0)
        socks = [Syslog(path)]
        with pytest.raises(BlockingIOError):
            for _turn in range(10):
                socks.append(Syslog(path))
        late = socks[0].fresh()
        assert late.write(["{}"]) == 0
        for one in socks:
            one.close()


def test_a_datagram_that_is_too_long_is_an_error_of_its_line(tmp_path):
    with SystemLog(str(tmp_path / "log")) as log:
        sink = Syslog(log.place)
        assert sink.write(["{}", "x" * 10_000_000]) == 1
        with pytest.raises(OSError, match="too long"):
            sink.write(["x" * 10_000_000, "{}"])
        assert sink.write(["{}"]) == 1
        sink.close()


def test_over_udp_a_line_that_bounced_is_counted_though_it_was_taken():
    with SystemLog(("127.0.0.1", 0)) as log:
        cells = [0] * CELLS
        writer = Direct(Syslog((log._path[0], log._path[1])))
        wire = Log(writer, cells=cells)
        wire.event(100, "one")
        until(log.read)
        log.go()
        for _turn in range(10):
            wire.event(100, "lost")
            wire.count_lines()
        assert cells[LINES] + cells[LINES_LOST] == cells[LINES_SAID]
        assert cells[LINES_SAID] - 2 <= cells[LINES_LOST] <= cells[LINES_SAID] - 1  # but of the last, nobody knows yet
        log.come()
        wire.report_lost()
        assert until(lambda: [line for line in log.read() if line["event"] == 302])
        wire.close()


def test_a_network_that_is_not_there_yet_costs_lines_and_no_start():
    root()
    script = (
        "from ogw.report.sinks import Syslog; sink = Syslog(('192.0.2.1', 514))\n"
        "try: sink.write(['x'])\n"
        "except OSError as error: print(error.strerror)"
    )
    words = [peer("unshare"), "--net", sys.executable, "-c", script]
    done = subprocess.run(words, capture_output=True, text=True, timeout=60)
    assert done.stdout == "Network is unreachable\n", done.stderr


def test_of_several_addresses_of_a_name_the_next_is_tried_where_nobody_listens():
    with SystemLog(("127.0.0.1", 0)) as log:
        other = socket.getaddrinfo("127.0.0.2", log._path[1], type=socket.SOCK_DGRAM)[0]
        places = [(other[0], socket.SOCK_DGRAM, other[4]), (socket.AF_INET, socket.SOCK_DGRAM, log._path)]
        sink = Syslog(("log.example", 514), places)
        for _turn in range(3):
            assert sink.write(["{}"]) == 1
        assert sink.bounced == 1 and len(log.read()) == 2
        sink.close()


def test_a_name_is_looked_up_once_and_never_in_a_child(monkeypatch):
    with SystemLog(("127.0.0.1", 0)) as log:
        sink = Syslog(("localhost", log._path[1]))
        monkeypatch.setattr("ogw.report.sinks.socket.getaddrinfo", lambda *_: pytest.fail("it looks up a name"))
        fresh = sink.fresh()
        assert fresh.write(["{}"]) == 1
        sink.close()
        fresh.close()


def test_a_process_that_dies_in_the_middle_of_a_line_leaves_others_a_place_to_go_on(tmp_path):
    """What it tore is known to all who share the place."""
    path = pathlib.Path(tmp_path, "log")
    sink = File(str(path))
    child = os.fork()
    if not child:
        own = sink.fresh()
        own._lines.send(["x" * 100], lambda data: os.write(own._fd, data[:10]))
        os.kill(os.getpid(), signal.SIGKILL)
    os.waitpid(child, 0)
    sink.write(['{"a": 1}'])
    assert path.read_bytes() == b"x" * 10 + b'\n{"a": 1}\n'
    assert lines_of(path.read_bytes())[1:] == [{"a": 1}]


def test_a_write_to_a_pipe_is_never_more_than_it_takes_whole():
    with Pipe(1 << 16) as pipe:
        stream = Stream(pipe.writing)
        lines = [f"{number:0700}" for number in range(1000)]
        taken = stream.write(lines)
        assert drained(pipe.reading).decode().split("\n")[:-1] == lines[:taken]
        assert taken * 701 <= 1 << 16 and PIPE_ATOMIC == 4096
        stream.close()


def test_a_file_that_was_renamed_away_takes_lines_while_no_descriptor_is_left_to_open_another(tmp_path):
    path, old = tmp_path / "log", tmp_path / "log.1"
    script = (
        "import errno, os, resource, sys; from ogw.report.losses import ASTRAY; from ogw.report.sinks import File\n"
        "sink, (_soft, hard) = File(sys.argv[1]), resource.getrlimit(resource.RLIMIT_NOFILE)\n"
        "os.rename(sys.argv[1], sys.argv[1] + '.1')\n"
        "resource.setrlimit(resource.RLIMIT_NOFILE, (3, hard))\n"
        "assert sink.write(['one']) == 1 and sink.trouble == ASTRAY + errno.EMFILE, sink.trouble\n"
        "resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))\n"
        "assert sink.write(['two']) == 1 and sink.trouble == 0\n"
    )
    subprocess.run([sys.executable, "-c", script, path], check=True, timeout=60)
    assert (old.read_text(), path.read_text()) == ("one\n", "two\n")


def test_lines_of_two_processes_keep_apart_on_a_socket_with_little_room():
    """The kernel takes more than half of its room in pieces, and lets others in between."""
    ours, theirs = socket.socketpair()
    theirs.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1)
    stream, children = Stream(theirs.fileno()), []
    for number in range(2):
        child = os.fork()
        if not child:
            lines = [f"{number}{count:03}{'x' * 400}" for count in range(20)]
            for _batch in range(400):
                left = lines
                while left:
                    with contextlib.suppress(BlockingIOError):
                        left = left[stream.write(left) :]
            os._exit(0)
        children.append(child)
    stream.close()
    theirs.close()
    with ours, ours.makefile("rb") as file:
        lines = file.read().splitlines()
    for child in children:
        assert os.waitpid(child, 0)[1] == 0
    assert len(lines) == 16_000 and {len(line) for line in lines} == {404}
