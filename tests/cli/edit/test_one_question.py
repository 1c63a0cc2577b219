"""An edit asks the running gateway once, whatever there is to be done and said."""

import http.server
import json
import socketserver
import threading
from urllib.parse import parse_qs, urlsplit

import pytest
from harness.edits import Edited

ANSWER = {
    "reads": None,
    "beaten": {},
    "reload": {"mistakes": [], "changed": ["allowed-host"], "policy": "01234567"},
}


class Asked(socketserver.ThreadingUnixStreamServer):
    """Listens in a folder as a gateway does, gives the same answer to all, and keeps what it was asked."""

    daemon_threads = True

    def __init__(self, folder, answer):
        super().__init__(str(folder / "admin.sock"), _Handler)
        self.answer = json.dumps(answer).encode()
        self.questions = []
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def __exit__(self, *exception):
        self.shutdown()
        super().__exit__(*exception)


class _Handler(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.server.questions.append((self.path, body))
        self.send_response(200)
        self.send_header("Content-Length", str(len(self.server.answer)))
        self.end_headers()
        self.wfile.write(self.server.answer)

    def address_string(self):
        return "a command"

    def log_message(self, *words):
        pass


@pytest.fixture
def file(tmp_path):
    folder = tmp_path / "ogw"
    folder.mkdir()
    return Edited(folder, "[ogw]\nallowed-host = www.example.com\n")


def test_a_change_a_reload_and_what_comes_of_both_is_one_question(file):
    with Asked(file.folder, {**ANSWER, "reads": str(file.path)}) as gateway:
        end = file.run("allowed-host", "add", "new.example", "--reload")
    assert (end.returncode, end.stdout) == (
        0,
        "+ allowed-host new.example\nreloaded, changed: allowed-host; policy 01234567\n",
    )
    ((path, body),) = gateway.questions
    assert urlsplit(path).path == "/changed"
    assert parse_qs(urlsplit(path).query) == {"file": [str(file.path)], "reload": ["1"]}
    assert json.loads(body)["added"] == ["allowed-host new.example"]


def test_a_reload_without_a_change_tells_of_none(file):
    with Asked(file.folder, ANSWER) as gateway:
        told = file.told("allowed-host", "add", "www.example.com", "--reload", code=3)
    assert f"does not read {file.path}" in told
    ((_path, body),) = gateway.questions
    assert body == b""


def test_what_changes_nothing_asks_nothing(file):
    with Asked(file.folder, ANSWER) as gateway:
        file.done("allowed-host", "add", "www.example.com")
        file.done("allowed-host", "add", "new.example", "--reload", "--dry-run")
    assert gateway.questions == []


def test_a_gateway_of_another_version_is_said_to_be_one(file):
    with Asked(file.folder, {}):
        told = file.told("allowed-host", "add", "new.example", "--reload", code=3)
    assert f"{file.path} was changed; the change takes effect when a gateway starts" in told
    assert "they do not understand each other" in told and len(file.changes) == 1
