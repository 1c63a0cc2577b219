"""Copies at the start: whose signature counts, what a rollback changes, and what is remembered beside them."""

import errno
import os
import pathlib
import re
import time

import pytest
from harness.disks import room_for
from harness.signing import Signer

from ogw.settings.elsewhere.admission import Verdict, judge
from ogw.settings.elsewhere.copies import BEFORE, HELD, NEW, Copy, also_as, place_of, read_copy, write_copy
from ogw.settings.elsewhere.kept import read_good_copy
from ogw.settings.elsewhere.record import SUFFIX, Held, Record, Seen, read_record, write_record
from ogw.settings.elsewhere.rollback import CannotRollBack, Lists
from ogw.settings.elsewhere.signature import Distrusted, ListReason, read_signature, sha256_of
from ogw.settings.loader import ConfigError, load

URL = "https://lists.example/hosts.txt"
SIGNER, OTHER = Signer(), Signer()
NOW = 2_000_000_000.0


def keep(state, body, serial=1, signer=SIGNER, before=False, **more):
    signature = signer.sign(body, serial, **more).decode() if signer is not None else ""
    write_copy(str(state), Copy(URL, "", "", 1.0, body, signature), keeps_before=before)


def of(state, *keys, url=URL):
    flags = [f"--allowed-host-source={url}", f"--state-dir={state}"]
    return load([*flags, *(f"--allowed-host-source-key={key}" for key in keys)], {})


def hosts(config):
    return [str(rule) for rule in config.sourced_hosts]


def warned(config, words):
    return any(words in warning for warning in config.warnings)


def test_a_copy_counts_only_with_a_signature_by_a_key_that_is_set(tmp_path):
    keep(tmp_path, b"a.example\n", 7)
    assert hosts(of(tmp_path)) == ["a.example"]
    config = of(tmp_path, OTHER.word, SIGNER.word)
    kept = config.kept[URL]
    assert hosts(config) == ["a.example"] and (kept.serial, kept.key, kept.rules) == (7, SIGNER.word, 1)
    config = of(tmp_path, OTHER.word)
    assert hosts(config) == [] and warned(config, f"its copy cannot be used: it is signed with the key {SIGNER.word}")
    assert hosts(of(tmp_path, SIGNER.word)) == ["a.example"], "it stayed where it is"


def test_a_forged_an_unsigned_and_a_foreign_copy_are_each_told(tmp_path):
    keep(tmp_path, b"a.example\n", signer=None)
    assert warned(of(tmp_path, SIGNER.word), "it was kept without a signature")
    signature = SIGNER.sign(b"a.example\n").decode()
    write_copy(str(tmp_path), Copy(URL, "", "", 1.0, b"evil.example\n", signature))
    assert warned(of(tmp_path, SIGNER.word), "its signature is that of another content")
    keep(tmp_path, b"a.example\n", signer=OTHER, key=SIGNER.word)
    assert warned(of(tmp_path, SIGNER.word), "its signature is forged or damaged")
    keep(tmp_path, b"a.example\n", name="other.txt")
    config = of(tmp_path, SIGNER.word)
    assert hosts(config) == [] and warned(config, "that of a list named other.txt, and not of hosts.txt")
    assert hosts(of(tmp_path, SIGNER.word, url=f"{URL}#other.txt")) == ["a.example"]


def test_a_copy_over_its_expiry_stays_in_force_and_is_told(tmp_path):
    keep(tmp_path, b"a.example\n", expires="2020-01-01T00:00:00Z")
    config = of(tmp_path, SIGNER.word)
    assert hosts(config) == ["a.example"]
    assert warned(config, "its signature expired at 2020-01-01T00:00:00Z; the list stays in force")


def test_a_list_that_has_no_name_and_a_key_without_a_list_are_told(tmp_path):
    with pytest.raises(ConfigError, match="a signed list has a name, which is the last part of its URL"):
        of(tmp_path, SIGNER.word, url="https://lists.example/")
    assert of(tmp_path, url="https://lists.example/").allowed_host_source
    config = load([f"--allowed-host-source-key={SIGNER.word}"], {})
    assert warned(config, "allowed-host-source-key does nothing")
    with pytest.raises(ConfigError, match="is not a public key"):
        of(tmp_path, "ed25519:x")


