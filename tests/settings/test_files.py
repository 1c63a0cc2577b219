"""A file is replaced in one step: owner, mode and links stay, and whatever goes wrong leaves the old one whole."""

import multiprocessing
import os
import resource
import signal
import stat
import threading

import pytest

from ogw.settings.files import replace

OLD, NEW = b"old " * 5000, b"new " * 5000
AS_ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(OLD)
    path.chmod(0o644)
    return path


def mode(path):
    return stat.S_IMODE(path.stat().st_mode)


def only(folder, *names):
    return sorted(os.listdir(folder)) == sorted(names)


def in_child(work):
    """Run it in a process of its own, which may limit itself: the name of the OSError that ended it, or ""."""
    ours, theirs = multiprocessing.Pipe()
    pid = os.fork()
    if not pid:
        try:
            work()
            theirs.send("")
        except OSError as error:
            theirs.send(type(error).__name__ + f" {error.errno}")
        finally:
            os._exit(0)
    theirs.close()
    try:
        return ours.recv()
    finally:
        ours.close()
        os.waitpid(pid, 0)


def test_a_file_is_made_with_its_mode_whatever_the_umask(tmp_path):
    before = os.umask(0o077)
    try:
        replace(str(tmp_path / "file"), NEW, mode=0o640)
    finally:
        os.umask(before)
    assert (tmp_path / "file").read_bytes() == NEW and mode(tmp_path / "file") == 0o640
    assert only(tmp_path, "file")


def test_a_file_keeps_its_mode_but_for_what_it_may_not_have(file):
    file.chmod(0o604)
    replace(str(file), NEW, mode=0o600)
    assert file.read_bytes() == NEW and mode(file) == 0o604
    replace(str(file), OLD, mode=0o600, most=0o640)
    assert file.read_bytes() == OLD and mode(file) == 0o600


@AS_ROOT
def test_a_file_keeps_owner_and_group(file, tmp_path):
    os.chown(file, 4321, 8765)
    replace(str(file), NEW, mode=0o600, like=str(tmp_path))
    assert (file.stat().st_uid, file.stat().st_gid, mode(file)) == (4321, 8765, 0o644)


@AS_ROOT
def test_a_file_that_was_not_there_goes_to_the_owner_of_another_or_the_group_of_its_folder(tmp_path):
    os.chown(tmp_path, -1, 8765)
    replace(str(tmp_path / "one"), NEW, mode=0o640, like=str(tmp_path / "other"))
    assert ((tmp_path / "one").stat().st_uid, (tmp_path / "one").stat().st_gid) == (0, 8765)
    (tmp_path / "other").write_bytes(OLD)
    os.chown(tmp_path / "other", 4321, 4322)
    replace(str(tmp_path / "two"), NEW, mode=0o600, like=str(tmp_path / "other"))
    assert ((tmp_path / "two").stat().st_uid, (tmp_path / "two").stat().st_gid) == (4321, 4322)
    assert mode(tmp_path / "two") == 0o600


@AS_ROOT
def test_who_may_not_keep_the_owner_is_refused(file, tmp_path):
    os.chown(tmp_path, 65534, -1)
    for folder in (tmp_path.parent, tmp_path.parent.parent):
        folder.chmod(0o755)

    def as_nobody():
        os.chdir(tmp_path)  # the folders above are root's alone
        os.setgroups([])
        os.setgid(65534)
        os.setuid(65534)
        replace("file", NEW, mode=0o600)

    assert in_child(as_nobody).startswith("PermissionError")
    assert file.read_bytes() == OLD and file.stat().st_uid == 0 and only(tmp_path, "file")


def test_labels_of_a_file_stay(file):
    try:
        os.setxattr(file, "user.ogw", b"kept")
    except OSError:
        pytest.skip("the file system has no extended attributes")
    replace(str(file), NEW, mode=0o600)
    assert os.getxattr(file, "user.ogw") == b"kept" and mode(file) == 0o644


