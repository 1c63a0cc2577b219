"""Lists of rules: text and JSON, whole or not at all, and what a wrong one says."""

import codecs
import json
import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ogw.policy.hosts import Policy
from ogw.policy.rules import Kind, Rule, parse_rules
from ogw.settings.elsewhere.host_list import BadList, prove, read_list

SIZE = 1 << 20


def texts(body, where="list"):
    return [str(rule) for rule in read_list(body, where, SIZE)]


def mistakes(body, size=SIZE):
    with pytest.raises(BadList) as caught:
        read_list(body, "list", size)
    return list(caught.value.mistakes)


@pytest.mark.parametrize(
    ("body", "rules"),
    [
        (b"", []),
        (b"# ours\r\n\r\na.example\r\n  *.b.example:8443 \n\t# c.example\n", ["a.example", "*.b.example:8443"]),
        (b"\xef\xbb\xbfa.example", ["a.example"]),
        (b"a.example, b.example\n", ["a.example", "b.example"]),
        (b'a.example note="a, b # c"\n', ['a.example note="a, b # c"']),
        ("# b\u00fccher\na.example".encode(), ["a.example"]),
        (b"[2001:db8::7]:8443\n", ["[2001:db8::7]:8443"]),
        (b'["a.example", "b.example:8443"]', ["a.example", "b.example:8443"]),
        (b' \n{"hosts": ["a.example from=10.0.0.0/8"], "date": "2026-11-24", "by": {"hosts": 1}}',
         ["a.example from=10.0.0.0/8"]),
        (b"[]", []),
        (b'{"hosts": []}', []),
    ],
)  # fmt: skip
def test_what_a_list_gives(body, rules):
    assert texts(body) == rules


def test_each_rule_says_where_it_stands():
    assert [rule.source for rule in read_list(b"# x\na.example\n", "/etc/x.txt", SIZE)] == ["/etc/x.txt:2"]
    assert [rule.source for rule in read_list(b'["a.example"]', "u", SIZE)] == ["u, entry 1"]


@pytest.mark.parametrize("form", ["{}", '["{}"]'])
def test_a_comma_between_clients_is_a_mistake_in_a_list_too(form):
    with pytest.raises(BadList, match=r"right is from=10\.0\.0\.0/8 from=10\.1\.0\.0/16"):
        read_list(form.format("a.example from=10.0.0.0/8,10.1.0.0/16").encode(), "list", SIZE)


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"a.example\n*\n", "list:2: host rule '*'"),
        (b"a.example # why\n", "list:1: host rule"),
        (b'a.example note="open\nb.example\n', "list:1: host rule"),
        (b"a.example\n\n\xe9\n", "list:3: not a text in UTF-8"),
        (b"a.example\x00", "list:1: host rule"),
        (b"a.example until=9999-12-31T23:59:59-01:00", "list:1: host rule"),
        (b'a.example note="\x1b[2J"', "list:1: host rule"),
        (b'["a.example note=\\"\\ud800\\""]', "U+D800"),
        (b'["a\\ud800.example"]', "is not ASCII"),
        ("a.example\n".encode("utf-16"), "list: a text in UTF-16; save it as UTF-8"),
        (codecs.BOM_UTF16_BE + "a.example\n".encode("utf-16-be"), "list: a text in UTF-16; save it as UTF-8"),
        (b'["a.example", 1e999999, ' + b"1" * 10_000 + b"]", "not JSON"),
        (b"\n <html>", "HTML"),
        (b'["a.example"', "not JSON"),
        (b'["a.example", 7]', "must be a JSON list of texts"),
        (b'{"host": ["a.example"]}', "must be a JSON list of texts"),
        (b'{"hosts": "a.example"}', "must be a JSON list of texts"),
        (b'{"hosts": [], "hosts": ["a.example"]}', "a key stands in it twice"),
        (b'["a.example, b.example"]', "list, entry 1: 'a.example, b.example' is not one host rule"),
        (b'["a.example", ""]', "list, entry 2: '' is not one host rule"),
        (b'["*.com"]', "list, entry 1: host rule '*.com'"),
        (b'{"hosts": ' + b"[" * 100_000, "not JSON"),
    ],
)
def test_what_a_wrong_list_says(body, words):
    (mistake,) = mistakes(body)
    assert words in mistake and mistake.startswith("list")


def test_a_list_over_the_limit_is_not_read():
    assert len(texts(b"a.example\n" * 10)) == 10
    assert mistakes(b"a.example\n" * 10, 99) == ["list: larger than 99 bytes (source-max-size)"]


