"""`ogw top` in a real terminal, on a real gateway."""

import re
import signal

import pytest
from harness.commands import OGW, ogw
from harness.gateway import Gateway
from harness.terminal import Terminal
from harness.upstreams import Server, echo

COLOURS = re.compile(rb"\x1b\[(?:[0-9;]*;)?(?:3[0-8]|4[0-8]|9[0-7]|10[0-7])(?:;[0-9;]*)?m")
ALTERNATE, BACK = b"\x1b[?1049h", b"\x1b[?1049l"


@pytest.fixture(scope="module")
def served():
    """A gateway with three tunnels and a refusal, and its upstream."""
    with Server(echo) as upstream, Gateway("--allowed-host", upstream.host, *LOOPBACK, workers=2) as gateway:
        socks = [gateway.tunnel(upstream.target) for _ in range(3)]
        gateway.ask("www.example.org:443")[0].close()
        gateway.wait_for(event=105)
        yield gateway, upstream
        for sock in socks:
            sock.close()


LOOPBACK = ("--allowed-target-network", "127.0.0.0/8")


def top(gateway, *words, columns=80, lines=24, run_dir=None, **environment):
    command = [*OGW, "top", "--run-dir", run_dir or gateway.run_dir, *words]
    return Terminal(command, columns, lines, **{"TERM": "xterm-256color", **environment})


@pytest.mark.parametrize(("columns", "lines"), [(80, 24), (160, 50)])
def test_it_fits_the_screen_and_q_leaves_it_as_it_was(served, columns, lines):
    gateway, upstream = served
    with top(gateway, columns=columns, lines=lines) as terminal:
        terminal.wait_for("serving", "each second", "top clients", upstream.target, "worker", "refused at")
        shown = terminal.wait_for("www.example.org:443", "host-not-allowed")
        assert "tunnels 3 of" in shown[1]
        assert any(line.split()[:1] == ["127.0.0.1"] and upstream.target in line for line in shown)
        assert "…" not in "".join(shown)
        assert terminal.modes[3] != terminal.before[3]  # keys come at once, without an echo
        terminal.press(b"q")
        assert terminal.end() == 0
        assert terminal.modes == terminal.before
        assert ALTERNATE in terminal.raw and terminal.raw.rindex(BACK) > terminal.raw.rindex(ALTERNATE)
        assert terminal.raw.count(b"\x1b[?25l") <= terminal.raw.count(b"\x1b[?25h")


def test_rates_are_those_of_the_traffic(served):
    gateway, upstream = served
    with top(gateway, "--interval", "0.5") as terminal:
        terminal.wait_for("each second")
        sock = gateway.tunnel(upstream.target)
        for _ in range(200):
            sock.sendall(b"x" * 50_000)
            left = 50_000
            while left:
                left -= len(sock.recv(left))
            rates = next(line for line in terminal.lines if line.startswith("     "))
            if "MiB" in rates or "KiB" in rates:
                break
        else:
            terminal.wait_for("MiB")
        sock.close()


def test_ctrl_c_leaves_with_130_and_no_traceback(served):
    with top(served[0]) as terminal:
        terminal.wait_for("top clients")
        terminal.press(b"\x03")
        assert terminal.end() == 130
        assert b"Traceback" not in terminal.raw
        assert terminal.modes == terminal.before
        assert terminal.raw.rindex(BACK) > terminal.raw.rindex(ALTERNATE)


@pytest.mark.parametrize("moment", [ALTERNATE, b"\x1b[?25l", b"ogw "])
def test_ctrl_c_while_the_screen_is_being_taken_gives_it_back(served, moment):
    with top(served[0]) as terminal:
        terminal.wait_for_raw(moment)
        terminal.press(b"\x03")
        assert terminal.end() == 130
        assert terminal.modes == terminal.before
        assert terminal.raw.rindex(BACK) > terminal.raw.rindex(ALTERNATE)
        # A terminal drops what nobody has read yet when Ctrl-C is pressed: the cursor may never have been hidden.
        assert terminal.raw.rfind(b"\x1b[?25h") > terminal.raw.rfind(b"\x1b[?25l")


def test_sigterm_leaves_the_terminal_as_it_was(served):
    with top(served[0]) as terminal:
        terminal.wait_for("top clients")
        terminal.process.send_signal(signal.SIGTERM)
        assert terminal.end() == 130
        assert terminal.modes == terminal.before
        assert b"Traceback" not in terminal.raw and terminal.raw.rindex(BACK) > terminal.raw.rindex(ALTERNATE)


def test_a_resize_is_drawn_at_once(served):
    with top(served[0], "--interval", "600") as terminal:
        narrow = terminal.wait_for("top hosts")
        terminal.resize(160, 50)
        where = next(line.index("top hosts") for line in narrow if "top hosts" in line)
        terminal.wait_for(" " * 28 + "tunnels  top hosts")
        assert any(line.index("top hosts") > where for line in terminal.lines if "top hosts" in line)
        terminal.press(b"q")
        assert terminal.end() == 0


@pytest.mark.parametrize(
    ("environment", "colours"), [({}, True), ({"NO_COLOR": "1"}, False), ({"TERM": "vt100"}, False)]
)
def test_colours_are_for_terminals_that_have_and_want_them(served, environment, colours):
    with top(served[0], "--count", "1", **environment) as terminal:
        assert terminal.end() == 0
    assert bool(COLOURS.search(terminal.raw)) is colours
    assert b"top clients" in terminal.raw


def test_a_dumb_terminal_gets_frames_as_text(served):
    with top(served[0], "--count", "2", "--interval", "0.1", TERM="dumb") as terminal:
        assert terminal.end() == 0
    assert b"\x1b" not in terminal.raw
    assert terminal.raw.count(b"top clients") == 2
    assert max(map(len, terminal.raw.splitlines())) <= 80


def test_frames_in_a_file_are_plain_text(served):
    done = ogw("top", "--count", "2", "--interval", "0.1", "--run-dir", served[0].run_dir, TERM="xterm-256color")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.count("each second") == 2
    assert "\x1b" not in done.stdout and not re.search(" $", done.stdout, re.MULTILINE)


@pytest.mark.parametrize(
    "words", [("--interval", "0"), ("--interval", "x"), ("--count", "0"), ("--count", "x"), ("x",)]
)
def test_wrong_words_are_told(words):
    done = ogw("top", *words)
    assert done.returncode == 2 and "ogw: " in done.stderr and "Traceback" not in done.stderr


def test_a_gateway_that_is_restarted_is_told_and_watched_on(tmp_path):
    flags = ("--allowed-host", "www.example.com", "--run-dir", str(tmp_path))
    with Gateway(*flags) as first:
        with top(first, "--interval", "0.2", run_dir=str(tmp_path)) as terminal:
            terminal.wait_for("serving")
            assert first.stop() == 0
            terminal.wait_for("does not answer; waiting")
            with Gateway(*flags) as second:
                terminal.wait_for("restarted at ", f" {second.workers[0]} ")
                terminal.press(b"q")
                assert terminal.end() == 0


def test_without_a_gateway_it_does_not_begin(tmp_path):
    with Terminal([*OGW, "top", "--run-dir", str(tmp_path)], TERM="xterm") as terminal:
        assert terminal.end() == 3
    assert ALTERNATE not in terminal.raw and b"is not there" in terminal.raw


def test_a_small_screen_shows_the_first_lines(served):
    with top(served[0], columns=40, lines=10) as terminal:
        shown = terminal.wait_for("top clients", "127.0.0.1")
        assert shown[0].startswith("ogw ")
        terminal.press(b"q")
        assert terminal.end() == 0
