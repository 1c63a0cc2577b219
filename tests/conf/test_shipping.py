"""What takes the log lines further: logrotate and rsyslog in fact; of the others, the names that they give."""

import json
import re
import subprocess

import pytest
import yaml
from harness.gateway import ROOT, Gateway, assert_no_gap, read_all
from harness.lines import SCHEMA, assert_valid
from harness.peers import peer
from harness.waiting import until

CONF = ROOT / "conf"
FIELDS = list(SCHEMA["properties"])
ECS, OPEN_TELEMETRY = 0, 1
PLACES = ("client", "via", "target", "upstream")


def _table():
    """field -> (ECS, OpenTelemetry), from conf/fields.md."""
    rows = re.findall(
        r"^\| `(\w+)` \| `([^`]+)` \| `([^`]+)` \|$", (CONF / "fields.md").read_text("utf-8"), re.MULTILINE
    )
    return {field: (ecs, other) for field, ecs, other in rows}


TABLE = _table()
VECTOR = yaml.safe_load((CONF / "vector" / "ogw.yaml").read_text("utf-8"))
FLUENT_BIT = {
    ECS: yaml.safe_load((CONF / "fluent-bit" / "ecs.yaml").read_text("utf-8")),
    OPEN_TELEMETRY: yaml.safe_load((CONF / "fluent-bit" / "opentelemetry.yaml").read_text("utf-8")),
}
PORTS = {
    ECS: {"client": "client.port", "via": "source.port", "target": "server.port", "upstream": "destination.port"},
    OPEN_TELEMETRY: {
        "client": "client.port",
        "via": "source.port",
        "target": "server.port",
        "upstream": "network.peer.port",
    },
}
# The fields of OpenTelemetry's log record, as Vector has them here; Fluent Bit's output makes them itself.
RECORD = {"Timestamp": "timestamp", "SeverityText": "severity_text", "EventName": "event_name", "Body": "body"}


def test_the_table_names_every_field_once_and_gives_no_name_twice():
    assert list(TABLE) == FIELDS
    for which in (ECS, OPEN_TELEMETRY):
        names = [names[which] for names in TABLE.values()]
        assert len(set(names)) == len(names)
        # No name may be an object and a value at once: Elasticsearch would refuse the line.
        assert not [name for name in names for other in names if other.startswith(f"{name}.")]


@pytest.mark.parametrize("which", [ECS, OPEN_TELEMETRY], ids=["ecs", "opentelemetry"])
def test_vector_gives_every_field_the_name_of_the_table(which):
    source = VECTOR["transforms"]["ogw_ecs" if which == ECS else "ogw_opentelemetry"]["source"]
    given = {}
    for name, value in re.findall(r"^\.(\S+) = (.+)$", source, re.MULTILINE):
        for _root, field in re.findall(rf"\b(line\.(\w+)|(?:{'|'.join(PLACES)})\.host)", value):
            given[field or re.search(r"(\w+)\.host", value)[1]] = name.replace('"', "").removeprefix("attributes.")
        port = re.search(r"(\w+)\.port", value)
        if port:
            given[f"{port[1]} port"] = name.replace('"', "").removeprefix("attributes.")
    wanted = {field: RECORD.get(names[which], names[which]) for field, names in TABLE.items()}
    assert given == {**wanted, **{f"{field} port": name for field, name in PORTS[which].items()}}


@pytest.mark.parametrize("which", [ECS, OPEN_TELEMETRY], ids=["ecs", "opentelemetry"])
def test_fluent_bit_gives_every_field_the_name_of_the_table(which):
    filters = FLUENT_BIT[which]["pipeline"]["filters"]
    modify = [one for one in filters if one["name"] == "modify"]
    given = {}
    for rename in modify[0]["rename"]:
        old, new = rename.split()
        given[old] = new
    for field in PLACES:
        assert given.pop(f"{field}_port") == PORTS[which][field]
        assert given.pop(f"{field}_name") == given.pop(f"{field}_ipv6") == given[field]
    assert given.pop("tls_number") == given["tls_version"]
    assert modify[1]["remove"] == [*PLACES, "tls_version"]
    if which == ECS:
        given |= {"time": FLUENT_BIT[which]["pipeline"]["outputs"][0]["json_date_key"], "message": "message"}
        assert given == {field: names[which] for field, names in TABLE.items()}
    else:  # what is in the record itself, the output takes from the time, and from these two by their own names
        assert given.pop("name") == "event.name" and not {"time", "level", "message"} & set(given)
        record = {field for field, names in TABLE.items() if names[which] in RECORD}
        assert given == {field: names[which] for field, names in TABLE.items() if field not in record}
        assert record == {"time", "level", "name", "message"}


