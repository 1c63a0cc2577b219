"""Every mistake of a configuration is told in one pass, once, with where it stands."""

import ipaddress
import subprocess
import sys

import pytest
from harness.commands import ROOT, clean, ogw

from ogw.settings.editing import edit
from ogw.settings.ini.file import EditError
from ogw.settings.loader import ConfigError, load
from ogw.settings.settings import SETTINGS


def mistakes(tmp_path, text, to_start=True):
    """Of an INI file with these lines below its section: (line number, sentence)."""
    file = tmp_path / "gw.ini"
    file.write_text(text if text.startswith(("[", "#", "<", "{", " ")) else f"[ogw]\n{text}")
    try:
        load(["--config", str(file)], {}, to_start=to_start)
    except ConfigError as error:
        told = [one.removeprefix(f"{file}:").partition(": ") for one in error.mistakes]
        return [(int(line), sentence) for line, _colon, sentence in told]
    return []


MAPPED = ipaddress.ip_address("::ffff:127.0.0.1")  # which Python writes in two ways, from 3.13 on as it stands here
PASSWORD = "relay-proxy = p.example\nrelay-proxy-username = u\n"
WRONG = {
    "log-file = {0}/no/ogw.log": "log-file: {0}/no/ogw.log: there is no folder {0}/no",
    "log-file = {0}": "log-file: {0}: Is a directory",
    "log-file = {0}/gw.ini/x": "log-file: {0}/gw.ini/x: Not a directory",
    "syslog = {0}/log": "syslog: {0}/log: No such file",
    "syslog = {0}/gw.ini": "syslog: {0}/gw.ini: Connection refused",
    "run-dir = {0}/no/run": "run-dir: {0}/no/run: there is no folder {0}/no",
    "run-dir = {0}/gw.ini": "run-dir: {0}/gw.ini: it is not a folder",
    "run-dir = {0}/" + "x" * 100: "run-dir: {0}/" + "x" * 100 + ": it is too long",
    "relay-proxy = http://proxy.example/path": "relay-proxy: 'http://proxy.example/path': it has a path",
    "relay-proxy = proxy.example:3128/proxy.pac": "relay-proxy: 'proxy.example:3128/proxy.pac': it has a path",
    "relay-proxy = http://proxy.example:3128?a": "relay-proxy: 'http://proxy.example:3128?a': it has a path",
    "relay-proxy = http://proxy.example/#a": "relay-proxy: 'http://proxy.example/#a': it has a path",
    "agent-config = automatic": "agent-config: 'automatic': it is neither auto nor the path",
    "agent-config = AUTO": "agent-config: 'AUTO': it is neither auto nor the path",
    "preset = azure-arc, nothing": "preset: 'nothing' is not known",
    "preset = azure-automation": "preset: azure-automation needs region",
    "presets-folder = {0}/no": "presets-folder: {0}/no: No such file",
    "allowed-host-source = {0}/no": "allowed-host-source: {0}/no: No such file",
    "relay-proxy-ca-file = no.pem": "relay-proxy-ca-file: {0}/no.pem: No such file",
    "relay-proxy-ca-file = gw.ini": "relay-proxy-ca-file: {0}/gw.ini: no certificates in it",
    PASSWORD + "relay-proxy-password-file = no": "relay-proxy-password-file: {0}/no: No such file",
    PASSWORD + "relay-proxy-password-file = gw.ini": "relay-proxy-password-file: {0}/gw.ini: it has more than one line",
    PASSWORD + "relay-proxy-password-file = .": "relay-proxy-password-file: {0}/.: Is a directory",
    "admin-tls-key = no.key\nadmin-tls-certificate = no.pem": "admin-tls-certificate: {0}/no.pem: No such file",
    "admin-tls-key = no.key": "admin-tls-certificate: set it, too; admin-tls-key is",
    "admin-token-file = no": "admin-token-file: {0}/no: No such file",
    "admin-token-file = .": "admin-token-file: {0}/.: Is a directory",
    "admin-token-file = gw.ini": "admin-token-file: {0}/gw.ini: every user of this machine can read the token in it",
    "dns-server = 127.0.0.1\n    127.0.0.1:54": "dns-server: all DNS servers must have the same port",
    "listen-address = 0.0.0.0\n    127.0.0.1": "listen-address: 127.0.0.1:8080 and 0.0.0.0:8080 of listen-",
    "listen-address = [::1]:99\n    [::]:99": "listen-address: [::]:99 and [::1]:99 of listen-",
    "admin-address = 127.0.0.1:8080": "admin-address: 127.0.0.1:8080 and 0.0.0.0:8080 of listen-",
    "admin-address = 127.0.0.1:8888\nhealth-address = 127.0.0.1:8888": "health-address: 127.0.0.1:8888 and 127.0.0.1",
    "listen-address = 127.0.0.1\n    198.51.100.7": "listen-address: cannot listen on 198.51.100.7:8080: this",
    "health-address = 198.51.100.7": "health-address: cannot listen on 198.51.100.7:9181: this machine does",
    "listen-address = fe80::1": "listen-address: fe80::1: a gateway cannot listen",
    "health-address = [::ffff:127.0.0.1]:99": f"health-address: {MAPPED}: a gateway cannot listen",
    "log-file = /dev/null\nsyslog = 127.0.0.1": "log-file and syslog: only one of them can be set",
    "policy-mode = report": "policy-mode = report lets pass",
    "proxy-protocol = required": "proxy-protocol = required: say from which load balancers",
    "proxy-protocol = required\nproxy-protocol-from = lb.example": "proxy-protocol-from: 'lb.example': it is not",
    "proxy-protocol = optional": "proxy-protocol: 'optional'",
    "handshake-memory = 1MiB\nhandshake-max-size = 1MiB": "handshake-memory: must be at least",
    "client-certificate-hosts = a.example": "client-certificate-hosts: set allowed-client-certificate, too",
    "tls-rules = off\nallowed-client-certificate = x": "allowed-client-certificate: nothing looks at certificates",
    "relay-proxy = p.example\nrelay-proxy-password = x": "relay-proxy-username: set it, too",
}


