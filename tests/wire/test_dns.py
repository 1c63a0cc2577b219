"""Questions to DNS servers and their answers: what is read, what is not taken for an answer, and what has an end."""

import itertools
import struct
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ogw.wire.dns import (
    AAAA,
    LAME,
    NOERROR,
    NXDOMAIN,
    REFUSED,
    SERVFAIL,
    A,
    Answer,
    BadAnswer,
    NotTheAnswer,
    OtherCase,
    query,
    question_section,
    read_answer,
)

CNAME, SOA, TXT = 5, 6, 16
NAME = "www.example.com"
HERE = b"\xc0\x0c"


def wire(name):
    return b"".join(bytes((len(label),)) + label.encode() for label in name.split(".") if label) + b"\0"


def record(owner, kind, ttl, data, of_class=1):
    return (
        (wire(owner) if isinstance(owner, str) else owner) + struct.pack("!HHIH", kind, of_class, ttl, len(data)) + data
    )


def a(owner, ttl, last=1):
    return record(owner, A, ttl, bytes((192, 0, 2, last)))


def soa(zone, ttl, minimum):
    return record(zone, SOA, ttl, b"\0\0" + struct.pack("!IIIII", 1, 1, 1, 1, minimum))


def message(question, *answers, authority=(), code=NOERROR, flags=0x8180, number=7):
    head = struct.pack("!HHHHHH", number, flags | code, 1, len(answers), len(authority), 0)
    return head + question + b"".join((*answers, *authority))


QUESTION = question_section(NAME, A)


def test_a_question_has_no_opt_record_and_asks_for_recursion():
    assert query(0xABCD, QUESTION) == b"\xab\xcd\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00" + wire(NAME) + b"\0\1\0\1"
    with_it = query(0xABCD, QUESTION, edns=True)
    assert (
        with_it[10:12] == b"\0\1"
        and with_it[12:].startswith(QUESTION)
        and with_it.endswith(bytes.fromhex("00002904d0000000000000"))
    )
    assert question_section(NAME, AAAA) == wire(NAME) + b"\0\x1c\0\1"


def test_random_bits_make_letters_small_or_capital_and_change_nothing_else():
    name = "a-1.b_2.example"
    assert question_section(name, A, b"\xff" * 40) == b"\x03A-1\x03B_2\x07EXAMPLE\0\0\1\0\1"
    assert question_section(name, A, b"\x20\0" * 20).lower() == question_section(name, A)


@given(st.binary(min_size=40, max_size=40))
def test_any_random_bits_leave_the_question_what_it_is(entropy):
    assert question_section(NAME, A, entropy).lower() == QUESTION


def test_the_longest_name_is_asked_for_whole():
    name = ".".join(["a" * 63] * 3 + ["b" * 61])
    assert question_section(name, A)[:-4] == wire(name)


def test_addresses_are_read_each_once_and_hold_as_long_as_the_shortest():
    data = message(QUESTION, a(HERE, 60, 1), a(HERE, 30, 2), a(HERE, 90, 1))
    assert read_answer(data, QUESTION) == Answer(NOERROR, False, ["192.0.2.1", "192.0.2.2"], 30)


def test_aliases_are_followed_in_any_order_and_their_ttl_counts():
    records = [a("c.example", 60), record(HERE, CNAME, 50, wire("b.example")),
               record("b.example", CNAME, 20, wire("C.EXAMPLE"))]  # fmt: skip
    for order in (records, records[::-1]):
        assert read_answer(message(QUESTION, *order), QUESTION) == Answer(NOERROR, False, ["192.0.2.1"], 20)


def test_an_ipv6_answer_is_read():
    question = question_section(NAME, AAAA)
    data = message(question, record(HERE, AAAA, 5, bytes.fromhex("20010db8" + "0" * 23 + "1")))
    assert read_answer(data, question).addresses == ["2001:db8::1"]


@pytest.mark.parametrize(
    "strange",
    [
        a("other.example", 60, 66),
        record(HERE, TXT, 60, b"\3abc"),
        record(HERE, A, 60, bytes((192, 0, 2, 66)), of_class=3),
        record(HERE, AAAA, 60, bytes(16)),
    ],
)
def test_what_does_not_belong_to_the_question_is_left_out(strange):
    assert read_answer(message(QUESTION, strange, a(HERE, 9)), QUESTION).addresses == ["192.0.2.1"]
    assert read_answer(message(QUESTION, a(HERE, 9), authority=[strange]), QUESTION).addresses == ["192.0.2.1"]


