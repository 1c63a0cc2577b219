"""The reader of handshakes: recorded ones, hand-made ones, cut in every way, wrong in every way."""

import pytest
from harness.cuts import outcome
from harness.hellos import (
    GREASE,
    HOST,
    RECORDED,
    certificates,
    client_hello,
    extension,
    hello,
    message,
    recorded,
    records,
    server_hello,
    server_names,
    supported_versions,
    vector,
)
from hypothesis import given
from hypothesis import strategies as st

from ogw.wire.records import Reader
from ogw.wire.tls import (
    ALERT,
    ALL_GREASE,
    APPLICATION_DATA,
    CHANGE_CIPHER_SPEC,
    HANDSHAKE,
    Alert,
    Malformed,
    NotTls,
    OldVersion,
    TlsError,
    TooLarge,
    alert,
    read_certificate,
    read_client_hello,
    read_server_hello,
    version_name,
)

UP = [recorded(name)[0] for name in RECORDED]


def messages(pieces, limit=65536):
    """All messages of these pieces, and the error that ends them or None."""
    reader, found = Reader(limit), []
    try:
        for piece in pieces:
            found += reader.feed(piece)
    except TlsError as error:
        return found, (type(error), error.detail)
    return found, None


def first_hello(data):
    return read_client_hello(messages([data])[0][0].body)


def body(whole):
    return whole[4:]


# Recorded and made by hand.


@pytest.mark.parametrize("name", RECORDED)
def test_a_recorded_hello_names_its_server_and_its_versions(name):
    up, down = recorded(name)
    said = first_hello(up)
    assert said.server_names == (HOST.encode(),)
    answered = read_server_hello(messages([down])[0][0].body)
    assert answered.version in said.versions
    if name[-3:-1] == "1.":
        assert version_name(answered.version) == f"TLS {name[-3:]}"
    assert answered.retry is name.endswith("retry")


def test_a_hello_of_chromium_has_grease_a_post_quantum_share_and_what_looks_like_ech():
    up, _down = recorded("chromium")
    said = first_hello(up)
    assert len(messages([up])[0][0].body) > 1400
    assert said.encrypted and said.alpn == (b"h2", b"http/1.1") and said.versions == (0x0304, 0x0303)


def test_a_hello_without_extensions_offers_its_legacy_version_and_no_name():
    said = first_hello(records(client_hello(legacy=0x0301, session_id=b"s" * 32)))
    assert said.versions == (0x0301,) and said.best_version == 0x0301
    assert said.server_names is None and said.session_id == b"s" * 32 and not said.early_data


def test_supported_versions_stand_above_the_legacy_version_and_grease_is_left_out():
    said = first_hello(hello(versions=(GREASE, 0x0304, 0x0302), legacy=0x0303))
    assert said.versions == (0x0304, 0x0302)


def test_only_grease_is_offered():
    assert first_hello(hello(versions=(GREASE,))).best_version == 0


def test_early_data_and_alpn_are_seen():
    said = first_hello(hello(b"a.example", extension(42, b""), extension(16, vector(2, vector(1, b"h2")))))
    assert said.early_data and said.alpn == (b"h2",)


def test_two_server_names_are_both_given_and_other_kinds_of_names_are_passed_over():
    two = records(client_hello(server_names(b"a.example", b"b.example")))
    assert first_hello(two).server_names == (b"a.example", b"b.example")
    other = records(client_hello(server_names(b"x", kind=7)))
    assert first_hello(other).server_names == ()


def test_grease_is_what_rfc_8701_lists():
    listed = {number for number in range(0x10000) if number & 0x0F0F == 0x0A0A and number >> 8 == number & 0xFF}
    assert listed == ALL_GREASE and len(listed) == 16


def test_a_hello_retry_request_is_known_by_its_random():
    assert read_server_hello(body(server_hello(retry=True))).retry
    assert not read_server_hello(body(server_hello())).retry


def test_the_chain_of_a_certificate_message_is_given_in_order():
    assert read_certificate(body(certificates(b"one", b"two"))) == (b"one", b"two")
    assert read_certificate(body(certificates())) == ()


def test_messages_are_told_apart_and_positions_say_where_their_records_end():
    data = [records(server_hello()), records(b"\x01", kind=20), alert(Alert.ACCESS_DENIED), records(b"x", kind=23)]
    reader = Reader()
    found = [(each.type, each.kind, reader.position) for each in reader.feed(b"".join(data))]
    assert [each[:2] for each in found] == [(HANDSHAKE, 2), (CHANGE_CIPHER_SPEC, 0), (ALERT, 0), (APPLICATION_DATA, 0)]
    ends = [sum(map(len, data[: number + 1])) for number in range(4)]
    assert [each[2] for each in found] == ends


