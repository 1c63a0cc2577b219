"""Completion, asked of real shells, and what every command's help has."""

import os
import re
import subprocess
import sys

import pexpect
import pytest
from harness.commands import ROOT, clean, ogw
from harness.peers import peer

from ogw.cli.commands import COMMANDS


@pytest.fixture(scope="module")
def script(tmp_path_factory):
    def write(shell):
        done = ogw("completion", shell)
        assert (done.returncode, done.stderr) == (0, "")
        path = tmp_path_factory.mktemp("completion") / f"ogw.{shell}"
        path.write_text(done.stdout)
        return path

    return write


@pytest.fixture
def here(tmp_path):
    """The options of a shell in a folder with things to complete, where `ogw` is this very program."""
    program = tmp_path / "bin" / "ogw"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -m ogw "$@"\n')
    program.chmod(0o755)
    (tmp_path / "gateway.ini").write_text(
        '[ogw]\nallowed-host = www.example.com note="$(touch evil)"\n    *.example.net\n'
    )
    (tmp_path / "other.ini").write_text("[ogw]\nallowed-host = www.example.org\n")
    (tmp_path / "copies").mkdir()
    path = f"{program.parent}:{os.environ['PATH']}"
    file = str(tmp_path / "gateway.ini")
    return {
        "cwd": tmp_path,
        "env": clean(PATH=path, PYTHONPATH=str(ROOT), OGW_CONFIG=file, HOME=str(tmp_path), TERM="vt100"),
    }


CASES = [
    (["con"], {"config"}, {"run"}),
    (["config", ""], {"get", "set", "show"}, {"run"}),
    (["run", "--allowed-"], {"--allowed-host", "--allowed-client"}, {"--listen-port"}),
    (["config", "get", "listen-"], {"listen-port", "listen-address"}, {"allowed-host"}),
    (["run", "--tls-rules", ""], {"enforce", "report", "off"}, {"--help"}),
    (["setup", "--un"], {"--uninstall"}, {"--yes"}),
    (["explain", "--policy-"], {"--policy-mode"}, {"--client"}),
    (["explain", "--cl"], {"--client", "--cloud"}, {"--at"}),
    (["check", "--policy-mode", ""], {"enforce", "report"}, {"--help"}),
    (["config", "remove", "allowed-"], {"allowed-host", "allowed-client"}, {"listen-port"}),
    (["allowed-host", ""], {"add", "remove", "list"}, {"set"}),
    (["allowed-host", "add", "--no-"], {"--no-server-name"}, {"--reload"}),
    (["denied-host", "add", "--no"], {"--note"}, {"--no-server-name"}),
    (["events", "host-"], {"host-not-allowed"}, {"105"}),
    (["events", "10"], {"104", "105", "106"}, {"host-not-allowed"}),
    (["presets", "azure-"], {"azure-arc", "azure-monitor-agent"}, {"--json"}),
    (["run", "--preset", "azure-"], {"azure-arc", "azure-monitor-agent"}, {"--json"}),
    (["completion", ""], {"bash", "zsh", "fish"}, {"--help"}),
    (["run", "--config", ""], {"gateway.ini", "other.ini"}, {"--help"}),
    (["inspect", "gate"], {"gateway.ini"}, {"other.ini"}),
    (["run", "--state-dir", "cop"], {"copies"}, {"other.ini"}),
    (["allowed-host", "remove", "www"], {'www.example.com note="$(touch evil)"'}, {"www.example.org", "*.example.net"}),
    (["allowed-host", "remove", "--config", "other.ini", "www"], {"www.example.org"}, {"www.example.com"}),
]  # fmt: skip
EVERY = pytest.mark.parametrize(("typed", "has", "has_not"), CASES, ids=[" ".join(typed) for typed, *_more in CASES])


