"""The command line as a whole: which command is meant, what help says, and how every command ends."""

import json
import os
import subprocess
import sys

import pytest

from ogw import __version__
from ogw.cli.commands import COMMANDS

CLEAN = {name: text for name, text in os.environ.items() if not name.startswith("OGW_")}


def ogw(*words, **more):
    return subprocess.run(
        [sys.executable, "-m", "ogw", *words], capture_output=True, text=True, timeout=60, env=CLEAN, **more
    )


def version_to(stdout, unbuffered):
    return subprocess.run(
        [sys.executable, "-m", "ogw", "version"],
        stdout=stdout,
        stderr=subprocess.PIPE,
        text=True,
        timeout=60,
        env={**CLEAN, "PYTHONUNBUFFERED": unbuffered},
    )


def test_usage_has_a_line_for_each_command_and_fits_a_screen():
    lines = ogw("--help").stdout.splitlines()
    for command in COMMANDS:
        assert any(line.split()[: len(command.words.split()) + 1] == ["ogw", *command.words.split()] for line in lines)
    assert all(len(line) < 80 for line in lines)
    headings = [line[:-1] for line in lines if line.endswith(":") and not line.startswith((" ", "`"))]
    assert headings == list(dict.fromkeys(command.group for command in COMMANDS))
    assert "HTTP proxy that speaks only CONNECT" in " ".join(lines)


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command.words)
def test_each_command_has_help(command):
    for words in ([*command.words.split(), "--help"], ["help", *command.words.split()]):
        done = ogw(*words)
        assert (done.returncode, done.stderr) == (0, "")
        assert f"ogw {command.words}" in done.stdout.splitlines()[0]


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("rum",), "ogw: 'rum' is not a command; did you mean ogw run?"),
        (("config", "shwo"), "ogw: 'config shwo' is not a command; did you mean ogw config show"),
        (("versoin", "--json"), "ogw: 'versoin' is not a command; did you mean ogw version?"),
        (("\x1b[31mx",), r"ogw: '\x1b[31mx' is not a command"),
        (("config",), "usage: ogw COMMAND"),
        (("--nope",), "ogw: '--nope' is not a command"),
    ],
)
def test_a_command_that_does_not_exist_is_answered_with_what_was_meant(words, says):
    done = ogw(*words)
    assert done.returncode == 2
    assert done.stderr.splitlines()[0].startswith(says)
    assert done.stdout == ""


@pytest.mark.parametrize(
    "words",
    [
        *(("rum",), ("config", "shwo"), ("config", "set", "lisen-port", "1"), ("allowed-host", "ad", "a.example")),
        *(
            ("run", "--alowed-host", "a.example"),
            ("status", "--jsno"),
            ("events", "host-not-allowd"),
            ("presets", "az"),
        ),
        *(("completion", "bsh"), ("setup", "--yes", "PORTNUMER=1"), ("Get-OMSGatewayConfg",), ("check", "--jsno")),
        *(("explain", "a.example", "--clinet", "10.0.0.1"), ("tunnels", "--most", "x"), ("help", "rum")),
    ],
)
def test_a_typo_is_answered_in_the_last_line_of_the_screen(words):
    done = ogw(*words, stdin=subprocess.DEVNULL)
    *_before, last = done.stderr.splitlines()
    typed = next(word for word in words if word.partition("=")[0].strip("-") not in KNOWN).partition("=")[0]
    assert done.returncode == 2 and typed in last and last.startswith("ogw: "), done.stderr


KNOWN = {*("config", "set", "allowed-host", "run", "status", "events", "presets", "completion", "setup", "yes"),
         *("check", "explain", "a.example", "tunnels", "most", "help")}  # fmt: skip


def test_the_version_as_json():
    assert json.loads(ogw("version", "--json").stdout) == {"version": __version__}


def test_a_group_of_commands_has_a_usage_of_its_own():
    done = ogw("config", "--help")
    assert done.returncode == 0
    assert "ogw config show" in done.stdout and "ogw inspect" not in done.stdout


BUFFERS = pytest.mark.parametrize("unbuffered", ["", "1"], ids=["buffered", "unbuffered"])


@BUFFERS
def test_output_that_cannot_be_written_is_said_and_is_no_success(unbuffered):
    with open("/dev/full", "w") as full:
        done = version_to(full, unbuffered)
    told = "ogw: what was to be done is done, but the output cannot be written: No space left on device\n"
    assert (done.returncode, done.stderr) == (74, told)


@BUFFERS
def test_a_reader_that_left_is_no_failure(unbuffered):
    read, write = os.pipe()
    os.close(read)
    with open(write, "w") as pipe:
        done = version_to(pipe, unbuffered)
    assert (done.returncode, done.stderr) == (0, "")


def test_running_the_gateway_imports_nothing_that_only_a_terminal_needs():
    script = (
        "import sys; from ogw.cli.main import main; main(['run', '--allowed-host', '*']);"
        "late = {'rich', 'argparse', 'http.client', 'shtab', 'ogw.cli.screen', 'ogw.cli.ask.inspect'};"
        "print(sorted(late & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, env=CLEAN)
    assert done.stdout.splitlines()[-1] == "['argparse']"  # configargparse's


def test_passwords_are_hidden_before_anything_else_is_imported():
    script = (
        "import sys; from ogw.cli import main; hide = main.hide_passwords\n"
        "def hidden(words):\n"
        "    hide(words)\n"
        "    late = {'argparse', 'configargparse', 'cryptography', 'gevent', 'rich', 'shtab', 'ogw.settings.loader'}\n"
        "    print(sorted(late & set(sys.modules)), open('/proc/self/cmdline').read())\n"
        "main.hide_passwords = hidden\n"
        "main.main(['relay-proxy', 'set', 'http://user:secret@proxy.example:3128', '--nope'])"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, env=CLEAN)
    assert done.returncode == 0 and done.stdout.startswith("[] ogw relay-proxy set http://"), done.stdout
    assert "secret" not in done.stdout
