"""`ogw setup`: the dialogue in a real terminal, the silent forms, and the way back; what it set up serves."""

import os
import re
import subprocess
import sys

import pexpect
import pytest
from harness.askers import DIGEST, Offering
from harness.commands import OGW, ROOT, clean, ogw
from harness.dns import Dns
from harness.gateway import Gateway, address
from harness.peers import peer, root
from harness.realm import gssapi_path
from harness.relays import Squid
from harness.terminal import interrupt
from harness.upstreams import Server, echo, https, server_context


@pytest.fixture
def image(tmp_path):
    program = tmp_path / "image" / "usr" / "bin" / "ogw"
    program.parent.mkdir(parents=True)
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -m ogw "$@"\n')
    program.chmod(0o755)
    return tmp_path / "image"


def ini(image):
    return image / "etc" / "ogw" / "ogw.ini"


def unit(image):
    return image / "etc" / "systemd" / "system" / "ogw.service"


def state(image):
    return {p: (p.stat().st_mtime_ns, p.read_bytes()) for p in image.rglob("*") if p.is_file()}


def dialogue(image, *words, **environment):
    return pexpect.spawn(
        OGW[0], [*OGW[1:], "setup", "--root", str(image), *words], cwd=ROOT, env=clean(TERM="dumb", **environment),
        encoding="utf-8", timeout=20, dimensions=(50, 200),
    )  # fmt: skip


def answer(child, question, text):
    child.expect_exact(question)
    child.sendline(text)


def test_wrong_answers_are_said_and_asked_for_again(image):
    with Squid({}, users={"gateway": "right"}) as squid:
        child = dialogue(image)
        for wrong, says in (("0", "must be from 1 to 65535"), ("70000", "must be from 1 to 65535"),
                            ("abc", "is not a whole number")):  # fmt: skip
            answer(child, "1-65535", wrong)
            child.expect_exact(says)
        answer(child, "1-65535 [8080]", "")
        if "preset" in ogw("run", "--help").stdout:
            answer(child, "Presets", "")
        answer(child, "Host:", "http://wrong")
        answer(child, "Host:", "www.example.com")
        answer(child, "Host:", "")
        answer(child, "Relay proxy", f"http://{address()}:3128")
        child.expect_exact("cannot be reached: Connection refused")
        answer(child, "nevertheless?", "n")
        answer(child, "Relay proxy", f"http://{squid.place}")
        child.expect_exact("wants credentials, and offers Basic")
        answer(child, "User name for", "gateway")
        answer(child, "(not shown)", "wrong")
        child.expect_exact("does not accept the user name or the password")
        answer(child, "nevertheless?", "n")
        answer(child, "Relay proxy", f"http://{squid.place}")
        answer(child, "User name for", "gateway")
        answer(child, "(not shown)", "right")
        child.expect("answers 50[0-9]")  # it knows no such host
        answer(child, "nevertheless?", "y")
        answer(child, "as a service", "")
        answer(child, "Do this?", "y")
        child.expect(pexpect.EOF)
        child.close()
    assert child.exitstatus == 0
    text = ini(image).read_text()
    assert "allowed-host = www.example.com" in text and "right" not in text
    assert (ini(image).parent / "relay-proxy.password").read_text() == "right\n"
    assert "ExecStart=/usr/bin/ogw run" in unit(image).read_text()


def upto_relay_proxy(image, url, **environment):
    words = "--service", "no", "--allowed-host", "www.example.com", "--listen-port", "8080"
    child = dialogue(image, *words, **environment)
    answer(child, "Presets", "")
    answer(child, "Relay proxy", url)
    return child


def test_a_relay_proxy_that_wants_no_credentials_is_asked_and_nothing_more(image):
    with Server(echo) as server, Squid({"www.example.com": server.host}) as squid:
        child = upto_relay_proxy(image, f"http://{squid.place}")
        child.expect_exact("opens a tunnel to www.example.com:443 without credentials")
        answer(child, "Do this?", "y")
        child.expect(pexpect.EOF)
    assert f"relay-proxy = http://{squid.place}\n" in ini(image).read_text()


