"""A subject in every spelling that RFC 4514, OpenSSL, Java, .NET and Windows have for it."""

import re
import subprocess

import pytest
from harness.certificates import OIDS, certificate, name, with_common_names
from harness.peers import peer
from hypothesis import example, given, settings
from hypothesis import strategies as st

from ogw.policy.subjects import Subjects, parse_pattern

SHOP = certificate(
    name(
        (OIDS.COUNTRY_NAME, "FR"),
        (OIDS.ORGANIZATION_NAME, 'Magasin, "Été" & Fils'),
        (OIDS.STATE_OR_PROVINCE_NAME, "Île-de-France"),
        (OIDS.EMAIL_ADDRESS, "till@example.com"),
        (OIDS.SERIAL_NUMBER, "0042"),
        (OIDS.COMMON_NAME, "till-7"),
    )
)
MORE = "ST=Île-de-France, E=till@example.com, SERIALNUMBER=0042"


def allowed(der, *patterns):
    return Subjects([parse_pattern(pattern) for pattern in patterns]).judge(der).allowed


@pytest.mark.parametrize(
    "text",
    [
        'CN=till-7, SERIALNUMBER=0042, E=till@example.com, S=Île-de-France, O="Magasin, ""Été"" & Fils", C=FR',  # .NET
        'CN=till-7; SERIALNUMBER=0042; E=till@example.com; S=Île-de-France; O="Magasin, ""Été"" & Fils"; C=FR',
        f'CN=till-7, OID.2.5.4.10="Magasin, ""Été"" & Fils", C=FR, {MORE}',
        f'CN=till-7, O="Magasin, \\"Été\\" & Fils", C=FR, {MORE}',  # RFC 2253, Java
        f'CN=till-7,O=Magasin\\, \\"Été\\" & Fils,C=FR,{MORE}',  # RFC 4514
        f"CN=till-7,O=Magasin\\2C \\22\\C3\\89t\\C3\\A9\\22 & Fils,C=FR,{MORE}",
        f"CN=till-7,O=#0c174d61676173696e2c2022c38974c3a92220262046696c73,C=FR,{MORE}",
        'subject=C = FR, O = "Magasin, \\"\\C3\\89t\\C3\\A9\\" & Fils", ST = \\C3\\8Ele-de-France, '
        "emailAddress = till@example.com, serialNumber = 0042, CN = till-7",  # openssl x509 -subject
        'subject= /C=FR/O=Magasin, "\\xC3\\x89t\\xC3\\xA9" & Fils/ST=\\xC3\\x8Ele-de-France'
        "/emailAddress=till@example.com/serialNumber=0042/CN=till-7",  # and before OpenSSL 1.1
        f"Subject: CN=till-7, O=\"Magasin, \"\"Été\"\" & Fils\", C=FR, {MORE}",
    ],
)  # fmt: skip
def test_a_subject_with_quotes_and_accents_in_every_spelling(text):
    assert allowed(SHOP, text)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ('"', 'CN=""""'),
        ('"a"', 'CN="""a"""'),
        ("", 'CN="", O=x'),
        ("a\\b", "CN=a\\b, O=x"),  # \b is no escape
        ("EXAMPLE\\till", "CN=EXAMPLE\\till, O=x"),
        ("a\\41", "CN=a\\41, O=x"),  # in RFC 4514, it is aA
        ("aA", "CN=a\\41, O=x"),
        ("a, \\41\\\\", 'CN="a, \\41\\\\", O=x'),
        ("a\\", "O=x, CN=a\\"),
        ("a", "O=x, CN=a\\"),  # the space behind it went with the end of the line
        ("#", "CN=#, O=x"),  # OpenSSL 3.0
        ("#7", 'CN="#7", O=x'),
        ("#7", "CN=\\#7, O=x"),
        ("a=b", 'CN="a=b", O=x'),
        ("a=b", "CN=a=b, O=x"),
        ("a/b+c", "/O=x/CN=a/b+c"),
        ('a "b"', '/O=x/CN=a "b"'),
        ("a;b", 'CN="a;b" ; O=x'),
    ],
)
def test_what_windows_and_openssl_leave_unescaped_is_read_as_it_was_meant(value, text):
    one = [(OIDS.COMMON_NAME, value)] if value else [(OIDS.COMMON_NAME, " ")]
    if "O=x" in text:
        one.append((OIDS.ORGANIZATION_NAME, "x"))
    assert allowed(certificate(name(*one)), text)


def test_two_attributes_in_one_rdn_as_windows_writes_them():
    both = certificate(name([(OIDS.COMMON_NAME, "a, b"), (OIDS.ORGANIZATION_NAME, "c")], (OIDS.COUNTRY_NAME, "DE")))
    assert allowed(both, 'CN="a, b" + O=c, C=DE')


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('CN=a"b"', "has a quote inside a value"),
        ('CN="a"b, O=x', "has text behind a closing quote"),
        ('CN="a" "b"', "has text behind a closing quote"),
        ('CN="a""', "quote that is not closed"),
        ("CN=#xy", "no hexadecimal digits"),
        ("CN=#7", "no hexadecimal digits"),
        ("CN=#4142", "no BER"),
        ("CN=EXAMPLE\\adam", "a backslash itself is written \\\\"),
        ('"till-7"', "stands in quotes"),
        ("CN=a, O=b+c", "without ="),
        ("CN=a,,O=b", "unknown attribute"),
        ("\u017f=a", "unknown attribute"),  # its capital letter is an S
        ("O\u0130D.1.2=a", "unknown attribute"),
        ("CN=\udce9", "UTF-8"),  # a byte of a command line in another encoding
    ],
)
def test_what_cannot_be_read_as_it_was_meant_is_a_mistake_that_says_where(text, words):
    with pytest.raises(ValueError) as raised:
        parse_pattern(text)
    assert words in str(raised.value) and str(raised.value).encode()


