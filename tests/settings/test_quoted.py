"""What a mistake, or a warning, quotes: never a token or a password, wherever it was written, and a comma is named."""

import json

import pytest
from harness.commands import ogw

from ogw.settings.loader import ConfigError, load

SECRET = "S3CRET"
OF_URLS = [
    f"lists.example.com/a?token={SECRET}",
    f"lists.example.com?token={SECRET}",
    f"//lists.example.com/a?token={SECRET}",
    f"https:/lists.example.com/a?token={SECRET}",
    f"http://lists.example.com/a?token={SECRET}",
    f"/x/l, https://lists.example.com/h?token={SECRET}",
    f"https://a.example/x?token={SECRET},https://b.example/y?token={SECRET}",
    f"https://user:{SECRET}@lists.example.com/a",
    f"https://user:{SECRET}/x@lists.example.com/a",
    f"https://user:{SECRET}/a",
    f"user:{SECRET}@lists.example.com/a",
    f"/x/l, https://user:{SECRET}@lists.example.com/h",
]
OF_RELAYS = [
    f"http://user:{SECRET}@proxy.example/path",
    f"http//user:{SECRET}@proxy.example:x",
    f"http:/user:{SECRET}@proxy.example:x",
    f"ftp://user:{SECRET}@proxy.example",
    f"http://user:{SECRET}",
    f"user:{SECRET}@:3128",
]


def told(*flags):
    with pytest.raises(ConfigError) as caught:
        load(list(flags), {})
    return "\n".join(caught.value.mistakes)


@pytest.mark.parametrize("text", OF_URLS)
def test_a_token_in_what_was_meant_as_a_url_is_never_told(text):
    names = ["allowed-host-source", "allowed-host", *(["allowed-client", "listen-address"] if "://" in text else [])]
    for name in names:
        assert SECRET not in told(f"--{name}", text)


@pytest.mark.parametrize("text", OF_RELAYS)
@pytest.mark.parametrize("name", ["relay-proxy", "allowed-host-source", "allowed-host"])
def test_a_password_of_a_relay_proxy_is_never_told(name, text):
    assert SECRET not in told(f"--{name}", text)


@pytest.mark.parametrize(
    "words", [("check",), ("explain", "a.example"), ("sources",), ("doctor",), ("check", "--json")]
)
@pytest.mark.parametrize("texts", [OF_URLS, OF_URLS[:1]])
def test_no_command_shows_it(tmp_path, words, texts):
    file = tmp_path / "ogw.ini"
    file.write_text("\n    ".join(["[ogw]\nallowed-host-source =", *texts]))
    end = ogw(*words, "--config", file, OGW_RUN_DIR=str(tmp_path))
    said = end.stdout + end.stderr
    assert end.returncode and SECRET not in said and said.count("(hidden)") >= len(texts)


@pytest.mark.parametrize("path", ["/x/what?.txt", "./user:x@y", "../a?b"])
def test_a_path_is_told_as_it_is(path):
    assert f"allowed-host-source: {path}: No such file" in told("--allowed-host-source", path)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("allowed-host-source", "/x/l1.txt, /x/l2.txt"),
        ("allowed-host-source", "https://a.example/x, https://b.example/y"),
        ("allowed-host-source", "https://a.example/x,https://b.example/y"),
        ("allowed-host-source", "/x/l1.txt,https://b.example/y"),
        ("allowed-client-certificate", f"sha256:{'a' * 64}, sha256:{'b' * 64}"),
        ("allowed-client-certificate", "CN=till-1, till-2"),
    ],
)
def test_a_comma_that_separates_nothing_is_named(tmp_path, name, text):
    advice = "; a comma separates no values here: where several are meant, each stands in a line (or a flag) of its own"
    assert told(f"--{name}", text).endswith(advice)
    file = tmp_path / "ogw.ini"
    file.write_text(f"[ogw]\n{name} = {text}\n")
    assert json.loads(ogw("check", "--json", "--config", file).stdout)["mistakes"][0].endswith(advice)
    file.write_text("[ogw]\n")
    end = ogw("config", "add", name, text, OGW_CONFIG=str(file))
    assert end.returncode and "a comma separates no values here" in end.stderr


def test_a_common_name_with_a_comma_may_be_right_and_is_warned_of():
    flags = "--allowed-client-certificate", "till-1, till-2"
    (warning,) = [one for one in load(flags, {}).warnings if "comma" in one]
    assert warning.startswith("allowed-client-certificate: 'till-1, till-2' is taken for one common name; a comma")
    assert not any("comma" in one for one in load([flags[0], "CN=till-1,O=Shop"], {}).warnings)


def test_an_agent_that_is_not_where_a_comma_leads_is_named(tmp_path):
    file = tmp_path / "ogw.ini"
    file.write_text("[ogw]\nagent-config = auto, /x\n")
    said = ogw("check", "--config", file).stderr
    assert "no file of an agent is there: auto, /x; a comma separates no values here" in said
