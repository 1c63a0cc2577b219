"""Exit codes of commands about the INI file mean what their help says, whatever stands where the file should be."""

import re

import pytest
from harness.commands import ogw
from harness.edits import Edited
from harness.gateway import Gateway

WRONG = {
    "no UTF-8": b"[ogw]\n\xff\n",
    "without a section": b"listen-port = 9\n",
    "another section": b"[other]\nlisten-port = 9\n",
    "a folder": None,
}
ASK = ["config get listen-port", "relay-proxy get", "relay-proxy get --json", "allowed-host list", "denied-host list",
       "allowed-client list", "allowed-client-certificate list", "allowed-host list --all", "config show",
       "Get-OMSGatewayAllowedHost", "Get-OMSGatewayRelayProxy"]  # fmt: skip
CHANGE = ["config set listen-port 8081", "config unset listen-port", "config add allowed-client 10.0.0.0/8",
          "config remove allowed-client 10.0.0.0/8", "allowed-host add a.example", "allowed-host remove a.example",
          "relay-proxy clear", "relay-proxy set http://127.0.0.1:1 --no-try", "import /dev/null",
          "Add-OMSGatewayAllowedHost a.example"]  # fmt: skip


def codes(words):
    """What the help of a command says that its exit codes mean."""
    help_text = ogw(*words.split(), "--help", COLUMNS="1000").stdout
    told = help_text.partition("exit codes:")[2]
    return {int(code): meaning for code, meaning in re.findall(r"^  ([0-9]+) +(.+)$", told, re.MULTILINE)}


@pytest.fixture(params=WRONG)
def wrong(request, tmp_path):
    folder = tmp_path / "ogw"
    folder.mkdir()
    file = Edited(folder, WRONG[request.param])
    if WRONG[request.param] is None:
        file.path.mkdir()
    return file


def test_whoever_asks_a_file_that_cannot_be_read_gets_neither_a_no_nor_an_empty_list(wrong):
    for words in ASK:
        end = wrong.run(*words.split())
        assert (end.returncode, end.stdout) == (2, ""), (words, end)
        assert str(wrong.path) in end.stderr


def test_whoever_changes_one_is_told_that_nothing_was_changed(wrong):
    for words in CHANGE:
        end = wrong.run(*words.split())
        assert (end.returncode, end.stdout) == (1, ""), (words, end)
        assert "nothing was changed" in end.stderr or "stays as it was" in end.stderr


def test_one_that_is_not_there_sets_nothing(tmp_path):
    for words in ASK[:-4]:
        code = 1 if words.startswith(("config get", "relay-proxy get")) else 0
        assert Edited(tmp_path).run(*words.split()).returncode == code, words


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ("config unset", "the file did not set it"),
        ("config remove", "was not in the list"),
        ("allowed-host remove", "was not in the list"),
        ("relay-proxy clear", "there was no relay proxy"),
    ],
)
def test_what_should_go_and_is_not_there_is_no_success_and_the_help_says_so(tmp_path, words, says):
    values = {"config unset": "listen-port", "config remove": "allowed-client 10.0.0.0/8", "relay-proxy clear": ""}
    assert Edited(tmp_path, "[ogw]\n").run(*words.split(), *values.get(words, "a.example").split()).returncode == 1
    told = codes(words)
    assert says in told[1] and told[0] == "done"


@pytest.mark.parametrize("words", ["config get", "allowed-host list", "relay-proxy get", "allowed-host add", "status"])
def test_the_help_knows_a_configuration_that_is_wrong(words):
    assert codes(words)[2] == "the command line or the configuration is wrong"


def test_a_change_whose_reload_was_refused_is_made_and_the_help_says_so(tmp_path):
    file = Edited(tmp_path, "[ogw]\n")
    with Gateway("--config", str(file.path)) as gateway:
        file.write("[ogw]\nno-such = setting\n")
        told = file.told("allowed-host", "add", "a.example", "--reload", "--run-dir", gateway.run_dir, code=1)
        assert "nothing was reloaded" in told and "a.example" in file.text
    for words in ("allowed-host add", "allowed-host remove", "config set", "config unset", "relay-proxy clear"):
        assert "--reload was refused" in codes(words)[1], words
