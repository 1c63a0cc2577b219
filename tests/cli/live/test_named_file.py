"""An INI file that is named means the gateway that reads it: another one, found where gateways usually are, is left."""

import os
import shlex
import subprocess

import pytest
from harness.commands import OGW, ROOT, clean, ogw
from harness.edits import Edited
from harness.gateway import ALLOW, Gateway
from harness.waiting import PATIENCE

ACTING = ["drain", "reload", "reload --json", "ready --off", "tunnel kill 3fa1c2-17", "upgrade"]
ASKING = ["status", "status --json", "ready", "top --count 1", "tunnels", "sources", "events 3fa1c2-17"]


class One:
    """A gateway where commands look by themselves, which reads a file of its own."""

    def __init__(self, gateway, file):
        self.gateway = gateway
        self.file = file

    def asked(self, words, **environment):
        """The end of a command that names no run-dir."""
        return ogw(*words.split(), RUNTIME_DIRECTORY=self.gateway.run_dir, **environment)

    def is_as_it_was(self):
        """Nobody has told it anything."""
        numbers = {line["event"] for line in self.gateway.lines}
        out = [line for line in self.gateway.lines if "taken out" in line.get("message", "")]
        return self.gateway.process.poll() is None and not numbers & {109, 110, 401} and not out


@pytest.fixture(scope="module")
def one(tmp_path_factory):
    file = tmp_path_factory.mktemp("one") / "one.ini"
    file.write_text("[ogw]\nallowed-host = one.example\n")
    with Gateway("--config", str(file)) as gateway:
        yield One(gateway, file)


def two(folder, text):
    """The file of a second gateway, which does not run."""
    path = folder / "two.ini"
    path.write_bytes(text)
    return path


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (b"[ogw]\nrun-dir = /run/ogw2\n\xff\n", "not a text in UTF-8"),
        (b"[ogww]\nrun-dir = /run/ogw2\n", ":1: the section [ogww] is unknown"),
        (None, "No such file or directory"),
    ],
    ids=["no UTF-8", "no section", "missing"],
)
def test_one_that_cannot_be_read_is_2_and_no_gateway_is_asked(one, tmp_path, text, says):
    path = tmp_path / "two.ini" if text is None else two(tmp_path, text)
    ends = [one.asked(f"{words} --config {path}") for words in (*ACTING, *ASKING)]
    ends += [one.asked(words, OGW_CONFIG=str(path)) for words in ("drain", "ready")]
    for done in ends:
        assert (done.returncode, done.stdout) == (2, ""), done
        assert f"{path}" in done.stderr and says in done.stderr and "--run-dir FOLDER" in done.stderr
    assert one.is_as_it_was()


@pytest.mark.parametrize("text", [b"[ogw]\n", b"[ogw]\nrun_dir = /run/ogw2\n"], ids=["none", "mistyped"])
def test_one_that_names_no_run_dir_does_not_mean_a_gateway_that_reads_another(one, tmp_path, text):
    path = two(tmp_path, text)
    for words in (*ACTING, *ASKING):
        done = one.asked(f"{words} --config {path}")
        assert (done.returncode, done.stdout) == (3, ""), done
        assert f"{path} names no run-dir" in done.stderr and f"reads {one.file}" in done.stderr
        assert f"--run-dir {one.gateway.run_dir}" in done.stderr
    assert one.is_as_it_was()


@pytest.mark.parametrize("says", ["OGW_RUN_DIR", "the file"])
def test_a_run_dir_of_a_gateway_that_reads_another_does_not_mean_that_one(one, tmp_path, says):
    """A variable that is left over, or a file that was copied with the run-dir in it."""
    where = f"run-dir = {one.gateway.run_dir}\n" if says == "the file" else ""
    path = two(tmp_path, f"[ogw]\nallowed-host = two.example\n{where}".encode())
    environment = {} if where else {"OGW_RUN_DIR": one.gateway.run_dir}
    for words in (*ACTING, *ASKING):
        done = ogw(*words.split(), "--config", path, **environment)
        assert (done.returncode, done.stdout) == (3, ""), done
        assert f"reads {one.file} and not {path}" in done.stderr
    flags = done.stderr[done.stderr.index("--run-dir /") :].splitlines()[0]
    assert ogw("status", "--config", path, *shlex.split(flags), **environment).returncode == 0
    assert ogw("status", "--config", one.file, OGW_RUN_DIR=one.gateway.run_dir).returncode == 0
    done = ogw(
        "allowed-host", "add", "a.example.com", "--config", path, OGW_LOG_FILE=str(tmp_path / "log"), **environment
    )
    assert done.returncode == 0 and f"reads {one.file} and not {path}" in done.stderr
    done = ogw("explain", "two.example", "--config", path, **environment)
    assert f"{path}:2" in done.stdout and "another policy" not in done.stderr
    assert f"reads {one.file} and not {path}" in ogw("doctor", "--config", path, **environment).stdout
    assert one.is_as_it_was()


def test_a_file_by_a_variable_beside_a_run_dir_by_a_variable_means_the_gateway_of_that(one, tmp_path):
    """As in a container, where both are set for whatever runs there."""
    path = two(tmp_path, b"[ogw]\n")
    assert ogw("status", OGW_CONFIG=str(path), OGW_RUN_DIR=one.gateway.run_dir).returncode == 0


def test_what_is_told_to_name_that_one_does(one, tmp_path):
    path = two(tmp_path, b"[ogw]\n")
    told = one.asked(f"status --config {path}").stderr
    flags = told[told.index("--run-dir /") :].split("`")[0].split(";")[0]
    assert ogw("status", "--config", path, *shlex.split(flags)).returncode == 0


