"""What is shown in each language, by real commands: it fits the screen, and is in that language altogether."""

import re
import subprocess
import sys

import pexpect
import pytest
from harness.commands import OGW, ROOT, clean, ogw
from harness.gateway import Gateway
from harness.terminal import Terminal
from translating.catalogs import OTHERS

from ogw.cli.commands import COMMANDS
from ogw.language.messages import gettext, speaking
from ogw.language.wrapping import cells

HELPS = ["", "run", "setup", "events", "relay-proxy set", "suggest", "doctor"]
LONG = [command.words for command in COMMANDS if command.words not in HELPS]
WIDTH = 80


def said(language, text):
    with speaking(language):
        return gettext(text)


def help_fits(language, words):
    done = ogw(*words.split(), "--help", OGW_LANGUAGE=language, COLUMNS=str(WIDTH))
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    assert [line for line in lines if cells(line) >= WIDTH] == []
    english = ogw(*words.split(), "--help", COLUMNS=str(WIDTH)).stdout.splitlines()
    for head in ("usage: ogw COMMAND [FLAGS]", "exit codes:", "examples:"):
        assert (said(language, head) in lines) == (head in english)
    return done.stdout


@pytest.mark.parametrize("language", OTHERS)
@pytest.mark.parametrize("words", HELPS)
def test_a_help_fits_80_columns(language, words):
    shown = help_fits(language, words)
    assert shown != ogw(*words.split(), "--help", COLUMNS=str(WIDTH)).stdout


@pytest.mark.long
@pytest.mark.parametrize("language", OTHERS)
@pytest.mark.parametrize("words", LONG)
def test_every_other_help_fits_80_columns(language, words):
    help_fits(language, words)


@pytest.mark.parametrize("language", OTHERS)
def test_a_table_is_straight_and_nothing_in_it_is_cut(language):
    """The second column begins below its head, whatever columns of the screen the first one's characters take."""
    done = ogw("events", OGW_LANGUAGE=language)
    lines = done.stdout.splitlines()
    name = said(language, "name")
    begin = cells(lines[0][: lines[0].index(name)])
    rows = [line for line in lines if line.startswith("OGW-")]
    assert len(rows) > 20
    for line in rows:
        assert re.fullmatch(r"OGW-\d+ +", line[:begin]) and line[begin] != " ", line
    with Terminal([*OGW, "events"], columns=WIDTH, lines=200, OGW_LANGUAGE=language) as terminal:
        assert "…" not in "".join(terminal.wait_for("OGW-4"))


@pytest.mark.parametrize("language", OTHERS)
def test_an_event_is_explained(language):
    done = ogw("events", "105", OGW_LANGUAGE=language)
    assert done.returncode == 0 and "OGW-105" in done.stdout
    assert said(language, "What to do:") in done.stdout
    assert "What to do" not in done.stdout


@pytest.mark.parametrize("language", OTHERS)
def test_a_mistake_is_told(language):
    done = ogw("check", "--head-timeout", "x", "--allowed-hots", "a.example", OGW_LANGUAGE=language)
    assert done.returncode == 2 and "--head-timeout" in done.stderr and "--allowed-host" in done.stderr
    english = ogw("check", "--head-timeout", "x", "--allowed-hots", "a.example").stderr
    assert not {*english.splitlines()} & {*done.stderr.splitlines()}
    unknown = ogw("statsu", OGW_LANGUAGE=language)
    assert unknown.returncode == 2 and "ogw status" in unknown.stderr and "is not a command" not in unknown.stderr


@pytest.mark.parametrize("language", OTHERS)
def test_json_is_the_same_in_every_language(language):
    for words in ("check --head-timeout x", "events", "events 105", "presets", "explain a.example", "relay-proxy get"):
        answers = [ogw(*words.split(), "--json", OGW_LANGUAGE=one).stdout for one in (language, "en")]
        assert answers[0] == answers[1] != ""


def asked(language, image, **environment):
    return pexpect.spawn(
        OGW[0], [*OGW[1:], "setup", "--root", str(image), "--program", "/usr/bin/ogw"], cwd=ROOT, encoding="utf-8",
        timeout=20, dimensions=(50, WIDTH), env=clean(TERM="dumb", OGW_LANGUAGE=language, **environment),
    )  # fmt: skip


@pytest.fixture
def image(tmp_path):
    (tmp_path / "usr/bin").mkdir(parents=True)
    (tmp_path / "usr/bin/ogw").touch(0o755)
    return tmp_path


def flat(text):
    return re.sub(r"\s+", "", text)


# To the port, the presets, the hosts, the relay proxy, the service, and whether to do it.
ANSWERS = ("", "", "www.example.com", "", "", "", "")


def asked_through(child):
    """The dialogue, to its end; what it showed."""
    shown = ""
    for text in ANSWERS:
        child.expect(r"[:?\]\N{FULLWIDTH COLON}\N{FULLWIDTH QUESTION MARK}] ?$")
        shown += child.before + child.after
        child.sendline(text)
    child.expect(pexpect.EOF)
    child.close()
    return shown + child.before


@pytest.mark.parametrize("language", OTHERS)
def test_the_dialogue_in_a_terminal_of_utf_8(language, image):
    child = asked(language, image, LC_ALL="C.UTF-8")
    shown = asked_through(child)
    assert child.exitstatus == 0 and "Traceback" not in shown and "OGW-400" not in shown
    for text in ("TCP port to listen on, 1-65535", "This will be done:"):
        assert flat(said(language, text)) in flat(shown)


@pytest.mark.parametrize("language", OTHERS)
def test_the_dialogue_in_a_terminal_of_ascii_is_english(language, image):
    ascii_ = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "PYTHONIOENCODING": "ascii"}
    child = asked(language, image, **ascii_)
    shown = asked_through(child)
    assert child.exitstatus == 0 and shown.isascii() and "TCP port to listen on" in shown


def test_the_gateway_itself_speaks_english_and_loads_no_catalog_and_no_babel():
    script = (
        "import sys\n"
        "sys.argv[1:] = ['run', '--language', 'de', '--head-timeout', 'x']\n"
        "from ogw.cli.main import main\n"
        "code = main()\n"
        "import ogw.service.start\n"
        "from ogw.language import messages\n"
        "print(code, 'babel' in sys.modules, messages._catalog.cache_info().currsize)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=ROOT,
        env=clean(LANG="de_DE.UTF-8"),
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.stdout.splitlines()[-1] == "2 False 1", done
    assert "--head-timeout: 'x': it is not a duration" in done.stderr


@pytest.mark.parametrize(
    ("language", "shown"), [("en", r"2\d{3}-\d\d-\d\dT[\d:]{8}Z"), ("de", r"\d\d\.\d\d\.2\d{3} [\d:]{8} UTC")]
)
def test_times_in_tables_are_as_the_reader_writes_them(language, shown):
    with Gateway("--allowed-host", "a.example") as gateway:
        done = ogw("status", "--run-dir", gateway.run_dir, OGW_LANGUAGE=language)
        assert done.returncode == 0 and re.search(shown, done.stdout), done
