"""The page without a browser: its HTML for any state, and which door of the admin process shows what to whom."""

import contextlib
import html.parser
import http.client
import json
import socket

import pytest
from harness.gateway import Gateway, address, read_all

from ogw.service.admin import page
from ogw.service.admin.app import NOT_ITS_NAME
from ogw.service.admin.attention import attention
from ogw.service.admin.history import Point

EVIL = "</script><script>alert(1)</script><b onclick='x'>\"&amp;\u202e"
VOID = {"meta", "link", "br"}


class Reader(html.parser.HTMLParser):
    """Reads a document as a strict reader does: every element is closed, in order; no id stands twice."""

    def __init__(self, text):
        super().__init__(convert_charrefs=True)
        self.open, self.names, self.ids, self.attributes, self.text = [], [], [], [], []
        self.feed(text)
        self.close()
        assert not self.open, self.open

    def handle_starttag(self, tag, attrs):
        self.names.append(tag)
        self.attributes += [name for name, _value in attrs]
        self.ids += [value for name, value in attrs if name == "id"]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.open.pop()

    def handle_endtag(self, tag):
        assert self.open and self.open[-1] == tag, (self.open, tag)
        self.open.pop()

    def handle_data(self, data):
        if self.open[-1:] not in (["script"], ["style"]):
            self.text.append(data)


def state(text="ok.example:443", state="serving", **more):
    refusal = {"client": text, "target": text, "reason": "host-not-allowed", "event": 105, "detail": text, "count": 3,
               "enforced": True, "last": "2026-02-03T04:05:06.789Z", "age": 3.7,
               "command": f"ogw allowed-host add {text}"}  # fmt: skip
    return {
        "version": "1", "state": state, "started": "2026-02-03T04:00:00.000Z", "uptime": 310.5, "policy": "01234567",
        "policy_mode": {"mode": "enforce", "until": None},
        "listen": ["127.0.0.1:8080"], "admin": None, "max_tunnels": 100, "max_descriptors": 1000, "worker_deaths": 0,
        "workers": [{"number": 0, "pid": 7, "tunnels": 2, "descriptors": 30}],
        "counters": {"tunnels": 2, "clients": 1, "errors": 0, "tls_rejections": 0, "allowed": 1234, "refused": 3,
                     "reported": 0, "verified": 0, "closed": 0, "bytes_up": 5 << 20, "bytes_down": 100, "log_lines": 1,
                     "log_lines_lost": 0, "reloads": 0, "reloads_refused": 0},
        "reasons": {"host-not-allowed": 3}, "workers_missing": 0,
        "top_clients": [{"client": text, "tunnels": 2}], "top_hosts": [{"host": text, "tunnels": 2}],
        "relay_proxies": [{"proxy": text, "up": False, "opened": 1, "failed": 2}], "refusals": [refusal],
        "attention": [text], **more,
    }  # fmt: skip


def shown(status, points=()):
    return Reader(page.rendered(status, [Point(*point) for point in points]))


EMPTY = {"top_clients": [], "top_hosts": [], "relay_proxies": [], "refusals": [], "attention": [], "reasons": {}}


@pytest.mark.parametrize(
    "status",
    [state(), state(EVIL), state(**EMPTY), state(state="draining"),
     state(state="starting", started=None, uptime=0, max_tunnels=0, workers=[], **EMPTY)],
    ids=["usual", "hostile", "empty", "draining", "starting"],
)  # fmt: skip
def test_the_html_is_well_formed(status):
    read = shown(status)
    assert len(read.ids) == len(set(read.ids))
    assert {"header", "main", "footer", "h1", "h2", "table"} <= set(read.names)
    assert read.names.count("h1") == read.names.count("main") == 1
    assert "$" not in "".join(read.text)


def test_a_strangers_text_is_never_markup():
    usual, hostile = page.rendered(state(), []), page.rendered(state(EVIL), [])
    assert Reader(hostile).names == Reader(usual).names
    assert Reader(hostile).attributes == Reader(usual).attributes
    assert "".join(Reader(hostile).text).count(EVIL) >= 6
    start = hostile.partition('id="start">')[2].partition("</script>")[0]
    assert json.loads(start)["status"]["refusals"][0]["target"] == EVIL


