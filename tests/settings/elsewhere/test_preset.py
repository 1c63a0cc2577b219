"""Presets: each is valid, allows what its table says and nothing wider, and parameters are checked."""

import itertools
import json

import pytest

from ogw.policy.rules import Kind, parse_rules
from ogw.settings.elsewhere.preset import CLOUDS, BadPreset, parse_preset, presets
from ogw.settings.loader import ConfigError, load

WORKSPACE, OTHER = "01234567-89ab-cdef-0123-456789abcdef", "11111111-2222-3333-4444-555555555555"
GIVEN = {
    "workspace": [WORKSPACE],
    "region": ["westeurope"],
    "account": [OTHER],
    "data-collection-endpoint": ["my-endpoint"],
}
KNOWN = presets()
# The only wildcards of the tables, per preset.
STARS = {
    "azure-arc": {
        "public": {"*.login.microsoft.com", "*.his.arc.azure.com", "*.guestconfiguration.azure.com",
                   "*.guestnotificationservice.azure.com", "azgn*.servicebus.windows.net", "*.obo.arc.azure.com:8084"},
        "government": {"*.his.arc.azure.us", "*.guestconfiguration.azure.us"},
        "china": {"*.his.arc.azure.cn", "*.guestconfiguration.azure.cn", "*.guestnotificationservice.azure.cn",
                  "azgn*.servicebus.chinacloudapi.cn"},
    },
    "operations-manager": {"public": {"*.service.opinsights.azure.com"}},
}  # fmt: skip


def of(*flags):
    """The texts of what the flags allow beside local rules."""
    return [str(rule) for rule in load(list(flags), {}).sourced_hosts]


def mistakes(*flags):
    with pytest.raises(ConfigError) as caught:
        load(list(flags), {})
    return list(caught.value.mistakes)


@pytest.mark.parametrize(("name", "cloud"), [(name, cloud) for name in KNOWN for cloud in KNOWN[name].clouds])
def test_a_preset_expands_to_valid_rules_of_which_none_is_wider_than_its_table(name, cloud):
    texts = KNOWN[name].expand(cloud, GIVEN)
    rules, wrong = parse_rules("\n".join(texts), name)
    assert texts and not wrong and len(rules) == len(texts)
    stars = {str(rule) for rule in rules if rule.kind is not Kind.NAME}
    assert stars == STARS.get(name, {}).get(cloud, set())
    assert not any(rule.no_server_name or rule.to or rule.network for rule in rules)
    ends = {"public": (".com", ".net"), "government": (".us", ".net"), "china": (".cn",)}[cloud]
    assert all(rule.name.endswith(ends) for rule in rules)


@pytest.mark.parametrize("name", KNOWN)
def test_a_preset_says_its_date_its_page_and_needs_each_of_its_parameters(name):
    preset = KNOWN[name]
    assert preset.date == "2026-11-24" and preset.page and preset.does
    for parameter in set(preset.parameters) - preset.optional:
        with pytest.raises(BadPreset, match=f"needs .*{parameter}"):
            preset.expand("public", {**GIVEN, parameter: []})
    for parameter in preset.optional:
        fewer = preset.expand("public", {**GIVEN, parameter: []})
        assert set(fewer) < set(preset.expand("public", GIVEN))
    for cloud in set(CLOUDS) - set(preset.clouds):
        with pytest.raises(BadPreset, match=f"is not known for cloud = {cloud}; it is there for public"):
            preset.expand(cloud, GIVEN)


def test_the_azure_monitor_agents_hosts_for_several_workspaces_and_regions():
    flags = "--preset", "azure-monitor-agent", "--workspace", f"{WORKSPACE}, {OTHER.upper()}", "--region"
    assert of(*flags, "West Europe", "--region", "eastus2") == [
        "global.handler.control.monitor.azure.com",
        "westeurope.handler.control.monitor.azure.com",
        "eastus2.handler.control.monitor.azure.com",
        f"{WORKSPACE}.ods.opinsights.azure.com",
        f"{OTHER}.ods.opinsights.azure.com",
        "management.azure.com",
        "westeurope.monitoring.azure.com",
        "eastus2.monitoring.azure.com",
        "global.prod.microsoftmetrics.com",
    ]
    government = of(*flags, "usgovvirginia", "--cloud", "government")
    assert "usgovvirginia.handler.control.monitor.azure.us" in government
    assert not any(host.endswith(".com") for host in government)