@pytest.mark.parametrize("text", [b"[ogw]\nallowed-host = one.example\n", b"\xff\n", b"[ogww]\nrun-dir = /x\n", None])
def test_a_gateway_that_reads_it_is_meant_however_wrong_it_is_now(tmp_path, text):
    file = tmp_path / "one.ini"
    file.write_text("[ogw]\nallowed-host = one.example\n")
    with Gateway("--config", str(file)) as gateway:
        one = One(gateway, file)
        file.unlink()
        if text is not None:
            file.write_bytes(text)
        for words in ("status", "ready", "tunnels"):
            assert one.asked(f"{words} --config {file}").returncode == 0, words
        assert one.asked("ready", OGW_CONFIG=str(file)).returncode == 0
        link = tmp_path / "link.ini"
        link.symlink_to(file)
        if text is not None:
            assert one.asked(f"status --config {link}").returncode == 0
        assert one.asked(f"drain --config {file}").returncode == 0
        gateway.wait_for(event=110)


def test_one_that_names_no_run_dir_may_be_that_of_a_gateway_without_a_socket(tmp_path):
    """Then `ogw ready` asks where that file says."""
    file = two(tmp_path, b"[ogw]\nallowed-host = one.example\nadmin-address =\nhealth-address = 127.0.0.1:1\n")
    done = ogw("ready", "--config", file, RUNTIME_DIRECTORY=str(tmp_path))
    assert done.returncode == 3 and "127.0.0.1:1: Connection refused" in done.stderr


def test_a_file_that_this_user_may_not_read_is_2_and_says_so(one, tmp_path):
    if os.geteuid() != 0:
        pytest.skip("needs root, to become somebody else")
    path = two(tmp_path, b"[ogw]\n")
    path.chmod(0)
    # Root may read what nobody may: without that capability it is as for others.
    done = subprocess.run(
        ["setpriv", "--bounding-set", "-dac_override,-dac_read_search", "--inh-caps=-dac_override,-dac_read_search",
         *OGW, "drain", "--config", str(path)],
        cwd=ROOT, env=clean(RUNTIME_DIRECTORY=one.gateway.run_dir), capture_output=True, text=True,
        timeout=60 * PATIENCE,
    )  # fmt: skip
    assert done.returncode == 2 and f"{path}: Permission denied" in done.stderr, done
    assert one.is_as_it_was()


def test_the_advice_of_a_change_names_no_reload_that_would_do_nothing(one, tmp_path):
    path = two(tmp_path, b"[ogw]\nallowed-host = two.example\n")
    usual = {"RUNTIME_DIRECTORY": one.gateway.run_dir, "OGW_LOG_FILE": str(tmp_path / "log")}
    named = ["--config", str(path)]
    for words in (named, [*named, "--run-dir", one.gateway.run_dir]):
        done = ogw("allowed-host", "add", f"{len(words)}.example.com", *words, **usual)
        assert done.returncode == 0 and f"{path} was changed" in done.stderr, done
        assert "takes the change with" not in done.stderr and f"reads {one.file}" in done.stderr
    done = ogw("allowed-host", "add", "d.example.com", *named, "--reload", **usual)
    assert done.returncode == 3 and f"reads {one.file}" in done.stderr and "d.example.com" in path.read_text()
    assert one.is_as_it_was()


def test_the_advice_of_a_change_is_right_where_the_gateway_reads_the_file(tmp_path):
    file = Edited(tmp_path, "[ogw]\n")
    with Gateway("--config", str(file.path)) as gateway:  # which has nothing of it yet
        words = ("allowed-host", "add", "a.example", "--config", file.path)
        done = ogw(*words, RUNTIME_DIRECTORY=gateway.run_dir)
        assert done.returncode == 0 and f"takes the change with `ogw reload --config {file.path}`" in done.stderr, done
        done = ogw("reload", "--config", file.path, RUNTIME_DIRECTORY=gateway.run_dir)
        assert done.returncode == 0 and "changed: allowed-host" in done.stdout


def test_a_gateway_without_values_of_any_file_is_told_to_read_another(tmp_path):
    (tmp_path / "empty.ini").write_text("[ogw]\n")
    file = Edited(tmp_path, "[ogw]\n")
    with Gateway(*ALLOW, "--config", str(tmp_path / "empty.ini")) as gateway:
        told = file.told("allowed-host", "add", "a.example", "--run-dir", gateway.run_dir)
        assert f"reads {tmp_path}/empty.ini, and not {file.path}" in told and "takes the change" not in told
    with Gateway(*ALLOW) as gateway:
        told = file.told("allowed-host", "add", "b.example", "--run-dir", gateway.run_dir)
        assert f"does not read {file.path}" in told and "takes the change" not in told


def test_the_path_of_a_file_is_any_that_a_gateway_takes(tmp_path):
    folder = tmp_path / "Größe 100%"
    folder.mkdir()
    file = folder / "one.ini"
    file.write_text("[ogw]\n")
    with Gateway(*ALLOW, "--config", str(file)) as gateway:
        assert ogw("ready", "--config", file, RUNTIME_DIRECTORY=gateway.run_dir).returncode == 0
        other = two(tmp_path, b"[ogw]\n")
        told = ogw("ready", "--config", other, RUNTIME_DIRECTORY=gateway.run_dir).stderr
        assert f"reads {file}" in told
