"""conf/log.schema.json against the catalogue, the code and the lines that a real gateway writes for every event."""

import os
import signal
import socket
import sys

import jsonschema
import pytest
from harness.admin import ask
from harness.dns import Dns
from harness.gateway import Gateway, address, read_all, read_head
from harness.handover import Upgraded
from harness.hellos import extension, hello
from harness.lines import SCHEMA, VALIDATOR, assert_valid, mistakes
from harness.lists import ListServer
from harness.signing import Signer
from harness.tls import TlsServer, client, serving
from harness.upstreams import Server

from ogw.policy.decision import Reason
from ogw.report.events import CATALOGUE, Event, Field
from ogw.settings.elsewhere.copies import Copy, write_copy
from ogw.settings.elsewhere.signature import ListReason

NAME = "www.bench.example"
FIELDS = {value for name, value in vars(Field).items() if name.isupper()}
BROKEN = """
import sys
from ogw.policy import hosts
judge = hosts.Policy.judge_target
def judge_target(self, target, *rest, **more):
    assert "broken" not in str(target), "of the test's"
    return judge(self, target, *rest, **more)
hosts.Policy.judge_target = judge_target
from ogw.cli.main import main
sys.exit(main(["run", *sys.argv[1:]]))
"""


def refuse(connection):
    """A relay proxy that opens nothing."""
    read_head(connection)
    connection.sendall(b"HTTP/1.1 403 Forbidden\r\n\r\n")


class Story:
    """A gateway whose configuration is written and reloaded as the story goes on."""

    def __init__(self, gateway, path):
        self.gateway, self._path = gateway, path

    def reload(self, status, *settings):
        write(self._path, *settings)
        assert ask(self.gateway, "/reload", "POST")[0] == status

    def refused(self, target, data=b""):
        """The status, once the gateway has closed; `data` is sent behind a 200."""
        with self.gateway.connect() as sock:
            sock.sendall(f"CONNECT {target} HTTP/1.1\r\n\r\n".encode())
            head = read_head(sock)
            if data:
                assert head.startswith(b"HTTP/1.1 200 "), head
                sock.sendall(data)
            read_all(sock)
        return int(head.split()[1])


def keep_signed_list(story, authority):
    """A copy that is overdue, a list without its signature, a good one, and a rollback."""
    signer, state = Signer(), story.gateway.run_dir
    with ListServer(authority) as lists:
        settings = f"allowed-host-source = {lists.url}", f"allowed-host-source-key = {signer.word}"
        signature = signer.sign(b"old.example\n", expires="2020-01-01T00:00:00Z").decode()
        write_copy(state, Copy(lists.url, "", "", 1.0, b"old.example\n", signature))
        story.reload(200, *settings)
        story.gateway.wait_for(event=304)
        story.gateway.wait_for(event=303)
        lists.put(b"new.example\n", signer.sign(b"new.example\n", 2))
        story.reload(200, *settings)
        story.gateway.wait_for(event=111, source=lists.url)
        assert ask(story.gateway, f"/roll-back?source={lists.url}&by=me", "POST")[0] == 200
        story.gateway.wait_for(event=115)


def write(path, *settings):
    allowed = "allowed-host =\n    .bench.example to=127.0.0.0/8\n    127.0.0.0/8 to=127.0.0.0/8"
    path.write_text("\n".join(["[ogw]", allowed, *settings, ""]))


@pytest.fixture(scope="module")
def lines(authority, authority_file, tmp_path_factory):
    """Those of one gateway that lived through everything that has a number."""
    path = tmp_path_factory.mktemp("story") / "ogw.ini"
    write(path)
    tls = address()
    authority.issue_cert(tls).private_key_and_cert_chain_pem.write_to_path(str(path.with_name("tls.pem")))
    flags = ("--config", str(path), "--log-level", "debug", "--listen-address", f"tls://{tls}:8443")
    flags += ("--listen-tls-certificate", str(path.with_name("tls.pem")))
    more = {"program": [sys.executable, "-c", BROKEN], "environment": {"SSL_CERT_FILE": authority_file}}
    with TlsServer(serving(authority, NAME, version="1.3")) as server, Server(refuse, port=3128) as relay:
        names = {NAME: [server.host], "broken.bench.example": [server.host]}
        with Dns(names) as dns, Upgraded(*flags, *dns.flags, tls_rules="enforce", **more) as gateway:
            story = Story(gateway, path)
            with gateway.connect() as sock:
                sock.sendall(b"GET http://www.bench.example/ HTTP/1.1\r\n\r\n")
                assert read_all(sock).startswith(b"HTTP/1.1 405 ")
            with socket.create_connection((tls, 8443)) as sock:
                sock.sendall(b"CONNECT www.example.com:443 HTTP/1.1\r\n\r\n")
                assert read_all(sock).startswith(b"HTTP/1.1 400 ")
            assert story.refused("www.example.com:443") == 403
            assert story.refused("broken.bench.example:443") == 500
            assert story.refused(f"{NAME}:443", b"SSH-2.0-x\r\n") == 200
            assert story.refused(f"{NAME}:443", hello(NAME.encode(), extension(51, b"x")[:-1])) == 200
            assert story.refused("nobody.bench.example:443") == 502
            with gateway.tunnel(f"{NAME}:443") as sock, client("1.3").wrap_socket(sock, server_hostname=NAME) as tls:
                tls.sendall(b"hello")
                assert tls.recv(5) == b"hello"
            gateway.closed(reason="client-closed")
            story.reload(409, "max-tunnels = many")
            story.reload(200, f"relay-proxy = http://{relay.target}", "tcp-keepalive = 50s")
            assert story.refused(f"{NAME}:443") == 502
            story.reload(200, "max-tunnels = 1")
            with gateway.tunnel(f"{NAME}:443"):
                assert story.refused(f"{NAME}:443") == 503
            story.reload(200, "allowed-client = 10.0.0.0/8")
            assert story.refused(f"{NAME}:443") == 403
            gateway.wait_for(event=112)  # lines that a killed worker has not written yet are lost
            with ListServer(authority) as lists:
                story.reload(200, f"allowed-host-source = {lists.url}", f"agent-config = {path.parent}/no-agent")
                gateway.wait_for(event=111)
                lists.answer = (500, b"")
                story.reload(200, f"allowed-host-source = {lists.url}")
                gateway.wait_for(event=301)
            keep_signed_list(story, authority)
            os.kill(gateway.workers[0], signal.SIGKILL)
            gateway.wait_for(event=405)
            write(path, "max-tunnels = many")
            gateway.send(signal.SIGUSR2)
            gateway.failed()
            write(path)
            gateway.upgrade()
            assert gateway.stop() == 0
            yield gateway.lines


