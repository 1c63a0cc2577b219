"""Where lists are kept: files, folders, URLs; what is read, and what a wrong one says at load."""

import hashlib
import json
import os
import pathlib
import time

import pytest

from ogw.settings.elsewhere.copies import (
    MOST_UNUSABLE,
    Copy,
    default_state_dir,
    place_of,
    read_copy,
    set_aside,
    write_copy,
)
from ogw.settings.elsewhere.gather import seen
from ogw.settings.loader import ConfigError, load
from ogw.wire.url import shown_url

URL = "https://lists.example/hosts.txt"


def of(*sources, state=""):
    flags = [f"--allowed-host-source={source}" for source in sources]
    return load([*flags, f"--state-dir={state}"], {})


def mistakes(*sources, flags=()):
    with pytest.raises(ConfigError) as caught:
        load([*(f"--allowed-host-source={source}" for source in sources), *flags], {})
    return list(caught.value.mistakes)


def hosts(config):
    return [str(rule) for rule in config.sourced_hosts]


def test_a_file_and_a_folder_of_files_in_the_order_of_their_names(tmp_path):
    for name, text in {
        "b.txt": "b.example", "a": "a.example", "c.json": '["c.example"]', ".hidden": "*", "d.txt~": "*",
        "e.bak": "*", "README.md": "*",
    }.items():  # fmt: skip
        (tmp_path / name).write_text(text)
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "f.txt").write_text("*")
    (tmp_path / "..data").mkdir()
    assert hosts(of(tmp_path)) == ["a.example", "b.example", "c.example"]
    config = of(tmp_path / "b.txt", tmp_path)
    assert hosts(config) == ["b.example", "a.example", "c.example"]
    assert [one.where for one in config.sourced] == [str(tmp_path / "b.txt"), str(tmp_path)]
    assert config.sourced_hosts[0].source == f"{tmp_path}/b.txt:1"


def test_the_policys_hash_follows_what_lists_say_and_the_local_list_stays_as_it_is(tmp_path):
    path = tmp_path / "hosts.txt"
    path.write_text("a.example")
    first = of(path)
    assert first.allowed_host == () and not any("empty" in warning for warning in first.warnings)
    same = first.policy.hash
    assert same == load(["--allowed-host", "a.example"], {}).policy.hash
    path.write_text("# a comment\na.example")
    assert of(path).policy.hash == same
    path.write_text("b.example")
    assert of(path).policy.hash != same


def test_wrong_files_are_mistakes_of_the_configuration_by_file_and_line(tmp_path):
    (tmp_path / "a.txt").write_text("a.example\n*\n")
    (tmp_path / "b.json").write_text('["*"]')
    told = mistakes(tmp_path, tmp_path / "none")
    assert told[0].startswith(f"{tmp_path}/a.txt:2: host rule '*'") and told[1].startswith(
        f"{tmp_path}/b.json, entry 1: "
    )
    assert told[2] == f"allowed-host-source: {tmp_path}/none: No such file or directory"
    (tmp_path / "a.txt").write_text("a.example\n" * 200)
    (large,) = mistakes(tmp_path / "a.txt", flags=["--source-max-size", "1KiB"])
    assert large == f"{tmp_path}/a.txt: larger than 1024 bytes (source-max-size)"


def test_a_pipe_a_device_or_too_many_files_are_mistakes_and_nobody_waits(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    assert mistakes(tmp_path / "pipe") == [f"allowed-host-source: {tmp_path}/pipe: it is neither a file nor a folder"]
    assert "is neither a file nor a folder" in mistakes("/dev/zero")[0]
    (tmp_path / "pipe").unlink()
    for number in range(1001):
        (tmp_path / str(number)).touch()
    assert mistakes(tmp_path) == [f"allowed-host-source: {tmp_path}: more than 1000 files are in it"]


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("http://lists.example/", "is not https://; whoever can change the list"),
        ("ftp://lists.example/", "is not https://"),
        ("file:///etc/hosts", "is not https://"),
        ("https://", "is not a URL such as"),
        ("https:///path", "is not a URL such as"),
        ("https://lists.example:0/", "is not a URL such as"),
        ("https://lists.example:port/", "is not a URL such as"),
        ("https://lists example/", "is not a URL such as"),
        ("https://lists.example/\x1b[2J", "is not a URL such as"),
        ("https://*.example/", "is not a URL such as"),
        ("https://0x7f.1/", "is not a URL such as"),
        ("https://user:pa55@lists.example/", "has a user name or a password in it"),
    ],
)
def test_what_a_wrong_url_says(url, words):
    (mistake,) = mistakes(url)
    assert words in mistake and "pa55" not in mistake


def test_a_query_is_hidden_wherever_a_url_is_shown():
    assert shown_url("https://a.example/x?sig=1&b=2") == "https://a.example/x?(hidden)"
    assert shown_url("/a/path?x") == "/a/path?x"
    config = of("https://a.example/x?sig=1")
    assert config.origins["allowed-host-source"][0].text == "https://a.example/x?(hidden)"
    assert not any("sig" in warning for warning in config.warnings)


