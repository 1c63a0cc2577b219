"""Edits of the INI file: all else stays to the byte, the file is always valid, and nobody's edit is lost."""

import collections
import os
import pathlib
import random
import resource
import shutil
import signal
import stat
import subprocess
import tempfile
import time

import pytest
from harness.commands import OGW, ROOT, clean
from harness.edits import Edited
from harness.growth import assert_linear
from harness.peers import peer, root
from hypothesis import given, settings
from hypothesis import strategies as st

from ogw.settings import value_list
from ogw.settings.editing import Editor, Outcome, edit
from ogw.settings.ini.file import EditError, IniFile
from ogw.settings.ini.text import IniText
from ogw.settings.loader import ConfigError, load
from ogw.settings.settings import SETTINGS
from ogw.settings.value import meaning, split
from ogw.settings.value_list import texts_of

LONG = bool(os.environ.get("OGW_TEST_LONG"))
VALUES = {
    "allowed-host": ["a.example", "*.b.example:8443", 'c.example note="one, two; # three"', "192.0.2.0/24",
                     "d.example from=10.1.0.0/16 from=10.2.0.0/16", "e.example until=2090-01-31T18:00:00Z",
                     "[2001:db8::7]:8443"],
    "denied-host": ["a.bad.example", '*.bad.example note="no, never"'],
    "allowed-client": ["10.1.0.0/16", "192.0.2.7", "2001:db8::/32"],
    "allowed-port": ["443", "8443", "1"],
    "allowed-client-certificate": ["till-7", "CN=till-7,OU=Shops,O=Example", "CN=a\\,b, O=c"],
    "listen-port": ["8080", "8081"],
    "idle-timeout": ["2h", "90m"],
    "log-level": ["debug", "error"],
}  # fmt: skip
LISTS = [name for name in VALUES if SETTINGS[name].listed]
PLAIN = """\
# the head

[ogw]
; an old comment
listen-port = 8082

allowed-host = x.example, y.example note="p, q", z.example
    # in between
    a.example

\t*.b.example:8443
  ; and again
allowed-client=
    10.1.0.0/16, 10.9.0.0/16
# the end = 7
"""
FILES = [
    PLAIN,
    PLAIN.replace("\n", "\r\n"),
    "\ufeff" + PLAIN,
    PLAIN.rstrip("\n"),
    "",
    "[ogw]\n",
    (pathlib.Path(ROOT) / "conf/ogw.ini").read_text(),
]
EDITS = st.one_of(
    st.sampled_from(LISTS).flatmap(
        lambda name: st.tuples(
            st.sampled_from(["add", "remove"]), st.just(name), st.sampled_from(VALUES[name]).map(list_of)
        )
    ),
    st.sampled_from(LISTS).flatmap(
        lambda name: st.tuples(
            st.just("set"), st.just(name), st.lists(st.sampled_from(VALUES[name]), unique=True, max_size=3)
        )
    ),
    st.sampled_from([name for name in VALUES if name not in LISTS]).flatmap(
        lambda name: st.tuples(st.just("set"), st.just(name), st.sampled_from(VALUES[name]).map(list_of))
    ),
    st.tuples(st.just("unset"), st.sampled_from(list(VALUES)), st.just([])),
)  # fmt: skip


def list_of(value):
    return [value]


def comments(text):
    """Comments and blank lines, in their order, with their line ends."""
    return [line for line in text.removeprefix("\ufeff").split("\n") if not line.strip() or line.strip()[0] in "#;"]


def values(text, name):
    """What the values of a setting mean, in their order."""
    setting = SETTINGS[name]
    return [meaning(setting, one) for _line, each in IniText(text).texts(name) for one in split(setting, each)]


def expected(before, act, name, given):
    """The values after an edit."""
    wanted = [meaning(SETTINGS[name], one) for one in given]
    if act == "add":
        return before + [one for one in wanted if one not in before]
    if act == "remove":
        return [one for one in before if one not in wanted]
    return wanted


