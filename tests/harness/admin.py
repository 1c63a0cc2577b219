"""What a gateway's admin process says, over its socket or its TCP address."""

import contextlib
import http.client
import json
import socket

from harness.waiting import PATIENCE


class _Local(http.client.HTTPConnection):
    def __init__(self, path):
        super().__init__("localhost", timeout=20)
        self._path = path

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


def ask(gateway, path, method="GET", tcp=None, headers=None, body=None, tls=None):
    """(status, headers, body). `tcp`: an "address:port" to ask instead of the socket; `tls`: a context for it."""
    if tcp is None:
        connection = _Local(f"{gateway.run_dir}/admin.sock")
    elif tls is None:
        connection = http.client.HTTPConnection(tcp, timeout=20)
    else:
        connection = http.client.HTTPSConnection(tcp, timeout=20, context=tls)
    try:
        connection.request(method, path, body, headers or {})
        answer = connection.getresponse()
        return answer.status, answer.headers, answer.read()
    finally:
        connection.close()


@contextlib.contextmanager
def asking(gateway, path, method="POST"):
    """A question to the socket that was sent; called, it waits for the answer: (status, headers, body)."""
    connection = _Local(f"{gateway.run_dir}/admin.sock")

    def answer():
        response = connection.getresponse()
        return response.status, response.headers, response.read()

    with contextlib.closing(connection):
        connection.request(method, path)
        connection.sock.settimeout(60 * PATIENCE)
        yield answer


def asked(gateway, path, method="GET", body=None):
    """The JSON of an answer that is 200."""
    status, _headers, body = ask(gateway, path, method, body=body)
    assert status != 500, gateway.wait_for(event=400)  # its line says what went wrong in there
    assert status == 200, body
    return json.loads(body)


def metrics(gateway):
    """Every sample: 'name{labels}' -> number."""
    lines = ask(gateway, "/metrics")[2].decode().splitlines()
    return {name: float(value) for name, _space, value in (line.rpartition(" ") for line in lines if line[0] != "#")}
