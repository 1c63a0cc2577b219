"""One relay proxy is reached and asked: what goes wrong on our own side is not its fault."""

import _socket
import errno
import os
import ssl

import pytest
from harness.relays import PORT
from harness.upstreams import Server

from ogw.policy.decision import Reason
from ogw.report.table import Table
from ogw.tunnel.authentication import Authentication
from ogw.tunnel.basic import Basic
from ogw.tunnel.connector import Connector
from ogw.tunnel.local import OwnPlaces
from ogw.tunnel.mailbox import Mailbox
from ogw.tunnel.opener import Opener
from ogw.tunnel.password import PasswordSource
from ogw.tunnel.relay import Relay
from ogw.tunnel.resolve import Resolver
from ogw.tunnel.tried import Tried
from ogw.tunnel.upstream import DialError
from ogw.wire.connect import parse_target
from ogw.wire.relay_proxy import parse_relay_proxy


def test_there_is_no_descriptor_for_the_plain_end_of_a_leg(monkeypatch, authority):
    cells = Table(1).rows[0].cells

    def serve(connection):
        own = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority.issue_cert(server.host).configure_cert(own)
        with own.wrap_socket(connection, server_side=True) as secure:
            secure.recv(1)

    with Server(serve, port=PORT) as server:
        context = ssl.create_default_context()
        authority.configure_trust(context)
        ways = Authentication([Basic()], Tried(), cells)
        connector = Connector(Resolver((), 5.0), 20.0, 5.0, 0, cells)
        opener = Opener(connector, b"ogw", PasswordSource(None), context, OwnPlaces(()), 20.0, ways)
        relay = Relay(parse_relay_proxy(f"https://{server.host}:{PORT}"))

        def none_is_left():
            raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

        monkeypatch.setattr(_socket, "socketpair", none_is_left)
        with pytest.raises(DialError) as caught:
            opener.open(relay, parse_target(b"www.example.com:443"), Mailbox(), ())
        assert caught.value.reason is Reason.NO_DESCRIPTORS
        assert "raise the limit of open files" in caught.value.detail
        connector.close()
