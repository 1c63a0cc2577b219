"""The signature beside a list: what is one, whose it is, and that everything else is one documented error."""

import base64
import os

import pytest
from harness.signing import LATER, Signer
from hypothesis import given
from hypothesis import strategies as st

from ogw.settings.elsewhere.public_key import parse_key, word_of
from ogw.settings.elsewhere.signature import (
    LARGEST,
    Distrusted,
    ListReason,
    fits,
    name_of,
    read_signature,
    require_good,
    signature_url,
)

LIST = b"www.example.com\n"
SIGNER, OTHER = Signer(), Signer()
GOOD = SIGNER.sign(LIST, 7)


def reason(data, name="hosts.txt", keys=(SIGNER.word,)):
    with pytest.raises(Distrusted) as caught:
        require_good(read_signature(data), name, keys)
    return caught.value.reason


def test_a_good_one_is_read_and_found_good():
    read = read_signature(GOOD)
    assert (read.name, read.serial, read.expires, read.key) == ("hosts.txt", 7, 4070908800.0, SIGNER.word)
    require_good(read, "hosts.txt", [OTHER.word, SIGNER.word])
    assert fits(read, LIST) and not fits(read, LIST + b"\n") and read.text == GOOD


def test_each_fault_has_its_reason():
    assert reason(GOOD, keys=[OTHER.word]) is ListReason.UNKNOWN_KEY
    assert reason(GOOD, keys=[]) is ListReason.UNKNOWN_KEY
    assert reason(GOOD, name="other.txt") is ListReason.FOREIGN
    assert reason(OTHER.sign(LIST, 7, key=SIGNER.word)) is ListReason.FORGED
    assert reason(GOOD.replace(b"serial: 7", b"serial: 8")) is ListReason.FORGED
    assert reason(GOOD.replace(b"name: hosts.txt", b"name: hosts.tx")) is ListReason.FORGED


LINES = GOOD.splitlines(keepends=True)
MALFORMED = {
    "nothing": b"",
    "a page": b"<!DOCTYPE html>",
    "a line twice": b"".join([*LINES[:3], LINES[2], *LINES[3:]]),
    "two of them": GOOD + GOOD,
    "another order": b"".join([LINES[0], LINES[2], LINES[1], *LINES[3:]]),
    "the ends of lines of others": GOOD.replace(b"\n", b"\r\n"),
    "a byte order mark": b"\xef\xbb\xbf" + GOOD,
    "something behind it": GOOD + b"\n",
    "no end of the last line": GOOD[:-1],
    "another version": GOOD.replace(b"ogw 1", b"ogw 2"),
    "a serial with a sign": GOOD.replace(b"serial: 7", b"serial: +7"),
    "a serial with a zero": GOOD.replace(b"serial: 7", b"serial: 07"),
    "a serial of other digits": GOOD.replace(b"serial: 7", "serial: \u0667".encode()),
    "a large serial": GOOD.replace(b"serial: 7", b"serial: 1" + b"0" * 15),
    "a name that is a path": GOOD.replace(b"hosts.txt", b"../hosts.txt"),
    "a day that there is not": GOOD.replace(b"2099-01-01", b"2099-02-30"),
    "another zone": GOOD.replace(b"00:00:00Z", b"00:00:00+01:00"),
    "a hash in capitals": GOOD.replace(LINES[4], LINES[4].upper().replace(b"SHA256", b"sha256")),
    "a key of zeros": GOOD.replace(SIGNER.word.encode(), word_of(bytes(32)).encode()),
    "base64 of more bits than bytes": GOOD[:-4] + bytes([GOOD[-4] + 1 if GOOD[-4] not in b"Zz9/+" else 66]) + GOOD[-3:],
    "too large": GOOD + b"#" * LARGEST,
}


@pytest.mark.parametrize("case", MALFORMED)
def test_what_is_not_written_as_ogw_writes_it_is_none(case):
    assert reason(MALFORMED[case]) is ListReason.MALFORMED