def test_a_principal_that_is_not_in_the_keytab_is_asked_for_again(image, tmp_path):
    keytab = tmp_path / "keytab"
    keytab.write_bytes(b"\x05\x02\0\0\0\x18\0\x01\0\x0bOGW.EXAMPLE\0\x07gateway")  # its name, and no key
    keytab.chmod(0o600)
    with Offering("Negotiate") as proxy:
        child = upto_relay_proxy(image, proxy.url, PYTHONPATH=gssapi_path())
        answer(child, "Keytab for Kerberos, or Enter", str(keytab))
        answer(child, "Principal in the keytab, or Enter", "other@OGW.EXAMPLE")
        child.expect_exact("there is no key of this principal")
        answer(child, "Principal in the keytab, or Enter", "gateway@OGW.EXAMPLE")
        child.expect_exact("Negotiate is used (relay-proxy-auth)")


def test_of_what_a_relay_proxy_offers_the_best_is_proposed_and_tried(image):
    with Offering("Negotiate", DIGEST, "Basic realm=x") as proxy:
        child = upto_relay_proxy(image, proxy.url)
        child.expect_exact("wants credentials, and offers Negotiate, Digest, and Basic")
        answer(child, "Keytab for Kerberos, or Enter", "/no/such/keytab")
        child.expect_exact("No such file")
        answer(child, "Keytab for Kerberos, or Enter", "")
        answer(child, "User name for the relay proxy, or Enter for none", "gateway")
        answer(child, "(not shown)", "5ecret")
        child.expect_exact("Digest is used (relay-proxy-auth)")
        child.expect_exact("answers 407")
        answer(child, "nevertheless?", "y")
        answer(child, "Do this?", "y")
        child.expect(pexpect.EOF)
    assert len(proxy.shown) == 1 and proxy.shown[0].startswith("Digest ")
    assert "relay-proxy-auth = digest\n" in ini(image).read_text()


def test_without_questions_the_best_way_is_taken_too(image):
    with Offering("NTLM", DIGEST) as proxy:
        words = ("setup", "--root", image, "--service", "no", f"PROXY={proxy.url}", "USERNAME=gateway", "PASSWORD=p")
        done = ogw(*words, "LicenseAccepted=1")
    assert (
        done.returncode == 0 and "Digest is used" in done.stdout and "set up although the trial failed" in done.stderr
    ), done
    assert "relay-proxy-auth = digest\n" in ini(image).read_text() and len(proxy.shown) == 1


def test_the_unit_starts_and_reloads_with_the_program_that_is_named(image):
    program = image / "srv" / "my 100% ogw"
    program.parent.mkdir()
    (image / "usr/bin/ogw").rename(program)
    flags = "--allowed-host", "www.example.com", "--program", "/srv/my 100% ogw"
    assert ogw("setup", "--yes", "--root", image, *flags).returncode == 0
    lines = unit(image).read_text().splitlines()
    assert {'ExecStart="/srv/my 100%% ogw" run --only-with-rules', 'ExecReload="/srv/my 100%% ogw" reload'} < set(lines)


def test_questions_break_between_words_and_take_what_an_ascii_terminal_sends(image):
    child = pexpect.spawn(
        OGW[0], [*OGW[1:], "setup", "--root", str(image)], cwd=ROOT, timeout=20, dimensions=(50, 60),
        env=clean(TERM="dumb", LC_ALL="C", PYTHONUTF8="0", PYTHONCOERCECLOCALE="0"),
    )  # fmt: skip
    shown = b""
    port, host, none = b"1-65535 [8080]:", b"Host:", b"for none [-]:"
    typed = [(port, b"\xc3\xbc"), (port, b""), (b"Enter:", b""), (host, b"k\xc3\xbche.example"), (host, b"")]
    for question, text in (*typed, (none, b"http://\xff")):
        child.expect_exact(question)
        shown += child.before + child.after
        child.sendline(text)
    child.expect_exact(none)
    shown += child.before
    child.close(force=True)
    assert b"http://proxy.example.com:3128," in shown and b"OGW-400" not in shown
    assert max(len(line) for line in shown.split(b"\r\n")) < 60
    assert not ini(image).exists()


def test_ctrl_c_in_the_middle_changes_nothing(image):
    before = state(image)
    child = dialogue(image)
    answer(child, "1-65535", "9090")
    child.expect_exact("Presets")
    interrupt(child, "nothing was changed")
    child.expect(pexpect.EOF)
    child.close()
    assert child.exitstatus == 130
    assert state(image) == before


