"""The channel between the processes: bounded messages, what is too large is told, and what is no message ends it."""

import json
import signal
import socket
import struct
import sys
import time
from typing import get_origin

import pytest
from harness.admin import ask, asked
from harness.commands import ogw
from harness.gateway import ALLOW, Gateway, read_exactly
from harness.upstreams import Server, echo
from hypothesis import given
from hypothesis import strategies as st

from ogw.service import control, messages
from ogw.service.control import Channel, MessageTooLarge, pair
from ogw.service.messages import order_of, saying_of


@pytest.fixture
def channels():
    ours, theirs = pair()
    yield ours, theirs
    ours.close()
    theirs.close()


def framed(text):
    return struct.pack("!I", len(text)) + text


def test_a_message_that_is_too_large_is_an_error_and_the_channel_lives_on(channels, monkeypatch):
    monkeypatch.setattr(control, "LARGEST", 1000)
    ours, theirs = channels
    for _turn in range(3):
        with pytest.raises(MessageTooLarge, match=r"a message of 2,0\d\d bytes; the most is 1,000"):
            ours.send({"said": "x" * 2000})
        assert not ours.wants_write
        ours.send({"said": "y" * 900})
        assert list(theirs.receive()) == [{"said": "y" * 900}]


def test_the_largest_message_passes_although_others_wait(channels, monkeypatch):
    monkeypatch.setattr(control, "LARGEST", 1 << 20)
    ours, theirs = channels
    large = {"said": "x" * ((1 << 20) - len('{"said": ""}'))}
    ours.send(large)
    ours.send({"said": "more"})
    got = []
    while len(got) < 2:
        ours.flush()
        got += theirs.receive()
    assert got == [large, {"said": "more"}]


def test_who_takes_nothing_is_told_no_more_than_so_much(channels, monkeypatch):
    monkeypatch.setattr(control, "LARGEST", 1 << 20)
    ours, _theirs = channels
    with pytest.raises(OSError, match="takes nothing any more"):
        for _turn in range(20):
            ours.send({"said": "x" * (1 << 19)})


def test_a_wait_for_who_takes_nothing_ends_and_hears_meanwhile(channels):
    ours, theirs = channels
    ours.send({"said": "x" * (1 << 22)})
    theirs.send({"order": "ping"})
    begun = time.monotonic()
    with pytest.raises(TimeoutError):
        ours.finish(0.2)
    assert 0.1 < time.monotonic() - begun < 20
    assert list(ours.receive()) == [{"order": "ping"}]
    got = []
    while not got:
        got += theirs.receive()
        ours.flush()
    assert len(got[0]["said"]) == 1 << 22


@given(st.lists(st.dictionaries(st.text(), st.integers() | st.text()), max_size=5), st.data())
def test_messages_pass_whole_however_they_are_cut(messages, data):
    ours, theirs = socket.socketpair()
    with ours, theirs:
        channel = Channel(theirs)
        stream = b"".join(framed(json.dumps(message).encode()) for message in messages)
        got = []
        while stream:
            size = data.draw(st.integers(1, len(stream)))
            ours.sendall(stream[:size])
            stream = stream[size:]
            got += channel.receive()
        assert got == messages


@pytest.mark.parametrize(
    "garbage",
    [
        struct.pack("!I", control.LARGEST + 1),
        b"GET / HTTP/1.1\r\n\r\n",
        framed(b""),
        framed(b"{"),
        framed(b"5"),
        framed(b"null"),
        framed(b"[]"),
        framed(b"\xff\xfe"),
        framed(b"[" * 100_000),
        framed(b'{"a":' * 10_000),
    ],
)
def test_what_is_no_message_is_an_error(channels, garbage):
    ours, theirs = channels
    theirs.sock.setblocking(True)
    theirs.sock.sendall(garbage)
    with pytest.raises(ValueError):
        list(ours.receive())


@pytest.mark.parametrize(
    ("fields", "unpacked"),
    [
        ({}, saying_of),
        ({"said": 5}, saying_of),
        ({"said": ["ready"]}, saying_of),
        ({"said": "unheard"}, saying_of),
        ({"said": "answered"}, saying_of),
        ({"said": "answered", "number": "1", "answer": {}}, saying_of),
        ({"said": "drained", "cut": None}, saying_of),
        ({"said": "asks", "number": 1, "question": []}, saying_of),
        ({"said": "asks", "number": 1, "question": {"what": "status"}}, saying_of),
        ({"said": "asks", "number": 1, "question": {"what": "kill", "tunnel": 5}}, saying_of),
        ({"said": "ping"}, order_of),
        ({"order": "prepare", "number": 1}, order_of),
        ({"order": "ask", "number": 1, "question": {"what": "reload"}}, order_of),
    ],
)
def test_a_message_that_lacks_what_it_must_have_is_an_error(fields, unpacked):
    with pytest.raises(ValueError):
        unpacked(fields)