@pytest.mark.parametrize(
    ("place", "address", "port"),
    [
        ("10.0.0.5:50001", "10.0.0.5", "50001"),
        ("[2001:db8::1]:443", "2001:db8::1", "443"),
        ("www.example.com:443", "www.example.com", "443"),
        ("10.0.0.5", None, None),
        ("2001:db8::1", None, None),
        ("::1", None, None),
    ],
)
def test_a_place_is_split_into_address_and_port_and_an_address_alone_is_not(place, address, port):
    """A client of many refusals that are one line has no port."""
    for which in (ECS, OPEN_TELEMETRY):
        parsers = {parser["name"]: parser for parser in FLUENT_BIT[which]["parsers"]}
        for field in PLACES:
            found = re.search(parsers[f"ogw-{field}"]["regex"].replace("(?<", "(?P<"), place)
            groups = found.groupdict() if found else {}
            assert (groups.get(f"{field}_name") or groups.get(f"{field}_ipv6")) == address
            assert groups.get(f"{field}_port") == port
    for transform in VECTOR["transforms"].values():
        patterns = re.findall(r"parse_regex\(line\.\w+, r'([^']+)'\)", transform["source"])
        assert len(patterns) == len(PLACES)
        for pattern in patterns:
            found = re.search(pattern, place)
            assert (found and found["host"].strip("[]"), found and found["port"]) == (address, port)


def _refuse(gateway, count):
    for _ in range(count):
        with gateway.ask("www.example.com:443")[0] as sock:
            read_all(sock)


def _lines(path):
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


class Logging(Gateway):
    """A gateway whose lines go elsewhere: it has started when it answers."""

    def __enter__(self):
        until(self._answers)
        return self

    def _answers(self):
        try:
            self.connect().close()
        except OSError:
            assert self.process.poll() is None, self.stderr
            return False
        return True


def test_logrotate_loses_no_line_and_needs_to_tell_the_gateway_nothing(tmp_path):
    log = tmp_path / "ogw.log"
    text = (CONF / "logrotate" / "ogw").read_text("utf-8")
    assert "/var/log/ogw/ogw.log {" in text
    conf = tmp_path / "logrotate.conf"
    conf.write_text(text.replace("/var/log/ogw/ogw.log", str(log)))
    conf.chmod(0o644)
    rotate = [peer("logrotate"), "--state", str(tmp_path / "state"), "--force", str(conf)]
    with Logging("--log-file", str(log)) as gateway:
        for number in range(3):
            _refuse(gateway, 5)
            until(lambda: log.exists() and len(_lines(log)) >= 5)
            done = subprocess.run(rotate, capture_output=True, text=True, timeout=30)
            assert (done.returncode, done.stderr) == (0, ""), number
        _refuse(gateway, 5)
        assert gateway.stop() == 0
    lines = []
    for name in ("ogw.log.3.gz", "ogw.log.2.gz", "ogw.log.1", "ogw.log"):
        path = tmp_path / name
        if name.endswith(".gz"):
            subprocess.run(["gunzip", path], check=True, timeout=30)
            path = path.with_suffix("")
        found = _lines(path)
        assert found, name
        lines += found
    assert len([line for line in lines if line["event"] == 105]) == 20
    assert_no_gap(lines)
    assert_valid(lines)


@pytest.mark.long
def test_rsyslog_writes_the_lines_as_they_are(tmp_path):
    text = (CONF / "rsyslog" / "ogw.conf").read_text("utf-8")
    assert 'file="/var/log/ogw/ogw.log"' in text
    log, others, socket = tmp_path / "ogw.log", tmp_path / "others", tmp_path / "log"
    conf = tmp_path / "rsyslog.conf"
    conf.write_text(
        f'global(workDirectory="{tmp_path}")\n'
        f'module(load="imuxsock" SysSock.Use="off")\ninput(type="imuxsock" Socket="{socket}")\n'
        + text.replace("/var/log/ogw/ogw.log", str(log))
        + f'\naction(type="omfile" file="{others}")\n'
    )
    rsyslogd = [peer("rsyslogd"), "-f", str(conf), "-i", str(tmp_path / "pid")]
    checked = subprocess.run([*rsyslogd, "-N1"], capture_output=True, text=True, timeout=30)
    assert checked.returncode == 0 and "error" not in checked.stderr, checked.stderr
    with (tmp_path / "output").open("wb") as output:
        daemon = subprocess.Popen([*rsyslogd, "-n"], stdout=output, stderr=output)
    try:
        until(socket.exists)
        with Logging("--syslog", str(socket)) as gateway:
            _refuse(gateway, 5)
            assert gateway.stop() == 0
        until(lambda: log.exists() and any(line["event"] == 102 for line in _lines(log)))
    finally:
        daemon.terminate()
        daemon.wait(20)
    lines = _lines(log)
    assert len([line for line in lines if line["event"] == 105]) == 5
    assert_no_gap(lines)
    assert_valid(lines)
    assert not others.exists()  # they stop there
