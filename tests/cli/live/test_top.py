"""`ogw top` in a real terminal, on a real gateway."""

import json
import re
import signal

import pytest
from harness.commands import OGW, ogw
from harness.gateway import Gateway
from harness.terminal import Terminal
from harness.upstreams import Server, echo

from ogw.cli.live.rates import COUNTERS
from ogw.cli.live.status import screen as of_status
from ogw.cli.live.top_screen import screen
from ogw.cli.screen import UNLIMITED, plain

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
        terminal.wait_for("Serving", "each second", "top clients", upstream.target, "worker", "refused at")
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
            rates = next((line for line in terminal.lines if line.startswith("     ")), "")  # it may be drawn anew
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


@pytest.mark.parametrize("environment", [{"LC_ALL": "C", "PYTHONUTF8": "0"}, {"PYTHONIOENCODING": "ascii"}])
def test_where_only_ascii_is_to_be_had_nothing_else_is_written(served, environment):
    plain = {"PYTHONCOERCECLOCALE": "0", "NO_COLOR": "1", **environment}
    with top(served[0], "--count", "1", **plain) as terminal:
        assert terminal.end() == 0
    assert terminal.raw.isascii() and b"top clients" in terminal.raw and b"host-not-allowed" in terminal.raw
    done = ogw("top", "--count", "1", "--run-dir", served[0].run_dir, **plain)
    assert done.returncode == 0 and done.stdout.isascii() and "host-not-allowed" in done.stdout


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
            terminal.wait_for("Serving")
            assert first.stop() == 0
            terminal.wait_for("does not answer; waiting")
            with Gateway(*flags) as second:
                terminal.wait_for("restarted at ", f" {second.workers[0]} ")
                terminal.press(b"q")
                assert terminal.end() == 0


def test_without_a_gateway_it_does_not_begin(tmp_path):
    with Terminal([*OGW, "top", "--run-dir", str(tmp_path)], TERM="xterm") as terminal:
        assert terminal.end() == 3
    assert ALTERNATE not in terminal.raw and b"there is no such socket" in terminal.raw


def test_a_small_screen_shows_the_first_lines(served):
    with top(served[0], columns=40, lines=10) as terminal:
        shown = terminal.wait_for("top clients", "127.0.0.1")
        assert shown[0].startswith("ogw ")
        terminal.press(b"q")
        assert terminal.end() == 0


HOST = "a-rather-long-name-of-a-host-of-the-cash-desks.a-department-with-a-long-name.branch.example.net:8443"
CLIENT = "2001:db8:aaaa:bbbb:cccc:dddd:eeee:ffff"
MISTAKE = "/etc/ogw/ogw.ini:17: there is no setting 'alowed-host'; did you mean allowed-host?"


def crowded(gateway):
    """The status of a gateway, with long names in it."""
    status = json.loads(ogw("status", "--json", "--run-dir", gateway.run_dir).stdout)
    (refusal,) = status["refusals"]
    long = {**refusal, "client": CLIENT, "target": HOST, "reason": "client-certificate-not-allowed", "count": 12345}
    return status | {
        "machine": "gateway-of-the-cash-desks.branch.example.net",
        "listen": ["10.20.30.40:8080", f"[{CLIENT}]:8080"],
        "top_clients": [{"client": CLIENT, "tunnels": 1234}, *status["top_clients"]],
        "top_hosts": [{"host": HOST, "tunnels": 999}] * 12,
        "refusals": [long, refusal] * 8,
        "reload_refused": {"time": "2026-11-26T10:00:00Z", "age": 60, "mistakes": [MISTAKE], "count": 1},
    }


NOTHING = dict.fromkeys(COUNTERS, 0.0)


@pytest.mark.parametrize("width", [60, 70])
def test_numbers_are_whole_on_a_narrow_terminal_too(served, width):
    status = crowded(served[0])
    rates = {**NOTHING, "allowed": 1234.5, "bytes_up": 5e8, "bytes_down": 98765432.0}
    for shown in (plain(screen(status, rates, "", width, None), width=width), plain(*of_status(status), width=width)):
        assert "\u2026" not in shown, shown
    words = plain(screen(status, rates, "", width, None), width=width).split()
    assert {"1,234.5", "477", "94.2"} <= {*words}


@pytest.mark.parametrize(("width", "height"), [(80, 24), (80, 50), (100, 40), (160, 50), (UNLIMITED, None), (80, None)])
def test_nothing_is_cut_and_the_columns_are_straight(served, width, height):
    status = crowded(served[0])
    shown = plain(screen(status, NOTHING, "", width, height), width=width)
    lines = shown.splitlines()
    assert "\u2026" not in shown and len(lines) <= (height or 1000) - 1 and max(map(len, lines)) <= width
    words = shown.split()
    for name in (status["machine"], f"[{CLIENT}]:8080", "'alowed-host';", f"{status['max_tunnels']:,},"):
        assert name in words
    for heading, column in (("top clients", CLIENT), ("top hosts", HOST), ("client", CLIENT), ("target", HOST)):
        if heading in ("client", "target") and height == 24:
            continue  # no room for any
        assert column in column_of(lines, heading), shown
    if height is None:
        assert shown.count("www.example.org") == 8


def column_of(lines, heading):
    """What stands below a heading up to the next blank line, with what was folded put together."""
    first = next(number for number, line in enumerate(lines) if f"  {heading}  " in f"  {line}  ")
    start = f"  {lines[first]}  ".index(f"  {heading}  ")
    width = re.match(r".\S*(?: \S+)* *", lines[first][start:]).end()
    rest = lines[first + 1 :]
    rest = rest[: rest.index("")] if "" in rest else rest
    cells = [line[start : start + width].rstrip() for line in rest]
    assert all(line[start - 2 : start].isspace() or len(line) < start or not start for line in rest), lines
    return "".join(cells)


def test_a_mistake_that_would_fill_the_screen_is_left_to_status(served):
    status = crowded(served[0])
    status["reload_refused"]["mistakes"] = ["x " * 400]
    shown = plain(screen(status, NOTHING, "", 80, 24), width=80)
    assert "`ogw status" in shown and "top hosts" in shown and "x x" not in shown


def test_a_relay_proxy_and_its_reason_are_shown_whole(served):
    status = crowded(served[0])
    url = "https://a-rather-long-name-of-a-proxy.a-department-with-a-long-name.example.net:3128"
    why = "relay-refused: it answers 503 Service Unavailable, and says nothing of what is the matter with it"
    relay = {"proxy": url, "state": "resting", "resting": True, "why": why, "age": 5.0}
    for proxies in ([relay], [relay, {**relay, "proxy": "http://10.1.2.3:3128"}], [{**relay, "proxy": "http://p:1"}]):
        for width in (80, UNLIMITED):
            shown = plain(*of_status(status | {"relay_proxies": proxies}), width=width)
            assert "\u2026" not in shown
            assert {*why.split(), *(one["proxy"] for one in proxies)} <= {*shown.split()}
            assert (
                width > 80
                or max(
                    len(line)
                    for line in shown.splitlines()
                    if url not in line and "->" not in line and "to allow it" not in line
                )
                <= 80
            )