def test_a_file_is_not_signed(tmp_path):
    (tmp_path / "hosts.txt").write_text("a.example\n")
    assert hosts(of(tmp_path, SIGNER.word, url=tmp_path / "hosts.txt")) == ["a.example"]


# What may take its place.


# What json.loads takes for numbers, and no calendar for times.
TIMES = [b"1e300", b"1e999", b"NaN", b"-Infinity", b"-1e18", b"1e15", b'"nan"', b"-1", b"253402300800"]


@pytest.mark.parametrize("told", TIMES)
def test_a_copy_that_was_fetched_at_no_time_is_a_damaged_one(tmp_path, told):
    keep(tmp_path, b"a.example\n")
    path = pathlib.Path(place_of(str(tmp_path), URL))
    path.write_bytes(re.sub(rb'"fetched": [^,]+', b'"fetched": ' + told, path.read_bytes()))
    config = of(tmp_path)
    assert hosts(config) == [] and warned(config, "its copy cannot be used: it is damaged")


def verdict(body, serial, record=None, good=None, keys=(SIGNER.word,), signer=SIGNER, **more):
    signature = read_signature(signer.sign(body, serial, **more))
    try:
        return judge(body, signature, good, record or Record(), keys, NOW)
    except Distrusted as error:
        return error.reason


def test_serials_and_expiry(tmp_path):
    keep(tmp_path, b"a.example\n", 7)
    good = read_good_copy(URL, str(tmp_path), 1000, [SIGNER.word])
    assert verdict(b"b.example\n", 8, good=good) is Verdict.TAKE
    assert verdict(b"a.example\n", 7, good=good) is Verdict.SAME
    assert verdict(b"a.example\n", 8, good=good) is Verdict.TAKE, "signed anew"
    assert verdict(b"b.example\n", 6, good=good) is ListReason.REPLAYED
    assert verdict(b"b.example\n", 7, good=good) is ListReason.REPLAYED
    assert verdict(b"b.example\n", 8, good=good, expires="2020-01-01T00:00:00Z") is ListReason.EXPIRED
    seen = Record({SIGNER.word: Seen(9, sha256_of(b"c.example\n"))})
    assert verdict(b"b.example\n", 8, seen) is ListReason.REPLAYED, "the copy is gone, what was seen is not"
    assert verdict(b"c.example\n", 9, seen) is Verdict.TAKE
    assert verdict(b"a.example\n", 7, seen, good=good) is Verdict.SAME, "it is in force: it was rolled back to it"
    stolen = Record({OTHER.word: Seen(10**15 - 1, sha256_of(b"evil.example\n"))})
    assert verdict(b"b.example\n", 8, stolen) is Verdict.TAKE, "a key that is not trusted any more bars no way"
    assert verdict(b"b.example\n", 8, stolen, keys=[SIGNER.word, OTHER.word]) is ListReason.REPLAYED


def test_what_was_rolled_back_is_held_whatever_its_serial(tmp_path):
    held = Record(held=Held(sha256_of(b"bad.example\n"), NOW, "me"))
    for serial in (7, 8, 9):
        assert verdict(b"bad.example\n", serial, held) is Verdict.HELD
    assert judge(b"bad.example\n", None, None, held, (), NOW) is Verdict.HELD
    assert judge(b"c.example\n", None, None, held, (), NOW) is Verdict.TAKE


@pytest.mark.parametrize(
    "data",
    [b"", b"{}", b"[]", b'{"serials": {"k": [-1, ""]}, "held": null}', b'{"serials": [], "held": null}',
     b'{"serials": {}, "held": 7}', b'{"serials": {"k": 1}, "held": null}', b"[" * 10_000, b"\xff",
     b'{"serials": {}, "held": ["x", 1, "me"]}',
     *(b'{"serials": {}, "held": ["%s", %s, "me"]}' % (b"0" * 64, time) for time in TIMES)],
)  # fmt: skip
def test_a_damaged_record_is_an_empty_one(tmp_path, data):
    keep(tmp_path, b"a.example\n")
    pathlib.Path(place_of(str(tmp_path), URL, SUFFIX)).write_bytes(data)
    assert read_record(str(tmp_path), URL) == Record()