def test_an_address_of_the_authority_section_is_none_of_the_answer():
    assert read_answer(message(QUESTION, authority=[a(HERE, 60)]), QUESTION).addresses == []


@pytest.mark.parametrize(
    ("ttl", "minimum", "seconds"), [(60, 300, 60), (300, 60, 60), (0, 300, 0), (300, 0, 0), (1 << 31, 60, 0)]
)
@pytest.mark.parametrize("code", [NOERROR, NXDOMAIN])
@pytest.mark.parametrize("zone", ["www.example.com", "example.com", "com", ""])
def test_nothing_holds_as_long_as_the_zone_says(ttl, minimum, seconds, code, zone):
    data = message(QUESTION, authority=[soa(zone, ttl, minimum)], code=code)
    assert read_answer(data, QUESTION) == Answer(code, False, [], seconds)


@pytest.mark.parametrize("zone", ["ample.com", "other.com", "a.www.example.com", "example.net"])
def test_a_zone_elsewhere_does_not_say_for_how_long_there_is_nothing(zone):
    assert read_answer(message(QUESTION, authority=[soa(zone, 60, 60)]), QUESTION).seconds is None


def test_nothing_behind_an_alias_holds_no_longer_than_the_alias():
    data = message(QUESTION, record(HERE, CNAME, 5, wire("b.example")), authority=[soa("example", 60, 60)])
    assert read_answer(data, QUESTION) == Answer(NOERROR, False, [], 5)


def test_a_name_that_is_not_there_has_no_addresses_whatever_comes_with_it():
    assert read_answer(message(QUESTION, a(HERE, 60), code=NXDOMAIN), QUESTION).addresses == []


@pytest.mark.parametrize("ttl", [1 << 31, (1 << 32) - 1])
def test_a_ttl_with_its_highest_bit_is_none(ttl):
    assert read_answer(message(QUESTION, a(HERE, ttl)), QUESTION).seconds == 0


@pytest.mark.parametrize("code", [SERVFAIL, REFUSED])
def test_an_error_is_read_with_and_without_the_question(code):
    assert read_answer(message(QUESTION, code=code), QUESTION).code == code
    assert read_answer(struct.pack("!HHHHHH", 7, 0x8180 | code, 0, 0, 0, 0), QUESTION).code == code


def test_a_server_that_knows_nothing_and_asks_nobody_says_nothing_about_the_name():
    for flags, code in ((0x8100, LAME), (0x8180, NOERROR), (0x8500, NOERROR)):
        assert read_answer(message(QUESTION, flags=flags), QUESTION).code == code
    assert read_answer(message(QUESTION, a(HERE, 60), flags=0x8100), QUESTION).addresses == ["192.0.2.1"]


@pytest.mark.parametrize(
    "data",
    [
        b"",
        message(QUESTION, a(HERE, 60))[:11],
        message(QUESTION, flags=0x0100),  # a question
        message(QUESTION, flags=0xA180),  # another operation
        message(question_section("www.example.org", A), a(HERE, 60)),
        message(question_section(NAME, AAAA)),
        struct.pack("!HHHHHH", 7, 0x8180, 0, 1, 0, 0) + a(NAME, 60),
        struct.pack("!HHHHHH", 7, 0x8180, 2, 0, 0, 0) + QUESTION * 2,
    ],
)
def test_what_answers_another_question_is_not_the_answer(data):
    with pytest.raises(NotTheAnswer):
        read_answer(data, QUESTION)


def test_other_letters_than_those_that_were_asked_are_seen_where_there_were_capitals():
    mixed = question_section(NAME, A, b"\xff\0" * 20)
    assert read_answer(message(mixed, a(HERE, 60)), mixed).addresses == ["192.0.2.1"]
    with pytest.raises(OtherCase):
        read_answer(message(QUESTION, a(HERE, 60)), mixed)
    assert read_answer(message(mixed, a(HERE, 60)), QUESTION).addresses == ["192.0.2.1"]