def apply(path, act, name, given):
    setting = SETTINGS[name]
    how = {
        "add": lambda editor: editor.add(setting, given[0]),
        "remove": lambda editor: editor.remove(setting, given[0]),
        "set": lambda editor: editor.set(setting, given),
        "unset": lambda editor: editor.unset(setting),
    }
    return edit(path, how[act])


@pytest.mark.timeout(600)
@settings(max_examples=settings().max_examples * (1 if LONG else 2))
@given(st.sampled_from(FILES), st.lists(EDITS, min_size=1, max_size=5))
def test_edits_keep_all_else_and_read_back_as_what_was_asked(contents, edits):
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "ogw.ini")
        pathlib.Path(path).write_bytes(contents.encode())
        before = contents
        for one in edits:
            outcome = apply(path, *one)
            after = pathlib.Path(path).read_bytes().decode()
            if not outcome.changed:
                assert after == before and outcome.said
            assert comments(after + "\n") == comments(before + "\n") or not before.endswith("\n")
            assert [c.strip() for c in comments(after) if c.strip()] == [
                c.strip() for c in comments(before) if c.strip()
            ]
            assert after.startswith("\ufeff") == before.startswith("\ufeff")
            if "\r\n" in before:
                assert after.count("\n") == after.count("\r\n")
            for name in VALUES:
                wanted = expected(values(before, name), *one) if name == one[1] else values(before, name)
                assert values(after, name) == wanted, (one, before, after)
            load(["--config", path], {})
            assert os.listdir(folder) == ["ogw.ini"]
            before = after


RULES = [
    *("a.example", "A.example.", 'a.example note="one"', "*.b.example:8443", "10.1.0.0/16", "10.2.0.0/16"),
    *("a.example until=2090-01-31T18:00:00Z", "a.example until=2091-01-31T18:00:00Z", "d.example from=10.1.0.0/16"),
]
OF_RULES = st.tuples(st.sampled_from(["add", "remove"]), st.just("allowed-host"), st.sampled_from(RULES).map(list_of))
CROWDED = """\
[ogw]
allowed-host = a.example until=2090-01-31T18:00:00Z, a.example note="old", a_b.example, d.example from=10.1.0.0/16
    # between
    b.example, a_b.example, c.example from=10.1.0.0/16
    10.2.0.0/16
allowed-port = 443
"""


def act_on(editor, act, name, given):
    """What it comes to: True, False or a mistake."""
    try:
        if act == "unset":
            return editor.unset(SETTINGS[name])
        return getattr(editor, act)(SETTINGS[name], given if act == "set" else given[0])
    except EditError as error:
        return str(error)


@given(st.sampled_from([CROWDED, *FILES]), st.lists(EDITS | OF_RULES, max_size=8))
def test_many_edits_of_one_command_do_what_they_do_one_by_one(contents, edits):
    with tempfile.TemporaryDirectory() as folder:
        one_by_one, at_once = pathlib.Path(folder, "a.ini"), pathlib.Path(folder, "b.ini")
        came = []
        for path in (one_by_one, at_once):
            path.write_bytes(contents.encode())
        for one in edits:
            edit(str(one_by_one), lambda editor, one=one: came.append(act_on(editor, *one)))
        outcome = edit(str(at_once), lambda editor: came.extend(act_on(editor, *one) for one in edits))
        assert came[: len(edits)] == came[len(edits) :]
        texts = [path.read_bytes().decode() for path in (one_by_one, at_once)]
        for name in VALUES:
            assert texts_of(SETTINGS[name], IniText(texts[0])) == texts_of(SETTINGS[name], IniText(texts[1])), texts
        assert outcome.changed == any(one is True for one in came)


