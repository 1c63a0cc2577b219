"""Client certificates that the parser of another house cannot read, or reads oddly: a rejection, whatever it raises."""

import random
import warnings

import pytest
from harness.certificates import OIDS, certificate, name, with_common_names
from harness.hellos import certificates, hello, message, records, server_hello
from hypothesis import given
from hypothesis import strategies as st

from ogw.policy.decision import Reason
from ogw.policy.handshake import Handshake
from ogw.policy.hosts import Policy
from ogw.policy.rules import parse_rules
from ogw.policy.subjects import Subjects, parse_pattern
from ogw.policy.tls_rules import TlsRules
from ogw.wire.connect import parse_target

TILL = with_common_names("till-7")
LONG = certificate(name((OIDS.COUNTRY_NAME, "DE"), (OIDS.ORGANIZATION_NAME, "Été"), (OIDS.COMMON_NAME, "till-7")))
ASKS = records(server_hello(0x0303) + certificates(b"server") + message(13, b"\1\1\0\0\0\0") + message(14, b""))
RULES = parse_rules(".bench.example", "x")[0]
BIT_STRING = TILL.replace(b"\x0c\x06till-7", b"\x03\x06till-7")  # in a common name: a TypeError
VERSION_4 = TILL.replace(b"\xa0\x03\x02\x01\x02", b"\xa0\x03\x02\x01\x03")
NEGATIVE = TILL.replace(b"\x02\x01\x07", b"\x02\x01\xf7")  # its serial number: a warning
LATIN_1 = TILL.replace(b"\x0c\x06till-7", b"\x14\x06till-\xe9")
NO_TYPE = TILL.replace(b"\x0c\x06till-7", b"\x7f\x06till-7")


def judged(der):
    """The handshake in which the client shows this."""
    policy = Policy(RULES, tls=TlsRules(subjects=Subjects([parse_pattern("till-7")])))
    handshake = Handshake(policy, parse_target(b"agent.bench.example:443"), "198.51.100.9", False)
    handshake.client_said(hello(versions=(0x0303,)))
    handshake.server_said(ASKS)
    assert not handshake.settled
    handshake.take_up(), handshake.take_down()
    handshake.client_said(records(certificates(der)))
    return handshake


@pytest.mark.parametrize(
    ("der", "error"),
    [(BIT_STRING, "TypeError"), (VERSION_4, "InvalidVersion"), (LATIN_1, "ValueError"), (NO_TYPE, "Error: "),
     (b"no DER", "ValueError"), (TILL[:-1], "ValueError"), (TILL + b"x", "ValueError"), (b"\x30" * 9000, "ValueError"),
     (b"\x30\x84\xff\xff\xff\xff" + TILL, "ValueError"), (b"\x30\x80" * 5000, "ValueError"),
     (b"\x30\x89" + b"\xff" * 9, "ValueError")],
)  # fmt: skip
def test_what_the_parser_raises_is_a_rejection_that_names_it(der, error):
    handshake = judged(der)
    assert handshake.rejection.reason is Reason.MALFORMED_HANDSHAKE and handshake.take_up() == b""
    assert "the client sent" in handshake.rejection.detail and error in handshake.rejection.detail
    assert handshake.rejection.detail.isprintable() and len(handshake.rejection.detail) < 600


def test_what_the_parser_warns_of_is_told_to_nobody():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert judged(NEGATIVE).verified


class PanicException(BaseException):
    """As the parser's Rust part raises it: no Exception."""


@pytest.mark.parametrize("raised", [RuntimeError, MemoryError, OverflowError, RecursionError, PanicException])
def test_any_error_of_the_parser_is_a_value_error(raised):
    def load(_der):
        raise raised("what \n nobody foresaw")

    judge = Subjects([])
    judge._load = load
    with pytest.raises(ValueError, match=raised.__name__):
        judge.judge(TILL)


def test_what_is_thrown_into_the_greenlet_is_no_error_of_the_parser():
    def load(_der):
        raise GeneratorExit

    judge = Subjects([])
    judge._load = load
    with pytest.raises(GeneratorExit):
        judge.judge(TILL)


@given(st.sampled_from([TILL, LONG]), st.lists(st.tuples(st.integers(0, 250), st.integers(0, 255)), max_size=4),
       st.integers(0, 300))  # fmt: skip
def test_a_changed_certificate_is_accepted_or_rejected(der, changes, cut):
    changed = bytearray(der)
    for at, byte in changes:
        changed[at % len(changed)] = byte
    handshake = judged(bytes(changed[: len(changed) - cut // 2 if cut > 290 else len(changed)]))
    assert handshake.verified or handshake.rejection.reason in (
        Reason.MALFORMED_HANDSHAKE,
        Reason.CLIENT_CERTIFICATE_NOT_ALLOWED,
    )


def test_five_thousand_changed_subjects_are_accepted_or_rejected():
    """Where the subject stands, and with the tags that lead to other code: hypothesis seldom does both."""
    chance, seen = random.Random(7), set()
    subjects = Subjects([parse_pattern("till-7")])
    for _turn in range(5000):
        changed = bytearray(LONG)
        for _change in range(chance.randint(1, 3)):
            tags = [chance.randrange(256), 0x80, 0x84, 0xFF, 0, 3, 4, 12, 20, 22, 23, 28, 30]
            changed[chance.randrange(160)] = chance.choice(tags)
        try:
            subjects.judge(bytes(changed))
        except ValueError as error:
            seen.add(str(error).partition(":")[0])
    assert {"ValueError", "TypeError", "InvalidVersion"} <= seen