@pytest.mark.parametrize("body", [b"a\n" * 300_000, b"a," * 300_000, b'["a"' + b',"a"' * 250_000 + b"]"])
def test_a_list_of_more_rules_than_workers_read_in_time_is_not_read(body):
    assert mistakes(body) == ["list: more than 250000 host rules"]


def test_of_many_mistakes_the_first_are_told_and_how_many_more():
    told = mistakes(b"*\n" * 1000)
    assert len(told) == 6 and told[-1] == "list: and 995 mistakes more"
    for body in (b"*\n" * 500_000, b"*," * 500_000, json.dumps(["*"] * 200_000).encode(), b'",' * 500_000):
        told = mistakes(body)
        assert len(told) == 6 and told[-1] == "list: and at least 996 mistakes more"


@given(st.binary(max_size=300) | st.text(max_size=100).map(str.encode))
def test_any_bytes_are_rules_or_mistakes(body):
    try:
        rules = read_list(body, "list", SIZE)
    except BadList as bad:
        assert bad.mistakes
    else:
        for rule in rules:
            assert parse_rules(str(rule), "") == ([rule], [])


@given(
    st.lists(st.sampled_from(["a.example", ".b.example", "*.c.example:8443", "10.0.0.0/8", 'd.example note="x, y"']))
)
def test_text_and_json_give_the_same_rules(rules):
    assert (
        texts("\n".join(rules).encode())
        == texts(json.dumps(rules).encode())
        == texts(json.dumps({"hosts": rules}).encode())
    )


ODD = st.sampled_from(
    [
        "until=9999-12-31T23:59:59-01:00",
        "until=9999-12-31T23:59:59.999999Z",
        "until=9999-12-31T23:59:59+23:59",
        "until=0001-01-01T00:00:00+00:01",
        "until=0001-01-01T00:00:00.000001Z",
        "until=2016-12-31T23:59:60Z",
        "until=2027-01-31T18:00:00.123456-00:00",
        "until=5000-01-31T18:00:00.000001Z",
        'note="\u2028"',
        'note="\ud800"',
        'note="a note=b"',
        "note='x'",
        'note="\\"',
        'note=x"y z"',
        'note="\x85\x1b"',
        "from=::/0",
        "from=0.0.0.0/0",
        "to=::ffff:10.0.0.0/104",
        "from=[fd00::]/8",
        "to=10.0.0.0/8",
        "no-server-name",
    ]
)
HOST = st.sampled_from(
    [
        "a.example",
        "A.EXAMPLE.:65535",
        "*.a.example",
        ".\u212aube.example",
        "*-.a.example",
        f"{'a' * 63}.{'b' * 63}.{'c' * 63}.{'d' * 61}",
        f"{'p' * 500}*.a.example",
        "xn--bcher-kva.example",
        "b\u00fccher.example",
        "[::ffff:1.2.3.4]:1",
        "::/0",
        "[::/0]:443",
        "0.0.0.0/0:443",
        "[10.0.0.0/8]:443",
        "[a.example]:443",
        "fe80::1%1",
        "_a.example",
    ]
)
LINE = st.tuples(HOST, st.lists(ODD | st.text(max_size=8).map('note="{}"'.format), max_size=4)).map(
    lambda line: " ".join([line[0], *line[1]])
)


@given(st.lists(LINE, max_size=6), st.booleans())
def test_what_is_accepted_survives_all_that_is_made_of_it(lines, as_json):
    body = json.dumps(lines).encode() if as_json else "\n".join(lines).encode(errors="replace")
    try:
        rules = read_list(body, "list", SIZE)
    except BadList:
        return
    prove(rules, "list")
    text = "\n".join(map(str, rules))
    assert text.encode().decode() == text and text.replace("\n", "").isprintable()
    again = read_list(text.encode(), "again", SIZE)
    assert again == rules and list(map(str, again)) == list(map(str, rules))
    assert [rule.note for rule in again] == [rule.note for rule in rules]
    assert pickle.loads(pickle.dumps(rules)) == rules
    assert Policy(again).hash == Policy(rules).hash == Policy(rules[::-1]).hash


@pytest.mark.parametrize(
    "rule",
    [
        Rule(Kind.NAME, "a.example", until=253402304399.0),
        Rule(Kind.NAME, "a.example", until=float("nan")),
        Rule(Kind.NAME, "a.example\nb.example"),
        Rule(Kind.NAME, "a.example", note="\x1b"),
    ],
)
def test_rules_of_which_nothing_can_be_made_are_no_list(rule):
    with pytest.raises(BadList, match=r"list: it cannot be used: .*; this is an error of the gateway"):
        prove([rule], "list")
