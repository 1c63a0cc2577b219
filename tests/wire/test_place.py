"""A host and its port as one text, which reads as the same host and port again."""

import pytest

from ogw.wire.connect import parse_host, parse_target
from ogw.wire.place import in_brackets, place


@pytest.mark.parametrize(
    ("host", "text"),
    [
        ("www.example.com", "www.example.com:443"),
        ("192.0.2.7", "192.0.2.7:443"),
        ("2001:db8::7", "[2001:db8::7]:443"),
        ("::", "[::]:443"),
    ],
)
def test_a_place_is_read_as_what_it_was_made_of(host, text):
    assert place(host, 443) == text
    target = parse_target(text.encode())
    assert (target.host, target.port, str(target)) == (host, 443, text)
    assert in_brackets(host) == text.removesuffix(":443") and parse_host(in_brackets(host).encode())[0] == host
