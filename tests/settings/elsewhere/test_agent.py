"""The agent's own files: which hosts they allow, and that nothing they say allows more than a name."""

import json
import os
import subprocess
import sys

import pytest
from harness.gateway import ROOT
from harness.peers import peer, root

from ogw.policy.subjects import Pattern
from ogw.settings.loader import ConfigError, load

ID = "01234567-89AB-cdef-0123-456789abcdef"
OLD = f"""WORKSPACE_ID={ID}
AGENT_GUID=aaaaaaaa-89ab-cdef-0123-456789abcdef
LOG_FACILITY=local0
CERTIFICATE_UPDATE_ENDPOINT=https://{ID}.oms.opinsights.azure.com/ConfigurationService.Svc/RenewCertificate
OMS_ENDPOINT=https://{ID}.ods.opinsights.azure.com/OperationalData.svc/PostJsonDataItems
DSC_ENDPOINT="https://{ID}.agentsvc.azure-automation.net/Accounts/{ID}/Nodes(AgentId='x')"
"""
CHUNK = {
    "$schema": "https://schema.example.com/chunk",
    "dataSources": [{"kind": "syslog", "note": "see https://docs.example.com"}],
    "channels": [
        {"endpoint": f"https://{ID}.ods.opinsights.azure.com"},
        {"endpoint": "HTTPS://My-Endpoint.westeurope-1.ingest.monitor.azure.com:8443/path?x=1"},
        {"endpoint": "http://plain.example.com"},
        {"endpoint": "https://*.example.com"},
        {"endpoint": "https://{region}.example.com/"},
        {"endpoint": "https://10.0.0.1/"},
        {"endpoint": "https://[::1]/"},
        {"endpoint": "https://user@evil.example.com/"},
        {"endpoint": "https://localhost/"},
        {"endpoint": "https://a.example.com\nb"},
        {"endpoint": 7},
    ],
}
LOW = ID.lower()


def agent(folder, chunk=CHUNK, old=OLD):
    (folder / "conf").mkdir(parents=True)
    (folder / "conf" / "omsadmin.conf").write_text(old)
    (folder / "chunk.json").write_text(chunk if isinstance(chunk, str) else json.dumps(chunk))
    return folder


def hosts(*places):
    config = load([f"--agent-config={place}" for place in places], {})
    return [str(rule) for rule in config.sourced_hosts]


def test_the_endpoints_of_both_agents_are_allowed_by_their_exact_names(tmp_path):
    folder = agent(tmp_path / "workspace")
    assert hosts(folder / "conf" / "omsadmin.conf") == [
        f"{LOW}.ods.opinsights.azure.com",
        f"{LOW}.agentsvc.azure-automation.net",
    ]
    assert hosts(folder / "chunk.json") == [
        f"{LOW}.ods.opinsights.azure.com",
        "my-endpoint.westeurope-1.ingest.monitor.azure.com:8443",
    ]
    whole = hosts(tmp_path, folder)
    assert len(whole) == 3
    (rule, *_rest) = load([f"--agent-config={folder}/conf/omsadmin.conf"], {}).sourced_hosts
    assert rule.source == f"agent-config {folder}/conf/omsadmin.conf:5"


def test_the_workspaces_id_joins_a_list_of_client_certificates_and_never_begins_one(tmp_path):
    folder = agent(tmp_path / "workspace")
    flags = f"--agent-config={folder}/conf/omsadmin.conf", "--allowed-host", "a.example"
    config = load(list(flags), {})
    assert config.agent_certificates == (Pattern(common_name=LOW),)
    assert config.policy.tls.subjects is None
    listed = load([*flags, "--allowed-client-certificate", "till-7"], {}).policy
    assert listed.tls.subjects.texts() == sorted([LOW, "till-7"])


