"""Settings: where values come from, which one wins, the traps of each source, and what a mistake says."""

import dataclasses
import json
import os
import subprocess
import sys
from ipaddress import ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ogw.settings.loader import ConfigError, load
from ogw.settings.settings import SETTINGS, Config


@pytest.fixture
def ini(tmp_path):
    def write(text):
        path = tmp_path / "ogw.ini"
        path.write_bytes(text.encode() if isinstance(text, str) else text)
        return "--config", str(path)

    return write


def mistakes(arguments=(), environment=None):
    with pytest.raises(ConfigError) as caught:
        load(list(arguments), environment or {})
    return list(caught.value.mistakes)


def hosts(config):
    return [str(rule) for rule in config.allowed_host]


def test_defaults_are_what_the_readme_promises():
    config = load([], {})
    assert config.listen == (("0.0.0.0", 8080), ("::", 8080))
    assert config.listen_is_default
    assert (config.head_timeout, config.head_max_size, config.dns_timeout, config.dial_timeout) == (10, 16384, 5, 10)
    assert (config.idle_timeout, config.half_closed_timeout, config.drain_timeout) == (3600, 300, 20)
    assert (config.allowed_port, config.allowed_host, config.tcp_keepalive) == ((443,), (), 60)


def test_flags_beat_variables_beat_the_file_beats_the_default(ini):
    file = ini("[ogw]\nhead-timeout = 3s\ndns-timeout = 3s\ndial-timeout = 3s\n")
    config = load([*file, "--head-timeout", "1s"], {"OGW_HEAD_TIMEOUT": "2s", "OGW_DNS_TIMEOUT": "2s"})
    assert (config.head_timeout, config.dns_timeout, config.dial_timeout, config.idle_timeout) == (1, 2, 3, 3600)
    sources = [
        config.origins[name][0].source for name in ("head-timeout", "dns-timeout", "dial-timeout", "idle-timeout")
    ]
    assert sources == ["--head-timeout", "OGW_DNS_TIMEOUT", f"{file[1]}:4", "default"]


def test_lists_add_up_over_all_sources(ini):
    file = ini("[ogw]\nallowed-host =\n    c.example\n    d.example\ndenied-host = x.example\n")
    config = load(
        [*file, "--allowed-host", "a.example", "--allowed-host=a2.example"], {"OGW_ALLOWED_HOST": "b.example"}
    )
    assert hosts(config) == ["a.example", "a2.example", "b.example", "c.example", "d.example"]
    assert [rule.source for rule in config.allowed_host][-1] == f"{file[1]}:4"
    config = load(list(file), {"OGW_DENIED_HOST": "y.example"})
    assert [str(rule) for rule in config.denied_host] == ["y.example", "x.example"], "a variable replaces no file"


def test_the_last_of_a_repeated_flag_counts():
    assert load(["--head-timeout", "1s", "--head-timeout", "2s"], {}).head_timeout == 2


def test_the_file_is_the_flags_or_the_variables(tmp_path, ini):
    one = tmp_path / "one.ini"
    one.write_text("[ogw]\nhead-timeout = 1s\n")
    two = ini("[ogw]\nhead-timeout = 2s\n")[1]
    assert load([], {"OGW_CONFIG": str(one)}).head_timeout == 1
    assert load(["--config", two], {"OGW_CONFIG": str(one)}).head_timeout == 2


@pytest.mark.parametrize("text", ["[::1]", "[::1]:8081", "::1", "10.0.0.1", "10.0.0.1:8081", "[::1], 10.0.0.1"])
def test_addresses_in_brackets_survive_every_source(text, ini):
    wanted = load(["--listen-address", text], {}).listen
    assert load([], {"OGW_LISTEN_ADDRESS": text}).listen == wanted
    assert load(list(ini(f"[ogw]\nlisten-address = {text}\n")), {}).listen == wanted


def test_listen_addresses_get_the_listen_port_unless_they_have_one():
    config = load(["--listen-address", "10.0.0.1, [::1]:81, 10.0.0.1", "--listen-port", "3128"], {})
    assert config.listen == (("10.0.0.1", 3128), ("::1", 81))
    assert not config.listen_is_default


def test_nothing_in_the_file_is_a_comment_or_interpolated_behind_a_value(ini):
    text = '[ogw]\n# a\n; b\nallowed-host =\n    # between\n    a.example note="50% # ; of %(x)s"\n'
    config = load(list(ini(text + "\n    ; more\n    b.example\nlog-file = /x # y;%z\n")), {})
    assert hosts(config) == ['a.example note="50% # ; of %(x)s"', "b.example"]
    assert config.log_file == "/x # y;%z"