@pytest.mark.parametrize("act", ["add", "remove", "end", "miss"])
def test_the_file_is_read_as_often_for_a_thousand_rules_as_for_one(tmp_path, monkeypatch, act):
    """An import of thousands took minutes: all rules were read again for each."""
    read = collections.Counter()

    def counted(where, name):
        real = getattr(where, name)

        def count(*args):
            read[name] += 1
            return real(*args)

        monkeypatch.setattr(where, name, count)

    counted(IniText, "_read")
    counted(value_list, "meaning_or_none")
    path, reads = tmp_path / "ogw.ini", []
    end = " until=2090-01-31T18:00:00Z"
    for count in (1, 1000):
        hosts = [f"{'k' if act == 'miss' else 'h'}{number}.example" for number in range(count)]
        there = [
            f"    h{number}.example{end if act == 'end' else ''}\n" for number in range(0 if act == "add" else 2000)
        ]
        path.write_text(f"[ogw]\nallowed-host = a.example\n{''.join(there)}")
        with IniFile(str(path)) as file:
            read.clear()
            editor = Editor(file.text, Outcome(str(path)))
            for host in hosts:
                if act in ("add", "end"):
                    assert editor.add(SETTINGS["allowed-host"], host)
                else:
                    assert editor.remove(SETTINGS["allowed-host"], host) == (act == "remove")
            editor.prepare()
            reads.append(dict(read))
            rules = values(str(file.text), "allowed-host")
            assert len(rules) == {"add": count + 1, "remove": 2001 - count}.get(act, 2001)
            assert sum(one.until is None for one in rules) == (count + 1 if act == "end" else len(rules))
    assert reads[0] == reads[1]


HOSTS = [f"h{number}.example" for number in range(3)]
START = '[ogw]\n# kept\nallowed-host =\n    first.example    note="a, b"\n    # kept, too\n    last.example\n'


