"""Completion, asked of real shells, and what every command's help has."""

import re
import subprocess

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


CASES = [
    (["con"], {"config"}, {"run"}),
    (["config", ""], {"get", "set", "show"}, {"run"}),
    (["run", "--allowed-"], {"--allowed-host", "--allowed-client"}, {"--listen-port"}),
    (["config", "get", "listen-"], {"listen-port", "listen-address"}, {"allowed-host"}),
    (["run", "--tls-rules", ""], {"enforce", "report", "off"}, {"--help"}),
    (["setup", "--un"], {"--uninstall"}, {"--yes"}),
]


@pytest.mark.parametrize(
    ("typed", "has", "has_not"), CASES, ids=lambda case: " ".join(case if isinstance(case, list) else sorted(case))
)
def test_bash_completes(script, typed, has, has_not):
    ask = 'source "$0"; complete -p ogw; COMP_WORDS=(ogw "$@"); COMP_CWORD=$#; _ogw; '
    ask += 'printf "%s\\n" "${COMPREPLY[@]}"'
    done = subprocess.run(
        [peer("bash"), "--norc", "-c", ask, script("bash"), *typed], capture_output=True, text=True, timeout=60
    )
    assert done.stderr == ""
    assert done.stdout.splitlines()[0] == "complete -o default -F _ogw ogw"
    offered = set(done.stdout.splitlines()[1:])
    assert has <= offered and not has_not & offered


@pytest.mark.long
@pytest.mark.parametrize(
    ("typed", "has", "has_not"), CASES, ids=lambda case: " ".join(case if isinstance(case, list) else sorted(case))
)
def test_fish_completes(script, tmp_path, typed, has, has_not):
    line = "ogw " + " ".join(typed)
    done = subprocess.run(
        [peer("fish"), "--no-config", "-c", f"source {script('fish')}; complete -C '{line}'"],
        capture_output=True, text=True, timeout=60, env=clean(HOME=str(tmp_path)), cwd=ROOT,
    )  # fmt: skip
    offered = {line.split("\t")[0] for line in done.stdout.splitlines()}
    assert has <= offered and not has_not & offered, (offered, done.stderr)


@pytest.mark.long
def test_zsh_reads_the_script(script):
    ask = f"autoload -Uz compinit && compinit -D -u; source {script('zsh')}; print $_comps[ogw]"
    done = subprocess.run([peer("zsh"), "-f", "-c", ask], capture_output=True, text=True, timeout=60)
    assert done.stdout.strip(), done.stderr
    assert done.stderr == ""


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