def test_where_no_agent_is_set_up_that_is_said_and_nothing_is_wrong(tmp_path):
    for place in (tmp_path, tmp_path / "none", "auto"):
        config = load([f"--agent-config={place}", "--allowed-host", "a.example"], {})
        assert config.agent_missing.startswith("no file of an agent is there: ") and config.sourced_hosts == ()
    (tmp_path / "empty.json").write_text("{}")
    assert "no endpoint stands in" in load([f"--agent-config={tmp_path}"], {}).agent_missing


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("omsadmin.conf", "WORKSPACE_ID=contoso\n", ":1: WORKSPACE_ID is not a workspace's id"),
        ("omsadmin.conf", "A=1\nOMS_ENDPOINT=http://a.example.com/\n", ":2: OMS_ENDPOINT is not an https URL"),
        ("omsadmin.conf", "DSC_ENDPOINT=https://*.example.com/\n", ":1: DSC_ENDPOINT is not an https URL"),
        ("omsadmin.conf", b"A=1\n\xff", ":2: not a text in UTF-8"),
        ("x.json", '["https://a.example/"]'.encode("utf-16"), ": a text in UTF-16; save it as UTF-8"),
        ("x.json", '{"a": ', ": not JSON: Expecting value"),
        ("x.json", "[" * 100_000, ": not JSON that can be read: too many brackets"),
        ("x.json", b" " * (4 << 20) + b"{}", "larger than 4194304 bytes"),
    ],
)
def test_what_a_broken_file_says(tmp_path, name, text, words):
    path = tmp_path / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(ConfigError) as caught:
        load([f"--agent-config={tmp_path}"], {})
    (mistake,) = caught.value.mistakes
    assert mistake.startswith(f"agent-config: {path}") and words in mistake


def test_a_broken_file_is_told_at_the_line_of_its_own_place(tmp_path):
    for folder, text in (("agent", "{}"), ("agent-2", "{")):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "x.json").write_text(text)
    ini = tmp_path / "ogw.ini"
    ini.write_text(f"[ogw]\nagent-config = {tmp_path}/agent\n    {tmp_path}/agent-2\n")
    with pytest.raises(ConfigError) as caught:
        load(["--config", str(ini)], {})
    (mistake,) = caught.value.mistakes
    assert mistake.startswith(f"{ini}:3: agent-config: {tmp_path}/agent-2/x.json: ")


def test_too_many_files_and_a_pipe_are_mistakes(tmp_path):
    os.mkfifo(tmp_path / "x.json")
    with pytest.raises(ConfigError, match="is neither a file nor a folder"):
        load([f"--agent-config={tmp_path}"], {})
    for number in range(1001):
        (tmp_path / f"{number}.json").touch()
    with pytest.raises(ConfigError, match="more than 1000 files are there"):
        load([f"--agent-config={tmp_path}"], {})


def test_auto_finds_what_agents_keep_in_their_well_known_places(tmp_path):
    root()
    old = "/etc/opt/microsoft/omsagent/x/conf"
    new = "/etc/opt/microsoft/azuremonitoragent/config-cache/configchunks"
    agent(tmp_path / "one")
    script = (
        f"mount -t tmpfs none /etc/opt && mkdir -p {old} {new} && cp {tmp_path}/one/conf/omsadmin.conf {old}"
        f" && cp {tmp_path}/one/chunk.json {new} && exec {sys.executable} -c 'from ogw.settings.loader import load;"
        ' print(*load(["--agent-config", "auto"], {}).sourced_hosts, sep="\\n")\''
    )
    command = [peer("unshare"), "--mount", "sh", "-c", script]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert len(done.stdout.split()) == 3, done.stderr


def test_texts_deep_down_in_json_are_found_without_a_limit_of_ours(tmp_path):
    depth = 900  # the reader of JSON has its own
    url = '"https://a.example.com/"'
    (tmp_path / "x.json").write_text("[" * depth + ",".join([url] * 1000) + "]" * depth, "utf-8-sig")
    assert hosts(tmp_path) == ["a.example.com"]


def test_a_dangling_link_or_a_loop_is_a_mistake(tmp_path):
    (tmp_path / "x.json").symlink_to("nowhere")
    (tmp_path / "y.json").symlink_to("y.json")
    with pytest.raises(ConfigError) as caught:
        load([f"--agent-config={tmp_path}"], {})
    first, second = caught.value.mistakes
    assert "x.json: No such file" in first and "y.json: Too many levels of symbolic links" in second


def test_no_file_makes_anybody_wait_or_speak_without_an_end(tmp_path):
    (tmp_path / "omsadmin.conf").write_text("WORKSPACE_ID=x\n" * 200_000)
    with pytest.raises(ConfigError) as caught:
        load([f"--agent-config={tmp_path}"], {})
    assert len(caught.value.mistakes) == 100
    (tmp_path / "omsadmin.conf").unlink()
    (tmp_path / "x.json").write_text("[" + ",".join(f'"https://-a{number}.b/"' for number in range(100_000)) + "]")
    with pytest.raises(ConfigError, match="more than 10000 endpoints are there"):
        load([f"--agent-config={tmp_path}"], {})