@pytest.mark.parametrize("event", Event, ids=int)
def test_the_gateway_writes_a_line_of_every_event_as_the_schema_says(lines, event):
    of_this = [line for line in lines if line["event"] == event]
    assert of_this
    assert [mistakes(line) for line in of_this] == [[]] * len(of_this)


def test_the_schema_is_one():
    jsonschema.Draft202012Validator.check_schema(SCHEMA)


def test_the_schema_has_every_field_and_says_what_it_is():
    assert set(SCHEMA["properties"]) == FIELDS
    assert all(shape["description"].endswith(".") for shape in SCHEMA["properties"].values())


def test_the_schema_has_every_event_by_its_name():
    numbers = SCHEMA["properties"]["event"]["enum"]
    assert numbers == [int(event) for event in CATALOGUE]
    told = {
        rule["if"]["properties"]["event"]["const"]: rule["then"]["properties"]["name"]["const"]
        for rule in SCHEMA["allOf"]
    }
    assert told == {int(event): name for event, (_level, name) in CATALOGUE.items()}
    needed = {field for rule in SCHEMA["allOf"] for field in rule["then"].get("required", ())}
    assert needed <= FIELDS


def test_the_schema_has_every_reason():
    never_logged = {Reason.ALLOWED, Reason.WORKER_DIED}
    tokens = {reason.token for reason in set(Reason) - never_logged} | {reason.value for reason in ListReason}
    assert set(SCHEMA["properties"]["reason"]["enum"]) == tokens


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"bytes_down": None}, "'bytes_down' is a dependency of 'bytes_up'"),
        ({"tunnel": None}, "'tunnel' is a required property"),
        ({"duration": "1.5"}, "'1.5' is not of type 'number'"),
        ({"colour": "red"}, "'colour' was unexpected"),
        ({"reason": "because"}, "'because' is not one of"),
        ({"event": 999}, "999 is not one of"),
        ({"name": "something else"}, "'tunnel closed' was expected"),
        ({"time": "yesterday"}, "'yesterday' does not match"),
    ],
)
def test_a_line_that_is_not_as_the_schema_says_fails_its_test(lines, change, words):
    line = next(line for line in lines if line["event"] == 108 and "bytes_up" in line)
    changed = {name: value for name, value in {**line, **change}.items() if value is not None}
    assert any(words in mistake for mistake in mistakes(changed)), mistakes(changed)
    if "time" not in change:  # of the shapes that were seen, only the first line's free texts are looked at
        with pytest.raises(AssertionError, match=r"conf/log\.schema\.json"):
            assert_valid([changed])


def test_refusals_that_repeat_are_a_count_that_is_valid_too():
    with Gateway("--log-every-refusal=no") as gateway:
        for _ in range(3):
            with gateway.connect() as sock:
                sock.sendall(b"CONNECT www.example.com:443 HTTP/1.1\r\n\r\n")
                assert read_all(sock).startswith(b"HTTP/1.1 403 ")
        gateway.stop()
        (counted,) = [line for line in gateway.events(105) if "count" in line]
    assert counted["count"] == 2 and VALIDATOR.is_valid(counted)


def test_a_tunnel_that_is_open_for_long_and_the_four_counters_are_lines_that_are_valid_too():
    with Gateway("--log-interval", "1s", "--allowed-host", "127.0.0.0/8 to=127.0.0.0/8") as gateway:
        with Server(lambda connection: connection.recv(1)) as server, gateway.tunnel(server.target):
            open_for_long = gateway.wait_for(event=100, message="the tunnel is open")
            counters = gateway.wait_for(event=100, tunnels=1, clients=1, errors=0, tls_rejections=0)
    assert VALIDATOR.is_valid(open_for_long) and VALIDATOR.is_valid(counters)
