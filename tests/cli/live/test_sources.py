"""`ogw sources` and `ogw sources rollback`, of a gateway that runs, and of one that does not."""

import json
import os
import pathlib
import pwd
import re
import shlex

import pytest
from harness.commands import ogw
from harness.gateway import Gateway
from harness.lists import ListServer
from harness.signing import Signer
from harness.waiting import until

from ogw.settings.elsewhere.copies import Copy, place_of, write_copy
from ogw.settings.elsewhere.record import SUFFIX

URL = "https://lists.example.com/hosts.txt"
SIGNER = Signer()


@pytest.fixture
def ini(tmp_path):
    """A file with a list from a URL, of which two copies are kept; nothing listens in its run-dir."""
    path = tmp_path / "ogw.ini"
    path.write_text(
        f"[ogw]\nallowed-host-source =\n    {URL}?token=s3cret\n    {tmp_path}/own.txt\nstate-dir = {tmp_path}/state\n"
        f"run-dir = {tmp_path}/run\nallowed-host-source-key = {SIGNER.word}\n"
    )
    (tmp_path / "own.txt").write_text("own.example.com\n")
    for serial, body in enumerate((b"good.example.com\n", b"bad.example.com\nworse.example.com\n"), 1):
        signature = SIGNER.sign(body, serial).decode()
        write_copy(str(tmp_path / "state"), Copy(f"{URL}?token=s3cret", "", "", 1e9, body, signature), serial > 1)
    return path


def test_without_a_gateway_the_files_are_shown_and_changed(ini, tmp_path):
    done = ogw("sources", "--config", ini)
    assert done.returncode == 0 and "no gateway runs here" in done.stderr and "s3cret" not in done.stdout
    text = done.stdout.splitlines()
    assert text[0] == f"{URL}?(hidden)"
    assert text[1].strip().startswith("2 host rules in force, which the server had ") and "2001-09-09" in text[1]
    assert text[2].strip() == f"signed: serial 2, until 2099-01-01T00:00:00Z, by {SIGNER.word}"
    assert f"`ogw sources rollback '{URL}?(hidden)' --config {ini}` brings it back" in text[3]
    assert ogw(*shlex.split(text[3].split("`")[1])[1:]).returncode == 0, "as it is shown"
    assert ogw("sources", "rollback", URL, "--config", ini, "--undo").returncode == 0
    assert text[4:] == [f"{tmp_path}/own.txt", "    1 host rule in force"]
    done = ogw("sources", "rollback", URL, "--config", ini)
    assert done.returncode == 0 and "no gateway runs here; the next one starts with it" in done.stdout, done.stderr
    done = ogw("sources", "--config", ini, "--json")
    (first, second) = json.loads(done.stdout)["sources"]
    assert done.returncode == 1 and (first["rules"], first["serial"], first["can_roll_back"]) == (1, 1, False)
    assert first["by"] == pwd.getpwuid(os.geteuid()).pw_name and second["serial"] is None
    assert "was rolled back at" in ogw("sources", "rollback", URL, "--config", ini).stderr
    assert ogw("sources", "rollback", URL, "--config", ini, "--undo").returncode == 0
    done = ogw("sources", "rollback", "https://other.example.com/", "--config", ini)
    assert done.returncode == 1 and f"there is {URL}?(hidden)" in done.stderr


@pytest.mark.parametrize("what", ["damaged", "by a key that is gone", "there, and the list before it is damaged"])
def test_what_is_offered_can_be_pasted_and_works(ini, tmp_path, what):
    place = place_of(str(tmp_path / "state"), f"{URL}?token=s3cret", ".before" if "before" in what else "")
    if what == "by a key that is gone":
        body = b"bad.example.com\n"
        os.rename(place + ".before", place)
        copy = Copy(f"{URL}?token=s3cret", "", "", 1e9, body, Signer().sign(body, 2).decode())
        write_copy(str(tmp_path / "state"), copy, True)
    else:
        pathlib.Path(place).write_bytes(b"{ half")
    told = ogw("sources", "--config", ini).stdout
    if "before" in what:
        assert "`ogw sources rollback" not in told and "2 host rules in force" in told
        return
    assert "no list of this source is in force" in told
    done = ogw(*shlex.split(told.split("`")[1])[1:])
    assert done.returncode == 0, done.stderr
    assert "1 host rule in force" in ogw("sources", "--config", ini).stdout.splitlines()[1]


