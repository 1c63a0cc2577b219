"""The wheel, the sdist, and what tools/package refuses to build from."""

import shutil
import subprocess
import sys
import zipfile

import pytest
from harness.bundles import PYTHON
from harness.clones import clone, package
from harness.commands import ROOT, clean
from harness.peers import peer, root
from harness.waiting import PATIENCE

pytestmark = [pytest.mark.long, pytest.mark.timeout(600)]


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    """A clone of these sources; tests build in it, and leave it as it was."""
    return clone(tmp_path_factory.mktemp("tree") / "ogw")


@pytest.fixture(scope="module")
def built(tree, tmp_path_factory):
    """The wheel and the sdist of it."""
    folder = tmp_path_factory.mktemp("built")
    package(tree, "wheel", "--output", folder)
    return next(folder.glob("*.whl")), next(folder.glob("*.tar.gz"))


def called(*words, folder=None):
    """Its end; all that it said is in `stdout`."""
    return subprocess.run(
        words, cwd=folder, env=clean(), text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        timeout=200 * PATIENCE,
    )  # fmt: skip


def test_the_same_commit_gives_the_same_bytes_wherever_it_lies(tree, built, tmp_path):
    elsewhere = shutil.copytree(tree, tmp_path / "of a longer name" / "ogw", symlinks=True)
    (elsewhere / "setup.py").touch()
    package(elsewhere, "wheel", "--output", tmp_path)
    for path in built:
        assert (tmp_path / path.name).read_bytes() == path.read_bytes()


def test_the_wheel_has_every_file_of_the_gateway(built):
    kept = (path for path in ROOT.glob("ogw/**/*") if path.is_file() and path.suffix not in (".pyc", ".po"))
    ours = {str(path.relative_to(ROOT)) for path in kept}
    with zipfile.ZipFile(built[0]) as packed:
        names = set(packed.namelist())
        unit = packed.read("ogw/cli/setup/ogw.service")
    assert {name for name in names if ".dist-info/" not in name} == ours
    assert unit == (ROOT / "conf" / "ogw.service").read_bytes()


def test_the_sdist_has_what_a_clone_has_and_builds_the_same_wheel(tree, built, tmp_path):
    called("tar", "-xf", built[1], "-C", tmp_path)
    (unpacked,) = tmp_path.iterdir()
    listed = called(peer("git"), "ls-files", folder=tree).stdout.split()
    assert [name for name in listed if name != ".gitignore" and not (unpacked / name).exists()] == []
    (toolbox,) = tree.glob("build/toolbox-*/bin/python")
    build = [toolbox, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", tmp_path, unpacked]
    epoch = called(peer("git"), "log", "-1", "--format=%ct", folder=tree).stdout.strip()
    done = called("env", f"SOURCE_DATE_EPOCH={epoch}", *build)
    assert done.returncode == 0, done.stdout
    assert (tmp_path / built[0].name).read_bytes() == built[0].read_bytes()


def test_a_tree_with_changes_is_refused_and_they_are_named(tree, tmp_path):
    (tree / "README.md").write_text("changed\n")
    (tree / "forgotten.py").touch()
    try:
        done = package(tree, "wheel", "--output", tmp_path / "dist", check=False)
    finally:
        (tree / "forgotten.py").unlink()
        called(peer("git"), "checkout", "--", "README.md", folder=tree)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == (
        "tools/package: a package is built from a commit, and these changes are in none:\n"
        "   M README.md\n  ?? forgotten.py\ncommit them or take them away; `git status` shows them all\n"
    )
    assert not (tmp_path / "dist").exists()


def test_what_is_no_clone_and_what_cannot_be_written_are_told_in_a_line(tree, tmp_path):
    bare = shutil.copytree(tree / "tools", tmp_path / "tools")
    shutil.copytree(tree / "ogw", tmp_path / "ogw")
    done = package(bare.parent, "wheel", check=False)
    assert done.returncode == 1 and "not a git repository" in done.stderr and done.stderr.count("\n") == 1
    (tmp_path / "file").touch()
    done = package(tree, "wheel", "--output", tmp_path / "file" / "dist", check=False)
    assert (done.returncode, done.stderr) == (
        1,
        f"tools/package: cannot write to {tmp_path}/file/dist: Not a directory\n",
    )
    done = package(tree, "nothing", check=False)
    assert done.returncode == 2 and "invalid choice: 'nothing'" in done.stderr


@pytest.mark.parametrize(("size", "full"), [("64k", "dist"), ("64k", "small"), ("6m", "small")])
def test_a_full_disk_is_told_in_a_line_and_leaves_nothing(tree, built, tmp_path, size, full):
    root()
    for name in ("small", "dist"):
        (tmp_path / name).mkdir()
    script = (
        f"mount -t tmpfs -o size={size} none {tmp_path}/{full} && export TMPDIR={tmp_path}/small"
        f"; {sys.executable} {tree}/tools/package.py wheel --output {tmp_path}/dist; ls -A {tmp_path}/*"
    )
    done = called("unshare", "--mount", "sh", "-c", script)
    said, _, left = done.stdout.partition(f"{tmp_path}/dist:\n")
    assert said.startswith("tools/package: ") and str(tmp_path / full) in said, done.stdout
    assert "No space left on device" in said and "Traceback" not in said, done.stdout
    assert left == f"\n{tmp_path}/small:\n"


def test_the_lock_is_written_anew(tree):
    before = {path.name: path.read_text() for path in tree.glob("conf/lock/*.txt")}
    try:
        package(tree, "lock")
        for path in tree.glob("conf/lock/*.txt"):
            assert path.read_text().splitlines()[:2] == before[path.name].splitlines()[:2]
            names = [line.partition("==")[0] for line in path.read_text().splitlines() if "==" in line]
            assert names == sorted(names) and len(names) > 10
    finally:
        called(peer("git"), "checkout", "--", "conf/lock", folder=tree)


def test_pip_says_nothing_of_how_ogw_is_built(tree, tmp_path):
    """Debian 12's pip warns where a project has no pyproject.toml."""
    done = called(peer(PYTHON), "-m", "venv", tmp_path / "venv")
    assert done.returncode == 0, done.stdout
    done = called(tmp_path / "venv" / "bin" / "pip", "install", "--no-deps", ".", folder=tree)
    assert done.returncode == 0 and "Successfully installed ogw" in done.stdout, done.stdout
    assert "DEPRECATION" not in done.stdout and "setup.py" not in done.stdout, done.stdout
