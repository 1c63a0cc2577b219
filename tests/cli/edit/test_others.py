"""`ogw allowed-host add` and `remove` say where another rule still allows it, or denies it all the same."""

import pytest
from harness.edits import Edited


@pytest.mark.parametrize(
    ("text", "words", "says"),
    [
        ("allowed-host = a.example.com, *.example.com", "allowed-host remove a.example.com",
         "a.example.com is still allowed, by *.example.com ({path}:2)"),
        ("allowed-host = *.example.com", "allowed-host remove a.example.com",
         "a.example.com is still allowed, by *.example.com ({path}:2)"),
        ("allowed-host = .example.com, *.example.com", "allowed-host remove .example.com",
         ".example.com is still allowed, by *.example.com ({path}:2)"),
        ("allowed-host = a*.example.com, *.example.com", "allowed-host remove a*.example.com", "is still allowed, by"),
        ("allowed-host = 10.1.0.0/16, 10.0.0.0/8", "allowed-host remove 10.1.0.0/16", "still allowed, by 10.0.0.0/8"),
        ("allowed-host = a.example.com, a.example.com from=10.0.0.0/8", "allowed-host remove a.example.com",
         "still allowed, by a.example.com from=10.0.0.0/8"),
        ("allowed-host = a.example.com, *.example.com", "config remove allowed-host a.example.com", "is still allowed"),
        ("denied-host = *.example.com", "allowed-host add a.example.com",
         "a.example.com is denied, by *.example.com ({path}:2); denied hosts take precedence over allowed ones"),
        ("denied-host = *.example.com\nallowed-host = a.example.com", "allowed-host add a.example.com", "is denied"),
        ("denied-host = 10.0.0.0/8", "allowed-host add 10.1.2.3", "10.1.2.3 is denied, by 10.0.0.0/8"),
        ("denied-host = a.example.com, *.example.com", "denied-host remove a.example.com",
         "a.example.com is denied, by *.example.com"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("dry", [(), ("--dry-run",)], ids=["done", "tried"])
def test_another_rule_is_named(text, words, says, dry, tmp_path):
    file = Edited(tmp_path, f"[ogw]\n{text}\n")
    assert says.format(path=file.path) in file.run(*words.split(), *dry).stderr


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("allowed-host = a.example.com, b.example.com", "allowed-host remove a.example.com"),
        ("allowed-host = a.example.com, *.example.com:8443", "allowed-host remove a.example.com"),
        ("allowed-host = a.example.com, *.example.com until=2020-01-01T00:00:00Z", "allowed-host remove a.example.com"),
        ("allowed-host = 10.0.0.0/8, 10.0.0.0/16", "allowed-host remove 10.0.0.0/8"),
        ("denied-host = ads.example.com", "allowed-host add *.example.com"),
        ("denied-host = a.example.com from=10.0.0.0/8", "allowed-host add a.example.com --from 192.0.2.0/24"),
        ("denied-host = a.example.com", "denied-host remove a.example.com"),
        (
            "denied-host = *.example.com\nrelay-proxy-bypass = a.example.com",
            "config remove relay-proxy-bypass a.example.com",
        ),
        ("allowed-host = a.example.com", "denied-host add a.example.com"),
    ],
)
def test_nothing_is_said_where_none_has_a_say(text, words, tmp_path):
    file = Edited(tmp_path, f"[ogw]\n{text}\n")
    said = file.run(*words.split()).stderr
    assert "is still allowed" not in said and "is denied" not in said


def test_a_variable_that_says_the_same_is_named(tmp_path):
    file = Edited(tmp_path, "[ogw]\nallowed-host = a.example.com\n")
    done = file.run("allowed-host", "remove", "a.example.com", OGW_ALLOWED_HOST="a.example.com")
    assert "a.example.com is still allowed, by a.example.com (OGW_ALLOWED_HOST)" in done.stderr