def test_the_tables_say_what_happened():
    text = " ".join("".join(shown(state()).text).split())
    for part in ("Serving on 127.0.0.1:8080, 0 of 1 relay proxies up", "2 of 100 possible", "up 5 min",
                 "3 s ago 04:05:06 UTC 3 times", "from ok.example:443", "host-not-allowed OGW-105",
                 "ogw allowed-host add ok.example:443", "1,234 since the start", "5.0 MiB up, 100 B down in all",
                 "down, rests", "30 of 1,000", "The state at 04:05:10 UTC"):  # fmt: skip
        assert part in text


@pytest.mark.parametrize("last", ["1970-01-01T00:00:07.000Z", "2099-01-01T00:00:00.000Z"])
def test_how_long_ago_a_refusal_was_does_not_depend_on_the_clock(last):
    refusal = state()["refusals"][0]
    text = " ".join("".join(shown(state(refusals=[{**refusal, "last": last, "age": 127.0}])).text).split())
    assert "2 min ago" in text


def test_a_request_that_passed_is_not_shown_as_refused():
    refusal = state()["refusals"][0]
    for enforced in (True, False):
        text = "".join(shown(state(refusals=[{**refusal, "enforced": enforced}])).text)
        assert ("let pass, only reported" in text) is not enforced


def test_what_happens_a_second_is_told_over_ten_seconds():
    points = [(280.0, 0, 0, 0, 0, 0), (300.0, 1, 1213, 0, (5 << 20) - 10500, 0), (305.0, 1, 1230, 0, 0, 0)]
    text = " ".join("".join(shown(state(), points).text).split())
    assert "2.0 a second" in text and "1,000 B a second up" in text


@pytest.mark.parametrize(
    ("number", "told"),
    [(0, "0 B"), (1023, "1,023 B"), (1024, "1.0 KiB"), (150 << 20, "150 MiB"), (3 << 60, "3,072 PiB")],
)
def test_sizes(number, told):
    assert page._size(number) == told


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"relay_proxies": [{"proxy": "http://p:1", "up": False}]}, "Relay proxy http://p:1 rests"),
        ({"max_tunnels": 2}, "2 of 2 tunnels are open"),
        ({"workers_missing": 1}, "did not answer in time: 1"),
        ({"policy_mode": {"mode": "report", "until": "2026-02-04T04:05:06.000Z"}}, "until 2026-02-04T04:05:06.000Z"),
        ({"worker_deaths": 1200}, "since the start: 1,200"),
        ({"counters": {"tunnels": 0, "log_lines_lost": 3}}, "lost since the start: 3"),
    ],
)
def test_what_needs_attention_is_a_sentence(wrong, told):
    assert attention(state(**EMPTY)) == []
    (sentence,) = attention({**state(**EMPTY), **wrong})
    assert told in sentence


# Through the doors of a real gateway.


@pytest.fixture(scope="module")
def gateway():
    host = address()
    flags = ("--allowed-host", "ok.example", "--admin-address", f"{host}:9180", "--admin-page", "yes")
    flags += ("--admin-name", "Gate.example.com, proxied_gate", "--admin-name", "ogw.monitoring.svc.")
    with Gateway(*flags) as gateway:
        gateway.admin_host = host
        yield gateway


def ask(host, path, method="GET", named=None, version="1.1"):
    """(status, headers, body) of a request with this Host header; "" is none."""
    with contextlib.closing(socket.create_connection((host, 9180), timeout=20)) as sock:
        named = f"{host}:9180" if named is None else named
        lines = [f"{method} {path} HTTP/{version}", *([f"Host: {named}"] if named else []), "Connection: close"]
        if method == "POST":
            lines.append("Content-Length: 0")
        sock.sendall("\r\n".join([*lines, "", ""]).encode())
        sock.shutdown(socket.SHUT_WR)
        head, _, body = read_all(sock).partition(b"\r\n\r\n")
    status, _, rest = head.decode("latin-1").partition("\r\n")
    headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in rest.split("\r\n"))}
    return int(status.split()[1]), headers, body.decode()


