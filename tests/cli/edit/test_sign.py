"""`ogw sign`: keys, signatures and what is not signed; judged by openssl, and by the gateway of the page's example."""

import os
import pathlib
import re
import subprocess
import time

import pexpect
import pytest
from harness.commands import OGW, ROOT, clean, ogw
from harness.gateway import Gateway
from harness.lists import ListServer
from harness.peers import peer
from harness.signing import Signer
from harness.waiting import PATIENCE, until

from ogw.settings.elsewhere.signature import GREATEST_SERIAL, read_signature

PAGE = (ROOT / "docs" / "lists.md").read_text(encoding="utf-8")
KEY_OF_THE_PAGE = "ed25519:11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo="


@pytest.fixture
def hosts(tmp_path):
    path = tmp_path / "hosts.txt"
    path.write_text("# ours\nwww.example.com\n")
    return path


@pytest.fixture
def key(tmp_path):
    path = tmp_path / "lists.key"
    signer = Signer()
    path.write_bytes(signer.pem)
    path.chmod(0o600)
    return path, signer


def signature(hosts):
    return read_signature(pathlib.Path(f"{hosts}.sig").read_bytes())


def test_the_commands_of_the_page_as_they_stand_there_lead_to_a_gateway_with_the_list(
    tmp_path, hosts, authority, authority_file
):
    shown = re.search(r"\$ (ogw sign --new-key \S+)\n    (allowed-host-source-key = )(\S+)", PAGE)
    assert shown[3] == KEY_OF_THE_PAGE
    done = run(shown[1], tmp_path)
    assert done.returncode == 0 and done.stdout.startswith(shown[2]), done.stderr
    word = done.stdout.removeprefix(shown[2]).strip()
    assert (tmp_path / "lists.key").stat().st_mode & 0o777 == 0o600 and "PRIVATE" not in done.stdout + done.stderr
    sign = re.search(r"^    (ogw sign hosts\.txt --key lists\.key)$", PAGE, re.MULTILINE)[1]
    assert run(sign, tmp_path).returncode == 0
    check = re.search(r"`(ogw sign --check hosts\.txt --with KEY)`", PAGE)[1]
    assert run(check.replace("KEY", word), tmp_path).stdout.startswith("the signature is good: name hosts.txt, serial ")
    lines = re.search(r"^    (\[ogw\])\n    (allowed-host-source = \S+)\n    (\S+ = \S+)$", PAGE, re.MULTILINE)
    with ListServer(authority, hosts.read_bytes()) as server:
        server.signature = pathlib.Path(f"{hosts}.sig").read_bytes()
        ini = tmp_path / "ogw.ini"
        text = "\n".join([lines[1], lines[2], lines[3], ""]).replace(KEY_OF_THE_PAGE, word)
        ini.write_text(text.replace("https://lists.example.com/hosts.txt", server.url))
        with Gateway("--config", str(ini), environment={"SSL_CERT_FILE": authority_file}) as gateway:
            assert gateway.wait_for(event=111)["count"] == 1


def run(line, folder):
    script = line.replace("ogw ", f"{OGW[0]} -m ogw ", 1)
    environment = clean(PYTHONPATH=str(ROOT))
    return subprocess.run(script, shell=True, cwd=folder, env=environment, capture_output=True, text=True,
                          stdin=subprocess.DEVNULL, timeout=60 * PATIENCE)  # fmt: skip


def test_openssl_makes_keys_for_it_and_finds_its_signatures_good(tmp_path, hosts):
    openssl = peer("openssl")
    for words in (["genpkey", "-algorithm", "ed25519", "-out", "k"], ["pkey", "-in", "k", "-pubout", "-out", "p"]):
        subprocess.run([openssl, *words], cwd=tmp_path, check=True, capture_output=True, timeout=60)
    assert ogw("sign", hosts, "--key", tmp_path / "k").returncode == 0
    made = signature(hosts)
    (tmp_path / "text").write_bytes(made.signed)
    (tmp_path / "proof").write_bytes(made.proof)
    verify = ["pkeyutl", "-verify", "-pubin", "-inkey", "p", "-rawin", "-in", "text", "-sigfile", "proof"]
    subprocess.run([openssl, *verify], cwd=tmp_path, check=True, capture_output=True, timeout=60)