@pytest.mark.parametrize("around", ["\n", "\t", "\r", "\x0b", "\x1f", "\x85", "\xa0", "\u2028", "\0", "\u200b"])
def test_a_common_name_with_a_control_character_is_not_the_one_without(around):
    for text in (f"{around}till-7", f"till-7{around}", f"till{around}-7"):
        der = with_common_names(text)
        assert not allowed(der, "till-7", "CN=till-7", "till -7")
        assert allowed(der, Subjects([]).judge(der).subject)


@pytest.mark.parametrize("text", ["till-\u212a", "ti\u017fl-7", "\ufb01ll"])
def test_no_other_letter_is_taken_for_one_of_ascii(text):
    assert not allowed(with_common_names(text), text.casefold()) and allowed(with_common_names(text), text)


def test_letters_are_compared_without_their_case_and_spaces_as_one():
    assert allowed(with_common_names("CAISSE  ÉTÉ "), " caisse été", "CN=Caisse   Été")


NAMES = {
    OIDS.COMMON_NAME: "CN", OIDS.ORGANIZATION_NAME: "O", OIDS.ORGANIZATIONAL_UNIT_NAME: "OU",
    OIDS.LOCALITY_NAME: "L", OIDS.STATE_OR_PROVINCE_NAME: "S", OIDS.SURNAME: "SN", OIDS.TITLE: "T",
    OIDS.GIVEN_NAME: "G", OIDS.BUSINESS_CATEGORY: "OID.2.5.4.15",
}  # fmt: skip
TEXT = st.text("abcABC0149 ,;+=\"\\<>#/.-'&äÉß€é", min_size=1, max_size=12).filter(str.strip)
SUBJECT = st.lists(st.tuples(st.sampled_from(sorted(NAMES, key=str)), TEXT), min_size=1, max_size=4)


def dot_net(attributes, separator):
    """As X500DistinguishedName.Name is written: quoted where a character is special, and the last attribute first."""

    def value(text):
        special = re.search(r'[,+="\n<>#;]', text) or text != text.strip()
        return '"{}"'.format(text.replace('"', '""')) if special else text

    return separator.join(f"{NAMES[oid]}={value(text)}" for oid, text in reversed(attributes))


@given(SUBJECT, st.sampled_from([", ", "; ", ","]))
@example([(OIDS.ORGANIZATION_NAME, 'a\\"b')], ", ")
def test_a_subject_as_dot_net_writes_it_matches_or_is_a_mistake(attributes, separator):
    der, text = certificate(name(*attributes)), dot_net(attributes, separator)
    try:
        assert allowed(der, text)
    except ValueError as error:
        assert "\\" in text and str(error)  # a backslash there may begin an escape here: then it says so


@given(SUBJECT)
def test_a_subject_as_dot_net_writes_it_matches_where_there_is_no_backslash(attributes):
    plain = [(oid, text.replace("\\", "|")) for oid, text in attributes]
    assert allowed(certificate(name(*plain)), dot_net(plain, ", "))


FORMS = ["oneline", "RFC2253", "RFC2253,sname", "oneline,lname", "RFC2253,oid", "compat", "oneline,dump_all,dump_der"]
FORMS.append("esc_2253,utf8,sep_comma_plus_space,space_eq,lname")


@pytest.mark.parametrize("form", FORMS)
@settings(max_examples=min(settings().max_examples, 100))  # each starts a process
@given(attributes=SUBJECT)
def test_what_openssl_prints_matches_or_is_a_mistake(form, attributes):
    if form == "compat":  # it escapes nothing: what looks like another attribute is one
        attributes = [(oid, re.sub(r"[=\\]", "-", text)) for oid, text in attributes]
    der = certificate(name(*attributes))
    command = [peer("openssl"), "x509", "-inform", "DER", "-noout", "-subject", "-nameopt", form]
    printed = subprocess.run(command, input=der, capture_output=True, timeout=20, check=True).stdout.decode()
    assert allowed(der, printed.strip("\n")), printed


ANYTHING = st.tuples(
    st.sampled_from(sorted(NAMES, key=str)), st.text(st.characters(codec="utf-8"), min_size=1, max_size=8)
)


@given(st.lists(ANYTHING, min_size=1, max_size=3))
def test_the_subject_that_is_shown_is_a_pattern_for_it_whatever_is_in_it(attributes):
    der = certificate(name(*attributes))
    seen = Subjects([]).judge(der)
    assert seen.subject.isprintable()
    if seen.subject:
        assert allowed(der, seen.subject)