def test_what_is_to_be_done_by_hand_for_an_image_is_done_in_the_image(image):
    done = ogw("setup", "--yes", "--root", image, "--listen-port", "8081")
    *inside, enabling = re.findall("(?m)^ {6}(.*)", done.stdout.split("To be done by hand:\n")[1])
    words = [f"chroot {image} {word} " for word in ("useradd", "chgrp", "chmod")]
    assert [line.startswith(word) for line, word in zip(inside, words, strict=True)] == [True] * 3
    assert enabling == f"systemctl --root={image} enable ogw"
    advised = re.search("`ogw (setup --root .*) RULE` allows one", done.stderr)
    assert ogw(*advised[1].split(), "www.example.com", "--yes").returncode == 0
    assert "www.example.com" in ini(image).read_text()


def test_done_twice_it_changes_nothing_the_second_time(image):
    words = ["setup", "--yes", "--root", image, "--listen-port", "8081", "--allowed-host", "www.example.com"]
    assert ogw(*words).returncode == 0
    before = state(image)
    done = ogw(*words)
    assert (done.returncode, state(image)) == (0, before)
    assert "Nothing to do: all of this is done already." in done.stdout


def test_another_unit_that_is_there_is_kept_and_what_a_link_leads_to_is_left_alone(image, tmp_path):
    old = unit(image).with_name("ogw.service.old")
    unit(image).parent.mkdir(parents=True)
    unit(image).write_text("[Unit]\nDescription=ours\n")
    assert ogw("setup", "--yes", "--root", image, "--listen-port", "8081").returncode == 0
    assert old.read_text() == "[Unit]\nDescription=ours\n" and "ogw run" in unit(image).read_text()
    assert unit(image).stat().st_mode & 0o777 == 0o644
    for other, contents in ((tmp_path / "linked.service", "[Unit]\n"), (tmp_path / "empty", "")):
        other.write_text(contents)
        unit(image).unlink()
        unit(image).symlink_to(other)
        assert ogw("setup", "--yes", "--root", image, "--listen-port", "8081").returncode == 0
        assert other.read_text() == contents and "ogw run" in unit(image).read_text()
        assert not unit(image).is_symlink() and old.is_symlink()
    unit(image).unlink()
    unit(image).symlink_to(os.devnull)  # masked
    assert ogw("setup", "--yes", "--root", image, "--listen-port", "8081").returncode == 0
    assert "ogw run" in unit(image).read_text() and os.readlink(old) == os.devnull
    assert sorted(os.listdir(unit(image).parent)) == ["ogw.service", "ogw.service.old"]


def test_comments_of_an_ini_file_stay(image):
    ini(image).parent.mkdir(parents=True)
    ini(image).write_text("# ours\n[ogw]\nlisten-port = 9000\n")
    assert ogw("setup", "--yes", "--root", image, "--allowed-host", "a.example.com").returncode == 0
    assert ini(image).read_text() == "# ours\n[ogw]\nlisten-port = 9000\nallowed-host = a.example.com\n"


def test_the_originals_parameters_do_in_any_case_and_mistakes_are_said(image):
    done = ogw("setup", "--root", image, "PortNumber=8443", "proxy=http://127.0.0.1:1", "HASPROXY=1", "HASAUTH=1",
               "Username=user1", "PASSWORD=123", "INSTALLDIR=C:\\x", "licenseaccepted=1")  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "INSTALLDIR means nothing here" in done.stderr and "every user of this machine" in done.stderr
    assert "listen-port = 8443" in ini(image).read_text()
    before = state(image)
    for word, says in (("PORTNUMBER=70000", "must be from 1 to 65535"), ("PORTNUMER=1", "did you mean PORTNUMBER=?"),
                       ("HASAUTH=maybe", "neither 1 nor 0")):  # fmt: skip
        done = ogw("setup", "--root", image, "LicenseAccepted=1", word, *["PROXY=http://h:1"] * (word[:4] == "HASA"))
        assert done.returncode == 2 and says in done.stderr
    assert state(image) == before


OLD = (
    "[ogw]\nrelay-proxy = http://old.example:1\nrelay-proxy-username = u\n"
    "relay-proxy-password-file = relay-proxy.password\n"
)