def test_killed_at_any_moment_the_file_is_the_old_or_the_new_one_and_nothing_is_left(tmp_path):
    file = Edited(tmp_path, START)
    environment = clean(OGW_CONFIG=str(file.path), OGW_RUN_DIR=str(tmp_path), OGW_LOG_FILE=str(tmp_path / "log"))
    begun = time.monotonic()
    file.done("allowed-host", "add", HOSTS[0])
    whole = time.monotonic() - begun
    chance = random.Random(7)
    kills = 0
    while kills < (100 if LONG else 20):
        before = file.text
        host = chance.choice(HOSTS)
        there = f"    {host}\n" in before
        words = [*OGW, "allowed-host", "remove" if there else "add", host]
        process = subprocess.Popen(
            words, cwd=ROOT, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        try:
            process.wait(chance.uniform(0.3, 1) * whole)  # a moment by chance; most of the time goes into starting
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
            process.wait()
            kills += 1
        new = before.replace(f"    {host}\n", "") if there else before + f"    {host}\n"
        assert file.text in (before, new), (words, before, file.text)
        load(["--config", str(file.path)], {})
    (tmp_path / ".ogw-edit-left1234.ini").write_text("[og")
    file.done("allowed-host", "add", "done.example")
    assert not file.leftovers()


def test_what_a_killed_editor_left_in_the_middle_is_gone_after_the_next_edit(tmp_path):
    file = Edited(tmp_path, START)
    (tmp_path / ".ogw-edit-abcd1234.ini").write_text("[ogw]\nallowed-ho")
    (tmp_path / "other.ini").write_text("mine")
    file.done("allowed-host", "add", "new.example")
    assert not file.leftovers() and (tmp_path / "other.ini").read_text() == "mine"


def test_eight_editors_at_once_lose_nothing(tmp_path):
    file = Edited(tmp_path, START)
    environment = clean(OGW_CONFIG=str(file.path), OGW_RUN_DIR=str(tmp_path), OGW_LOG_FILE=str(tmp_path / "log"))
    hosts = [f"p{number}.example" for number in range(8)]
    editors = [
        subprocess.Popen([*OGW, "allowed-host", "add", host], cwd=ROOT, env=environment, stdout=subprocess.DEVNULL,
                         stderr=subprocess.PIPE)
        for host in hosts
    ]  # fmt: skip
    for editor in editors:
        _out, told = editor.communicate(timeout=60)
        assert editor.returncode == 0, told
    assert sorted(file.done("allowed-host", "list").splitlines()[2:]) == hosts
    assert file.text.startswith(START)


def test_owner_and_mode_stay_and_a_link_stays_a_link(tmp_path):
    real = tmp_path / "real"
    real.mkdir()
    target = real / "gateway.ini"
    target.write_text(START)
    target.chmod(0o604)
    if os.geteuid() == 0:
        os.chown(target, 4321, 8765)
    was = target.stat()
    link = tmp_path / "ogw.ini"
    link.symlink_to("real/gateway.ini")
    assert edit(str(link), lambda editor: editor.add(SETTINGS["allowed-host"], "new.example")).changed
    now = target.stat()
    assert link.is_symlink() and "new.example" in target.read_text()
    assert (now.st_uid, now.st_gid, stat.S_IMODE(now.st_mode)) == (was.st_uid, was.st_gid, 0o604)


def test_a_file_that_is_not_there_is_made_for_its_owner_and_group(tmp_path):
    file = Edited(tmp_path)
    file.done("config", "set", "listen-port", "8081")
    assert file.text == "[ogw]\nlisten-port = 8081\n"
    assert stat.S_IMODE(file.path.stat().st_mode) == 0o640


def test_a_folder_that_is_not_there_is_said(tmp_path):
    file = Edited(tmp_path)
    told = file.told("config", "set", "listen-port", "8081", "--config", tmp_path / "no" / "ogw.ini", code=1)
    assert "no/ogw.ini: its folder cannot be opened: No such file or directory" in told


def test_a_folder_that_one_may_not_write_to_is_said(tmp_path):
    if os.geteuid() == 0:
        place = pathlib.Path("/proc/self/fdinfo")  # not even root makes a file there
        told = Edited(tmp_path).told("config", "set", "listen-port", "8081", "--config", place / "x.ini", code=1)
    else:
        tmp_path.chmod(0o500)
        told = Edited(tmp_path).told("config", "set", "listen-port", "8081", code=1)
        tmp_path.chmod(0o700)
    assert "ogw.ini" in told or "x.ini" in told
    assert "cannot be written" in told and "stays as it was" in told


@pytest.mark.parametrize(
    ("contents", "says"),
    [(b"[ogw]\n# caf\xe9\n", ":2: not a text in UTF-8"), (b"\xff\xfe[\0", ": a text in UTF-16; save it as UTF-8")],
)
def test_what_is_no_text_is_left(tmp_path, contents, says):
    file = Edited(tmp_path, contents)
    assert says in file.told("allowed-host", "add", "a.example", code=1)
    assert says in file.told("allowed-host", "list", code=2)
    assert file.path.read_bytes() == contents


def test_old_mistakes_are_told_and_hinder_no_edit_but_a_new_one_does(tmp_path):
    old = "hello\n[ogw]\nidle-timeout = forever\n[other]\nx = 1\n"
    file = Edited(tmp_path, old)
    told = file.told("config", "set", "listen-port", "8081")
    assert told.count("still wrong in the file:") == 3 and "idle-timeout" in told
    assert file.text == old + "[ogw]\nlisten-port = 8081\n"
    kept = file.text
    told = file.told("config", "set", "policy-mode", "report", code=1)  # needs report-until
    assert "report-until" in told and "nothing was changed" in told
    assert file.text == kept
    assert file.told("config", "unset", "idle-timeout").count("still wrong in the file:") == 2
    assert file.text == kept.replace("idle-timeout = forever\n", "")


def test_a_disk_that_is_full_leaves_the_old_file(tmp_path):
    contents = START + "# long\n" * 2000
    file = Edited(tmp_path, contents)
    end = subprocess.run(
        [*OGW, "allowed-host", "add", "new.example"],
        cwd=ROOT,
        env=clean(OGW_CONFIG=str(file.path), OGW_RUN_DIR=str(tmp_path), PYTHONDONTWRITEBYTECODE="1"),
        preexec_fn=_small_files,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert end.returncode == 1, end
    assert "ogw.ini cannot be written: File too large; it stays as it was" in end.stderr
    assert file.text == contents and not file.leftovers()


def _small_files():
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (8192, 8192))


@pytest.mark.skipif(os.geteuid() != 0 or not shutil.which("unshare"), reason="only root makes a small disk")
def test_a_small_disk_that_is_full_leaves_the_old_file(tmp_path):
    script = (
        f"mount -t tmpfs -o size=64k none {tmp_path} && cd {ROOT} && "
        f"printf '%s' '{START}' > {tmp_path}/ogw.ini && head -c 1m /dev/zero > {tmp_path}/fill; "
        f"{' '.join(OGW)} allowed-host add new.example --config {tmp_path}/ogw.ini --run-dir {tmp_path}; "
        f"echo $?; ls -A {tmp_path}; cat {tmp_path}/ogw.ini"
    )
    end = subprocess.run(["unshare", "-m", "sh", "-c", script], env=clean(), capture_output=True, text=True, timeout=60)
    if "permission denied" in end.stderr.lower() or "not permitted" in end.stderr:
        pytest.skip("no mounts here")
    assert end.stdout == f"1\nfill\nogw.ini\n{START}", end
    assert "cannot be written: No space left on device; it stays as it was" in end.stderr


def test_somebody_who_edits_by_hand_meanwhile_is_not_overwritten(tmp_path):
    path = tmp_path / "ogw.ini"
    path.write_text(START)

    def change(editor):
        editor.add(SETTINGS["allowed-host"], "new.example")
        path.write_text(START + "listen-port = 8081\n")

    with pytest.raises(EditError, match="changed by somebody else meanwhile"):
        edit(str(path), change)
    assert path.read_text() == START + "listen-port = 8081\n"


def test_a_file_on_a_read_only_file_system_says_so(tmp_path):
    root()
    path = tmp_path / "ogw.ini"
    path.write_text("[ogw]\n")
    subprocess.run([peer("mount"), "--bind", tmp_path, tmp_path], check=True)
    try:
        subprocess.run([peer("mount"), "-o", "remount,bind,ro", tmp_path], check=True)
        with pytest.raises(EditError, match="Read-only file system"), IniFile(str(path)) as file:
            file.save(lambda _fresh: None)
    finally:
        subprocess.run([peer("umount"), "-l", tmp_path], check=True)


def test_the_time_for_a_line_that_is_taken_apart_grows_with_its_length(tmp_path):
    """Networks behind a rule that goes would be read as clients of the one before."""
    path = tmp_path / "ogw.ini"

    def work(count):
        more = "".join(f", 10.2.{number >> 8}.{number & 255}" for number in range(count))
        path.write_text(f"[ogw]\nallowed-host = a.example from=10.0.0.1, x.example{more}\n")
        with IniFile(str(path)) as file:
            editor = Editor(file.text, Outcome(str(path)))
            assert editor.remove(SETTINGS["allowed-host"], "x.example")
            editor.prepare()
            assert len(values(str(file.text), "allowed-host")) == count + 1

    assert_linear(work, 200)


def test_the_time_for_settings_that_are_indented_grows_with_their_number(tmp_path):
    def work(count):
        path = tmp_path / "ogw.ini"
        path.write_text("[ogw]\nallowed-host =\n" + "    a.example\n" * count + "    language = de\n" * count)
        with pytest.raises(ConfigError, match="language is indented"):
            load(["--config", str(path)], {})

    assert_linear(work, 2000)


@pytest.mark.parametrize("act", ["set", "unset"])
def test_a_key_that_stands_there_again_goes_as_well(tmp_path, act):
    """Else the other value would be in force."""
    file = Edited(tmp_path, "[ogw]\nallowed-host = a.example\nlisten-port = 8081\n# a\nlisten-port =\n    8082\n")
    told = file.done("config", act, "listen-port", *(["8083"] if act == "set" else []))
    assert "- listen-port 8081\n- listen-port 8082\n" in told
    left = "listen-port = 8083\n" if act == "set" else ""
    assert file.text == f"[ogw]\nallowed-host = a.example\n{left}# a\n"


def test_the_last_value_of_a_list_goes_and_the_same_key_further_below_stays(tmp_path):
    """Whoever takes one denied host out does not allow others."""
    file = Edited(tmp_path, "[ogw]\ndenied-host = a.com\n# x\ndenied-host =\n    b.com\n    c.com\n")
    file.done("config", "remove", "denied-host", "a.com")
    assert file.text == "[ogw]\n# x\ndenied-host =\n    b.com\n    c.com\n"
