"""`ogw allowed-host add` and `remove` say where another rule still allows it, or denies it all the same."""

import json

import pytest
from harness.edits import Edited
from harness.gateway import Gateway


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


EMPTY = "allowed-host is empty: every target is denied"
OWN = "of the running gateway)"


def told(gateway, file, *words, code=0):
    return file.told(*words, "--run-dir", gateway.run_dir, code=code)


@pytest.fixture
def file(tmp_path):
    folder = tmp_path / "ogw"
    folder.mkdir()
    return Edited(folder, "[ogw]\nallowed-host = a.example.com\n")


@pytest.mark.parametrize("flag", ["a.example.com", "b.example.com, .example.com"])
def test_a_host_that_a_flag_of_the_running_gateway_allows_is_told_to_be_and_it_is(file, flag):
    with Gateway("--config", str(file.path), "--allowed-host", flag, "--dns-server", "127.0.0.1:1") as gateway:
        said = told(gateway, file, "allowed-host", "remove", "a.example.com", "--reload")
        rule = flag.rpartition(" ")[2]
        assert f"a.example.com is still allowed, by {rule} (--allowed-host {OWN}" in said and EMPTY not in said
        sock, head = gateway.ask("a.example.com:443")
        sock.close()
        assert b"host-not-allowed" not in head
        # And where there is nothing left to remove.
        said = told(gateway, file, "allowed-host", "remove", "a.example.com", "--reload", code=1)
        assert "is not there" in said and f"is still allowed, by {rule} (--allowed-host {OWN}" in said


def test_a_variable_of_the_running_gateway_is_named_and_one_of_this_shell_is_not(file):
    with Gateway("--config", str(file.path), environment={"OGW_ALLOWED_HOST": "a.example.com"}) as gateway:
        words = ("allowed-host", "remove", "a.example.com", "--run-dir", gateway.run_dir)
        said = file.told(*words, OGW_ALLOWED_HOST="*.example.com")
        assert f"a.example.com is still allowed, by a.example.com (OGW_ALLOWED_HOST {OWN}" in said
        assert EMPTY not in said and "*.example.com" not in said


def test_where_the_running_gateway_allows_other_hosts_not_every_target_is_denied(file):
    for flags in (("--allowed-host", "b.example.com"), ("--preset", "azure-arc"), ("--denied-host", "c.example.com")):
        file.write("[ogw]\nallowed-host = a.example.com\n")
        with Gateway("--config", str(file.path), *flags) as gateway:
            said = told(gateway, file, "allowed-host", "remove", "a.example.com", "--reload")
            assert (EMPTY in said) == (flags[0] == "--denied-host") and "still allowed" not in said


def test_a_denied_host_that_a_flag_denies_is_told_to_be(file):
    file.write("[ogw]\nallowed-host = a.example.com\ndenied-host = a.example.com\n")
    with Gateway("--config", str(file.path), "--denied-host", "*.example.com") as gateway:
        said = told(gateway, file, "denied-host", "remove", "a.example.com", "--reload")
        assert f"a.example.com is denied, by *.example.com (--denied-host {OWN}" in said
        said = told(gateway, file, "allowed-host", "add", "b.example.com", "--reload")
        assert f"b.example.com is denied, by *.example.com (--denied-host {OWN}" in said


GOES_ON = "the running gateway goes on with"


def test_values_of_other_lists_that_the_running_gateway_has_itself_are_told(file):
    lists = "allowed-client = 10.1.0.0/16, 10.2.0.0/16, 127.0.0.0/8\nallowed-port = 443, 8443\n"
    file.write(f"[ogw]\nallowed-host = a.example.com\n{lists}")
    flags = ("--config", str(file.path), "--allowed-client", "10.0.0.0/15, 127.0.0.1, 192.0.2.0/24")
    with Gateway(*flags, environment={"OGW_ALLOWED_PORT": "8443\n9443"}) as gateway:
        said = told(gateway, file, "allowed-client", "remove", "10.1.0.0/16", "--reload")
        assert f"{GOES_ON} allowed-client = 10.0.0.0/15: it has that from --allowed-client" in said
        assert GOES_ON not in told(gateway, file, "allowed-client", "remove", "10.2.0.0/16", "--reload")
        said = told(gateway, file, "config", "remove", "allowed-port", "8443", "--reload")
        assert f"{GOES_ON} allowed-port = 8443: it has that from OGW_ALLOWED_PORT" in said
        said = told(gateway, file, "config", "set", "allowed-client", "127.0.0.1", "192.0.2.0/24")
        assert f"{GOES_ON} allowed-client = 10.0.0.0/15: it has that from --allowed-client" in said
        said = told(gateway, file, "config", "unset", "allowed-port")
        assert f"{GOES_ON} allowed-port = 8443, 9443: it has that from OGW_ALLOWED_PORT" in said
        answer = file.done("config", "unset", "allowed-client", "--json", "--run-dir", gateway.run_dir)
        assert any(GOES_ON in sentence for sentence in json.loads(answer)["said"])


def test_hosts_that_are_set_as_a_whole_are_told_beside_those_of_a_flag(file):
    with Gateway("--config", str(file.path), "--allowed-host", "b.example.com, c.example.com") as gateway:
        said = told(gateway, file, "config", "set", "allowed-host", "c.example.com", "--reload")
        assert f"{GOES_ON} allowed-host = b.example.com: it has that from --allowed-host" in said
        said = told(gateway, file, "config", "unset", "allowed-host", "--reload")
        assert f"{GOES_ON} allowed-host = b.example.com, c.example.com: it has" in said and EMPTY not in said


def test_a_single_setting_that_a_variable_names_a_file_for_is_told(file, tmp_path):
    (tmp_path / "name").write_text("gateway")
    environment = {"OGW_RELAY_PROXY_USERNAME_FILE": str(tmp_path / "name")}
    with Gateway("--config", str(file.path), environment=environment) as gateway:
        said = told(gateway, file, "config", "set", "relay-proxy-username", "other")
        assert "was started with OGW_RELAY_PROXY_USERNAME_FILE, which takes precedence over the file" in said
