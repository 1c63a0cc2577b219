"""The password file of a running gateway: the byte order mark of editors, and a rotation that went wrong."""

import base64

from harness.gateway import Gateway, read_exactly, read_head
from harness.relays import PORT
from harness.upstreams import Server, echo

OPEN = b"HTTP/1.1 200 Connection established\r\n\r\n"
TARGET = "www.bench.example:443"


def wanting(*passwords):
    """A relay proxy that wants one of these passwords: a list whose last one counts."""

    def serve(connection):
        known = base64.b64encode(f"till:{passwords[0][-1]}".encode()) in read_head(connection)
        connection.sendall(OPEN if known else b"HTTP/1.1 407 Who?\r\nProxy-Authenticate: Basic\r\n\r\n")
        echo(connection)

    return serve


def test_a_password_file_of_another_system_and_a_rotation_that_goes_wrong(tmp_path):
    file = tmp_path / "password"
    file.write_bytes(b"\xef\xbb\xbfold\r\n")
    file.chmod(0o600)
    right, refusals = ["old"], []
    with Server(wanting(right), port=PORT) as relay:
        flags = ["--relay-proxy", f"http://{relay.host}:{PORT}", "--allowed-host", "www.bench.example"]
        flags += ["--relay-proxy-username", "till", "--relay-proxy-password-file", str(file)]
        with Gateway(*flags) as gateway:

            def passes():
                sock, head = gateway.ask(TARGET, rest=b"x")
                with sock:
                    if head.startswith(b"HTTP/1.1 200 "):
                        return read_exactly(sock, 1) == b"x"
                    refusals.append(head.partition(b"\r\n")[0].rpartition(b" ")[2])
                    return False

            assert passes()
            right.append("new")
            file.write_bytes("new".encode("utf-16"))
            assert not passes() and not passes()
            assert refusals == [b"relay-refused", b"relay-auth-withheld"]
            told = gateway.wait_for(event=401)["message"]
            assert f"relay-proxy-password-file: {file}: it is a text in UTF-16" in told and "the one" not in told
            assert "the password of before stays" in told
            assert len(gateway.events(401)) == 1
            file.write_bytes(b"\xef\xbb\xbfnew")
            assert passes()
            file.write_bytes(b"a\nb")
            gateway.process.send_signal(1)
            assert (
                "it has more than one line"
                in gateway.wait_for(
                    event=401,
                    message=(
                        f"relay-proxy-password-file: {file}: it has more than one line; nothing was reloaded, "
                        "the running configuration stays"
                    ),
                )["message"]
            )
            assert passes()
