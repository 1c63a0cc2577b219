"""What people read agrees with what the program does: every link, command, flag and setting in it is there."""

import itertools
import os
import pathlib
import re
import shlex
import subprocess
import sys
import urllib.parse

import pytest
from generate_docs import PAGES, TABLES, settings_for_the_chart, with_tables

from ogw.cli.commands import COMMANDS, find, is_cmdlet, of_group
from ogw.policy.decision import Reason
from ogw.settings.loader import load
from ogw.settings.settings import FILE_VARIABLES, SETTINGS

ROOT = pathlib.Path(__file__).parent.parent
PACKED = [ROOT / "conf" / name for name in ("bundle", "debian", "lock")]  # what packages are made of
CHART = ROOT / "conf" / "helm" / "ogw"
WHOLE = (CHART, ROOT / "conf" / "ansible")  # which are named as a whole
CONF = sorted(path for path in (ROOT / "conf").rglob("*") if path.is_file() and not {*path.parents} & {*PACKED})
READ = sorted({*PAGES, *ROOT.glob("*.md"), *(ROOT / "conf").rglob("*.md")})
GENERATE = "run .venv/bin/python tools/generate_docs.py, which writes what has changed"

GATEWAYS_OWN = re.compile(r"\[FLAGS\]|settings\.md|`ogw run`")  # in the help of a command: settings are its flags, too
LINK = re.compile(r"(?<!\!)\[[^\]]+\]\(([^)\s]+)\)|!\[[^\]]+\]\(([^)\s]+)\)")
FLAG = re.compile(r"(?<![\w-])--[a-z][a-z-]*")
OF_OTHERS = {  # flags of the programs that pages name, and of what is in tools/
    *("--long", "--template-file", "--parameters", "--name", "--resource", "--rule-id"),
    *("--since", "--find", "--gateway", "--only", "--benchmark-save", "--proxy", "--global", "--debian", "--base"),
    *("--cacert", "--proxy-cacert", "--proxy-cert", "--proxy-key", "--tls"),
    *("--read-only", "--cap-drop", "--tmpfs", "--max-time"),
    *("--namespace", "--create-namespace", "--values", "--set", "--show-only", "--from-literal", "--prefix", "--tail"),
    *("--check", "--diff", "--limit", "--tags", "--extra-vars", "--allow-downgrades"),
    *("--batch", "--passphrase", "--quick-generate-key", "--quick-set-expire", "--armor", "--export"),
}

by_page = pytest.mark.parametrize("page", READ, ids=lambda page: str(page.relative_to(ROOT)))


def text_of(page):
    return page.read_text(encoding="utf-8")


def code_of(text):
    """The lines of indented blocks, and what stands in backticks."""
    lines = text.splitlines()
    yield from (line.strip() for line in lines if line.startswith("    "))
    prose = "\n".join(line for line in lines if not line.startswith("    "))
    for paragraph in re.split(r"\n(?=\n|[-|#] ?)", prose):
        yield from (" ".join(span.split()) for span in re.findall(r"`([^`]+)`", paragraph))


