"""`ogw suggest`: what it reads, prints and asks, and the story of an agent that is refused and then let in."""

import gzip
import json
import re
import subprocess
import sys
import time

import pexpect
import pytest
from harness.commands import OGW, ROOT, clean, ogw
from harness.gateway import Gateway, read_exactly
from harness.hellos import hello, records, server_hello
from harness.terminal import interrupt
from harness.upstreams import Server, echo

from ogw.policy.rules import parse_rules, time_text

CLIENT = "10.1.2.3:51000"
LOOPBACK = "allowed-target-network = 127.0.0.0/8\n"


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "ogw.ini"
    path.write_text("[ogw]\n# what tills need\nallowed-host =\n    a.example  \n\n# the end\n")
    return path


def line(target="www.example.org:443", reason="host-not-allowed", client=CLIENT, at="2026-11-24T10:00:00.000Z", **more):
    fields = {"time": at, "level": "warning", "event": 105, "name": "target not allowed", "reason": reason}
    return json.dumps({**fields, "message": "no", "client": client, "target": target, **more}) + "\n"


def rules_of(text):
    """Those of an output, each as it would stand in the INI."""
    return [shown.strip() for shown in text.splitlines() if shown.startswith("    ")]


def test_rules_are_printed_so_that_they_can_be_pasted_with_counts_clients_and_times(file, tmp_path):
    log = tmp_path / "log"
    lines = [line(count=17, client="10.1.2.4"), line(at="2026-11-24T12:30:00Z"), line("b.example:8443"), "garbage\n"]
    log.write_text("".join([*lines, line("a.example:443"), '{"event": 105, "torn']))
    done = ogw("suggest", log, "--config", file)
    assert done.returncode == 0
    assert done.stdout.splitlines() == [
        "# asked for 18 times, 2026-11-24T10:00:00Z to 2026-11-24T12:30:00Z; clients: 10.1.2.4, 10.1.2.3",
        "    www.example.org",
        "# asked for once, 2026-11-24T10:00:00Z; clients: 10.1.2.3",
        "    b.example:8443",
    ]
    assert done.stderr == "ogw: 4 of 6 lines tell of a refusal, 1 could not be read\n"
    file.write_text(f"[ogw]\nallowed-host =\n    a.example\n{done.stdout}")
    again = ogw("suggest", log, "--config", file)
    assert again.stdout == ""
    assert "there is no rule to suggest; what was refused 20 times is allowed by now" in again.stderr


@pytest.mark.parametrize("pack", ["xz", "bzip2", "iconv -t UTF-16"])
def test_a_log_in_a_form_that_is_not_read_says_so_and_the_way_that_it_names_works(file, tmp_path, pack):
    log = tmp_path / "a log"
    log.write_bytes(subprocess.run(pack.split(), input=line().encode(), stdout=subprocess.PIPE, check=True).stdout)
    done = ogw("suggest", log, "--config", file)
    assert done.returncode == 1 and "no rule to suggest" not in done.stderr
    way = re.fullmatch(rf"ogw: {log}: ogw does not read this form [(].+[)]; use `(.+)`, with the .*\n", done.stderr)[1]
    way = way.replace("ogw suggest", f"{sys.executable} -m ogw suggest --config {file}")
    done = subprocess.run(way, shell=True, cwd=ROOT, env=clean(), capture_output=True, text=True, timeout=60)
    assert done.returncode == 0 and rules_of(done.stdout) == ["www.example.org"]
    with open(log, "rb") as stdin:
        done = subprocess.run([*OGW, "suggest", "-", "--config", file], cwd=ROOT, env=clean(), stdin=stdin,
                              capture_output=True, text=True, timeout=60)  # fmt: skip
    assert done.returncode == 1 and "standard input: ogw does not read this form" in done.stderr


def test_several_logs_packed_ones_and_standard_input_add_up(file, tmp_path):
    one, two = tmp_path / "one", tmp_path / "two.gz"
    one.write_text(line())
    two.write_bytes(gzip.compress(line().encode()))
    done = subprocess.run(
        [*OGW, "suggest", one, two, "-", "--config", file, "--json"],
        input=line(),
        env=clean(),
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
    )
    (rule,) = json.loads(done.stdout)["rules"]
    assert (rule["rule"], rule["count"], rule["clients"]) == ("www.example.org", 3, {"10.1.2.3": 3})


def test_since_and_per_client_narrow_it(file, tmp_path):
    log = tmp_path / "log"
    now = time_text(int(time.time()))
    log.write_text(line() + line("b.example:443", at=now) + line("c.example:443", at="never"))
    assert rules_of(ogw("suggest", log, "--config", file, "--since", "2h").stdout) == ["b.example"]
    assert rules_of(ogw("suggest", log, "--config", file, "--since", now, "--per-client").stdout) == [
        "b.example from=10.1.2.3/32"
    ]
    assert len(rules_of(ogw("suggest", log, "--config", file, "--since", "2026-01-01T00:00:00Z").stdout)) == 2