@pytest.mark.parametrize("newline", ["\n", "\r\n"])
@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_files_of_other_systems_are_read(ini, newline, mark):
    text = newline.join(["[ogw]", "allowed-host = a.example", "    b.example", "head-timeout=2s", ""])
    config = load(list(ini(mark + text)), {})
    assert (hosts(config), config.head_timeout) == (["a.example", "b.example"], 2)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("head-timeout = 1s\n", ":1: this line stands before any section"),
        ("[gateway]\nhead-timeout = 1s\n", ":1: the section [gateway] is unknown"),
        ("[ogw]\nhead_timeout = 1s\n", ":2: there is no setting 'head_timeout'; did you mean head-timeout?"),
        ("[ogw]\nHead-Timeout = 1s\n", ":2: there is no setting 'Head-Timeout'; did you mean head-timeout?"),
        ("[ogw]\nhead-timeout\n", ":2: neither `key = value` nor a comment"),
        ("[ogw]\n= 1\n", ":2: neither `key = value` nor a comment"),
        ("[ogw]\n  head-timeout = 1s\n", ":2: head-timeout is indented"),
        ("[ogw]\nhead-timeout = 1s\nhead-timeout = 2s\n", ":3: head-timeout stands in line 2 already"),
        ("[ogw]\nhead-timeout = 1s\n  2s\n", ":3: head-timeout takes one value"),
        ("[ogw]\nhead-timeout =\n", ":2: head-timeout: '': it is not a duration"),
        ("[ogw]\nallowed-host = a.example\n  *\n", ":3: host rule '*': "),
        ("[ogw]\nconfig = x\n", ":2: there is no setting 'config'"),
        (b"[ogw]\nlog-file = \xff\n", ":2: not a text in UTF-8"),
    ],
)
def test_each_mistake_in_a_file_says_where_and_what(ini, text, says):
    file = ini(text)
    assert any(line.startswith(f"{file[1]}{says}") for line in mistakes(file)), mistakes(file)


@pytest.mark.parametrize(
    ("flags", "says"),
    [
        (["--head-timeout"], "--head-timeout: its value is missing"),
        (["--head-timeout", "--max-tunnels", "1"], "--head-timeout: its value is missing"),
        (["--head-timout", "1s"], "--head-timout: there is no such flag; did you mean --head-timeout?"),
        (["--head", "1s"], "--head: there is no such flag"),
        (["-x"], "-x: there is no such flag"),
        (["a.example"], "'a.example': it is neither a flag nor the value of a flag"),
        (["--head-timeout", "0"], "--head-timeout: '0': it must be from 0.05 to 2592000 seconds"),
        (["--head-timeout", "1 s"], "--head-timeout: '1 s': it is not a duration"),
        (["--head-timeout", "\u0661s"], "is not a duration"),
        (["--listen-port", "+8080"], "--listen-port: '+8080': it is not a whole number"),
        (["--listen-port", "0"], "--listen-port: '0': it must be from 1 to 65535"),
        (["--listen-port", "8_080"], "is not a whole number"),
        (["--listen-address", "localhost"], "--listen-address: 'localhost': it is not an IP address"),
        (["--listen-address", "10.0.0.1:0"], "no port from 1 to 65535"),
        (["--listen-address", "[10.0.0.1]"], "is not an IP address"),
        (["--listen-address", "[::1]x"], "is not an IP address"),
        (["--allowed-client", "10.0.0.1/8"], "'10.0.0.1/8': it has bits behind its prefix; 10.0.0.0/8"),
        (["--allowed-target-network", "private"], "not an IP address or network"),
        (["--allowed-port", "443-445"], "is not a whole number"),
        (["--head-max-size", "1GiB"], "is not a size"),
        (["--head-max-size", "2MiB"], "must be from 256 to 1048576 bytes"),
        (["--log-level", "trace"], "--log-level: 'trace': it is none of debug, info, warning, error"),
        (["--log-file", "/a", "--syslog", "/b"], "only one of them"),
        (["--syslog", "a:b"], "--syslog: 'a:b': there is no port"),
        (["--listen-port", "99999999999"], "--listen-port: '99999999999': it must be from 1 to 65535"),
        (["--idle-timeout", "99999999999d"], "must be from 0.2 to 2592000 seconds"),
        (["--head-max-size", "99999999999MiB"], "must be from 256 to 1048576 bytes"),
        (["--tcp-keepalive", "12h"], "--tcp-keepalive: '12h': it must be from 0 to 32767 seconds"),
        (["--dns-timeout", "61m"], "--dns-timeout: '61m': it must be from 0.05 to 3600 seconds"),
        (["--source-timeout", "2h"], "--source-timeout: '2h': it must be from 0.2 to 3600 seconds"),
        (["--workers", "many"], "--workers: 'many': it is neither auto nor a whole number"),
        (["--workers", "129"], "--workers: '129': it must be from 1 to 128"),
        (["--listen-address", ",".join(["127.0.0.1"] * 257)], "257 values are too many; at most 256 are possible"),
        (["--dns-server", ",".join(["127.0.0.1"] * 33)], "dns-server: 33 values are too many; at most 32 are possible"),
        (["--syslog", ":514"], "is neither a path"),
        (["--syslog", "[::1"], "is neither a path"),
        (["--syslog", "[::g]:514"], "the host "),
        (["--syslog", "[fe80::1%eth0]"], "the host "),
        (["--syslog", "[::1]:0"], "there is no port"),
        (["--syslog", "a" * 64 + ":514"], "the host "),
        (["--syslog", "a..b"], "the host "),
        (["--syslog", "a b"], "the host "),
        (["--syslog", "1.2.3:514"], "the host "),
        (["--dns-server", "10.0.0.1, 10.0.0.2:5353"], "dns-server: all DNS servers must have the same port"),
    ],
)
def test_each_mistake_in_a_flag_says_what_is_right(flags, says):
    found = mistakes(flags)
    assert any(says in line for line in found), found