def test_several_messages_in_one_record():
    data = records(server_hello() + certificates(b"one") + message(14, b""))
    assert [each.kind for each in messages([data])[0]] == [2, 11, 14]
    assert [each.kind for each in messages([data + records(message(1, b"x"))])[0]] == [2, 11, 14, 1]


def test_a_record_in_the_middle_of_a_message_is_no_message_whatever_it_looks_like():
    inside = message(14, b"4321")
    data = records(message(11, inside)[:4]) + records(inside)
    for pieces in ([data], [bytes((byte,)) for byte in data]):
        assert messages(pieces) == ([(HANDSHAKE, 11, inside)], None)


@pytest.mark.parametrize(("version", "third"), [(0, 3), (0x0301, 1), (0x0303, 3), (0x0304, 3)])
def test_an_alert_has_the_version_of_its_session(version, third):
    assert alert(Alert.ACCESS_DENIED, version) == bytes((21, 3, third, 0, 2, 2, 49))


@pytest.mark.parametrize("body", [b"\0", b"\2", b"\1\1", b"\1" * 300])
def test_a_change_of_the_cipher_is_the_one_byte_1(body):
    assert messages([hello(), records(body, kind=20)])[1][0] is Malformed
    assert messages([hello(), records(b"\1", kind=20)])[1] is None


def test_what_is_read_is_held_until_it_is_taken():
    data = hello() + records(b"\1", kind=20) + hello()[:20]
    for piece in (1, 7, 1000):
        reader = Reader()
        for at in range(0, len(data), piece):
            list(reader.feed(data[at : at + piece]))
        assert (len(reader.held), reader.end, reader.position) == (len(data), len(data), len(data) - 20)
        assert reader.take(60) + reader.take(50) + reader.take(reader.position) == data[:-20] and len(reader.held) == 20
        assert reader.take(reader.end) == data[-20:] and len(reader.held) == 20  # the rest of it is still to be read
        assert len(list(reader.feed(hello()[20:]))) == 1 and reader.take(reader.end) == hello()[20:]
        assert len(reader.held) == 0


# Cut in every way.


@pytest.mark.parametrize("data", [*UP, *(recorded(name)[1] for name in RECORDED)], ids=[*RECORDED, *RECORDED])
def test_every_cut_gives_the_same_messages(data):
    whole = messages([data])
    assert messages([bytes((byte,)) for byte in data]) == whole
    for at in range(0, min(len(data), 700), 7):
        assert messages([data[:at], data[at:]]) == whole


@pytest.mark.parametrize("size", [1, 2, 3, 100, 5000])
def test_one_message_over_many_records_is_the_same_message(size):
    made = client_hello(server_names(b"a.example"), extension(51, b"k" * 1400))
    assert messages([records(made, size)]) == messages([records(made)])


@pytest.mark.parametrize("name", RECORDED)
def test_every_prefix_of_a_hello_is_need_more_or_the_whole(name):
    up, _down = recorded(name)
    whole = messages([up])[0][0]
    for size in range(len(up)):
        found, error = messages([up[:size]])
        assert error is None or size > 5 + 4 + len(whole.body)
        assert found[:1] in ([], [whole])


# Wrong in every way.


@pytest.mark.parametrize(
    ("data", "error", "words"),
    [
        (b"GET / HTTP/1.1\r\n", NotTls, "plain HTTP?"),
        (b"SSH-2.0-OpenSSH", NotTls, "SSH?"),
        (b"PROXY TCP4 192.0.2.1", NotTls, "PROXY protocol v1?"),
        (b"\r\n\r\n\x00\r\nQUIT\n", NotTls, "PROXY protocol v2?"),
        (b"\x05\x01\x00", NotTls, "SOCKS 5?"),
        (b"\x04\x01\x01\xbb", NotTls, "SOCKS 4?"),
        (b"\x03\x00\x00\x13", NotTls, "RDP?"),
        (b"220 mail.example ESMTP\r\n", NotTls, "an SMTP or FTP server?"),
        (b"*1\r\n$4\r\nPING\r\n", NotTls, "Redis"),
        (b"\0", NotTls, "0x00"),
        (b"\x17\x03\x03\0\x01x", NotTls, "0x17"),
        (b"\x16\x02", NotTls, "no TLS record"),
        (b"\x80\x2e\x01\x00\x02", OldVersion, "SSL 2.0"),
        (b"\x80\x2e\x07", NotTls, "0x80"),
        (b"\x16\x03\x01\0\0", Malformed, "empty record"),
        (b"\x16\x03\x01\x40\x01", Malformed, "16385 bytes"),
        (b"\x16\x03\x01\0\x01\x01" + b"\x16\x02\x01\0\x01", Malformed, "header"),
        (b"\x16\x03\x01\0\x01\x01" + b"\x18\x03\x01\0\x01", Malformed, "header"),
        (b"\x16\x03\x01\0\x04\x01\x01\0\x01", TooLarge, "65537 bytes"),
        (b"\x16\x03\x01\0\x01\x01" + b"\x17\x03\x03\0\0", Malformed, "in the middle"),
        (b"\x16\x03\x01\0\x01\x01" + alert(0), Malformed, "in the middle"),
        (b"\x15\x03\x01\0\x01\x02", Malformed, "alert of 1"),
        (b"\x16\x03\x01\0\x01\x01" + b"\x99\x03\x03\0\x01", Malformed, "header"),
    ],
)
def test_what_is_no_record_is_named(data, error, words):
    found, seen = messages([data])
    assert found == [] and seen is not None and seen[0] is error and words in seen[1]
    assert messages([bytes((byte,)) for byte in data]) == (found, seen)