def test_what_no_rule_should_let_pass_is_a_comment(file, tmp_path):
    file.write_text("[ogw]\ndenied-host = evil.example\nallowed-client = 10.0.0.0/8\n")
    log = tmp_path / "log"
    hostile = "10.9.9.9 is in 10.0.0.0/8 (private)\x1b[2J\n    *.evil.example"
    log.write_text(
        line("evil.example:443")
        + line("db.example:443", "address-not-allowed", message=hostile)
        + line("", "client-not-allowed", "192.0.2.7:1").replace("105", "112")
        + "".join(line(f"h{number}.example.org:443") for number in range(5))
    )
    shown = ogw("suggest", log, "--config", file).stdout
    assert rules_of(shown) == [f"h{number}.example.org" for number in range(5)]
    assert (
        "# 5 of these rules are below example.org: *.example.org would cover them, and every other name there" in shown
    )
    assert "# no rule for evil.example:443: the denied hosts name it" in shown
    assert "# no rule for db.example:443: 10.9.9.9 is in 10.0.0.0/8 (private)\\x1b[2J\\n    *.evil" in shown
    assert "add allowed-client = 192.0.2.7 (" in shown
    assert all(one.startswith(("#", "    h")) for one in shown.splitlines())


def test_apply_adds_the_rules_with_a_note_and_leaves_the_rest_to_the_byte(file, tmp_path):
    log = tmp_path / "log"
    log.write_text(line() + line("[2606:4700::1111]:8443"))
    done = ogw("suggest", log, "--config", file, "--apply", "--yes")
    assert done.returncode == 0 and done.stdout.splitlines()[-1].startswith("+ allowed-host www.example.org note=")
    assert "the change takes effect when one starts" in done.stderr
    today = time.strftime("%Y-%m-%d", time.gmtime())
    assert file.read_text() == (
        "[ogw]\n# what tills need\nallowed-host =\n    a.example  \n"
        f'    [2606:4700::1111]:8443 no-server-name note="suggested {today}"\n'
        f'    www.example.org note="suggested {today}"\n\n# the end\n'
    )
    assert parse_rules("\n".join(file.read_text().splitlines()[3:6]), "")[1] == []
    again = ogw("suggest", log, "--config", file, "--apply", "--yes")
    assert again.returncode == 0 and "there is no rule to suggest" in again.stderr


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (["--apply"], 2, "there is no terminal to ask at; --yes adds them without asking"),
        (["--reload"], 2, "go with --apply"),
        (["--yes"], 2, "go with --apply"),
        (["--json", "--apply"], 2, "do not go together"),
        (["--since", "yesterday"], 2, "'yesterday' is neither a time ago (30m, 2h, 3d) nor a time"),
        (["nowhere.log"], 1, "nowhere.log: No such file or directory"),
        (["."], 1, ".: Is a directory"),
        (["--config", "nowhere.ini"], 2, "nowhere.ini: No such file or directory"),
        (["--run-dir", "nowhere"], 0, ""),
        (["--apply", "--yes", "--reload", "--run-dir", "nowhere"], 3, "no gateway to ask"),
    ],
)
def test_a_mistake_is_one_sentence_and_nothing_is_changed(words, code, says, file, tmp_path):
    log = tmp_path / "log"
    log.write_text(line())
    before = file.read_text()
    done = ogw("suggest", log, "--config", file, *words)
    assert done.returncode == code and says in done.stderr, done.stderr
    assert "Traceback" not in done.stderr
    if "--yes" not in words or "--reload" not in words:
        assert file.read_text() == before


def test_a_file_that_is_wrong_or_closed_is_told_and_stays(file, tmp_path):
    log = tmp_path / "log"
    log.write_text(line())
    packed = tmp_path / "cut.gz"
    packed.write_bytes(gzip.compress(line().encode() * 100)[:-12])
    done = ogw("suggest", packed, "--config", file)
    assert done.returncode == 1 and "the end of the file is missing" in done.stderr
    file.write_text("[ogw]\nallowed-hosts = x.example\n")
    done = ogw("suggest", log, "--config", file, "--apply", "--yes")
    assert done.returncode == 2 and "did you mean allowed-host?" in done.stderr
    assert file.read_text() == "[ogw]\nallowed-hosts = x.example\n"
    done = ogw("suggest", log, "--apply", "--yes", OGW_CONFIG="/proc/version")
    assert done.returncode == 2