def test_a_record_is_read_as_it_was_written_for_its_owner_alone(tmp_path):
    keep(tmp_path, b"a.example\n")
    record = Record({}, Held("0" * 64, 12.5, "x" * 500)).with_serial("k", 7, "1" * 64).with_serial("k", 6, "2" * 64)
    write_record(str(tmp_path), URL, record)
    read = read_record(str(tmp_path), URL)
    assert read.serials == {"k": Seen(7, "1" * 64)} and read.held == Held("0" * 64, 12.5, "x" * 200)
    assert os.stat(place_of(str(tmp_path), URL, SUFFIX)).st_mode & 0o777 == 0o600
    for number in range(100):
        read = read.with_serial(f"k{number}", 1, "1" * 64)
    assert len(read.serials) == 32


# Rollbacks.


def body(state, which=""):
    copy = read_copy(str(state), URL, 1000, which)
    return copy and copy.body


@pytest.mark.parametrize("keys", [(), (SIGNER.word,)], ids=["unsigned", "signed"])
def test_a_rollback_and_back(tmp_path, keys):
    lists = Lists(str(tmp_path), URL, 1000, keys)
    for why in ("there is no list of it yet", "no list before the one of now is kept"):
        with pytest.raises(CannotRollBack, match=why):
            lists.roll_back("me")
        keep(tmp_path, b"good.example\n", 1)
    with pytest.raises(CannotRollBack, match="it is not rolled back"):
        lists.undo()
    keep(tmp_path, b"bad.example\n", 2, before=True)
    assert lists.roll_back("me").rules == 1
    assert (body(tmp_path), body(tmp_path, BEFORE), body(tmp_path, HELD)) == (b"good.example\n", None, b"bad.example\n")
    config = of(tmp_path, *keys)
    assert hosts(config) == ["good.example"] and warned(config, "by me: the list before it is in force")
    with pytest.raises(CannotRollBack, match="by me already"):
        lists.roll_back("you")
    lists.undo()
    assert (body(tmp_path), body(tmp_path, BEFORE), body(tmp_path, HELD)) == (b"bad.example\n", b"good.example\n", None)
    assert read_record(str(tmp_path), URL).held is None and hosts(of(tmp_path, *keys)) == ["bad.example"]
    lists.roll_back("me")
    assert body(tmp_path) == b"good.example\n"


def test_a_rollback_that_was_cut_short_goes_on(tmp_path):
    keep(tmp_path, b"good.example\n", 1)
    keep(tmp_path, b"bad.example\n", 2, before=True)
    write_record(str(tmp_path), URL, Record(held=Held(sha256_of(b"bad.example\n"), time.time(), "me")))
    Lists(str(tmp_path), URL, 1000, [SIGNER.word]).roll_back("me")
    assert body(tmp_path) == b"good.example\n"


@pytest.mark.parametrize("keys", [(), (SIGNER.word,)], ids=["unsigned", "signed"])
def test_nothing_is_rolled_back_to_the_list_of_now(tmp_path, keys):
    """The list of now is named as the one before it first: then the download was killed."""
    keep(tmp_path, b"bad.example\n", 1)
    also_as(place_of(str(tmp_path), URL), place_of(str(tmp_path), URL, BEFORE))
    lists = Lists(str(tmp_path), URL, 1000, keys)
    with pytest.raises(CannotRollBack, match="no list before the one of now is kept"):
        lists.roll_back("me")
    assert body(tmp_path) == b"bad.example\n" and read_record(str(tmp_path), URL).held is None


def damage(state, which=""):
    with open(place_of(str(state), URL, which), "r+b") as file:
        file.write(b"{ half")


def remove(state):
    os.unlink(place_of(str(state), URL))


def replace_by_folder(state):
    remove(state)
    os.mkdir(place_of(str(state), URL))