def test_what_is_signed_and_that_serials_only_rise(hosts, key):
    path, signer = key
    words = ("sign", hosts, "--key", path)
    assert ogw(*words, "--serial", 7, "--name", "shops", "--expires", "2031-02-03T04:05:06Z").returncode == 0
    made = signature(hosts)
    assert pathlib.Path(f"{hosts}.sig").read_bytes() == signer.sign(
        hosts.read_bytes(), 7, "shops", "2031-02-03T04:05:06Z"
    )
    assert ogw(*words, "--serial", 7).returncode == 0, "the same list"
    hosts.write_text("other.example.com\n")
    for serial in (6, 7):
        done = ogw(*words, "--serial", serial)
        assert done.returncode == 1 and f"{hosts}.sig has 7 already" in done.stderr
    ahead = int(time.time()) + 1000
    assert ogw(*words, "--serial", ahead, "--expires", "7d").returncode == 0
    assert ogw(*words).returncode == 0
    made = signature(hosts)
    assert made.serial == ahead + 1 and made.name == "hosts.txt"
    assert abs(made.expires - time.time() - 30 * 86400) < 600 * PATIENCE
    assert ogw(*words, "--serial", GREATEST_SERIAL).returncode == 0 and ogw(*words).returncode == 0
    hosts.write_text("another.example.com\n")
    done = ogw(*words)
    assert done.returncode == 1 and f"{hosts}.sig has the highest serial that there is: make another" in done.stderr
    assert ogw("sign", "--new-key", hosts.with_name("another.key")).returncode == 0
    assert ogw("sign", hosts, "--key", hosts.with_name("another.key")).returncode == 0


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("www.example.com\n*\n", "hosts.txt:2: host rule '*'"),
        ("# nothing\n", "the list has no host rule in it"),
        ("a.example\n" * 200_000, "larger than 1048576 bytes"),
        (None, "No such file or directory"),
    ],
)
def test_a_list_that_no_gateway_would_take_is_not_signed(hosts, key, text, words):
    if text is None:
        hosts.unlink()
    else:
        hosts.write_text(text)
    done = ogw("sign", hosts, "--key", key[0])
    assert done.returncode == 1 and words in done.stderr and not os.path.exists(f"{hosts}.sig")


def test_a_check_says_what_is_wrong(hosts, key):
    _path, signer = key
    place = pathlib.Path(f"{hosts}.sig")
    other = Signer()
    body = hosts.read_bytes()
    for data, words in (
        (None, "hosts.txt.sig: No such file"),
        (other.sign(body), "it is signed with the key"),
        (signer.sign(body, name="other"), "that of a list named other, and not of hosts.txt"),
        (signer.sign(b"x"), "its signature is that of another content"),
        (signer.sign(body, expires="2020-01-01T00:00:00Z"), "its signature expired at 2020-01-01T00:00:00Z"),
        (b"x", "its signature cannot be read"),
    ):
        if data is not None:
            place.write_bytes(data)
        done = ogw("sign", "--check", hosts, "--with", signer.word)
        assert done.returncode == 1 and words in done.stderr, done.stderr
    place.write_bytes(other.sign(body))
    assert ogw("sign", "--check", hosts, "--with", signer.word, "--with", other.word).returncode == 0


