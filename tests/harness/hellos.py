"""TLS messages made by hand, right or wrong, and handshakes that real stacks made (tests/data/handshakes)."""

import pathlib

HANDSHAKES = pathlib.Path(__file__).parent.parent / "data" / "handshakes"
RECORDED = sorted(path.stem if path.suffix == ".up" else path.name for path in HANDSHAKES.glob("*.up"))
HOST = "agent.bench.example"  # the server name of all recordings
GREASE = 0x7A7A
CLIENT_HELLO, SERVER_HELLO, CERTIFICATE = 1, 2, 11
RETRY = bytes.fromhex("cf21ad74e59a6111be1d8c021e65b891c2a211167abb8c5e079e09e2c8a8339c")


def recorded(name):
    """(what the client sent, what the server answered)."""
    return (HANDSHAKES / f"{name}.up").read_bytes(), (HANDSHAKES / f"{name}.down").read_bytes()


def vector(size, body):
    return len(body).to_bytes(size, "big") + body


def message(kind, body):
    return bytes((kind,)) + vector(3, body)


def records(data, size=16384, kind=22, version=0x0301):
    """Handshake bytes in records of at most `size` bytes each."""
    pieces = [data[at : at + size] for at in range(0, len(data), size)]
    return b"".join(bytes((kind,)) + version.to_bytes(2, "big") + vector(2, piece) for piece in pieces)


def extension(number, body):
    return number.to_bytes(2, "big") + vector(2, body)


def server_names(*names, kind=0):
    return extension(0, vector(2, b"".join(bytes((kind,)) + vector(2, name) for name in names)))


def supported_versions(*versions):
    return extension(43, vector(1, b"".join(version.to_bytes(2, "big") for version in versions)))


def client_hello(*extensions, legacy=0x0303, session_id=b"", suites=b"\x13\x01\xc0\x2f", compression=b"\0"):
    """The whole handshake message. Without extensions it has no block of them at all, as before TLS 1.0."""
    body = legacy.to_bytes(2, "big") + bytes(range(32)) + vector(1, session_id) + vector(2, suites)
    body += vector(1, compression)
    return message(CLIENT_HELLO, body + (vector(2, b"".join(extensions)) if extensions else b""))


NAME = HOST.encode()


def hello(name=NAME, *extensions, versions=(0x0304, 0x0303), **more):
    """A ClientHello as a record, for one server name, or for none."""
    named = () if name is None else (server_names(name),)
    return records(client_hello(*named, supported_versions(*versions), *extensions, **more))


def server_hello(version=0x0304, session_id=b"", retry=False, *extensions):
    """The whole handshake message; TLS 1.3 says its version in an extension."""
    chosen = (extension(43, version.to_bytes(2, "big")),) if version >= 0x0304 else ()
    random = RETRY if retry else bytes(range(32))
    body = min(version, 0x0303).to_bytes(2, "big") + random + vector(1, session_id) + b"\xc0\x2f\0"
    block = b"".join((*chosen, *extensions))
    return message(SERVER_HELLO, body + (vector(2, block) if block else b""))


def certificates(*ders):
    """A TLS 1.0-1.2 Certificate message."""
    return message(CERTIFICATE, vector(3, b"".join(vector(3, der) for der in ders)))