@pytest.mark.parametrize("spoil", [damage, remove, replace_by_folder])
def test_the_list_before_takes_the_place_of_one_that_cannot_be_used(tmp_path, spoil):
    lists = Lists(str(tmp_path), URL, 1000, [SIGNER.word])
    keep(tmp_path, b"good.example\n", 1)
    keep(tmp_path, b"newer.example\n", 2, before=True)
    spoil(tmp_path)
    assert lists.can_roll_back() and hosts(of(tmp_path, SIGNER.word)) == []
    assert lists.roll_back("me").rules == 1
    assert (body(tmp_path), body(tmp_path, BEFORE)) == (b"good.example\n", None)
    assert read_record(str(tmp_path), URL).held is None, "what its server has comes again with the next download"
    assert not lists.can_roll_back()


def test_the_list_before_takes_the_place_of_one_by_a_key_that_was_taken_away(tmp_path):
    keep(tmp_path, b"good.example\n", 1)
    keep(tmp_path, b"newer.example\n", 2, signer=OTHER, before=True)
    lists = Lists(str(tmp_path), URL, 1000, [SIGNER.word])
    assert lists.can_roll_back() and lists.roll_back("me").serial == 1
    assert body(tmp_path) == b"good.example\n"


@pytest.mark.parametrize("spoil", [damage, remove, replace_by_folder])
def test_a_rollback_is_undone_where_the_list_in_force_cannot_be_used(tmp_path, spoil):
    lists = Lists(str(tmp_path), URL, 1000, [SIGNER.word])
    keep(tmp_path, b"good.example\n", 1)
    keep(tmp_path, b"newer.example\n", 2, before=True)
    lists.roll_back("me")
    spoil(tmp_path)
    assert lists.undo().serial == 2
    assert (body(tmp_path), body(tmp_path, BEFORE)) == (b"newer.example\n", None)


def test_what_no_rollback_can_bring_back_is_not_offered(tmp_path):
    lists = Lists(str(tmp_path), URL, 1000, [SIGNER.word])
    assert not lists.can_roll_back(), "there is nothing"
    keep(tmp_path, b"good.example\n", 1)
    assert not lists.can_roll_back(), "nor anything before it"
    keep(tmp_path, b"newer.example\n", 2, before=True)
    assert lists.can_roll_back()
    damage(tmp_path, BEFORE)
    assert not lists.can_roll_back()
    damage(tmp_path)
    with pytest.raises(CannotRollBack, match="the list before it cannot be used: it is damaged"):
        lists.roll_back("me")
    os.unlink(place_of(str(tmp_path), URL, BEFORE))
    with pytest.raises(CannotRollBack, match="the list in force cannot be used: it is damaged"):
        lists.roll_back("me")


def test_a_file_system_without_second_names_keeps_the_list_before_too(tmp_path, monkeypatch):
    def link(place, other):
        raise PermissionError(errno.EPERM, os.strerror(errno.EPERM), place)

    monkeypatch.setattr(os, "link", link)
    keep(tmp_path, b"good.example\n", 1)
    keep(tmp_path, b"bad.example\n", 2, before=True)
    Lists(str(tmp_path), URL, 1000, [SIGNER.word]).roll_back("me")
    assert (body(tmp_path), body(tmp_path, HELD)) == (b"good.example\n", b"bad.example\n")
    assert os.stat(place_of(str(tmp_path), URL, HELD)).st_mode & 0o777 == 0o600


def test_a_list_for_which_there_is_no_room_leaves_both_that_are_kept(tmp_path):
    keep(tmp_path, b"good.example\n", 1)
    keep(tmp_path, b"bad.example\n", 2, before=True)
    with room_for(1 << 14), pytest.raises(OSError, match="File too large"):
        keep(tmp_path, b"more.example\n" * 2000, 3, before=True)
    assert (body(tmp_path), body(tmp_path, BEFORE)) == (b"bad.example\n", b"good.example\n")
    assert not [path for path in (tmp_path / "lists").iterdir() if path.name.startswith(NEW)]
    assert Lists(str(tmp_path), URL, 1000, [SIGNER.word]).roll_back("me").serial == 1


def test_no_rollback_leads_to_what_is_not_trusted(tmp_path):
    keep(tmp_path, b"good.example\n", 1, signer=OTHER)
    keep(tmp_path, b"bad.example\n", 2, before=True)
    with pytest.raises(CannotRollBack, match="the list before it cannot be used: it is signed with the key"):
        Lists(str(tmp_path), URL, 1000, [SIGNER.word]).roll_back("me")
    assert body(tmp_path) == b"bad.example\n"