def test_a_data_collection_endpoint_is_below_its_region_or_one_that_it_names_itself():
    flags = "--preset", "azure-monitor-agent", "--workspace", WORKSPACE, "--region", "westeurope"
    hosts = of(*flags, "--data-collection-endpoint", "one,two.northeurope-1")
    assert hosts[-2:] == ["one.westeurope.ingest.monitor.azure.com", "two.northeurope-1.ingest.monitor.azure.com"]


REGIONS = {
    "North Central US": "ncus", "West Europe": "we", "South Central US": "scus", "East US 2": "eus2",
    "Canada Central": "cc", "North Europe": "ne", "South East Asia": "sea", "Central India": "cid",
    "Japan East": "jpe", "Australia South East": "ase",
}  # fmt: skip


@pytest.mark.parametrize("region", REGIONS)
def test_azure_automation_knows_the_codes_of_its_regions(region):
    code = REGIONS[region]
    assert of("--preset", "azure-automation", "--account", OTHER, "--region", region) == [
        f"{OTHER}.agentsvc.{code}.azure-automation.net",
        f"{OTHER}.jrds.{code}.azure-automation.net",
        f"{OTHER}.webhook.{code}.azure-automation.net",
        f"{code}-jobruntimedata-prod-su1.azure-automation.net",
        f"{code}-agentservice-prod-1.azure-automation.net",
    ]


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (("--preset", "azure-monitor"), "preset: 'azure-monitor' is not known; there are azure-arc, azure-automation"),
        (("--preset", "log-analytics-agent"), "preset: log-analytics-agent needs workspace, too"),
        (("--preset", "azure-monitor-agent"), "preset: azure-monitor-agent needs region and workspace, too"),
        (("--preset", "azure-automation", "--account", OTHER, "--region", "westus"),
         "preset: azure-automation does not know region = westus; it knows australiasoutheast, "),
        (("--preset", "azure-automation", "--cloud", "china"), "azure-automation is not known for cloud = china; "),
        (("--workspace", "contoso"), "--workspace: 'contoso': it is not an id such as 01234567-"),
        (("--workspace", "*"), "--workspace: '*': it is not an id"),
        (("--region", "*"), "--region: '*': it is not the name of a region"),
        (("--region", "west.europe"), "--region: 'west.europe': it is not the name of a region"),
        (("--data-collection-endpoint", "*.x"), "is not the first part of a host's name"),
        (("--account", "x"), "--account: 'x': it is not an id"),
        (("--cloud", "moon"), "--cloud: 'moon': it is none of public, government, china"),
    ],
)  # fmt: skip
def test_what_a_wrong_parameter_says(flags, words):
    (mistake,) = mistakes(*flags)
    assert words in mistake


def test_a_parameter_that_no_preset_uses_is_a_warning():
    config = load(["--allowed-host", "a.example", "--preset", "azure-arc", "--region", "westeurope"], {})
    assert "region: no preset that is set uses it" in config.warnings


def test_rules_say_which_preset_they_come_from_and_the_policy_knows_them():
    config = load(["--preset", "azure-arc"], {})
    assert {rule.source for rule in config.sourced_hosts} == {"preset azure-arc of 2026-11-24"}
    assert config.allowed_host == () and not any("empty" in warning for warning in config.warnings)


def test_a_folder_has_newer_presets_and_others(tmp_path):
    new = {"does": "x", "date": "2027-01-31", "page": "y", "clouds": {"public": ["<region>.new.example:8443"]}}
    (tmp_path / "azure-arc.json").write_text(json.dumps(new))
    (tmp_path / "my-own.json").write_text(json.dumps({**new, "clouds": {"public": ["own.example"]}}))
    (tmp_path / "README").write_text("not a preset")
    flags = "--presets-folder", str(tmp_path), "--preset", "azure-arc, my-own", "--region", "westeurope"
    assert of(*flags) == ["westeurope.new.example:8443", "own.example"]