def test_no_part_of_one_is_one():
    for length in range(len(GOOD)):
        assert reason(GOOD[:length]) is ListReason.MALFORMED
        assert reason(GOOD[length + 1 :]) is ListReason.MALFORMED


@given(st.integers(0, len(GOOD) - 1), st.integers(1, 255))
def test_no_changed_byte_passes(place, change):
    data = bytearray(GOOD)
    data[place] ^= change
    assert reason(bytes(data)) in (ListReason.MALFORMED, ListReason.FORGED, ListReason.UNKNOWN_KEY)


@given(st.one_of(st.binary(max_size=2 * LARGEST), st.lists(st.sampled_from(LINES), max_size=9).map(b"".join)))
def test_whatever_comes_is_a_signature_or_the_one_documented_error(data):
    try:
        assert read_signature(data).text == data
    except Distrusted as error:
        assert error.reason is ListReason.MALFORMED


def test_a_signature_of_any_expiry_reads_and_one_at_the_end_of_time_too():
    for text in ("0001-01-01T00:00:00Z", "9999-12-31T23:59:59Z", LATER):
        assert read_signature(SIGNER.sign(LIST, expires=text)).expires


@pytest.mark.parametrize(
    ("url", "name", "beside"),
    [
        ("https://a.example/hosts.txt", "hosts.txt", "https://a.example/hosts.txt.sig"),
        ("https://a.example/x/hosts.txt?t=1", "hosts.txt", "https://a.example/x/hosts.txt.sig?t=1"),
        ("https://a.example/hosts.txt?t=/other", "hosts.txt", "https://a.example/hosts.txt.sig?t=/other"),
        ("https://a.example/x/hosts.txt#shops", "shops", "https://a.example/x/hosts.txt.sig"),
        ("https://a.example/?list=1#shops", "shops", "https://a.example/.sig?list=1"),
        ("https://a.example", None, "https://a.example/.sig"),
        ("https://a.example/lists/", None, "https://a.example/lists/.sig"),
        ("https://a.example/a%20b", None, "https://a.example/a%20b.sig"),
    ],
)
def test_the_name_of_a_list_and_where_its_signature_stands(url, name, beside):
    assert (name_of(url), signature_url(url)) == (name, beside)


def test_a_key_is_one_word_and_nothing_else():
    assert parse_key(SIGNER.word) == SIGNER.word
    for text in ("", "ed25519:", SIGNER.word[:-1], SIGNER.word.upper(), f"{SIGNER.word} x", "ssh-ed25519 AAAA",
                 SIGNER.word.removeprefix("ed25519:"), SIGNER.word[:-2] + "==", "rsa:" + SIGNER.word[8:]):  # fmt: skip
        with pytest.raises(ValueError, match="is not a public key as `ogw sign` shows it"):
            parse_key(text)
    last = SIGNER.word[-2]
    other = next(one for one in "ABCDEFGH" if base64.b64decode(f"AAA{one}") != base64.b64decode(f"AAA{last}"))
    if base64.b64decode(SIGNER.word[8:-2] + other + "=") == base64.b64decode(SIGNER.word[8:]):
        with pytest.raises(ValueError, match="its last characters are wrong"):
            parse_key(SIGNER.word[:-2] + other + "=")


SMALL = (
    "00" * 32,
    "01" + "00" * 31,
    "ec" + "ff" * 30 + "7f",
    "ed" + "ff" * 30 + "7f",
    "00" * 31 + "80",
    "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
    "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
    "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa",
)


@pytest.mark.parametrize("key", SMALL)
def test_a_key_with_which_anybody_can_sign_is_refused(key):
    with pytest.raises(ValueError, match="anybody can make signatures"):
        parse_key(word_of(bytes.fromhex(key)))


def test_no_other_key_is_taken_for_one_of_those():
    for _time in range(200):
        assert parse_key(word_of(os.urandom(32)))
