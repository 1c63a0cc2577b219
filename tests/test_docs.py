"""What people read agrees with what the program does."""

import os
import pathlib
import re
import subprocess
import sys

import pytest

from ogw.settings.loader import load
from ogw.settings.settings import SETTINGS

ROOT = pathlib.Path(__file__).parent.parent
CONF = sorted(path for path in (ROOT / "conf").rglob("*") if path.is_file())
sys.path.insert(0, str(ROOT / "tools"))

from generate_docs import with_tables  # noqa: E402


def test_the_readme_has_the_tables_that_the_code_gives():
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert with_tables(readme) == readme, "run tools/generate_docs.py --write"


@pytest.mark.parametrize("name", SETTINGS)
def test_the_sample_file_shows_every_setting_with_its_default(name):
    sample = (ROOT / "conf" / "ogw.ini").read_text(encoding="utf-8")
    assert re.search(
        rf"^#{name} ={' ' if SETTINGS[name].default else ''}{re.escape(SETTINGS[name].default)}$", sample, re.MULTILINE
    )


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
    command = [sys.executable, "-m", "ogw", "run", "--help"]
    wide = {**os.environ, "COLUMNS": "300"}  # a narrow screen would break lines inside the names
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, env=wide)
    assert done.returncode == 0
    said = " ".join(done.stdout.split())
    for setting in SETTINGS.values():
        assert setting.flag in said and f"[env var: {setting.variable}]" in said


@pytest.mark.parametrize(
    "path",
    [ROOT / "README.md", ROOT / "CHANGELOG.md", *(path for path in CONF if path.suffix != ".json")],
    ids=lambda path: path.name,
)
def test_lines_fit_a_screen(path):
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        assert len(line) <= 120 or line.startswith("|"), f"{path.name}:{number}"


def test_the_index_of_conf_names_every_file_there_and_no_other():
    index = (ROOT / "conf" / "README.md").read_text(encoding="utf-8")
    named = re.findall(r"^\| \[([^\]]+)\]\(([^)]+)\) \|", index, re.MULTILINE)
    assert all(text == link for text, link in named)
    there = {str(path.relative_to(ROOT / "conf")) for path in CONF} - {"README.md"}
    assert sorted(link for _text, link in named) == sorted(there)


def test_the_readme_names_the_metrics_of_the_originals_four_counters():
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    table = readme.partition("| counter of the original | metric |")[2].partition("\n\n")[0]
    named = re.findall(r"`(ogw_\w+)", table)
    assert named == ["ogw_tunnels_active", "ogw_clients_connected", "ogw_errors_total", "ogw_tls_rejections_total"]