GOOD = {"does": "x", "date": "2027-01-31", "page": "y", "clouds": {"public": ["a.example"]}}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{", "is not JSON"),
        ("[]", "is not a JSON object"),
        ("{}", "does is missing"),
        (json.dumps({**GOOD, "hosts": []}), "'hosts' is not known"),
        (json.dumps({**GOOD, "date": "soon"}), "date is not written as in 2026-11-24"),
        (json.dumps({**GOOD, "clouds": []}), "'clouds' is of the wrong kind"),
        (json.dumps({**GOOD, "clouds": {}}), "clouds is empty"),
        (json.dumps({**GOOD, "clouds": {"moon": ["a.example"]}}), "'moon' is none of public"),
        (json.dumps({**GOOD, "clouds": {"public": "a.example"}}), "has no list of host rules"),
        (json.dumps({**GOOD, "clouds": {"public": [7]}}), "a host rule is not a text"),
        (json.dumps({**GOOD, "clouds": {"public": ["*"]}}), "host rule '*'"),
        (json.dumps({**GOOD, "clouds": {"public": ["a.example, b.example"]}}), "is not one host rule"),
        (json.dumps({**GOOD, "clouds": {"public": ["<name>.example"]}}), "<name> is none of <workspace>"),
        (json.dumps({**GOOD, "clouds": {"public": ["<code>.example"]}}), "<code> is none of"),
        (json.dumps({**GOOD, "optional": ["name"]}), "'name' is no parameter"),
        (json.dumps({**GOOD, "codes": {"westeurope": "*"}}), "'westeurope' has no short name"),
        ("[" * 100_000, "is not JSON"),
    ],
)
def test_what_a_wrong_preset_says(tmp_path, text, words):
    path = tmp_path / "mine.json"
    path.write_text(text)
    told = mistakes("--presets-folder", str(tmp_path))
    assert all(mistake.startswith(f"presets-folder: {path}: ") for mistake in told)
    assert any(words in mistake for mistake in told), told


def test_a_preset_in_a_file_of_a_strange_name_or_size_is_refused():
    for name, body in (("My Own", json.dumps(GOOD).encode()), ("mine", b" " * (1 << 20) + b"{}")):
        with pytest.raises(BadPreset):
            parse_preset(name, body, "here")
    assert mistakes("--presets-folder", "/no/such/folder") == [
        "presets-folder: /no/such/folder: No such file or directory"
    ]


@pytest.mark.parametrize("name", KNOWN)
def test_partly_expanded_every_missing_parameter_stays_a_placeholder(name):
    preset = KNOWN[name]
    none = preset.expand("public", {}, partly=True)
    assert all("<" not in host for host in preset.expand("public", GIVEN, partly=True))
    asked = {parameter for parameter, host in itertools.product(GIVEN, none) if f"<{parameter}>" in host}
    assert asked | ({"region"} if any("<code>" in host for host in none) else set()) == set(preset.parameters)


def preset_file(folder, *rules, mark=""):
    about = {"does": "x", "date": "2026-11-24", "page": "y", "clouds": {"public": list(rules)}}
    (folder / "own.json").write_text(mark + json.dumps(about))


def test_a_byte_order_mark_is_no_part_of_a_preset(tmp_path):
    preset_file(tmp_path, "a.example", mark="\ufeff")
    assert of(f"--presets-folder={tmp_path}", "--preset=own") == ["a.example"]


def test_a_preset_with_too_many_combinations_is_refused_before_they_are_made(tmp_path):
    preset_file(tmp_path, "<account>.<region>.<data-collection-endpoint>.example")
    ids = ",".join(f"01234567-89ab-cdef-0123-{number:012}" for number in range(100))
    regions = ",".join(f"region{number}" for number in range(50))
    flags = [f"--presets-folder={tmp_path}", "--preset=own", f"--account={ids}", f"--region={regions}"]
    for endpoints in (100, 3000):
        names = ",".join(f"e{number}" for number in range(endpoints))
        told = mistakes(*flags, f"--data-collection-endpoint={names}")
        assert told == ["preset: own gives more than 100000 host rules"]


def test_a_rule_that_is_none_with_these_parameters_is_a_mistake(tmp_path):
    preset_file(tmp_path, f"{'a' * 40}-<account>.example", "b.example")
    flags = [f"--presets-folder={tmp_path}", "--preset=own", "--account=01234567-89ab-cdef-0123-456789abcdef"]
    assert "preset: own gives no rule with these values: preset own of 2026-11-24: host rule" in mistakes(*flags)[0]


def test_a_region_alone_gives_what_needs_no_account():
    hosts = ["we-jobruntimedata-prod-su1", "we-agentservice-prod-1"]
    preset = ("--preset", "azure-automation", "--region", "West Europe")
    assert of(*preset) == [f"{host}.azure-automation.net" for host in hosts]
    account = "01234567-89ab-cdef-0123-456789abcdef"
    with_account = of(*preset, "--account", account)
    assert set(with_account) - {f"{host}.azure-automation.net" for host in hosts} == {
        f"{account}.{service}.we.azure-automation.net" for service in ("agentsvc", "jrds", "webhook")
    }