def test_a_link_is_followed_and_stays(tmp_path):
    (tmp_path / "real").mkdir()
    target = tmp_path / "real" / "target"
    target.write_bytes(OLD)
    (tmp_path / "real" / "near").symlink_to("target")
    (tmp_path / "far").symlink_to("real/near")
    replace(str(tmp_path / "far"), NEW, mode=0o600)
    assert (tmp_path / "far").is_symlink() and (tmp_path / "real" / "near").is_symlink()
    assert target.read_bytes() == NEW and not target.is_symlink()
    assert only(tmp_path, "far", "real") and only(tmp_path / "real", "near", "target")


def test_where_a_link_leads_to_nothing_a_file_is_made(tmp_path):
    (tmp_path / "link").symlink_to("target")
    replace(str(tmp_path / "link"), NEW, mode=0o600)
    assert (tmp_path / "link").is_symlink() and (tmp_path / "target").read_bytes() == NEW


@pytest.mark.parametrize("make", [os.mkdir, os.mkfifo])
def test_what_is_no_file_is_not_replaced_and_neither_is_a_link_to_it(tmp_path, make):
    make(tmp_path / "other")
    (tmp_path / "link").symlink_to("other")
    before = os.lstat(tmp_path / "other").st_ino
    for name in ("other", "link"):
        with pytest.raises(OSError):
            replace(str(tmp_path / name), NEW, mode=0o600)
    assert os.lstat(tmp_path / "other").st_ino == before
    assert (tmp_path / "link").is_symlink() and only(tmp_path, "link", "other")


def test_a_disk_that_takes_no_more_leaves_the_old_file_whole(file, tmp_path):
    def on_a_full_disk():
        resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))
        replace(str(file), NEW, mode=0o600)

    assert in_child(on_a_full_disk).startswith("OSError")
    assert file.read_bytes() == OLD and mode(file) == 0o644 and only(tmp_path, "file")


def test_a_new_file_that_is_not_let_in_its_place_leaves_the_old_one_whole(file, tmp_path):
    with pytest.raises(FileNotFoundError):
        replace(str(file), NEW, mode=0o600, check=os.unlink)  # so that it cannot be renamed
    assert file.read_bytes() == OLD and only(tmp_path, "file")

    def put_a_folder_there(fresh):
        file.rename(tmp_path / "aside")
        file.mkdir()

    with pytest.raises(IsADirectoryError):
        replace(str(file), NEW, mode=0o600, check=put_a_folder_there)
    assert only(tmp_path, "aside", "file") and only(file)


def test_a_new_file_is_checked_before_it_takes_its_place(file, tmp_path):
    seen = []

    def check(fresh):
        with open(fresh, "rb") as new:
            seen.append((new.read(), os.path.dirname(fresh), os.path.basename(fresh)))
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        replace(str(file), NEW, mode=0o600, name=(".begin-", ".end"), check=check)
    ((data, folder, name),) = seen
    assert data == NEW and folder == str(tmp_path) and name.startswith(".begin-") and name.endswith(".end")
    assert file.read_bytes() == OLD and only(tmp_path, "file")


def test_who_is_killed_in_the_middle_leaves_the_old_file_whole(file, tmp_path):
    in_the_middle, theirs = multiprocessing.Pipe(duplex=False)
    pid = os.fork()
    if not pid:

        def wait(fresh):
            theirs.send(fresh)
            signal.pause()

        try:
            replace(str(file), NEW, mode=0o600, check=wait)
        finally:
            os._exit(1)
    theirs.close()
    left = in_the_middle.recv()
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    assert file.read_bytes() == OLD and only(tmp_path, "file", os.path.basename(left))
    assert os.path.basename(left).startswith(".ogw-new-")


def test_a_reader_finds_one_or_the_other_whole(file):
    over = threading.Event()
    torn = []

    def read():
        while not over.is_set():
            if (data := file.read_bytes()) not in (OLD, NEW):
                torn.append(data)

    reader = threading.Thread(target=read)
    reader.start()
    try:
        for number in range(100):
            replace(str(file), NEW if number % 2 else OLD, mode=0o600)
    finally:
        over.set()
        reader.join()
    assert not torn
