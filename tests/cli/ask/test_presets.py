"""`ogw presets`: a list, what one expands to, and what is wrong."""

import json

from harness.commands import ogw

ID = "01234567-89ab-cdef-0123-456789abcdef"


def test_the_list_has_each_preset_with_its_date_and_parameters():
    done = ogw("presets")
    assert done.returncode == 0 and not done.stderr
    lines = [line.split() for line in done.stdout.splitlines()]
    assert ["log-analytics-agent", "2026-11-24", "public", "workspace"] in lines
    listed = json.loads(ogw("presets", "--json").stdout)
    assert [preset["name"] for preset in listed] == [line[0] for line in lines[1:6]]


def test_one_shows_its_rules_with_the_parameters_that_are_given_and_placeholders_for_the_others():
    done = ogw("presets", "azure-monitor-agent", "--region", "West Europe", "--region", "eastus2")
    assert done.returncode == 0
    lines = done.stdout.splitlines()
    assert "westeurope.monitoring.azure.com" in lines and "eastus2.monitoring.azure.com" in lines
    assert "<workspace>.ods.opinsights.azure.com" in lines
    told = json.loads(ogw("presets", "log-analytics-agent", "--workspace", ID.upper(), "--json").stdout)
    assert told["hosts"] == [
        f"{ID}.{end}"
        for end in ("ods.opinsights.azure.com", "oms.opinsights.azure.com", "agentsvc.azure-automation.net")
    ]
    assert told["date"] == "2026-11-24" and told["cloud"] == "public" and told["page"]


def test_what_is_shown_is_what_the_setting_allows():
    told = json.loads(ogw("presets", "azure-arc", "--cloud", "china", "--json").stdout)["hosts"]
    rules = "\n".join(told)
    shown = json.loads(ogw("check", "--json", OGW_PRESET="azure-arc", OGW_CLOUD="china").stdout)
    assert shown["policy"] == json.loads(ogw("check", "--json", OGW_ALLOWED_HOST=rules).stdout)["policy"]


def test_what_is_wrong_is_one_line_and_exit_code_2(tmp_path):
    for words, said in (
        (("azure-ark",), "ogw: there is no preset 'azure-ark'; there are azure-arc, "),
        (("azure-monitor-agent", "--workspace", "*"), "ogw: --workspace: '*': it is not an id such as"),
        (("azure-automation", "--region", "westus"), "ogw: azure-automation does not know region = westus; it knows"),
        (("azure-automation", "--cloud", "china"), "ogw: azure-automation is not known for cloud = china"),
        (("--presets-folder", "/no/such"), "ogw: presets-folder: /no/such: No such file or directory"),
    ):
        done = ogw("presets", *words)
        assert (done.returncode, done.stdout) == (2, "") and done.stderr.startswith(said), done.stderr
        assert done.stderr.count("\n") == 1


def test_the_folder_of_the_configuration_counts_and_a_wrong_configuration_stops_nothing(tmp_path):
    preset = {"does": "\x1b[2J", "date": "2027-01-31", "page": "y", "clouds": {"public": ["own.example"]}}
    (tmp_path / "my-own.json").write_text(json.dumps(preset))
    done = ogw("presets", "my-own", OGW_PRESETS_FOLDER=str(tmp_path))
    assert done.stdout.splitlines()[-1] == "own.example" and "\x1b" not in done.stdout
    done = ogw("presets", "azure-arc", OGW_LISTEN_PORT="many", OGW_PRESETS_FOLDER=str(tmp_path))
    assert done.returncode == 0 and "these are ogw's own presets alone" in done.stderr