def test_a_url_is_read_from_its_copy_alone_and_none_is_a_warning(tmp_path):
    assert any(f"{URL}: there is no copy yet" in warning for warning in of(URL, state=tmp_path).warnings)
    write_copy(str(tmp_path), Copy(URL, '"e"', "", 1.0, b"a.example\n"))
    config = of(URL, state=tmp_path)
    assert hosts(config) == ["a.example"] and config.sourced_hosts[0].source == f"{URL}:1"
    assert read_copy(str(tmp_path), URL, 100) == Copy(URL, '"e"', "", 1.0, b"a.example\n")


def head(**fields):
    """A copy whose first line is like none that a gateway writes."""
    body = b"a.example\n"
    good = {"url": URL, "etag": "", "modified": "", "fetched": 1.0, "sha256": hashlib.sha256(body).hexdigest()}
    return json.dumps({**good, **fields}).encode() + b"\n" + body


DAMAGED = [
    b"",
    b"{}",
    b"{}\n",
    b"x" * 20_000,
    b'{"url": 7}\na.example',
    b"[" * 100_000 + b"\na.example",
    b'{"fetched":' + b"[" * 10_000 + b"\na.example",
    b"\xff\xfe{\x00}\x00\na.example",
    head(fetched=10**400),
    head(fetched=None),
    head(fetched=[]),
    head(etag=["x"]),
    head(modified=7),
    head(sha256=7),
    head(url=[URL]),
    head(more="x" * 20_000),
]


@pytest.mark.parametrize("data", [*DAMAGED, None])
def test_a_damaged_copy_is_a_warning(tmp_path, data):
    write_copy(str(tmp_path), Copy(URL, "", "", 1.0, b"a.example\n"))
    path = place_of(str(tmp_path), URL)
    with open(path, "rb") as file:
        good = file.read()
    with open(path, "wb") as file:
        file.write(good[:-1] + b" " if data is None else data)
    config = of(URL, state=tmp_path)
    assert hosts(config) == []
    assert any(f"{URL}: its copy cannot be used: it is damaged" in warning for warning in config.warnings)


def test_a_copy_that_is_no_file_is_a_warning_and_nobody_waits(tmp_path):
    path = pathlib.Path(place_of(str(tmp_path), URL))
    path.parent.mkdir()
    makers = {"Is a directory": path.mkdir, "is neither a file": lambda: os.mkfifo(path)}
    for words, make in {**makers, "symbolic links": lambda: path.symlink_to(path)}.items():
        make()
        assert any("its copy cannot be used" in one and words in one for one in of(URL, state=tmp_path).warnings)
        aside = set_aside(str(tmp_path), URL)
        assert aside.endswith(".unusable") and os.path.lexists(aside) and not os.path.lexists(path)
        assert any("there is no copy yet" in one for one in of(URL, state=tmp_path).warnings)


def test_a_copy_of_which_no_policy_can_be_made_is_a_warning(tmp_path):
    for line in (b"a.example until=9999-12-31T23:59:59-01:00", b"a.example until=0001-01-01T00:00:00+01:00"):
        write_copy(str(tmp_path), Copy(URL, "", "", 1.0, b"b.example\n" + line))
        config = of(URL, state=tmp_path)
        assert hosts(config) == [] and config.policy.hash
        assert any(f"its copy cannot be used: {URL}:2: host rule" in warning for warning in config.warnings)


def test_of_copies_that_were_set_aside_only_the_last_ones_are_kept(tmp_path):
    for number in range(MOST_UNUSABLE + 5):
        write_copy(str(tmp_path), Copy(URL, "", "", 1.0, b"%d.example\n" % number))
        last = set_aside(str(tmp_path), URL)
    left = sorted(os.listdir(tmp_path / "lists"))
    assert len(left) == MOST_UNUSABLE and os.path.basename(last) in left


def test_what_a_download_that_was_killed_left_half_written_is_cleared_away(tmp_path):
    (tmp_path / "lists").mkdir()
    old, new = tmp_path / "lists" / ".new-a", tmp_path / "lists" / ".new-b"
    for path in (old, new):
        path.write_text("half")
    later = time.time() + 7200
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("ogw.settings.elsewhere.copies.time.time", lambda: later)
        write_copy(str(tmp_path), Copy(URL, "", "", 1.0, b"a.example\n"))
    assert not old.exists() and not new.exists()
    new.write_text("half")
    write_copy(str(tmp_path), Copy(URL, "", "", 1.0, b"a.example\n"))
    assert new.exists(), "somebody may still write it"


def test_a_file_whose_name_is_no_text_is_told_as_one_line(tmp_path):
    (pathlib.Path(os.fsdecode(os.fsencode(tmp_path) + b"/a\xff\n.txt"))).write_text("*\n")
    (told,) = mistakes(tmp_path)
    assert told.startswith(f"{tmp_path}/a\\udcff\\n.txt:1: host rule") and told.isprintable()