@pytest.mark.parametrize(
    ("words", "after", "left_out"),
    [
        (["HASPROXY=0"], "", ""),
        (["HASPROXY=0", "PROXY=http://127.0.0.1:1"], "", "HASPROXY=0: PROXY is ignored"),
        (["PROXY="], "", ""),
        (["PROXY=", "HASPROXY=0", "HASAUTH=0", "USERNAME="], "", ""),
        (["HASAUTH=1", "USERNAME=u", "PASSWORD=p"], OLD[6:], "HASAUTH, USERNAME and PASSWORD are ignored"),
        (["PROXY=http://old.example:1", "HASAUTH=0"], "relay-proxy = http://old.example:1\n", ""),
        (["PROXY=http://old.example:1", "USERNAME="], "relay-proxy = http://old.example:1\n", ""),
        (["PROXY=http://old.example:1"], OLD[6:], ""),
    ],
)
def test_a_relay_proxy_is_what_the_originals_parameters_say(image, words, after, left_out):
    ini(image).parent.mkdir(parents=True)
    ini(image).write_text(OLD)
    (ini(image).parent / "relay-proxy.password").write_text("p\n")
    done = ogw("setup", "--root", image, "--service", "no", *words, "LicenseAccepted=1")
    assert done.returncode == 0, done.stderr
    assert ini(image).read_text() == f"[ogw]\n{after}"
    assert left_out in done.stderr and ("ignored" in done.stderr) == bool(left_out)


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["LicenseAccepted=0"], "LICENSEACCEPTED=0 says no"),
        (["--yes", "LICENSEACCEPTED=no"], "LICENSEACCEPTED=0 says no"),
        (["--yes", "LICENSEACCEPTED="], "LICENSEACCEPTED: '' is neither 1 nor 0"),
        (["--yes", "PORTNUMBER=1", "portnumber=2"], "PORTNUMBER is given twice"),
        (["--yes", "PORTNUMBER=1", "--listen-port", "2"], "PORTNUMBER: --listen-port says the same, too"),
        (["--yes", "HASPROXY=0", "--relay-proxy", "http://p.example"], "HASPROXY: --relay-proxy says the same, too"),
        (["--yes", "PROXY=http://p.example", "PASSWORD=s3cret"], "USERNAME is missing"),
    ],
)
def test_what_contradicts_itself_is_said_and_nothing_is_set_up(image, words, says):
    before = state(image)
    done = ogw("setup", "--root", image, *words)
    assert done.returncode == 2 and says in done.stderr.splitlines()[-1], done.stderr
    assert state(image) == before and "s3cret" not in done.stderr


def set_up_by_stdin(image, said):
    words = ("--yes", "--root", image, "--relay-proxy", "http://127.0.0.1:1", "--username", "u", "--password-stdin")
    return subprocess.run([*OGW, "setup", *words], input=said, env=clean(), cwd=ROOT, capture_output=True, timeout=60)


def test_a_password_from_standard_input_is_what_relay_proxy_set_would_take(image):
    done = set_up_by_stdin(image, b"\xef\xbb\xbf5ecret\r\nmore\n")
    assert done.returncode == 0, done.stderr
    assert (ini(image).parent / "relay-proxy.password").read_text() == "5ecret\n"


def test_what_is_to_be_done_by_hand_is_about_files_that_are_there_then(image):
    """The password of relay proxies of before goes in the same run."""
    for flags in ((), ("--relay-proxy", "http://127.0.0.1:2"), ("HASPROXY=0",)):
        done = set_up_by_stdin(image, b"5ecret\n")
        files = re.findall(r"(?m)^ {6}chroot .* ch(?:grp|mod) \S+ (.*)", done.stdout.decode())
        assert files == ["/etc/ogw/ogw.ini /etc/ogw/relay-proxy.password"] * 2
        words = ("LicenseAccepted=1",) if "HASPROXY=0" in flags else ("--yes",)
        done = ogw("setup", *words, "--root", image, "--listen-port", "8081", *flags)
        files = re.findall(r"(?m)^ {6}chroot .* ch(?:grp|mod) \S+ (.*)", done.stdout)
        there = [
            f"/etc/ogw/{name}" for name in ("ogw.ini", "relay-proxy.password") if (ini(image).parent / name).exists()
        ]
        assert files == [" ".join(there)] * 2 and len(there) == (1 if flags else 2)


@pytest.mark.parametrize(
    ("said", "says"),
    [(b"", b"is empty"), (b"x" * 4097, b"is larger than"), ("s3cret\n".encode("utf-16"), b"UTF-16")],
)
def test_standard_input_without_a_password_sets_nothing_up(image, said, says):
    before = state(image)
    done = set_up_by_stdin(image, said)
    assert done.returncode == 1 and says in done.stderr and b"nothing was changed" in done.stderr, done.stderr
    assert state(image) == before and not (image / "etc").exists()