def anchors_of(page):
    """The places in a page that a link may name, as GitHub makes them from headings."""
    headings = re.findall(r"^#+ (.+)$", text_of(page), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def commands_of(text):
    """The command lines of ogw, without `ogw`, as lists of words; of `get|set` each."""
    for code in code_of(text):
        for line in re.split(r"\s#\s|\s\|\s|\s&&\s|\s{2,}|\s< ", re.sub(r"(?<=\w)\|\s+", "|", code)):
            start = re.match(r"(?:sudo |source <\()?(?:/opt/ogw/bin/)?(ogw|tools/run)(?:\s+(?![0-9])|$)", line)
            if start:
                words = shlex.split(line[start.end() :].rstrip(")"))
                choices = [word.split("|") for word in (["run", *words] if start[1] == "tools/run" else words)]
                yield from map(list, itertools.product(*choices))


@pytest.fixture(scope="module")
def helps():
    """What docs/commands.md shows of each command, by its words."""
    parts = re.split(r"^### ogw (.+)$", text_of(ROOT / "docs" / "commands.md"), flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def test_what_the_chart_knows_of_the_settings_is_up_to_date():
    assert text_of(CHART / "files" / "settings.json") == settings_for_the_chart(), GENERATE


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_what_follows_from_the_code_is_up_to_date(page):
    text = text_of(page)
    # Not to the blank: versions of Python break lines of a usage in other places.
    assert with_tables(text).split() == text.split(), GENERATE


def test_each_generated_part_stands_in_some_page():
    marks = [mark for page in PAGES for mark in re.findall(r"^<!-- (/?[a-z ]+) -->$", text_of(page), re.MULTILINE)]
    assert set(marks) == {*TABLES, *(f"/{name}" for name in TABLES)}


@by_page
def test_every_link_leads_somewhere(page):
    for link in (one or other for one, other in LINK.findall(text_of(page))):
        address = urllib.parse.urlsplit(link)
        if address.scheme:
            assert address.scheme == "https", link
            continue
        there = (page.parent / urllib.parse.unquote(address.path)).resolve() if address.path else page
        assert there.exists() and ROOT in (there, *there.parents), link
        if address.fragment:
            assert address.fragment in anchors_of(there), link


@by_page
def test_every_command_is_there_and_takes_the_flags_that_are_shown(page, helps):
    for words in commands_of(text_of(page)):
        if not words or words[0] in ("COMMAND", "--help") or is_cmdlet(words):
            continue
        found = find(words)
        if found is None:
            assert of_group(words[0]) and len(words) == 1, words
            continue
        command, rest = found
        help_text = helps.get(" ".join([command.words, *rest[:1]])) or helps[command.words]
        flags = set(FLAG.findall(help_text))
        if GATEWAYS_OWN.search(help_text):
            flags |= {"--config", *(setting.flag for setting in SETTINGS.values())}
        assert {word.partition("=")[0] for word in rest if FLAG.match(word)} <= flags | {"--help"}, words


@by_page
def test_every_flag_is_somebodys(page, helps):
    known = {*FLAG.findall("".join(helps.values())), *(setting.flag for setting in SETTINGS.values()), *OF_OTHERS}
    if page.name != "CHANGELOG.md":  # that tells of the past, too
        assert set(FLAG.findall("\n".join(code_of(text_of(page))))) <= known


@by_page
def test_every_setting_and_variable_is_there(page):
    variables = {"OGW_CONFIG", *(setting.variable for setting in SETTINGS.values()), *FILE_VARIABLES}
    for code in code_of(text_of(page)):
        assert set(re.findall(r"\bOGW_(?!TEST_)[A-Z_]+\b", code)) <= variables, code
        key = re.fullmatch(r"([a-z]+(?:-[a-z]+)+) =(?: .*)?", code)
        assert key is None or key[1] in SETTINGS, code


@by_page
def test_every_reason_in_an_answer_is_there(page):
    tokens = {reason.token for reason in Reason}
    named = re.findall(r"reason=([a-z-]+)|\b40[0-9] [A-Z][a-z]+: ([a-z-]+)", text_of(page))
    assert {one or other for one, other in named} <= tokens


def test_the_developers_map_names_only_what_is_in_the_code():
    code = "\n".join(map(text_of, (*(ROOT / "ogw").rglob("*.py"), ROOT / "tools" / "generate_docs.py")))
    spans = code_of(text_of(ROOT / "docs" / "processes-and-path.md"))
    names = [span.rpartition(".")[2] for span in spans if re.fullmatch(r"(\w+\.)?(\w+_\w+|[A-Z]\w+)", span)]
    assert len(names) > 30
    assert [name for name in names if not re.search(rf"\b{name}\b", code)] == []


@pytest.mark.parametrize("reason", [one for one in Reason if one is not Reason.ALLOWED], ids=lambda one: one.token)
def test_every_reason_has_its_line_among_the_answers(reason):
    assert re.search(rf"^\|.*`{reason.token}` \|", text_of(ROOT / "docs" / "answers.md"), re.MULTILINE)


def test_every_command_has_its_help_among_the_commands():
    anchors = anchors_of(ROOT / "docs" / "commands.md")
    assert {f"ogw-{command.words.replace(' ', '-')}" for command in COMMANDS} <= anchors


def test_every_page_is_named_in_the_readme():
    named = {link.partition("#")[0] for link, _picture in LINK.findall(text_of(ROOT / "README.md"))}
    pages = {str(page.relative_to(ROOT)) for page in (ROOT / "docs").glob("*.md")}
    assert pages | {"CONTRIBUTING.md", "SECURITY.md", "LICENSE", "CHANGELOG.md", "conf/README.md"} <= named


def test_the_readme_is_read_in_a_few_minutes():
    assert len(text_of(ROOT / "README.md").splitlines()) <= 160


@pytest.mark.parametrize("name", SETTINGS)
def test_the_sample_file_shows_every_setting_with_its_default(name):
    sample = (ROOT / "conf" / "ogw.ini").read_text(encoding="utf-8")
    assert re.search(
        rf"^#{name} ={' ' if SETTINGS[name].default else ''}{re.escape(SETTINGS[name].default)}$", sample, re.MULTILINE
    )


def test_the_sample_file_and_the_pages_name_the_lists_that_are_not_split_at_commas():
    own = {name for name, setting in SETTINGS.items() if setting.by_line}
    sample = (ROOT / "conf" / "ogw.ini").read_text(encoding="utf-8")
    (said,) = re.findall(r"One a line alone, since\n#   commas may be in them, take (.*)\.\n", sample)
    assert set(re.split(r", | and ", said)) == own
    rows = re.findall(r"^\| `([a-z-]+)` .*\(a list, one a line", text_of(ROOT / "docs" / "settings.md"), re.MULTILINE)
    assert set(rows) == own


def test_the_sample_file_is_a_valid_file_that_changes_nothing(tmp_path):
    defaults = load([], {})
    assert load(["--config", str(ROOT / "conf" / "ogw.ini")], {}) == defaults
    text = (ROOT / "conf" / "ogw.ini").read_text(encoding="utf-8")
    open_file = tmp_path / "ogw.ini"
    # Examples of lists stand above their empty defaults, so each name is kept once.
    lines = [
        line
        for line in text.splitlines()
        if not re.match(r"#(allowed-host|allowed-client-certificate|relay-proxy) =$|#    ", line)
    ]
    open_file.write_text("\n".join(re.sub(r"^#([a-z-]+ =)", r"\1", line) for line in lines), encoding="utf-8")
    assert load(["--config", str(open_file)], {}) == defaults


def test_the_help_names_every_setting_and_its_variable():
    wide = {**os.environ, "COLUMNS": "300"}  # a narrow screen would break lines inside the names
    command = [sys.executable, "-m", "ogw", "run", "--help"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, env=wide)
    assert done.returncode == 0
    said = " ".join(done.stdout.split())
    for setting in SETTINGS.values():
        assert setting.flag in said and f"[env var: {setting.variable}]" in said


@pytest.mark.parametrize(
    "path",
    sorted({*READ, ROOT / "LICENSE", *(path for path in CONF if path.suffix != ".json")}),
    ids=lambda path: str(path.relative_to(ROOT)),
)
def test_lines_fit_a_screen(path):
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        assert len(line) <= 120 or line.startswith("|"), f"{path.name}:{number}"


def test_the_index_of_conf_names_every_file_there_and_no_other():
    index = (ROOT / "conf" / "README.md").read_text(encoding="utf-8")
    named = re.findall(r"^\| \[([^\]]+)\]\(([^)]+)\) \|", index, re.MULTILINE)
    assert all(text == link for text, link in named)
    wholes = {path: whole for path in CONF for whole in WHOLE if whole in path.parents}
    named_there = {wholes.get(path, path) for path in CONF} - {ROOT / "conf" / "README.md"}
    there = {str(path.relative_to(ROOT / "conf")) for path in named_there}
    assert sorted(link for _text, link in named) == sorted(there)


def test_the_pages_name_the_metrics_of_the_originals_four_counters():
    running = text_of(ROOT / "docs" / "running.md")
    table = running.partition("| counter of the original | metric |")[2].partition("\n\n")[0]
    named = re.findall(r"`(ogw_\w+)", table)
    assert named == ["ogw_tunnels_active", "ogw_clients_connected", "ogw_errors_total", "ogw_tls_rejections_total"]
