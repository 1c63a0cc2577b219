"""The password file: what is its password, what is none and why, and what is told of one that went wrong later."""

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ogw.settings.loader import ConfigError, load
from ogw.settings.password_file import (
    LARGEST,
    MOST_KEPT,
    beside,
    data_of,
    has_password,
    password_in,
    put_back,
    read_password,
    write,
)
from ogw.tunnel.password import PasswordSource
from ogw.wire.relay_proxy import credentials

MARK = b"\xef\xbb\xbf"
# What a file has -> its password.
GOOD = {
    b"": "",
    b"\n": "",
    MARK + b"\r\n": "",
    b"5ecret": "5ecret",
    b"5ecret\n": "5ecret",
    b"5ecret\r\n": "5ecret",
    MARK + b"5ecret": "5ecret",
    MARK + b"5ecret\r\n": "5ecret",
    MARK + MARK + b"x": "\ufeffx",
    b" 5 ecret \n": " 5 ecret ",
    "p\u00e4ss:\u20ac\n".encode(): "p\u00e4ss:\u20ac",
    b"x" * LARGEST: "x" * LARGEST,
    MARK + b"x" * LARGEST + b"\r\n": "x" * LARGEST,
}
# And what is wrong.
BAD = {
    b"x" * (LARGEST + 1): "is larger than 4096 bytes",
    b"x" * (LARGEST + 1) + b"\n": "is larger than 4096 bytes",
    MARK + b"x" * (LARGEST + 1): "is larger than 4096 bytes",
    b"x" * 1_000_000: "is larger than 4096 bytes",
    b"one\ntwo": "has more than one line",
    b"one\ntwo\n": "has more than one line",
    b"one\r\ntwo\r\n": "has more than one line",
    b"one\rtwo": "has more than one line",
    b"one\n\n": "has more than one line",
    b"\none\n": "has more than one line",
    b"a\0b": "has a NUL byte in it",
    "5ecret\n".encode("utf-16-le"): "has a NUL byte in it",
    "5ecret\n".encode("utf-16-be"): "has a NUL byte in it",
    "5ecret\n".encode("utf-16"): "is a text in UTF-16",
    b"\xfe\xff" + "5ecret\n".encode("utf-16-be"): "is a text in UTF-16",
    "5ecret\n".encode("utf-32"): "is a text in UTF-16",
    b"\xff\xfe": "is a text in UTF-16",
    b"p\xe4ss": "is not a text in UTF-8",
}


@pytest.mark.parametrize("data", GOOD)
def test_the_password_of_a_file(tmp_path, data):
    (tmp_path / "password").write_bytes(data)
    assert read_password(str(tmp_path / "password")) == GOOD[data]


@pytest.mark.parametrize("data", [*BAD, b"tab\tbed", b"bell\x07"])
def test_a_file_without_a_password_is_a_mistake_at_start_and_is_not_shown(tmp_path, data):
    (tmp_path / "password").write_bytes(data)
    with pytest.raises(ConfigError) as caught:
        load(
            ["--relay-proxy=p.example", "--relay-proxy-username=u", f"--relay-proxy-password-file={tmp_path}/password"],
            {},
        )
    (mistake,) = caught.value.mistakes
    assert mistake.startswith(f"relay-proxy-password-file: {tmp_path}/password: ")
    assert BAD.get(data, "there is a control character") in mistake
    assert not any(word in mistake for word in ("5ecret", "one\n", "0xe4", "position", "xxx"))


def test_an_empty_file_is_an_empty_password_and_a_warning(tmp_path):
    (tmp_path / "password").write_bytes(MARK + b"\n")
    flags = ["--relay-proxy=p.example", "--relay-proxy-username=u", f"--relay-proxy-password-file={tmp_path}/password"]
    assert (
        f"relay-proxy-password-file: {tmp_path}/password is empty, and so is the password" in load(flags, {}).warnings
    )