def test_a_password_that_is_typed_for_it_is_not_shown(image):
    words = ("--yes", "--relay-proxy", "http://127.0.0.1:1", "--username", "u", "--password-stdin")
    child = dialogue(image, *words)
    answer(child, "Password of the relay proxy: ", "5ecret")
    child.expect(pexpect.EOF)
    assert "5ecret" not in child.before
    assert (ini(image).parent / "relay-proxy.password").read_text() == "5ecret\n"


def test_uninstalling_keeps_the_ini_file_and_purging_does_not(image):
    ogw("setup", "--yes", "--root", image, "--allowed-host", "a.example.com")
    done = ogw("setup", "--yes", "--uninstall", "--root", image)
    assert done.returncode == 0 and "stays" in done.stdout
    assert ini(image).exists() and not unit(image).exists()
    assert ogw("setup", "--yes", "--uninstall", "--purge", "--root", image).returncode == 0
    assert not ini(image).exists()


def test_the_unit_of_a_package_stays_in_force_and_low_ports_are_allowed_beside_it(image):
    packaged = image / "usr/lib/systemd/system/ogw.service"
    packaged.parent.mkdir(parents=True)
    packaged.write_text("[Service]\nExecStart=/usr/bin/ogw run\n")
    beside = unit(image).with_name("ogw.service.d") / "low-ports.conf"
    ogw("setup", "--yes", "--root", image, "--allowed-host", "a.example.com", "--listen-port", "443")
    assert not unit(image).exists() and "\nAmbientCapabilities=CAP_NET_BIND_SERVICE\n" in beside.read_text()
    ogw("setup", "--yes", "--root", image, "--listen-port", "8080")
    assert not beside.parent.exists()
    ogw("setup", "--yes", "--root", image, "--listen-port", "443")
    assert ogw("setup", "--yes", "--uninstall", "--root", image).returncode == 0
    assert not beside.parent.exists() and packaged.exists()


def test_a_dry_run_writes_nothing(image):
    before = state(image)
    done = ogw("setup", "--dry-run", "--root", image, "--allowed-host", "a.example.com")
    assert done.returncode == 0 and "+ allowed-host a.example.com" in done.stdout
    assert state(image) == before and not (image / "etc").exists()


def test_service_and_firewall_are_left_out_each_by_its_own_flag(image):
    done = ogw("setup", "--dry-run", "--root", image, "--firewall", "no")
    assert "write " in done.stdout and "ogw.service\n" in done.stdout and "is started with" not in done.stdout, done
    done = ogw("setup", "--dry-run", "--root", image, "--service", "no")
    assert "ogw.service" not in done.stdout and "Start the gateway with: ogw run" in done.stdout, done


def test_a_program_that_a_service_cannot_see_is_noticed_before(image):
    done = ogw("setup", "--yes", "--root", image, "--program", "/home/me/bin/ogw")
    assert done.returncode == 1 and "is under /home, which a service does not see" in done.stderr
    assert not (image / "etc").exists()


def test_without_a_terminal_it_asks_for_yes(image):
    done = ogw("setup", "--root", image)
    assert done.returncode == 2 and "--yes" in done.stderr


def test_the_unit_that_is_shipped_is_the_one_in_conf():
    assert (ROOT / "ogw/cli/setup/ogw.service").read_bytes() == (ROOT / "conf/ogw.service").read_bytes()


NFT = "add table inet filter; add chain inet filter input { type filter hook input priority 0; policy drop; }"


@pytest.mark.long
def test_nftables_lets_the_port_in_once_and_the_way_back_closes_it(tmp_path):
    root()
    script = tmp_path / "script"
    script.write_text(
        "from ogw.cli.setup.firewall import Nftables, call, find_firewall\n"
        "wall = find_firewall(); assert isinstance(wall, Nftables)\n"
        "assert not wall.is_open(8080); [call(*words) for words in wall.opening(8080)]\n"
        "assert wall.is_open(8080) and not wall.is_open(80) and wall.opening(8080) == []\n"
        "print(call('nft', 'list', 'ruleset')); [call(*words) for words in wall.closing(8080)]\n"
        "assert not wall.is_open(8080); print('closed')\n"
    )
    inside = f"{peer('nft')} '{NFT}' && exec {sys.executable} {script}"
    done = subprocess.run([peer("unshare"), "--net", "sh", "-c", inside], capture_output=True, text=True, timeout=60,
                          cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)})  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert re.search(r'tcp dport 8080 accept comment "ogw"', done.stdout) and done.stdout.endswith("closed\n")


