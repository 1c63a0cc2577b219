"""conf/azure: templates whose columns are the fields of the schema, and queries of columns that there are."""

import json
import re

import pytest
from harness.gateway import ROOT
from harness.lines import SCHEMA

from ogw.report.events import CATALOGUE

CONF = ROOT / "conf" / "azure"
COLLECT = json.loads((CONF / "collect.json").read_text("utf-8"))
ALERTS = json.loads((CONF / "alerts.json").read_text("utf-8"))["resources"]
TABLE, _ENDPOINT, RULE = (resource["properties"] for resource in COLLECT["resources"])
COLUMNS = {column["name"]: column for column in TABLE["schema"]["columns"]}
FLOW = RULE["dataFlows"][0]
QUERIES = [
    "\n".join(line for line in query.splitlines() if not line.startswith("//"))
    for query in (CONF / "queries.kql").read_text("utf-8").split("\n\n")[1:]
]
QUERIES += [alert["properties"]["criteria"]["allOf"][0]["query"] for alert in ALERTS]
KINDS = {"string": "string", "integer": "long", "number": "real", "boolean": "boolean", "array": "dynamic"}
CASTS = {"string": "tostring", "long": "tolong", "real": "toreal", "boolean": "tobool", "dateTime": "todatetime"}


def column_of(field):
    return "TimeGenerated" if field == "time" else "".join(part.capitalize() for part in field.split("_"))


def kind_of(field):
    return "dateTime" if field == "time" else KINDS[SCHEMA["properties"][field].get("type", "integer")]


def test_the_table_has_a_column_for_every_field_of_a_line_and_no_other():
    assert set(COLUMNS) == {"Computer", *map(column_of, SCHEMA["properties"])}
    assert len(COLUMNS) == len(TABLE["schema"]["columns"])


@pytest.mark.parametrize("field", SCHEMA["properties"])
def test_a_column_is_of_the_kind_of_its_field_and_is_filled_from_it(field):
    column = COLUMNS[column_of(field)]
    assert column["type"] == kind_of(field)
    assert column["description"] == SCHEMA["properties"][field]["description"]
    cast = CASTS.get(column["type"])
    value = f"{cast}(line['{field}'])" if cast else f"line['{field}']"
    assert f" {column['name']} = {value}" in FLOW["transformKql"]


def test_names_and_streams_fit_together():
    assert TABLE["schema"]["name"] == "Ogw_CL"
    (source,) = RULE["dataSources"]["logFiles"]
    assert source["streams"] == FLOW["streams"] == list(RULE["streamDeclarations"])
    assert FLOW["outputStream"] == "Custom-Ogw_CL"
    assert FLOW["destinations"] == [RULE["destinations"]["logAnalytics"][0]["name"]]
    declared = {column["name"] for column in RULE["streamDeclarations"][source["streams"][0]]["columns"]}
    assert {"TimeGenerated", "RawData", "Computer"} <= declared
    # Log Analytics takes no others.
    assert all(re.fullmatch(r"[A-Za-z]\w{0,44}", name) and name not in ("Type", "Title", "Id") for name in COLUMNS)


@pytest.mark.parametrize("query", QUERIES, ids=range(len(QUERIES)))
def test_a_query_asks_for_columns_events_and_tokens_that_there_are(query):
    assert query.startswith("Ogw_CL")
    bare = re.sub(r'@?"[^"]*"', '""', query)
    made = set(re.findall(r"\b([A-Z]\w*) = ", bare))
    assert set(re.findall(r"\b[A-Z]\w*", bare)) <= {"Ogw_CL", *COLUMNS, *made}
    numbers = {
        int(number) for number in re.findall(r"\b\d{3}\b", " ".join(re.findall(r"Event (?:==|in) [^a-z]*", bare)))
    }
    assert numbers <= set(CATALOGUE)
    tokens = " ".join(re.findall(r"Reason (?:==|in|startswith) (\([^)]*\)|\"[^\"]*\")", query))
    known = SCHEMA["properties"]["reason"]["enum"]
    assert all(any(reason.startswith(token) for reason in known) for token in re.findall(r'"([^"]*)"', tokens))


def test_there_are_queries_and_alerts():
    assert len(QUERIES) == 7 + len(ALERTS) and len(ALERTS) == len({alert["name"] for alert in ALERTS}) >= 5


@pytest.mark.parametrize("alert", ALERTS, ids=lambda alert: alert["name"])
def test_an_alert_says_what_to_do(alert):
    said = alert["properties"]["description"]
    assert re.search(r"ogw (status|events \d{3})", said)
    assert {int(number) for number in re.findall(r"ogw events (\d+)", said)} <= set(CATALOGUE)
    assert alert["properties"]["severity"] in range(5)