@pytest.mark.parametrize(("text", "sentence"), WRONG.items())
def test_each_is_told_with_its_line(tmp_path, text, sentence):
    ((line, told),) = mistakes(tmp_path, text.format(tmp_path) + "\n")
    assert told.startswith(sentence.format(tmp_path)), told
    assert line == (2 if text.startswith("handshake") else 2 + text.count("\n"))


def test_all_of_them_are_told_at_once_in_the_order_of_their_lines(tmp_path):
    alone = (
        "log-file",
        "run-dir",
        "agent-config",
        "presets-folder",
        "allowed-host-source",
        "dns-server",
        "policy-mode",
    )
    chosen = [next(text for text in WRONG if text.startswith(name)).format(tmp_path) for name in alone]
    text = "\n".join(["idle-timeout = soon", *chosen, "nonsense = 1", "listen-port = 0"]) + "\n"
    told = mistakes(tmp_path, text)
    assert [line for line, _sentence in told] == [2, 3, 4, 5, 6, 7, 9, 10, 11, 12]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("allowed-host", "h{}.example"),
        ("allowed-host", "h{}.example from=10.0.0.0/8"),
        ("allowed-client", "10.0.{}.0/24"),
        ("allowed-client-certificate", "CN=till-{},O=Shop"),
        ("allowed-client-certificate", "O = Shop, CN = till-{}"),
        ("allowed-host-source", "https://lists.example/{}?a=b"),
    ],
)
def test_a_list_without_indents_is_one_mistake_that_says_how_to_mend_it(tmp_path, name, value):
    lines = [value.format(number) for number in range(200)]
    text = "\n".join([f"{name} =", *lines[:100], "# a comment", "", *lines[100:], "nonsense = 1", "stray.example"])
    (first, told), (_nonsense, _told), (last, alone) = mistakes(tmp_path, text + "\n")
    assert first == 3 and "up to line 204 (200 lines in all)" in told and "put blanks before each" in told
    assert last == 206 and alone.endswith("further values of a list are indented")


def test_what_only_follows_from_a_mistake_is_not_told(tmp_path):
    for text in (
        "preset = azure-automation\nregion = !",
        "preset = azure-automation\nregion = westeurope\ncloud = moon",
        "client-certificate-hosts = a.example\nallowed-client-certificate = sha256:12",
        "relay-proxy = p.example\nrelay-proxy-password = x\nrelay-proxy-username = a:b",
        "listen-address = 0.0.0.0\nlisten-port = 0\nadmin-address = 127.0.0.1:8080",
        "preset = mine\npresets-folder = /nowhere/presets",
    ):
        assert len(mistakes(tmp_path, text + "\n")) == 1, text


def test_a_running_gateway_needs_neither_the_folder_of_its_log_nor_its_sockets(tmp_path):
    text = f"log-file = {tmp_path}/no/ogw.log\nrun-dir = {tmp_path}/no/run\n"
    assert len(mistakes(tmp_path, text)) == 2 and mistakes(tmp_path, text, to_start=False) == []


HOSTS = [f"www{number}.example.com" for number in range(400)]
LIST = "".join(f"    {host}\n" for host in HOSTS)


