"""Fuzz the TLS rules, guided by coverage, for as long as you let it run: pip install atheris, then

    python tools/fuzz_tls.py [CORPUS FOLDER] [flags of libFuzzer, such as -max_total_time=600]

An input is a byte of settings, then pieces: a byte of direction and size, and so many bytes. Whatever comes, only the
documented errors may be raised, a verdict is given once, nothing passes before its time, and what passes is what came.
"""

import pathlib
import sys

import atheris

with atheris.instrument_imports(include=["ogw"]):
    from ogw.policy.handshake import Handshake
    from ogw.policy.hosts import Policy
    from ogw.policy.rules import parse_rules
    from ogw.policy.subjects import Subjects, parse_pattern
    from ogw.policy.tls_rules import TlsRules
    from ogw.wire.connect import Target

HOST = "agent.bench.example"
RULES = parse_rules(".bench.example", "fuzz")[0]
SUBJECTS = Subjects([parse_pattern("till-7")])
# The first byte of an input chooses: any allowed host or the target's, client certificates or none, unseen ones or not.
POLICIES = [
    Policy(RULES, tls=TlsRules(min_version=0x0301, any_allowed_host=any_host, subjects=subjects, allow_unseen=unseen))
    for any_host in (False, True)
    for subjects in (None, SUBJECTS)
    for unseen in (False, True)
]


def one_input(data: bytes) -> None:
    handshake = Handshake(POLICIES[data[0] & 7 if data else 0], Target(HOST, 443), "192.0.2.1", False)
    said = {True: b"", False: b""}
    passed = {True: b"", False: b""}
    at = 1
    while at < len(data) and not handshake.settled:
        up, size = data[at] < 128, (data[at] & 127) * 8 + 1
        piece = data[at + 1 : at + 1 + size]
        at += 1 + size
        said[up] += piece
        (handshake.client_said if up else handshake.server_said)(piece)
        passed[True] += handshake.take_up()
        passed[False] += handshake.take_down()
        assert said[True].startswith(passed[True]) and said[False].startswith(passed[False])
    verdicts = handshake.verified, handshake.rejection is not None, handshake.ended is not None
    assert verdicts.count(True) <= 1
    if handshake.verified:
        assert (passed[True], passed[False]) == (said[True], said[False])


def pieces(direction: int, data: bytes) -> bytes:
    """Bytes of one direction, 0 up or 128 down, as an input says them."""
    said = b""
    while data:
        steps = min(127, (len(data) - 1) // 8)
        said += bytes((direction | steps,)) + data[: steps * 8 + 1]
        data = data[steps * 8 + 1 :]
    return said


def seed(folder: pathlib.Path) -> None:
    """Recorded handshakes as inputs to begin with: the hello, the answer, the rest."""
    recorded = pathlib.Path(__file__).parent.parent / "tests" / "data" / "handshakes"
    for path in recorded.glob("*.up"):
        up, down = path.read_bytes(), path.with_suffix(".down").read_bytes()
        hello = 5 + int.from_bytes(up[3:5], "big")
        for number in range(len(POLICIES)):
            said = bytes((number,)) + pieces(0, up[:hello]) + pieces(128, down) + pieces(0, up[hello:])
            (folder / f"{path.stem}-{number}").write_bytes(said)


if __name__ == "__main__":
    folders = [word for word in sys.argv[1:] if not word.startswith("-")]
    if folders:
        seed(pathlib.Path(folders[0]))
    atheris.Setup(sys.argv, one_input)
    atheris.Fuzz()