def test_a_mistake_in_a_variable_names_the_variable():
    assert mistakes(environment={"OGW_LISTEN_PORT": "http"}) == ["OGW_LISTEN_PORT: 'http': it is not a whole number"]


def test_all_mistakes_are_told_at_once(ini):
    found = mistakes([*ini("[ogw]\nx = 1\n"), "--nope", "--head-timeout", "x"], {"OGW_MAX_TUNNELS": "y"})
    assert len(found) == 4


def test_an_unknown_variable_is_a_warning_since_kubernetes_sets_some():
    config = load([], {"OGW_PORT": "tcp://10.0.0.1:80", "OGW_ALLOWED_HOSTS": "a.example", "OTHER": "x"})
    assert (
        "OGW_ALLOWED_HOSTS: there is no such setting, the variable is ignored; did you mean OGW_ALLOWED_HOST?"
        in config.warnings
    )
    assert any(line.startswith("OGW_PORT: ") for line in config.warnings)
    assert not any("OTHER" in line for line in config.warnings)


def test_an_empty_allow_list_is_warned_about():
    assert any("every target is denied" in line for line in load([], {}).warnings)
    assert not load(["--allowed-host", "a.example"], {}).warnings


@pytest.mark.parametrize(
    ("mode", "network", "says"),
    [
        ("off", "10.0.0.5", "proxy-protocol-from does nothing with proxy-protocol = off"),
        ("required", "0.0.0.0/0", "proxy-protocol-from names every address"),
        ("required", "::/0", "proxy-protocol-from names every address"),
        ("required", "10.0.0.0/8", ""),
    ],
)
def test_who_may_speak_for_others_is_warned_of_where_that_is_odd(mode, network, says):
    flags = ["--allowed-host", "a.example", "--proxy-protocol", mode, "--proxy-protocol-from", network]
    told = load(flags, {}).warnings
    assert [says in line for line in told] == [True] * bool(says)


def test_networks_and_servers_are_converted():
    config = load(
        ["--allowed-client", "10.0.0.0/8, ::1", "--dns-server", "10.0.0.1", "--syslog", "log.example:1514"], {}
    )
    assert config.allowed_client == (ip_network("10.0.0.0/8"), ip_network("::1"))
    assert config.dns_servers == (("10.0.0.1", 53),)
    assert config.syslog == ("log.example", 1514)


@pytest.mark.parametrize(
    ("text", "seconds"), [("10", 10), ("10s", 10), ("500ms", 0.5), ("1.5m", 90), ("1h", 3600), ("2d", 172800)]
)
def test_durations(text, seconds):
    assert load(["--idle-timeout", text], {}).idle_timeout == pytest.approx(seconds)


def test_a_configuration_cannot_be_changed():
    with pytest.raises(dataclasses.FrozenInstanceError):
        load([], {}).listen_port = 1