def test_keys_that_are_none_and_a_key_that_is_there_already(tmp_path, hosts, key):
    path, signer = key
    path.chmod(0o644)
    done = ogw("sign", hosts, "--key", path)
    assert done.returncode == 0 and f"every user of this machine can read {path}" in done.stderr
    assert ogw("sign", "--show-key", path).stdout == f"allowed-host-source-key = {signer.word}\n"
    before = path.read_bytes()
    done = ogw("sign", "--new-key", path)
    assert done.returncode == 1 and "is there already" in done.stderr and path.read_bytes() == before
    rsa = tmp_path / "rsa"
    subprocess.run([peer("openssl"), "genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-out", rsa],
                   check=True, capture_output=True, timeout=60)  # fmt: skip
    assert "has a key of another kind" in ogw("sign", hosts, "--key", rsa).stderr
    assert "is not a private key (PEM)" in ogw("sign", hosts, "--key", hosts).stderr


def test_a_passphrase_is_asked_for_or_stands_in_a_file_and_is_never_shown(tmp_path, hosts):
    path = tmp_path / "k"
    made = pexpect.spawn(OGW[0], [*OGW[1:], "sign", "--new-key", str(path), "--passphrase"], cwd=ROOT, env=clean(),
                         encoding="utf-8", timeout=60 * PATIENCE)  # fmt: skip
    for prompt in ("Passphrase of .*: ", "The passphrase once more: "):
        made.expect(prompt)
        made.sendline("sesame open")
    made.expect(pexpect.EOF)
    made.close()
    assert made.exitstatus == 0 and "ENCRYPTED" in path.read_text() and "sesame" not in made.before
    assert "there is no terminal to type it at" in ogw("sign", hosts, "--key", path).stderr
    file = tmp_path / "passphrase"
    file.write_text("wrong\n")
    done = ogw("sign", hosts, "--key", path, "--passphrase-file", file)
    assert done.returncode == 1 and "the passphrase is not that of this key" in done.stderr
    file.write_text("sesame open\n")
    assert ogw("sign", hosts, "--key", path, "--passphrase-file", file).returncode == 0
    subprocess.run([peer("openssl"), "pkey", "-in", path, "-passin", f"file:{file}", "-noout"],
                   check=True, capture_output=True, timeout=60)  # fmt: skip


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ((), "name the list, or --new-key FILE"),
        (("hosts.txt",), "name the key to sign with: --key FILE"),
        (("--check", "hosts.txt"), "name the public key: --with KEY"),
        (
            ("https://h.example/a.txt?token=s3cret", "--key", "k"),
            "https://h.example/a.txt?(hidden) is a URL; name the file",
        ),
        (
            ("--check", "https://h.example/?token=s3cret", "--with", KEY_OF_THE_PAGE),
            "?(hidden) is a URL; name the file",
        ),
        (("hosts.txt", "--key", "k", "--expires", "soon"), "18:00:00Z; a time from now on is written as 30d"),
        (("hosts.txt", "--key", "k", "--serial", "-1"), "'-1': it is not a whole number"),
        (("--check", "hosts.txt", "--with", "ed25519:x"), "is not a public key"),
        (("hosts.txt", "--key", "k", "--name", "a b"), "is no name of a list"),
    ],
)
def test_a_wrong_command_line_says_what_is_right(words, told):
    done = ogw("sign", *words)
    assert done.returncode == 2 and told in done.stderr and "s3cret" not in done.stderr, done.stderr


def test_a_signature_that_cannot_be_written_leaves_none_behind(tmp_path, hosts, key):
    pathlib.Path(f"{hosts}.sig").mkdir()
    done = ogw("sign", hosts, "--key", key[0])
    assert done.returncode == 1 and "Is a directory" in done.stderr
    until(lambda: sorted(one.name for one in tmp_path.iterdir()) == ["hosts.txt", "hosts.txt.sig", "lists.key"])


def test_a_private_key_is_no_list_and_is_not_shown(key):
    path, signer = key
    done = ogw("sign", str(path), "--key", str(path))
    assert done.returncode == 1 and "it is a private key, and no list" in done.stderr
    assert not any(line in done.stderr for line in signer.pem.decode().splitlines())