def test_without_a_gateway_the_log_file_is_read_and_without_one_it_is_3(file, tmp_path):
    assert ogw("suggest", "--config", file, "--run-dir", tmp_path).returncode == 3
    log = tmp_path / "ogw.log"
    log.write_text(line())
    file.write_text(f"[ogw]\nlog-file = {log}\n")
    done = ogw("suggest", "--config", file, "--run-dir", tmp_path)
    assert rules_of(done.stdout) == ["www.example.org"]
    assert f"no gateway runs; reading {log}" in done.stderr


def test_the_reader_of_its_output_may_leave(file, tmp_path):
    log = tmp_path / "log"
    log.write_text("".join(line(f"h{number}.example:443") for number in range(5000)))
    command = f"{sys.executable} -m ogw suggest {log} --config {file} | head -1"
    done = subprocess.run(command, shell=True, cwd=ROOT, env=clean(), capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "ogw: 5,000 of 5,000 lines tell of a refusal\n")


# The story.


def handshaking(connection):
    """Answers a ClientHello."""
    if connection.recv(65536):
        connection.sendall(records(server_hello()))
    echo(connection)


def serving(file):
    """A gateway that reads this file."""
    return Gateway("--config", str(file), workers=2)


def test_an_agent_is_refused_its_rule_is_suggested_and_added_and_it_passes_while_tunnels_stay_open(file, tmp_path):
    began = time.monotonic()
    with Server(echo) as old, Server(echo) as new:
        file.write_text(f"[ogw]\n{LOOPBACK}allowed-host =\n    {old.host}\n")
        with serving(file) as gateway:
            open_one = gateway.tunnel(old.target)
            sock, head = gateway.ask(new.target)
            assert head.startswith(b"HTTP/1.1 403 Forbidden: host-not-allowed")
            sock.close()
            assert gateway.wait_for(event=105)["target"] == new.target
            command = [*OGW[1:], "suggest", "--apply", "--reload", "--config", str(file), "--run-dir", gateway.run_dir]
            typed = pexpect.spawn(OGW[0], command, cwd=ROOT, env=clean(TERM="dumb"), encoding="utf-8", timeout=20)
            typed.expect_exact(f"    {new.host}")
            typed.expect_exact(f"Add this rule to {file}? [y/N] ")
            typed.sendline("y")
            typed.expect_exact(f"+ allowed-host {new.host} no-server-name note=")
            typed.expect_exact("reloaded, changed: allowed-host")
            typed.expect(pexpect.EOF)
            typed.close()
            assert typed.exitstatus == 0
            sock = gateway.tunnel(new.target, rest=b"in")
            assert read_exactly(sock, 2) == b"in"
            open_one.sendall(b"still here")
            assert read_exactly(open_one, 10) == b"still here"
            assert gateway.events(108) == []
            sock.close()
            open_one.close()
    assert time.monotonic() - began < 60


@pytest.mark.parametrize("answer", ["n", "", "nope", "\x04"])
def test_whoever_does_not_say_yes_changes_nothing(answer, file, tmp_path):
    log = tmp_path / "log"
    log.write_text(line())
    before = file.read_text()
    command = [*OGW[1:], "suggest", str(log), "--apply", "--config", str(file)]
    typed = pexpect.spawn(OGW[0], command, cwd=ROOT, env=clean(TERM="dumb"), encoding="utf-8", timeout=20)
    typed.expect_exact("[y/N] ")
    typed.send(answer if answer == "\x04" else f"{answer}\n")
    typed.expect_exact("nothing was added")
    typed.expect(pexpect.EOF)
    typed.close()
    assert typed.exitstatus == 1 and file.read_text() == before


def test_ctrl_c_at_the_question_is_130_and_changes_nothing(file, tmp_path):
    log = tmp_path / "log"
    log.write_text(line())
    before = file.read_text()
    command = [*OGW[1:], "suggest", str(log), "--apply", "--config", str(file)]
    typed = pexpect.spawn(OGW[0], command, cwd=ROOT, env=clean(TERM="dumb"), encoding="utf-8", timeout=20)
    typed.expect_exact("[y/N] ")
    interrupt(typed, pexpect.EOF)
    typed.close()
    assert typed.exitstatus == 130 and "Traceback" not in typed.before and file.read_text() == before


def test_where_the_log_comes_through_a_pipe_the_terminal_is_asked(file, tmp_path):
    log = tmp_path / "log"
    log.write_text(line())
    command = f"cat {log} | {sys.executable} -m ogw suggest - --apply --config {file}"
    typed = pexpect.spawn("sh", ["-c", command], cwd=ROOT, env=clean(TERM="dumb"), encoding="utf-8", timeout=20)
    typed.expect_exact("[y/N] ")
    typed.sendline("y")
    typed.expect_exact("+ allowed-host www.example.org note=")
    typed.expect(pexpect.EOF)
    typed.close()
    assert typed.exitstatus == 0 and "www.example.org note=" in file.read_text()