@pytest.mark.parametrize(
    ("text", "line"),
    [
        (f"allowed-host =\n{LIST[4:]}", 3),
        (f"allowed-host =\n    a.example\nb.example\n{LIST}", 4),
        (f"allowed-host =\n    a.example\nb.example from=10.0.0.0/8\n{LIST}", 4),
        (f"allowed-host =\n    a.example\n*.b.example\n{LIST}", 4),
        (f"allowed-host = a.example\nallowed-host =\n{LIST}", 3),
        (f"alowed-host =\n{LIST}", 2),
        (f"allowed-host\n{LIST}", 2),
        (LIST, 2),
        (f"[ogw]\n[ogw\nallowed-host =\n{LIST}", 2),
        (f"[ogw] # ours\nallowed-host =\n{LIST}", 1),
        (f"[gateway]\nallowed-host =\n{LIST}", 1),
        (f"#\nallowed-host =\n{LIST}", 2),
        ("<html>\n" * 400, 1),
        ('{"allowed-host": [\n' + '"a.example",\n' * 400, 1),
    ],
)
def test_one_broken_line_is_one_mistake(tmp_path, text, line):
    text = text if text.startswith(("[", "#", "<", "{")) else f"[ogw]\n{text}"
    assert [line for line, _told in mistakes(tmp_path, text)] == [line]


def test_what_stands_below_a_broken_line_is_looked_at(tmp_path):
    text = "allowed-host =\n    a.example\nb.example\n    *.com\nallowed-host =\n    *.net\nlisten-port = 0\n"
    assert [line for line, _told in mistakes(tmp_path, text)] == [4, 5, 6, 7, 8]
    assert [line for line, _told in mistakes(tmp_path, "#\nlisten-port = 0\nworkers = x\n")] == [2, 2, 3]


@pytest.mark.parametrize(
    ("line", "is_told"),
    [
        ("relay-proxy-password = secret", False),
        ("relay-proxy-password=secret", False),
        ("relay-proxy-password =\n    secret", False),
        ("relay-proxy-password = secret ", True),
        ("relay-proxy-password =  secret", True),
        ("relay-proxy-password = secret\t", True),
        ("relay-proxy-password =\n    secret ", True),
        ("relay-proxy-password = secret\xa0", True),
        ("relay-proxy-password = ", False),
    ],
)
def test_blanks_around_a_password_are_not_cut_in_silence(tmp_path, line, is_told):
    file = tmp_path / "gw.ini"
    file.write_text(f"[ogw]\nrelay-proxy = p.example\nrelay-proxy-username = u\n{line}\n")
    told = [one for one in load(["--config", str(file)], {}).warnings if "blanks" in one]
    assert len(told) == is_told
    assert all(one.startswith(f"{file}:{4 + line.count(chr(10))}: relay-proxy-password: ") for one in told)
    assert not any("secret" in one for one in told)


@pytest.mark.parametrize(
    "contents",
    [
        "127.0.0.1 localhost\n",
        '{"a": 1}\n',
        "services:\n  ogw:\n    image: ogw\n",
        "[global]\nworkgroup = shop\n",
        "# smb.conf\n[ogw-share]\npath = /srv\n",
        "listen-port = 8080\n",
        "[OGW]\nlisten-port = 8080\n",
        "[ogw\nlisten-port = 8080\n",
        "\0\0",
    ],
)
def test_a_file_that_is_no_ini_file_of_ours_is_not_edited(tmp_path, contents):
    file = tmp_path / "x.ini"
    file.write_text(contents)
    with pytest.raises(EditError, match=r"it is no INI file of ogw, since no line of it is \[ogw\]"):
        edit(str(file), lambda editor: editor.add(SETTINGS["allowed-host"], "a.example"))
    assert file.read_text() == contents
    shown = ogw("allowed-host", "list", "--config", file)
    assert shown.returncode == 2 and f"{file}: this is no INI file of ogw" in shown.stderr


@pytest.mark.parametrize("contents", ["", "\n", "# mine\n", "\ufeff# mine\n", "; a\n\n[ogw]\n", "[ogw]\nnonsense\n"])
def test_a_file_with_nothing_in_it_or_with_mistakes_is(tmp_path, contents):
    file = tmp_path / "x.ini"
    file.write_text(contents)
    assert edit(str(file), lambda editor: editor.add(SETTINGS["allowed-host"], "a.example")).changed
    assert file.read_text().startswith(contents) and "[ogw]\n" in file.read_text()


@pytest.mark.parametrize("setting", ["region", "data-collection-endpoint"])
def test_a_sign_whose_lower_case_is_ascii_is_no_letter(setting):
    """The sign for kelvin looks like a K, and is another host's."""
    with pytest.raises(ConfigError, match=f"{setting}: "):
        load(["--allowed-host", "a.example", f"--{setting}", "\u212aorea"], {})


COMMENT = "; a comment stands in a line of its own, not behind a value"


