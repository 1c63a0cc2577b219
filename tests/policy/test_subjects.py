"""Allowed client certificates: how patterns are written, and what they match."""

import hashlib
import string
import subprocess
from contextlib import suppress

import pytest
from harness.certificates import OIDS, certificate, name, with_common_names
from harness.growth import assert_linear
from harness.peers import peer
from hypothesis import given, settings
from hypothesis import strategies as st

from ogw.policy.subjects import LONGEST_SHOWN, Subjects, parse_pattern, parse_subject, shown

TILL = certificate(
    name(
        (OIDS.COUNTRY_NAME, "DE"),
        (OIDS.ORGANIZATION_NAME, "Example, Inc."),
        (OIDS.ORGANIZATIONAL_UNIT_NAME, "Shops + Tills"),
        (OIDS.COMMON_NAME, "till-7"),
    )
)


def allowed(der, *patterns):
    return Subjects([parse_pattern(pattern) for pattern in patterns]).judge(der).allowed


@pytest.mark.parametrize(
    "text",
    [
        r"CN=till-7,OU=Shops \+ Tills,O=Example\, Inc.,C=DE",
        r"C=DE,O=Example\, Inc.,OU=Shops \+ Tills,CN=till-7",  # sets: the order is one of spelling
        'CN=till-7, OU="Shops + Tills", O="Example, Inc.", C=DE',  # Windows
        'CN = till-7; OU = "Shops + Tills"; O = "Example, Inc."; C = DE',
        r"/C=DE/O=Example, Inc./OU=Shops \+ Tills/CN=till-7",  # OpenSSL's old form
        'C = DE, O = "Example, Inc.", OU = Shops \\+ Tills, CN = till-7',  # OpenSSL's
        r"2.5.4.3=till-7,OID.2.5.4.11=Shops \2B Tills,2.5.4.10=Example\2C Inc.,2.5.4.6=de",
        r"commonName=TILL-7,organizationalUnitName=shops  \+  tills,organizationName=Example\, Inc.,countryName=DE",
    ],
)
def test_one_subject_in_every_spelling(text):
    assert allowed(TILL, text)


@pytest.mark.parametrize(
    "text",
    [
        "CN=till-7",
        r"CN=till-7,OU=Shops \+ Tills,O=Example\, Inc.",
        r"CN=till-7,OU=Shops \+ Tills,O=Example\, Inc.,C=DE,L=Bonn",
        r"CN=till-8,OU=Shops \+ Tills,O=Example\, Inc.,C=DE",
        r"CN=till-7+OU=Shops \+ Tills,O=Example\, Inc.,C=DE",  # one RDN of two attributes is not two RDNs
        "till",
        "Shops + Tills",
        "sha256:" + "0" * 64,
    ],
)
def test_a_part_of_a_subject_is_not_the_subject(text):
    assert not allowed(TILL, text)


def test_a_common_name_alone_is_enough_and_any_of_two_counts():
    assert allowed(TILL, "till-7") and allowed(TILL, "TILL-7") and not allowed(TILL, "Example, Inc.")
    agent = with_common_names("workspace", "machine")
    assert allowed(agent, "workspace") and allowed(agent, "machine") and not allowed(agent, "workspace,machine")
    assert allowed(agent, "CN=machine,CN=workspace") and not allowed(agent, "CN=machine")


def test_a_fingerprint_in_any_form():
    digest = hashlib.sha256(TILL).hexdigest()
    pairs = ":".join(digest[at : at + 2] for at in range(0, 64, 2))
    for text in (f"sha256:{digest}", f"SHA256:{digest.upper()}", f"sha256:{pairs}"):
        assert allowed(TILL, text)
    assert not allowed(with_common_names("till-7"), f"sha256:{digest}")


def test_a_multi_valued_rdn_is_a_set():
    both = certificate(name([(OIDS.COMMON_NAME, "a"), (OIDS.ORGANIZATION_NAME, "b")], (OIDS.COUNTRY_NAME, "DE")))
    assert allowed(both, "O=b+CN=a,C=DE") and not allowed(both, "O=b,CN=a,C=DE")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "is empty"),
        ("sha256:abc", "64 hexadecimal digits"),
        ("XX=a", "unknown attribute 'XX'"),
        ("CN=a,b", "without ="),
        ("CN=a,", "ends with a separator"),
        ('CN="a', "quote that is not closed"),
        (r"CN=\ff", "UTF-8"),
        ("1.2.x=a", "unknown attribute"),
    ],
)
def test_a_wrong_pattern_says_what_is_wrong(text, words):
    with pytest.raises(ValueError) as raised:
        parse_pattern(text)
    assert words in str(raised.value)


def test_what_is_no_certificate_is_a_value_error():
    for wrong in (b"", b"x", TILL[:-1], TILL + b"x", b"0" * 100):
        with pytest.raises(ValueError):
            Subjects([]).judge(wrong)


def test_a_subject_is_shown_printable_and_cut():
    seen = Subjects([]).judge(with_common_names("a\nb\x1b[2J"))
    assert seen.subject.isprintable() and "\n" not in seen.subject
    assert len(shown("x" * 1000)) == LONGEST_SHOWN + 3


TEXT = st.text(string.ascii_letters + string.digits + " ,;+=\"\\<>#/.-'äß€", min_size=1, max_size=12)
ATTRIBUTE = st.tuples(
    st.sampled_from([OIDS.COMMON_NAME, OIDS.ORGANIZATION_NAME, OIDS.ORGANIZATIONAL_UNIT_NAME, OIDS.LOCALITY_NAME]),
    TEXT.filter(lambda text: text.strip()),
)
SUBJECT = st.lists(ATTRIBUTE, min_size=1, max_size=4)


@given(SUBJECT)
def test_the_subject_that_is_shown_is_a_pattern_for_it(attributes):
    der = certificate(name(*attributes))
    assert allowed(der, Subjects([]).judge(der).subject)


@pytest.mark.parametrize("form", ["RFC2253,-esc_msb,utf8", "oneline,-esc_msb,utf8", "RFC2253"])
@settings(max_examples=min(settings().max_examples, 100))  # each starts a process
@given(attributes=SUBJECT)
def test_openssl_prints_the_same_subject(form, attributes):
    der = certificate(name(*attributes))
    command = [peer("openssl"), "x509", "-inform", "DER", "-noout", "-subject", "-nameopt", form]
    printed = subprocess.run(command, input=der, capture_output=True, timeout=20, check=True).stdout.decode()
    assert allowed(der, printed.removeprefix("subject=").strip("\n").removeprefix(" "))


@given(st.text(max_size=40))
def test_any_text_is_a_pattern_or_says_what_is_wrong(text):
    try:
        parse_pattern(text)
        parse_subject(text)
    except ValueError as error:
        assert str(error)


@pytest.mark.parametrize("piece", ["CN=a,", "CN=\\\\,"])
def test_the_time_for_a_subject_grows_with_its_length(piece):
    def work(count):
        with suppress(ValueError):
            parse_pattern(piece * count + "CN=b")

    assert_linear(work, 20_000)