def test_an_address_is_suggested_as_status_does_and_then_a_session_without_a_server_name_passes(file):
    with Server(handshaking) as server:
        file.write_text(f"[ogw]\n{LOOPBACK}")
        with Gateway("--config", str(file), tls_rules=None) as gateway:
            gateway.ask(server.target)[0].close()
            refusal = gateway.wait_for(event=105)
            assert f"allowed-host = {server.host} no-server-name would allow it" in refusal["message"]
            told = ogw("status", "--run-dir", gateway.run_dir).stdout
            assert f"'{server.host} no-server-name'" in told
            words = ("suggest", "--config", file, "--run-dir", gateway.run_dir)
            assert rules_of(ogw(*words).stdout) == [f"{server.host} no-server-name"]
            assert ogw(*words, "--apply", "--yes", "--reload").returncode == 0
            assert "what was refused 1 time is allowed by now" in ogw(*words).stderr
            with gateway.tunnel(server.target) as sock:
                sock.sendall(hello(None))
                assert read_exactly(sock, 6)[0] == 22
            assert gateway.wait_for(event=107)


def test_what_policy_mode_report_let_pass_is_suggested_and_then_enforced(file, upstream):
    mode = f"policy-mode = report\nreport-until = {time_text(int(time.time() + 3600))}\n"
    file.write_text(f"[ogw]\n{LOOPBACK}{mode}")
    with serving(file) as gateway:
        gateway.tunnel(upstream.target).close()
        words = ("suggest", "--config", file, "--run-dir", gateway.run_dir, "--apply", "--yes", "--reload")
        assert ogw(*words).returncode == 0
        file.write_text(file.read_text().replace("policy-mode = report", "policy-mode = enforce"))
        assert ogw("reload", "--run-dir", gateway.run_dir).returncode == 0
        gateway.tunnel(upstream.target).close()
        sock, head = gateway.ask("www.example.org:443")
        assert head.startswith(b"HTTP/1.1 403 ")
        sock.close()


def test_a_gateway_that_reads_another_file_is_found_out(file, upstream, tmp_path):
    other = tmp_path / "other.ini"
    other.write_text(f"[ogw]\n{LOOPBACK}")
    file.write_text(f"[ogw]\n{LOOPBACK}")
    with serving(other) as gateway:
        gateway.ask(upstream.target)[0].close()
        gateway.wait_for(event=105)
        done = ogw("suggest", "--config", file, "--run-dir", gateway.run_dir, "--apply", "--yes", "--reload")
        assert done.returncode == 3 and f"and not {file}" in done.stderr


def test_logs_of_many_gateways_say_which_saw_what(file, tmp_path):
    for name in ("gw1", "gw2"):
        (tmp_path / name).mkdir()
    one, two = tmp_path / "gw1" / "ogw.log", tmp_path / "gw2" / "ogw.log"
    one.write_text(line(client_subject="CN=till-17,O=Shop") + line("b.example:443"))
    two.write_text(line(client_subject="CN=Till 18,O=Shop"))
    older = tmp_path / "gw1" / "ogw.log.1.gz"
    older.write_bytes(gzip.compress(line("b.example:443").encode()))
    journal = f"Nov 24 10:00:00 gw3 ogw[17]: {line('b.example:443')}"
    words = [*OGW, "suggest", one, two, older, "-", "--config", file, "--per-client"]
    read = {"input": journal, "env": clean(), "cwd": ROOT, "capture_output": True, "text": True, "timeout": 60}
    told, answer = (subprocess.run([*words, *more], **read) for more in ([], ["--json"]))
    shown = told.stdout.splitlines()
    assert (
        shown[0].endswith(f"clients: 10.1.2.3; gateways: {one}, gw3") and shown[1] == "    b.example from=10.1.2.3/32"
    )
    assert shown[2].endswith(f"clients: cn:till-17, cn:Till 18; gateways: {one}, {two}")
    assert shown[3] == '    www.example.org from="cn:Till 18" from=cn:till-17'
    assert [rule["gateways"] for rule in json.loads(answer.stdout)["rules"]] == [
        {str(one): 2, "gw3": 1},
        {str(one): 1, str(two): 1},
    ]
    alone = ogw("suggest", one, older, "--config", file)
    assert "gateways:" not in alone.stdout


def test_the_running_gateways_own_memory_has_no_other_gateways(file, tmp_path):
    (tmp_path / "log").write_text(line())
    assert json.loads(ogw("suggest", tmp_path / "log", "--config", file, "--json").stdout)["rules"][0]["gateways"] == {
        str(tmp_path / "log"): 1
    }