VALUES = {int: 7, float: 2.5, str: "text", bool: True, dict: {"key": [1, None]}, list: [105, 112]}


def made(kind):
    """A message of this type."""
    return kind(*(_made_field(hint) for hint in kind.__annotations__.values()))


def _made_field(hint):
    return (
        made(messages.KillTunnel)
        if hint in (messages.Question, messages.ForWorkers)
        else VALUES[get_origin(hint) or hint]
    )


@pytest.mark.parametrize(
    ("kind", "unpacked"),
    [(kind, order_of) for kind in messages.ORDERS.values()] + [(kind, saying_of) for kind in messages.SAYINGS.values()],
)
def test_every_message_arrives_as_it_was_sent(channels, kind, unpacked):
    ours, theirs = channels
    message = made(kind)
    ours.send(messages.packed(message))
    (fields,) = theirs.receive()
    got = unpacked(fields)
    assert got == message and type(got) is kind


@pytest.mark.parametrize("kind", messages.QUESTIONS.values())
def test_every_question_arrives_as_it_was_asked(channels, kind):
    ours, theirs = channels
    question = messages.AskSupervisor(1, made(kind))
    ours.send(messages.packed(question))
    (fields,) = theirs.receive()
    got = saying_of(fields)
    assert got == question and type(got.question) is kind


SMALL = """
import sys
from ogw.service import control
control.LARGEST = int(sys.argv[1])
from ogw.cli.main import main
sys.exit(main(["run", *sys.argv[2:]]))
"""


def test_an_answer_that_is_too_large_is_told_and_nobody_is_deaf_afterwards():
    """24 tunnels do not fit into 2,000 bytes; the configuration does neither."""
    with Server(echo) as upstream:
        program = [sys.executable, "-c", SMALL, "2000"]
        with Gateway(*ALLOW, "--hung-timeout", "2s", program=program, workers=2) as gateway:
            socks = [gateway.tunnel(upstream.target) for _turn in range(48)]
            workers = gateway.workers
            took = []
            for _turn in range(3):
                begun = time.monotonic()
                assert asked(gateway, "/tunnels")["workers_missing"] >= 1
                took.append(time.monotonic() - begun)
                assert asked(gateway, "/tunnels?most=1")["workers_missing"] == 0
                status, _headers, body = ask(gateway, "/config")
                assert status == 503 and body.startswith(b"the answer is too large: a message of ")
            assert min(took) < 2.5, "it is told, not waited for"
            done = ogw("reload", "--run-dir", gateway.run_dir)
            assert done.returncode == 1
            assert "the workers cannot be told of it: a message of " in done.stderr
            begun = time.monotonic()
            while time.monotonic() < begun + 4:  # who is deaf gives no sign of life
                assert ask(gateway, "/readyz")[0] == 200
            for sock in socks:
                sock.sendall(b"x")
                assert read_exactly(sock, 1) == b"x"
                sock.close()
            assert gateway.workers == workers and not gateway.events(405)


GARBAGE = """
import os, sys
from ogw.service import worker
obey = worker.Worker._obey
def garbled(self, order):
    if isinstance(order, worker.Reopen) and not os.path.exists(sys.argv[1]):
        open(sys.argv[1], "w").close()
        self._channel.sock.send({garbage!r})
    obey(self, order)
worker.Worker._obey = garbled
from ogw.cli.main import main
sys.exit(main(["run", *sys.argv[2:]]))
"""


@pytest.mark.parametrize(
    "garbage",
    [b"\xff" * 8, framed(b"5"), framed(b'{"said": []}'), framed(b'{"said": "answered"}'), framed(b"[" * 9999)],
)
def test_a_worker_that_says_what_is_no_message_is_replaced_and_nothing_else_happens(tmp_path, garbage):
    program = [sys.executable, "-c", GARBAGE.replace("{garbage!r}", repr(garbage)), str(tmp_path / "said")]
    with Server(echo) as upstream, Gateway(*ALLOW, program=program, workers=1) as gateway:
        (worker,) = gateway.workers
        gateway.process.send_signal(signal.SIGUSR1)
        line = gateway.wait_for(event=405)
        assert f"process {worker}" in line["message"]
        gateway.tunnel(upstream.target).close()
        assert len(gateway.events(405)) == 1 and gateway.process.poll() is None