@pytest.mark.parametrize("mark", ["#", ";"])
@pytest.mark.parametrize(
    "value",
    ["listen-port = 8081", "allowed-host = a.example", "tls-rules = report", "relay-proxy = http://p.example:1",
     "allowed-client = 10.0.0.0/8", "idle-timeout =", "allowed-host = a.example\n    b.example"],
)  # fmt: skip
def test_a_comment_behind_a_value_is_told_as_one(tmp_path, value, mark):
    found = mistakes(tmp_path, f"allowed-target-network = x\n{value} {mark} why\ndial-timeout = y\n")
    line = 3 + value.count("\n")
    assert [(number, said.endswith(COMMENT)) for number, said in found] == [(2, False), (line, True), (line + 1, False)]


@pytest.mark.parametrize("value", ["log-file = {0}/ogw.log # why", "run-dir = {0} ; why"])
def test_a_comment_that_becomes_part_of_a_value_is_warned_of(tmp_path, value):
    file = tmp_path / "gw.ini"
    file.write_text(f"[ogw]\nallowed-host = a.example\n{value.format(tmp_path)}\n")
    name, _equals, text = value.format(tmp_path).partition(" = ")
    assert load(["--config", str(file)], {}).warnings == (f"{file}:3: {name}: '{text}'{COMMENT}",)


@pytest.mark.parametrize(
    "text",
    ['allowed-host = a.example note="why; # or not"', "allowed-host = a.example\n# why\n    ; why\n    b.example",
     "relay-proxy = http://p.example:1\nrelay-proxy-username = a #b\nrelay-proxy-password = c ;d",
     "relay-proxy = http://p.example:1\nrelay-proxy-password = c ; d\nrelay-proxy-username = e",
     "allowed-client-certificate = CN=Till #7", "log-file = {0}/ogw#1;2.log"],
)  # fmt: skip
def test_what_is_no_comment_is_not_taken_for_one(tmp_path, text):
    file = tmp_path / "gw.ini"
    file.write_text(
        f"[ogw]\nallowed-host = x.example\n{text.format(tmp_path)}\n".replace(
            "allowed-host = x.example\nallowed", "allowed"
        )
    )
    assert not [told for told in load(["--config", str(file)], {}).warnings if "comment" in told]


def test_an_entry_of_a_relay_proxy_that_has_ended_is_warned_of():
    ended = "http://a.example:1 for=x.example,y.example until=2020-01-01T00:00:00Z"
    later = "http://b.example:1 for=x.example until=2099-01-01T00:00:00Z"
    other = "http://c.example:1 for=x.example until=2020-01-01T00:00:00Z stage=canary"
    flags = [word for entry in (ended, later, other) for word in ("--relay-proxy", entry)]
    load_it = lambda *more: load(["--allowed-host", "x.example", *flags, *more], {}).warnings  # noqa: E731
    (told,) = load_it()
    assert told.startswith(f"--relay-proxy: {ended} ended at 2020-01-01T00:00:00Z: no target goes that way")
    assert len(load_it("--stage", "canary")) == 2


def test_a_comment_behind_a_user_name_is_warned_of_without_the_name(tmp_path):
    file = tmp_path / "gw.ini"
    text = "relay-proxy = http://p.example:1\nrelay-proxy-username = joe # why\nrelay-proxy-password = x"
    file.write_text(f"[ogw]\nallowed-host = a.example\n{text}\n")
    (told,) = [one for one in load(["--config", str(file)], {}).warnings if "comment" in one]
    assert told == f"{file}:4: relay-proxy-username: (hidden){COMMENT}"


def test_a_comment_behind_a_value_of_a_key_that_stands_twice_is_told(tmp_path):
    found = mistakes(tmp_path, "allowed-host = a.example\nallowed-host = b.example # why\n")
    assert [said.endswith(COMMENT) for _line, said in found] == [True, True]


def test_a_port_that_nobody_listens_on_is_warned_of():
    flags = ["--allowed-host", "x.example", "--listen-port", "9000", "--listen-address"]
    (told,) = load([*flags, "127.0.0.1:8081"], {}).warnings
    assert told.startswith("listen-port does nothing: ")
    assert load([*flags, "127.0.0.1:8081, 127.0.0.2"], {}).warnings == ()


def test_a_relative_path_in_a_folder_that_is_gone_is_told(tmp_path):
    gone = tmp_path / "gone"
    gone.mkdir()
    script = "import os, sys; os.rmdir(os.getcwd()); os.execv(sys.executable, [sys.executable, *sys.argv[1:]])"
    for command in ("check", "run", "explain"):
        gone.mkdir(exist_ok=True)
        words = [sys.executable, "-c", script, "-m", "ogw", command, "--config", "gw.ini"]
        words += ["x.example"] if command == "explain" else []
        done = subprocess.run(
            words, cwd=gone, env=clean(PYTHONPATH=str(ROOT)), capture_output=True, text=True, timeout=60
        )
        assert done.returncode == 2 and "gw.ini: No such file or directory" in done.stderr, done