@pytest.mark.parametrize("text", ["lists.example.com/hosts.txt", "192.0.2.7:8443/hosts.txt", "https:/a.example/hosts"])
def test_of_a_url_without_its_scheme_is_told_how_it_is_written(text):
    (told,) = mistakes(text)
    assert told.endswith("No such file or directory; a list on a server is written https://lists.example.com/hosts.txt")


def test_of_a_folder_full_of_wrong_files_some_are_told(tmp_path):
    for number in range(200):
        (tmp_path / f"{number:03}.txt").write_text("*\n" * 2000)
    told = mistakes(tmp_path)
    assert len(told) == 101 and told[-1] == "and 3 mistakes more"


def test_a_dangling_link_in_a_folder_is_a_mistake(tmp_path):
    (tmp_path / "a.txt").symlink_to("nowhere")
    assert mistakes(tmp_path) == [f"allowed-host-source: {tmp_path}/a.txt: No such file or directory"]
    (tmp_path / "a.txt").unlink()
    (tmp_path / "a.txt").symlink_to("a.txt")
    assert "symbolic links" in mistakes(tmp_path)[0]


def test_a_file_without_a_single_byte_is_warned_of(tmp_path):
    folder = tmp_path / "folder"
    folder.mkdir()
    for name, text in (("a.txt", "a.example\n"), ("b.txt", ""), ("c.txt", "# nothing yet\n"), ("d.bak", "")):
        (folder / name).write_text(text)
    told = "the file is empty, so nothing is allowed by it"
    for sources in ((folder,), (folder / "a.txt", folder / "b.txt", folder / "c.txt")):
        assert of(*sources).warnings == (f"allowed-host-source: {folder}/b.txt: {told}",)


def test_a_copy_over_the_limit_or_of_rules_that_are_wrong_now_is_a_warning(tmp_path):
    for body, words in ((b"#" * 2000, "larger than 1024 bytes"), (b"*\n", "host rule '*'")):
        write_copy(str(tmp_path), Copy(URL, "", "", 1.0, body))
        flags = [f"--allowed-host-source={URL}", f"--state-dir={tmp_path}", "--source-max-size=1KiB"]
        assert any(words in warning for warning in load(flags, {}).warnings)


def test_lists_that_are_too_long_together_are_left_out_and_a_downloaded_one_stops_nothing(tmp_path, monkeypatch):
    for module in ("host_list", "source", "gather"):
        monkeypatch.setattr(f"ogw.settings.elsewhere.{module}.MOST_RULES", 10)
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "a.txt").write_text("a.example\n" * 7)
    write_copy(str(tmp_path), Copy(URL, "", "", 1.0, b"b.example\n" * 4))
    config = of(folder, URL, state=tmp_path)
    told = "with it there are more than 10 host rules; it is left out"
    assert [len(one.rules) for one in config.sourced] == [
        7
    ] and f"allowed-host-source: {URL}: {told}" in config.warnings
    assert mistakes(URL, folder, flags=[f"--state-dir={tmp_path}"]) == [f"allowed-host-source: {folder}: {told}"]
    (folder / "b.txt").write_text("a.example\n" * 7)
    assert mistakes(folder) == [f"allowed-host-source: {folder}: more than 10 host rules"]


def test_a_copy_is_for_its_owner_alone_and_leaves_no_half_written_file(tmp_path):
    write_copy(str(tmp_path), Copy(URL, "", "", 1.0, b"a.example\n"))
    write_copy(str(tmp_path), Copy(URL, "", "", 2.0, b"b.example\n"))
    (path,) = (tmp_path / "lists").iterdir()
    assert path.stat().st_mode & 0o777 == 0o600 and (tmp_path / "lists").stat().st_mode & 0o777 == 0o700


def test_where_copies_are_kept_by_default(tmp_path):
    assert default_state_dir({"STATE_DIRECTORY": "/var/lib/x:/var/lib/y"}) == "/var/lib/x"
    own = default_state_dir({"XDG_STATE_HOME": "/home/x/state"})
    assert own == ("/var/lib/ogw" if os.geteuid() == 0 else "/home/x/state/ogw")
    assert load([f"--state-dir={tmp_path}"], {"STATE_DIRECTORY": "/var/lib/x"}).state_dir == str(tmp_path)
    assert load([], {"STATE_DIRECTORY": "/var/lib/x"}).state_dir == "/var/lib/x"


def test_what_the_files_look_like_changes_with_each_of_them(tmp_path):
    lists, agent, presets = (tmp_path / name for name in ("lists", "agent", "presets"))
    for folder in (lists, agent, presets):
        folder.mkdir()
    values = vars(
        load([f"--allowed-host-source={lists}", f"--agent-config={agent}", f"--presets-folder={presets}"], {})
    )
    looks = [values["seen"]]

    def changed():
        looks.append(seen(values))
        return looks[-1] != looks[-2]

    assert not changed()
    for path in (lists / "a.txt", agent / "omsadmin.conf", presets / "a.json"):
        path.write_text("x")
        assert changed()
        path.write_text("xy")
        assert changed() and not changed()
        path.chmod(0o600)
        assert changed() and not changed()
        path.unlink()
        assert changed()