def test_the_page_comes_with_a_policy_that_lets_only_its_own_script_run(gateway):
    status, headers, body = ask(gateway.admin_host, "/")
    assert (status, headers["content-type"]) == (200, "text/html; charset=utf-8")
    policy = headers["content-security-policy"]
    assert "unsafe" not in policy and "default-src 'none'" in policy and "frame-ancestors 'none'" in policy
    for kind, text in (("style", page.STYLE), ("script", page.SCRIPT)):
        assert f"{kind}-src {page._hash(text)}" in policy and f"<{kind}>{text}</{kind}>" in body
    assert headers["referrer-policy"] == "no-referrer" and headers["cache-control"] == "no-store"
    read = Reader(body)
    assert "style" not in read.attributes and not any(name.startswith("on") for name in read.attributes)


@pytest.mark.parametrize("path", ["/", "/status", "/tunnels", "/config"])
def test_what_the_page_shows_is_shown_under_the_gateways_own_names_only(gateway, path):
    own = socket.gethostname()
    given = (
        "gate.example.com",
        "GATE.EXAMPLE.com:443",
        "gate.example.com.:9180",
        "proxied_gate",
        "ogw.monitoring.svc:80",
    )
    own_ones = "localhost", "LOCALHOST:9180", own, f"{own}:9180", gateway.admin_host, "[::1]:9180", "192.0.2.1:80"
    for named in (*own_ones, *given):
        assert ask(gateway.admin_host, path, named=named)[0] == 200, named
    for named in (
        "rebound.example",
        "rebound.example:9180",
        "localhost.rebound.example",
        "127.0.0.1.example",
        "0x7f.1",
        "example.com",
        "x.gate.example.com",
        "gate.example.com.evil",
        "gate.example.com..",
        ".gate.example.com",
    ):
        assert ask(gateway.admin_host, path, named=named)[0::2] == (421, f"{NOT_ITS_NAME}\n"), named
    assert ask(gateway.admin_host, path, named="", version="1.0")[0] == 421


@pytest.mark.parametrize("path", ["/metrics", "/healthz", "/readyz"])
def test_machines_ask_under_any_name_and_with_old_versions(gateway, path):
    for named, version in (("rebound.example", "1.1"), ("rebound.example", "1.0"), ("", "1.0")):
        assert ask(gateway.admin_host, path, named=named, version=version)[0] == 200


@pytest.mark.parametrize("path", ["/", "/status", "/metrics", "/healthz"])
def test_head_is_get_without_the_body(gateway, path):
    status, headers, body = ask(gateway.admin_host, path, "HEAD")
    assert status == 200 and int(headers["content-length"]) > 0 and body == ""


@pytest.mark.parametrize("path", ["/", "/status", "/metrics", "/reload", "/drain", "/kill?tunnel=x"])
def test_nothing_is_changed_over_tcp(gateway, path):
    status, headers, _body = ask(gateway.admin_host, path, "POST")
    assert status == (404 if path in ("/reload", "/drain", "/kill?tunnel=x") else 405)
    assert status == 404 or headers["allow"] == "GET, HEAD"
    assert ask(gateway.admin_host, "/readyz")[0] == 200


def test_without_admin_page_nothing_is_shown_over_tcp():
    host = address()
    with Gateway("--allowed-host", "ok.example", "--admin-address", f"{host}:9180") as gateway:
        for path in ("/", "/status", "/tunnels", "/config"):
            assert ask(host, path)[0] == 404
            assert "admin-page = yes" in ask(host, path)[2]
        assert ask(host, "/readyz")[0] == 200
        local = Local(f"{gateway.run_dir}/admin.sock")
        with contextlib.closing(local):
            local.request("GET", "/")
            answer = local.getresponse()
            assert answer.status == 200 and "Serving" in Reader(answer.read().decode()).text


class Local(http.client.HTTPConnection):
    """HTTP over the unix socket."""

    def __init__(self, path):
        super().__init__("localhost", timeout=20)
        self._path = path

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.connect(self._path)