LONG = b"x" * 40
WRONG_HELLOS = {
    "empty": b"",
    "cut": body(client_hello(server_names(b"a.example")))[:-1],
    "tail": body(client_hello(server_names(b"a.example"))) + b"\0",
    "session id": body(client_hello(session_id=b"s" * 33)),
    "odd suites": body(client_hello(suites=b"\x13\x01\x13")),
    "no suites": body(client_hello(suites=b"")),
    "no compression": body(client_hello(compression=b"")),
    "twice": body(client_hello(server_names(b"a.example"), server_names(b"a.example"))),
    "grease twice": body(client_hello(extension(GREASE, b""), extension(GREASE, b""))),
    "extension too long": body(client_hello(extension(0, LONG)[:-1])),
    "half an extension": body(client_hello(b"\0\0\0")),
    "no versions": body(client_hello(extension(43, vector(1, b"")))),
    "odd versions": body(client_hello(extension(43, vector(1, b"\x03\x04\x03")))),
    "versions with a tail": body(client_hello(extension(43, vector(1, b"\x03\x04") + b"\0"))),
    "empty name list": body(client_hello(extension(0, vector(2, b"")))),
    "empty server_name": body(client_hello(extension(0, b""))),
    "empty name": body(client_hello(server_names(b""))),
    "name too long": body(client_hello(extension(0, vector(2, b"\0\0\xffabc")))),
    "name list with a tail": body(client_hello(extension(0, vector(2, b"\0" + vector(2, b"a")) + b"\0"))),
    "empty protocol": body(client_hello(extension(16, vector(2, vector(1, b""))))),
}


@pytest.mark.parametrize("case", WRONG_HELLOS)
def test_lengths_that_lie_are_malformed(case):
    with pytest.raises(Malformed):
        read_client_hello(WRONG_HELLOS[case])


@pytest.mark.parametrize("made", [client_hello(server_names(b"a.example"), supported_versions(0x0304))])
def test_every_prefix_of_a_body_is_malformed(made):
    whole = body(made)
    without_extensions = len(whole) - 2 - int.from_bytes(whole[41 + 2 : 43 + 2], "big")
    for size in range(len(whole)):
        if size == without_extensions:
            continue  # a hello of its own: one without extensions
        with pytest.raises(Malformed):
            read_client_hello(whole[:size])


@pytest.mark.parametrize(
    "wrong",
    [b"", body(server_hello())[:-1], body(server_hello(session_id=b"s" * 33)), body(server_hello(0x0303)) + b"\0"],
)
def test_a_wrong_server_hello_is_malformed(wrong):
    with pytest.raises(Malformed):
        read_server_hello(wrong)


@pytest.mark.parametrize("wrong", [b"", b"\0\0\1", b"\0\0\0x", vector(3, vector(3, b"")), vector(3, b"\0\0\5abc")])
def test_a_wrong_certificate_message_is_malformed(wrong):
    with pytest.raises(Malformed):
        read_certificate(wrong)


# Fuzzed: only the documented errors, and the same ones however it is cut.


@given(st.data())
def test_a_changed_recording_gives_documented_errors_only(data):
    """And the same ones byte by byte: a record that comes whole is read in a shorter way."""
    up = bytearray(data.draw(st.sampled_from(UP)))
    for _change in range(data.draw(st.integers(1, 4))):
        up[data.draw(st.integers(0, min(len(up), 600) - 1))] = data.draw(st.integers(0, 255))
    whole = messages([bytes(up)])
    at = data.draw(st.integers(0, len(up)))
    assert messages([bytes(up[:at]), bytes(up[at:])]) == whole
    assert messages([bytes((byte,)) for byte in up]) == whole
    for each in whole[0]:
        for read in (read_client_hello, read_server_hello, read_certificate):
            outcome(read, each.body)


@given(st.binary(max_size=200))
def test_anything_at_all_gives_documented_errors_only(data):
    assert messages([data]) == messages([bytes((byte,)) for byte in data])
    for read in (read_client_hello, read_server_hello, read_certificate):
        outcome(read, data)