def test_what_is_no_file_is_a_mistake_and_nobody_waits(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "loop").symlink_to("loop")
    places = {
        tmp_path / "pipe": "it is neither a file nor a folder",
        "/dev/zero": "it is neither a file nor a folder",
        tmp_path: "Is a directory",
        tmp_path / "loop": "Too many levels of symbolic links",
        tmp_path / "none": "No such file or directory",
    }
    for place, words in places.items():
        with pytest.raises(ConfigError, match=f"relay-proxy-password-file: {place}: {words}"):
            load(["--relay-proxy=p.example", "--relay-proxy-username=u", f"--relay-proxy-password-file={place}"], {})


@given(st.binary(max_size=40))
def test_any_bytes_are_a_password_or_a_mistake(data):
    try:
        password = password_in(data)
    except ValueError as error:
        assert not isinstance(error, UnicodeError)
    else:
        assert not set(password) & set("\0\r\n") and password.encode() in data


def test_a_rotation_to_no_password_keeps_the_one_of_before_and_is_told_once(tmp_path):
    file = tmp_path / "password"
    file.write_text("first")
    told = []
    source = PasswordSource(credentials("u", "first"), lambda: read_password(str(file)), told.append)
    assert not source.reread() and told == []
    for data, why in BAD.items():
        file.write_bytes(data)
        for _time in range(3):
            assert not source.reread()
        assert source.given.password.reveal() == "first"
        assert why in told[-1] and told[-1].endswith("; the password of before stays")
    assert len(told) < len(BAD), "one line for each reason in a row"
    for data in (b"", b"\n", MARK):
        file.write_bytes(data)
        assert not source.reread() and "is empty" in told[-1]
    file.unlink()
    assert not source.reread() and "No such file" in told[-1]
    file.write_bytes(MARK + b"second\r\n")
    count = len(told)
    assert source.reread() and source.given.password.reveal() == "second"
    assert not source.reread() and len(told) == count
    file.write_bytes(b"")
    assert not source.reread() and len(told) == count + 1, "told anew, after it was well again"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
@pytest.mark.parametrize(
    ("user", "group", "mode", "of_password"),
    [
        (0, 8765, 0o640, 0o640),  # the gateway's group
        (0, 8765, 0o600, 0o600),  # which does not read the INI file either
        (0, 0, 0o644, 0o600),
        (4321, 8765, 0o640, 0o600),  # somebody's own group, such as users
    ],
)
def test_a_password_that_is_written_is_for_whoever_the_ini_file_is_for(tmp_path, user, group, mode, of_password):
    ini = tmp_path / "ogw.ini"
    ini.write_text("[ogw]\n")
    ini.chmod(mode)
    os.chown(ini, user, group)
    path = beside(str(ini))
    write(path, b"5ecret\n", str(ini))
    status = os.stat(path)
    assert (status.st_uid, status.st_gid, status.st_mode & 0o777) == (user, group, of_password)
    assert has_password(path, "5ecret") and not has_password(path, "other")


def test_a_password_that_is_written_again_is_for_nobody_else_and_can_be_put_back(tmp_path):
    path, ini = beside(str(tmp_path / "ogw.ini")), str(tmp_path / "ogw.ini")
    assert data_of(path) is None
    write(path, b"first\n", ini)
    os.chmod(path, 0o644)
    before = data_of(path)
    write(path, b"second\n", ini)
    assert os.stat(path).st_mode & 0o777 == 0o640 and read_password(path) == "second"
    put_back(path, before, ini)
    assert read_password(path) == "first"
    put_back(path, None, ini)
    assert os.listdir(tmp_path) == []
    put_back(path, None, ini)  # it is gone already


def test_what_is_too_large_to_be_put_back_whole_is_not_taken_away(tmp_path):
    path = tmp_path / "relay-proxy.password"
    path.write_bytes(b"x" * MOST_KEPT)
    assert data_of(str(path)) == b"x" * MOST_KEPT
    path.write_bytes(b"x" * (MOST_KEPT + 1))
    with pytest.raises(OSError, match="too large"):
        data_of(str(path))
