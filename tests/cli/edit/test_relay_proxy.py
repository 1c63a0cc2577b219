"""`ogw relay-proxy get|set|clear`."""

import json
import subprocess

import pytest
from harness.commands import OGW, ROOT, clean
from harness.edits import Edited

URL = "http://proxy.example:3128"


@pytest.fixture
def file(tmp_path):
    return Edited(tmp_path, "[ogw]\n# kept\n")


def test_set_get_and_clear(file):
    assert "no relay proxy" in file.told("relay-proxy", "get", code=1)
    file.done("relay-proxy", "set", URL, "https://other.example")
    assert file.text == f"[ogw]\n# kept\nrelay-proxy =\n    {URL}\n    https://other.example\n"
    assert json.loads(file.done("relay-proxy", "get", "--json"))["relay-proxy"] == [URL, "https://other.example"]
    file.done("relay-proxy", "clear")
    assert file.text == "[ogw]\n# kept\n"
    assert "not set in the file" in file.told("relay-proxy", "clear", code=1)


def test_entries_keep_their_host_rules(file):
    named = "http://a.example:3128 for=*.ods.example,.auto.example:8443 from=10.1.0.0/16"
    file.done("relay-proxy", "set", named, "http://u:5ecret@b.example for=x.example", URL)
    assert f"\n    {named}\n    http://u:5ecret@b.example for=x.example\n    {URL}\n" in file.text
    shown = json.loads(file.done("relay-proxy", "get", "--json"))["relay-proxy"]
    assert shown == [named, "http://(hidden)@b.example for=x.example", URL]
    before = file.text
    for wrong, why in (
        ("for=x.example", "the whole entry stands in quotes"),
        (f"{URL} for=*", "a star needs two labels"),
    ):
        assert why in file.told("relay-proxy", "set", wrong, code=2)
    assert file.text == before


def set_by_stdin(file, said):
    return subprocess.run(
        [*OGW, "relay-proxy", "set", URL, "--username", "u", "--password-stdin"],
        input=said,
        env=clean(OGW_CONFIG=str(file.path), OGW_RUN_DIR=str(file.folder), OGW_LOG_FILE=str(file.log)),
        cwd=ROOT,
        capture_output=True,
        timeout=60,
    )


@pytest.mark.parametrize("said", [b"5ecret\n", b"5ecret", b"\xef\xbb\xbf5ecret\r\n", b"5ecret\nmore\n"])
def test_a_password_from_standard_input_goes_into_a_file_of_its_own(file, said):
    end = set_by_stdin(file, said)
    assert end.returncode == 0, end
    secret = file.folder / "relay-proxy.password"
    assert (secret.read_text(), secret.stat().st_mode & 0o777) == ("5ecret\n", 0o600)
    assert "5ecret" not in file.text + file.log.read_text() + end.stdout.decode() + end.stderr.decode()
    file.done("relay-proxy", "clear")
    assert not secret.exists()


@pytest.mark.parametrize(
    ("said", "words"),
    [
        (b"x" * 4097, b"is larger than 4096 bytes"),
        ("5ecret\n".encode("utf-16"), b"UTF-16"),
        (b"5ec\0ret\n", b"NUL byte"),
        (b"\xff\n", b"not a text in UTF-8"),
        (b"", b"is empty"),
        (b"\n", b"is empty"),
    ],
)
def test_what_is_no_password_changes_nothing(file, said, words):
    before = file.text
    end = set_by_stdin(file, said)
    assert end.returncode != 0 and words in end.stderr and b"nothing was changed" in end.stderr and file.text == before
    assert not (file.folder / "relay-proxy.password").exists()


def test_a_password_file_that_somebody_else_made_stays(file):
    secret = file.folder / "own"
    secret.write_text("5ecret\n")
    secret.chmod(0o600)
    file.done("relay-proxy", "set", URL, "--username", "u", "--password-file", secret)
    assert f"{secret} with the password stays" in file.told("relay-proxy", "clear")
    assert secret.read_text() == "5ecret\n"


def test_a_password_that_is_not_needed_any_more_goes_with_its_file(file):
    file.done("Set-OMSGatewayRelayProxy", URL, "u", "5ecret")
    file.done("Set-OMSGatewayRelayProxy", URL, "--dry-run")
    assert (file.folder / "relay-proxy.password").exists()
    file.done("Set-OMSGatewayRelayProxy", URL)
    assert not (file.folder / "relay-proxy.password").exists()
    assert file.text == f"[ogw]\n# kept\nrelay-proxy = {URL}\n"


def test_credentials_in_a_url_are_hidden(file):
    end = file.run("relay-proxy", "set", "http://u:5ecret@proxy.example:3128")
    assert end.returncode == 0
    assert "5ecret" not in end.stdout + end.stderr + file.log.read_text() + file.done("relay-proxy", "get")


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (["nonsense://p"], 2, "is none of http://, https://"),
        ([URL, "--password-stdin"], 2, "--username is missing"),
        ([URL, "--username", "u", "--password-stdin", "--password-file", "x"], 2, "do not go together"),
        ([URL, "--username", "u", "--password-file", "/nothing/there"], 1, "/nothing/there"),
    ],
)
def test_what_is_wrong_is_said_and_nothing_is_changed(file, words, code, says):
    assert says in file.told("relay-proxy", "set", *words, code=code)
    assert file.text == "[ogw]\n# kept\n"
