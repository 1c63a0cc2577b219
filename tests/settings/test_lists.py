"""Lists of rules: text and JSON, whole or not at all, and what a wrong one says."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ogw.policy.rules import parse_rules
from ogw.settings.lists import BadList, read_list

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


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"a.example\n*\n", "list:2: host rule '*'"),
        (b"a.example # why\n", "list:1: host rule"),
        (b'a.example note="open\nb.example\n', "list:1: host rule"),
        (b"a.example\n\n\xe9\n", "list:3: not a text in UTF-8"),
        (b"a.example\x00", "list:1: host rule"),
        (b"\n <html>", "HTML"),
        (b'["a.example"', "not JSON"),
        (b'["a.example", 7]', "is to be a JSON list of texts"),
        (b'{"host": ["a.example"]}', "is to be a JSON list of texts"),
        (b'{"hosts": "a.example"}', "is to be a JSON list of texts"),
        (b'{"hosts": [], "hosts": ["a.example"]}', "a key stands there twice"),
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


def test_of_many_mistakes_the_first_are_told_and_how_many_more():
    told = mistakes(b"*\n" * 1000)
    assert len(told) == 6 and told[-1] == "list: and 995 more"


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