@pytest.mark.parametrize(
    "records",
    [
        [record(HERE, A, 60, bytes(3))],
        [record(HERE, A, 60, bytes(5))],
        [record(b"\xc0\xff", A, 60, bytes(4))],  # a pointer to where nothing is yet
        [record(b"\xc0" + bytes((12 + len(QUESTION),)), A, 60, bytes(4))],  # to itself
        [record(b"\x80", A, 60, bytes(4))],
        [record(HERE, CNAME, 60, b"\xc0\x0c")],  # an alias of itself
        [record(HERE, CNAME, 60, wire("b.example")), record("b.example", CNAME, 60, HERE)],
        [record(wire(".".join(["a" * 63] * 4)), A, 60, bytes(4))],
        [record(b"\x3f" + b"a" * 63 + HERE, A, 60, bytes(4)), record(HERE, SOA, 60, b"\0\0" + bytes(19))],
    ],
)
def test_what_makes_no_sense_is_told(records):
    with pytest.raises(BadAnswer, match=" "):
        read_answer(message(QUESTION, *records), QUESTION)


def test_aliases_in_a_row_have_a_bound():
    def chain(length):
        names = [NAME, *(f"n{number}.example" for number in range(length))]
        pairs = [record(one, CNAME, 60, wire(next_one)) for one, next_one in itertools.pairwise(names)]
        return message(QUESTION, *pairs, a(names[-1], 60))

    assert read_answer(chain(16), QUESTION).addresses == ["192.0.2.1"]
    with pytest.raises(BadAnswer):
        read_answer(chain(17), QUESTION)


def test_a_cut_answer_says_so_wherever_it_is_cut():
    data = message(QUESTION, *(a(HERE, 60, last) for last in range(20)), flags=0x8380)
    for end in range(12 + len(QUESTION), len(data) + 1):
        answer = read_answer(data[:end], QUESTION)
        assert answer.truncated and len(answer.addresses) in (0, 20)


def test_an_answer_that_ends_early_is_told_wherever_it_does():
    data = message(QUESTION, record(HERE, CNAME, 60, wire("b.example")), a("b.example", 60), authority=[soa("", 1, 1)])
    for end in range(12 + len(QUESTION), len(data)):
        with pytest.raises(BadAnswer):
            read_answer(data[:end], QUESTION)
    assert read_answer(data + b"tail", QUESTION) == read_answer(data, QUESTION)


@given(st.binary(max_size=300), st.integers(0, 60), st.integers(0, 60))
def test_any_bytes_have_an_answer_or_an_error(data, answers, authorities):
    head = struct.pack("!HHHHHH", 7, 0x8180, 1, answers, authorities, 0)
    for whole in (data, head + QUESTION + data):
        try:
            assert isinstance(read_answer(whole, QUESTION), Answer)
        except (BadAnswer, NotTheAnswer):
            pass


@given(st.data())
def test_any_changed_byte_has_an_answer_or_an_error(data):
    good = bytearray(message(QUESTION, record(HERE, CNAME, 60, b"\1b\xc0\x10"), a("b.example.com", 60),
                             authority=[soa("example.com", 60, 60)]))  # fmt: skip
    good[data.draw(st.integers(0, len(good) - 1))] = data.draw(st.integers(0, 255))
    try:
        assert isinstance(read_answer(bytes(good), QUESTION), Answer)
    except (BadAnswer, NotTheAnswer):
        pass


def steps(data):
    """How many lines are run to read it."""
    count = 0

    def trace(*_arguments):
        nonlocal count
        count += 1
        return trace

    sys.settrace(trace)
    try:
        read_answer(data, QUESTION)
    except BadAnswer:
        pass
    finally:
        sys.settrace(None)
    return count


def pointers(length):
    """Names that lead from pointer to pointer, each record's to the one before: a chain as long as the message."""
    data, previous = [], 12
    position = 12 + len(QUESTION)
    for _number in range(length):
        one = record(b"\1a" + struct.pack("!H", 0xC000 | previous), A, 60, bytes(4))
        previous = position if position < 0x3FFF else 12
        position += len(one)
        data.append(one)
    return message(QUESTION, *data)


@pytest.mark.parametrize("of", [lambda n: message(QUESTION, *(a(HERE, 60, i % 250) for i in range(n))), pointers])
def test_the_work_grows_with_the_length_of_the_answer_and_no_faster(of):
    assert steps(of(100)) < 12 * steps(of(10))
    assert steps(of(3000)) < 40 * steps(of(100))