def test_rules_of_other_stages_are_not_in_force(ini, tmp_path):
    (tmp_path / "own.txt").write_text("own.example.com\nnew.example.com stage=canary\nold.example.com stage=pilot\n")
    assert "1 host rule in force" in ogw("sources", "--config", ini).stdout.splitlines()[-1]
    ini.write_text(f"{ini.read_text()}stage = canary\n")
    assert "2 host rules in force" in ogw("sources", "--config", ini).stdout.splitlines()[-1]


def test_a_wrong_file_is_told(tmp_path):
    (tmp_path / "ogw.ini").write_text(f"[ogw]\nrun-dir = {tmp_path}\nno-such = 1\n")
    for words in (("sources",), ("sources", "rollback", URL)):
        done = ogw(*words, "--config", tmp_path / "ogw.ini")
        assert done.returncode == 2 and "there is no setting 'no-such'" in done.stderr


def test_the_running_gateway_is_asked_and_told(authority, authority_file, tmp_path):
    state = tmp_path / "state"
    with ListServer(authority) as server:
        flags = (
            "--allowed-host-source",
            server.url,
            "--state-dir",
            str(state),
            "--allowed-host-source-key",
            SIGNER.word,
        )
        server.put(b"good.example.com\n", SIGNER.sign(b"good.example.com\n", 1))
        with Gateway(*flags, environment={"SSL_CERT_FILE": authority_file}) as gateway:
            gateway.wait_for(event=109)
            where = ("--run-dir", gateway.run_dir)
            server.put(b"bad.example.com\n", SIGNER.sign(b"bad.example.com\n", 2))
            assert ogw("reload", *where).returncode == 0
            gateway.wait_for(event=111, rules_removed=1)
            until(lambda: "serial 2," in ogw("sources", *where).stdout)
            done = ogw("sources", "rollback", server.url, *where)
            assert done.returncode == 0 and "the running gateway has taken it" in done.stdout, done.stderr
            gateway.wait_for(event=115)
            done = ogw("sources", *where)
            assert done.returncode == 1 and "serial 1," in done.stdout and "rolled back at" in done.stdout
            told = ogw("status", *where).stdout
            assert re.search(rf"^{re.escape(server.url)} +1 +rolled back at \S+Z by \S+$", told, re.MULTILINE)
            done = ogw("sources", "rollback", server.url, *where)
            assert done.returncode == 1 and "already" in done.stderr
            assert ogw("sources", "rollback", server.url, "--undo", *where).returncode == 0
            assert ogw("sources", *where).returncode == 0


def test_a_refused_reload_is_told_since_newer_lists_wait_for_the_next(tmp_path):
    (tmp_path / "lists").mkdir()
    (tmp_path / "lists" / "a.txt").write_text("a.example\n")
    with Gateway("--allowed-host-source", str(tmp_path / "lists")) as gateway:
        where = ("--run-dir", gateway.run_dir)
        assert ogw("sources", *where).returncode == 0
        (tmp_path / "lists" / "b.txt").write_text("*\n")
        gateway.wait_for(event=401)
        done = ogw("sources", *where)
        assert done.returncode == 1 and "the last reload was refused" in done.stdout
        assert f"{tmp_path}/lists/b.txt:1: host rule '*'" in " ".join(done.stdout.split())
        assert ogw("sources", "--json", *where).returncode == 1
        (tmp_path / "lists" / "b.txt").write_text("b.example\n")
        gateway.wait_for(event=109)
        assert ogw("sources", *where).returncode == 0


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, who changes files of another user")
def test_what_root_rolls_back_stays_readable_for_the_gateways_user(ini, tmp_path):
    nobody = pwd.getpwnam("nobody")
    for folder, _folders, files in os.walk(tmp_path / "state"):
        for name in (".", *files):
            os.chown(os.path.join(folder, name), nobody.pw_uid, nobody.pw_gid)
    assert ogw("sources", "rollback", URL, "--config", ini).returncode == 0
    state, url = str(tmp_path / "state"), f"{URL}?token=s3cret"
    for place in (place_of(state, url), place_of(state, url, ".held"), place_of(state, url, SUFFIX)):
        status = os.stat(place)
        assert (status.st_uid, status.st_gid, status.st_mode & 0o777) == (nobody.pw_uid, nobody.pw_gid, 0o600)