def test_every_setting_is_a_field_of_the_same_name():
    others = {
        "origins",
        "warnings",
        "sourced",
        "agent_certificates",
        "agent_missing",
        "kept",
        "listen_lasts",
        "seen",
        "file",
    }
    others |= {"admin_key_pair", "admin_tokens"}
    fields = {entry.name for entry in dataclasses.fields(Config)} - others
    assert {setting.attribute for setting in SETTINGS.values()} == fields


@given(st.sampled_from(sorted(SETTINGS)), st.text(max_size=30).filter(lambda text: "\0" not in text))
def test_any_text_for_any_setting_gives_a_value_or_a_mistake(name, text):
    for arguments, environment in (([f"--{name}={text}"], {}), ([], {SETTINGS[name].variable: text})):
        try:
            load(arguments, environment)
        except ConfigError as error:
            assert error.mistakes
            assert all("\n" not in line for line in error.mistakes)


@given(st.text(max_size=200))
def test_any_file_gives_values_or_mistakes(tmp_path_factory, text):
    path = tmp_path_factory.mktemp("any") / "ogw.ini"
    path.write_text(text, encoding="utf-8", newline="", errors="surrogatepass")
    try:
        load(["--config", str(path)], {})
    except ConfigError as error:
        assert all(str(path) in line for line in error.mistakes)


def test_what_a_worker_may_hold_of_handshakes_is_more_than_one_of_them():
    given = ["--allowed-host", "www.example.com", "--handshake-max-size", "1MiB", "--handshake-memory"]
    assert load([*given, "2MiB"], {}).handshake_memory == 2 << 20
    (mistake,) = mistakes([*given, "1MiB"])
    assert "handshake-memory" in mistake and "twice handshake-max-size" in mistake


def ogw(*words, **environment):
    clean = {name: text for name, text in os.environ.items() if not name.startswith("OGW_")}
    return subprocess.run(
        [sys.executable, "-m", "ogw", *words], capture_output=True, text=True, timeout=30, env={**clean, **environment}
    )


def test_config_show_prints_every_value_and_where_it_came_from(ini):
    file = ini("[ogw]\nallowed-host =\n  a.example\n  b.example\n")
    done = ogw("config", "show", *file, "--listen-port", "3128", OGW_HEAD_TIMEOUT="3s")
    assert (done.returncode, done.stderr) == (0, "")
    shown = [line.split() for line in done.stdout.splitlines()]
    assert ["listen-port", "=", "3128", "(--listen-port)"] in shown
    assert ["head-timeout", "=", "3s", "(OGW_HEAD_TIMEOUT)"] in shown
    assert ["allowed-host", "=", "b.example", f"({file[1]}:4)"] in shown
    assert {words[0] for words in shown} == set(SETTINGS)


def test_config_show_as_json(ini):
    done = ogw("config", "show", "--json", *ini("[ogw]\nlisten-port = 81\n"))
    shown = json.loads(done.stdout)
    assert shown["listen-port"][0]["value"] == "81"
    assert shown["listen-port"][0]["source"].endswith("ogw.ini:2")


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        ((), 2, "usage: ogw COMMAND"),
        (("--help",), 0, "usage: ogw COMMAND"),
        (("version",), 0, "ogw 0."),
        (("--version",), 0, "ogw 0."),
        (("rum",), 2, "'rum' is not a command"),
        (("config", "shwo"), 2, "'config shwo' is not a command"),
        (("config", "show", "--nope"), 2, "--nope: there is no such flag"),
    ],
)
def test_commands_end_with_their_code(words, code, says):
    done = ogw(*words)
    assert (done.returncode, says in done.stdout + done.stderr) == (code, True), done


def test_a_file_that_is_something_else_is_told_in_a_hundred_lines(ini):
    for line in ("key{} = value\n", "no pair {}\nno-key = x\n", "allowed-host = a.example\n    *.{}\n"):
        text = "[ogw]\n" + "".join(line.format(number) for number in range(20_000))
        found = mistakes(ini(text))
        assert len(found) == 101 and found[-1].startswith("and ") and found[-1].endswith(" mistakes more")


def test_a_line_of_any_length_is_read_in_time_that_grows_with_it(ini):
    long = 2_000_000
    for line in (
        "log-file = " + " " * long + "x",
        "a" + " " * long,
        "a" * long,
        "=" * long,
        "log-file" + " " * long + "= x",
    ):
        try:
            load(list(ini(f"[ogw]\n{line}\n")), {})
        except ConfigError as error:
            assert all(len(mistake) < 1000 for mistake in error.mistakes)
