"""`ogw doctor` on the libraries that it finds: those of this environment, and one that is older."""

import json
import re
from importlib import metadata

from harness.commands import ROOT, ogw

from ogw.cli.doctor.libraries import LEAST


def found(**environment):
    done = ogw("doctor", "--allowed-host", "www.example.com", "--host", "127.0.0.1", "--json", **environment)
    return [one for one in json.loads(done.stdout)["findings"] if one["area"] == "libraries"]


def test_its_bounds_are_those_of_the_installation():
    asked = re.search(r"install_requires=\[\n(.*?)\]", (ROOT / "setup.py").read_text(), re.DOTALL)[1]
    assert dict(re.findall(r'"(.+)>=(.+)"', asked)) == LEAST


def test_every_version_is_told():
    told = found()[0]
    assert told["state"] == "ok"
    assert told["what"] == ", ".join(f"{name} {metadata.version(name)}" for name in LEAST)


def test_one_that_is_too_old_is_a_warning(tmp_path):
    folder = tmp_path / "waitress-2.1.2.dist-info"
    folder.mkdir()
    (folder / "METADATA").write_text("Metadata-Version: 2.1\nName: waitress\nVersion: 2.1.2\n")
    told = found(PYTHONPATH=str(tmp_path))[-1]
    assert (told["state"], told["where"]) == ("warning", "waitress")
    assert told["what"].startswith("2.1.2 is older than 3: ") and "pip install 'waitress>=3'" in told["do"]