@EVERY
def test_bash_completes(script, here, typed, has, has_not):
    ask = 'source "$0"; complete -p ogw; COMP_WORDS=(ogw "$@"); COMP_CWORD=$#; _shtab_ogw; '
    ask += 'printf "%s\\n" "${COMPREPLY[@]%/}"'
    done = subprocess.run(
        [peer("bash"), "--norc", "-c", ask, script("bash"), *typed], capture_output=True, text=True, timeout=60, **here
    )
    assert done.stderr == ""
    assert done.stdout.splitlines()[0].endswith(" -F _shtab_ogw ogw")
    offered = set(done.stdout.splitlines()[1:])
    assert has <= offered and not has_not & offered
    assert not (here["cwd"] / "evil").exists()


@pytest.mark.long
@EVERY
def test_fish_completes(script, here, typed, has, has_not):
    line = "ogw " + " ".join(typed)
    done = subprocess.run(
        [peer("fish"), "--no-config", "-c", f"source {script('fish')}; complete -C '{line}'"],
        capture_output=True, text=True, timeout=60, **here,
    )  # fmt: skip
    offered = {line.split("\t")[0].rstrip("/") for line in done.stdout.splitlines()}
    assert has <= offered and not has_not & offered, (offered, done.stderr)
    assert not (here["cwd"] / "evil").exists()


@pytest.mark.long
def test_zsh_reads_the_script(script):
    ask = f"autoload -Uz compinit && compinit -D -u; source {script('zsh')}; print $_comps[ogw]"
    done = subprocess.run([peer("zsh"), "-f", "-c", ask], capture_output=True, text=True, timeout=60)
    assert done.stdout.strip(), done.stderr
    assert done.stderr == ""


LIST = r"""
autoload -Uz compinit; compinit -D -u; zstyle ':completion:*' verbose no; setopt no_list_ambiguous no_list_types
no_list_beep; ended() { zle -I; print -r -- "<ended>$BUFFER<" }; zle -N ended; bindkey '^Xe' ended
"""


@pytest.mark.long
@pytest.mark.parametrize("how", ["source", "fpath"])
@EVERY
def test_zsh_completes(script, here, how, typed, has, has_not):
    """On a terminal: what it lists, and what it makes of the line where there is only one."""
    path = script("zsh")
    load = f"source {path}" if how == "source" else f"cp {path} bin/_ogw; fpath=($PWD/bin $fpath)"
    lines = LIST.replace("\n", " ").strip()
    lines = f"{load}; {lines}" if how == "fpath" else f"{lines}; {load}"
    shell = pexpect.spawn(peer("zsh"), ["-f", "-i"], encoding="utf-8", timeout=60, dimensions=(60, 250), **here)
    (here["cwd"] / "begin").write_text(lines + "\n")
    shell.sendline("PS1=; source ./begin; print be''gun")
    shell.expect_exact("begun")
    shell.send("ogw " + " ".join(typed) + "\t\x18e")
    shell.expect_exact("<ended>")
    listed = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]|[\x00-\x08\r]", " ", shell.before)
    shell.expect_exact("<")
    line = re.sub(r"\\(.)", r"\1", shell.before)
    shell.close(force=True)
    offered = set(listed.split()) | set(line.rstrip("/ ").split()[1:])
    shown = listed + line
    assert all(one in shown for one in has), (listed, line)
    assert not has_not & offered, (listed, line)
    assert not (here["cwd"] / "evil").exists()


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command.words)
def test_flags_in_the_examples_of_a_help_exist(command):
    done = ogw(*command.words.split(), "--help")
    assert done.returncode == 0
    flags, _examples, examples = done.stdout.partition("examples:")
    of_settings = ogw("run", "--help").stdout
    for line in examples.partition("exit codes:")[0].splitlines():
        if line.split()[:1] == ["ogw"] and line.split()[1 : 1 + len(command.words.split())] == command.words.split():
            for flag in re.findall(r"(?<![\w-])--[a-z-]+", line):
                assert re.search(rf"{flag}\b", flags) or re.search(rf"{flag}\b", of_settings), (flag, line)
