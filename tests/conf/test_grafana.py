"""conf/grafana/ogw.json: a dashboard whose every query is one, of metrics that a real gateway has."""

import json
import re
import subprocess

import pytest
import yaml
from harness.admin import ask
from harness.gateway import ROOT, Gateway, address
from harness.issued import Issued
from harness.peers import peer
from harness.waiting import until
from prometheus_client.parser import text_string_to_metric_families

DASHBOARD = json.loads((ROOT / "conf" / "grafana" / "ogw.json").read_text("utf-8"))
PANELS = [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]
QUERIES = [target["expr"] for panel in PANELS for target in panel["targets"]]
QUERIES += [annotation["expr"] for annotation in DASHBOARD["annotations"]["list"]]
VARIABLES = [variable["name"] for variable in DASHBOARD["templating"]["list"]]


@pytest.fixture(scope="module")
def families(tmp_path_factory, authority):
    issued = Issued(tmp_path_factory.mktemp("admin"), authority, address())
    more = ("--relay-proxy", f"http://{address()}:3128", "--allowed-host-source", f"https://{address()}:1/list")
    with Gateway(*more, *issued.flags) as gateway:
        until(lambda: b"ogw_source_serial{" in ask(gateway, "/metrics")[2])  # lists are looked after from the start on
        return list(text_string_to_metric_families(ask(gateway, "/metrics")[2].decode()))


def test_every_metric_that_is_asked_for_is_one_of_the_gateways(families):
    names = {sample.name for family in families for sample in family.samples}
    asked = {name for query in QUERIES for name in re.findall(r"\bogw_\w+", query)}
    assert asked and asked <= names


def test_every_metric_of_the_gateway_is_shown(families):
    shown = {re.sub("_(bucket|total)$", "", name) for query in QUERIES for name in re.findall(r"\bogw_\w+", query)}
    named = {family.name for family in families} - {"ogw_workers"}  # shown as those of them that are ready
    assert named <= shown


def test_every_legend_shows_labels_that_the_metric_has(families):
    labels = {label for family in families for sample in family.samples for label in sample.labels} | {"instance"}
    legends = " ".join(target["legendFormat"] for panel in PANELS for target in panel["targets"])
    assert set(re.findall(r"{{(\w+)}}", legends)) <= labels


def test_the_data_source_the_job_and_the_gateway_are_variables():
    assert VARIABLES == ["datasource", "job", "instance"]
    sources = [target["datasource"]["uid"] for panel in PANELS for target in [panel, *panel["targets"]]]
    assert set(sources) == {"${datasource}"}
    assert all('{job=~"$job",instance=~"$instance"' in query for query in QUERIES)
    assert set(re.findall(r"\$(\w+)", " ".join(QUERIES))) == {"job", "instance", "__rate_interval"}


def test_no_panel_lies_over_another_and_none_has_the_number_of_another():
    numbers = [panel["id"] for panel in DASHBOARD["panels"]]
    assert len(set(numbers)) == len(numbers)
    taken = set()
    for panel in DASHBOARD["panels"]:
        at = panel["gridPos"]
        cells = {(at["x"] + x, at["y"] + y) for x in range(at["w"]) for y in range(at["h"])}
        assert not cells & taken and at["x"] + at["w"] <= 24, panel["title"]
        taken |= cells


@pytest.mark.long
def test_every_query_is_promql(tmp_path):
    filled = [
        query.replace("$__rate_interval", "5m").replace("$job", ".*").replace("$instance", ".*") for query in QUERIES
    ]
    rules = [{"record": f"ogw:query:{number}", "expr": query} for number, query in enumerate(filled)]
    path = tmp_path / "rules.yml"
    path.write_text(yaml.safe_dump({"groups": [{"name": "queries", "rules": rules}]}))
    done = subprocess.run([peer("promtool"), "check", "rules", str(path)], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0 and f"SUCCESS: {len(QUERIES)} rules found" in done.stdout, (done.stdout, done.stderr)