def test_what_the_dialogue_set_up_serves_curl(image, authority, authority_file):
    """Answered by hand, wrong answers among them; then an allowed host is reached with curl, and another is refused."""
    name, listen = "www.bench.example", address()
    child = dialogue(image)
    answer(child, "1-65535", "65536")
    child.expect_exact("must be from 1 to 65535")
    answer(child, "1-65535", "8080")
    answer(child, "Presets", "")
    answer(child, "Host:", "*")
    answer(child, "Host:", f"{name} to=127.0.0.0/8")
    answer(child, "Host:", "")
    answer(child, "Relay proxy", "")
    answer(child, "as a service", "n")
    answer(child, "Do this?", "y")
    child.expect(pexpect.EOF)
    child.close()
    assert child.exitstatus == 0
    with (
        Server(https(server_context(authority, name), [])) as server,
        Dns({name: [server.host]}) as dns,
        Gateway(
            "--config", str(ini(image)), "--listen-address", listen, *dns.flags, listen="", tls_rules=None
        ) as gateway,
    ):
        assert gateway.listen == [(listen, 8080)]
        curl = [peer("curl"), "-sv", "-m", "20", "-x", f"http://{listen}:8080", "--cacert", authority_file]
        done = subprocess.run([*curl, f"https://{name}/1000"], capture_output=True, timeout=60)
        assert done.returncode == 0 and len(done.stdout) == 1000, done.stderr
        gateway.wait_for(event=107, server_name=name)
        done = subprocess.run([*curl, "https://other.example.com/"], capture_output=True, text=True, timeout=60)
        assert "403 Forbidden" in done.stderr
        assert gateway.wait_for(event=105)["reason"] == "host-not-allowed"


@pytest.mark.parametrize("word", ["PASSWORD=s3cret", "password=s3cret", "PROXY=http://u:s3cret@h:1"])
def test_a_password_is_taken_out_of_the_command_line(word):
    script = (
        "import pathlib, sys; from ogw.cli.main import hide_passwords; "
        "hide_passwords(sys.argv[1:]); print(pathlib.Path('/proc/self/cmdline').read_bytes())"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, "setup", word], capture_output=True, text=True, timeout=60, cwd=ROOT
    )
    assert "hidden" in done.stdout and "s3cret" not in done.stdout


@pytest.mark.parametrize("port", ["\u00b2", "9" * 5000, "x", "-1"])
def test_a_port_that_is_none_in_the_file_is_a_mistake_of_that(image, port):
    ini(image).parent.mkdir(parents=True)
    ini(image).write_text(f"[ogw]\nlisten-port = {port}\n")
    done = ogw("setup", "--root", image, "--dry-run", "--yes", "--service", "no")
    assert "OGW-400" not in done.stderr and done.returncode in (0, 1), done


def test_a_file_with_mistakes_is_told_of_and_nothing_is_done(image):
    ini(image).parent.mkdir(parents=True)
    ini(image).write_text("[ogw]\nlisten-port = 8081 # x\nfoo = 1\n")
    before = state(image)
    done = ogw("setup", "--yes", "--root", str(image), "--program", "/bin/true", "--allowed-host", "www.example.com")
    assert done.returncode == 1 and state(image) == before, done
    assert "listen-port: '8081 # x': it is not a whole number" in done.stderr and "no setting 'foo'" in done.stderr
    child = dialogue(image)
    answer(child, "1-65535 [8080]", "")
    child.expect_exact("Presets")
    child.close(force=True)


def test_without_a_file_nobody_is_told_to_let_it_be_read(image):
    done = ogw("setup", "--yes", "--root", str(image), "--program", "/bin/true")
    assert done.returncode == 0 and not ini(image).exists() and "chgrp" not in done.stdout, done


def test_paths_with_blanks_can_be_pasted(tmp_path):
    root = tmp_path / "an image"
    root.mkdir()
    done = ogw("setup", "--yes", "--root", str(root), "--service", "no", "--allowed-host", "www.example.com")
    assert f"ogw run --config '{ini(root)}'" in done.stdout, done
