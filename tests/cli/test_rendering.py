"""What commands show, in a terminal of 80 columns, in a pipe, without colours, and where only ASCII is to be had."""

import re
import shlex
import subprocess

import pytest
from harness.commands import OGW, ROOT, clean, ogw
from harness.gateway import Gateway
from harness.terminal import Terminal

from ogw.cli.commands import COMMANDS

OWN_ERROR = "this is an error of ogw itself"
ELSEWHERE = {
    "run",
    "top",
    "drain",
    "doctor",
    "upgrade",
}  # they do not end, end the gateway, or ask around: see their own tests
ASCII = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "PYTHONIOENCODING": ""}
HELPS = [
    *(command.words for command in COMMANDS),
    *(
        f"{name} {verb}"
        for name in ("allowed-host", "allowed-client-certificate")
        for verb in ("add", "remove", "list")
    ),
    *("", "config", "relay-proxy", "tunnel"),
]
INI = """\
[ogw]
allowed-host =
    www.example.com note="f\u00fcr alle Kassen \u2192 \u65e5\u672c"
    agent*.a-rather-long-name-of-a-department.example.com:8443 from=2001:db8:aaaa:bbbb::/64 until=2099-01-31T18:00:00Z
denied-host = evil.example
preset = azure-arc
relay-proxy = http://a-rather-long-name-of-a-proxy.a-rather-long-name-of-a-department.example.com:3128
"""
OUTPUTS = """\
config show
config show --json
config get allowed-host
config set allowed-host b.example --dry-run
config add allowed-client 10.1.2.0/24 --dry-run
config remove denied-host evil.example --dry-run
config unset preset --dry-run
config path
allowed-host list
denied-host list --all
allowed-client list
allowed-client-certificate list
allowed-host add *.example.org --note "f\u00fcr" --dry-run
relay-proxy get
relay-proxy set http://proxy.example.com:3128 --dry-run
relay-proxy clear --dry-run
check
check --json
explain www.example.com:8443 --client 2001:db8:aaaa:bbbb:cccc:dddd:eeee:ffff
explain agent7.a-rather-long-name-of-a-department.example.com:8443 --client 2001:db8:aaaa:bbbb:cccc:dddd:eeee:ffff
inspect tests/data/handshakes/openssl-1.2.up
events
events 105
events host-not-allowed
events 3fa1c2-17
events --json
presets
presets azure-arc
sources
sources --json
sources rollback https://lists.example.com/list.txt
sign LIST
fleet status http://127.0.0.1:1 --timeout 1s
status
status --json
tunnels
suggest
ready
reload
reload --json
version
completion bash
tunnel kill 3fa1c2-17
import tests/data/heads/curl.head
setup --dry-run --service no --firewall no --allowed-host a.example
Get-OMSGatewayAllowedHost
allowed-host ad
events n\u00f6
""".splitlines()


def test_every_command_that_ends_is_here():
    assert {" ".join(line.split()[: len(one.words.split())]) for line in OUTPUTS for one in COMMANDS} >= {
        command.words for command in COMMANDS
    } - ELSEWHERE


@pytest.fixture(scope="module")
def where(tmp_path_factory):
    """The environment of a gateway that has refused something, with its file."""
    file = tmp_path_factory.mktemp("rendering") / "ogw.ini"
    file.write_text(INI, encoding="utf-8")
    with Gateway("--config", str(file)) as gateway:
        for host in ("www.example.org", "a-rather-long-name-of-a-host.a-department.example.net"):
            sock, head = gateway.ask(f"{host}:8443")
            sock.close()
            assert b" 403 " in head
        yield {"OGW_CONFIG": str(file), "OGW_RUN_DIR": gateway.run_dir, "TERM": "xterm-256color"}


def on_terminal(words, **environment):
    """(exit code, all that was written)."""
    with Terminal([*OGW, *words], 80, 24, **environment) as terminal:
        return terminal.end(), terminal.raw.decode()


def words_of(text):
    """Without escape codes; figures change from one time to the next."""
    return {re.sub("[0-9]", "0", word) for word in re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", text).split()}


@pytest.mark.parametrize("words", HELPS)
def test_a_help_fits_80_columns_and_is_the_same_everywhere(words):
    typed = [*words.split(), "--help"]
    pipe = ogw(*typed)
    assert (pipe.returncode, pipe.stderr) == (0, "")
    lines = pipe.stdout.splitlines()
    assert max(map(len, lines)) < 80
    assert on_terminal(typed) == (0, pipe.stdout.replace("\n", "\r\n"))
    assert ogw(*typed, NO_COLOR="1", **ASCII).stdout == pipe.stdout
    if words:
        assert set(ogw(*typed, COLUMNS="60").stdout.split()) <= {*pipe.stdout.split(), "\\"}  # no word is broken


@pytest.mark.parametrize("line", OUTPUTS)
def test_an_answer_breaks_no_word_and_no_locale_ends_it_in_an_error(where, line):
    typed = shlex.split(line)
    pipe = ogw(*typed, **where)
    assert "\x1b" not in pipe.stdout + pipe.stderr
    assert pipe.returncode in (0, 1, 2) and OWN_ERROR not in pipe.stderr
    code, shown = on_terminal(typed, **where)
    assert code == pipe.returncode and words_of(shown) - words_of(pipe.stdout + pipe.stderr) <= BELOW_EACH_OTHER
    code, shown = on_terminal(typed, **where, NO_COLOR="1")
    assert code == pipe.returncode and not re.search(r"\x1b\[[0-9;]*3[0-7]m", shown)
    for environment in (ASCII, {"PYTHONIOENCODING": "ascii"}):
        plain = subprocess.run([*OGW, *typed], cwd=ROOT, env=clean(**where, **environment), capture_output=True,
                               stdin=subprocess.DEVNULL, timeout=60)  # fmt: skip
        assert (plain.stdout + plain.stderr).isascii() and OWN_ERROR.encode() not in plain.stderr, plain
        if line.isascii():
            assert plain.returncode == pipe.returncode, plain
        code, shown = on_terminal(typed, **where, **environment)
        assert shown.isascii() and OWN_ERROR not in shown and (code == pipe.returncode or not line.isascii())


# A table that does not fit has the names of its columns before each value.
BELOW_EACH_OTHER = {*("tunnel:", "tunnels:", "client:", "target:", "state:", "open", "for:", "up:", "down:", "event:"),
                    *("name:", "relay", "proxy:", "level:", "reasons:", "preset:", "date:"),
                    *("clouds:", "parameters:")}  # fmt: skip
