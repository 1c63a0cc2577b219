"""conf/prometheus and /metrics: what Prometheus' own programs say of them, and what they promise."""

import json
import os
import re
import signal
import subprocess

import pytest
import yaml
from harness.admin import ask, metrics
from harness.gateway import ROOT, Gateway, address, read_all
from harness.issued import Issued
from harness.peers import peer
from harness.prometheus import Prometheus
from harness.upstreams import Server, echo
from harness.waiting import until
from prometheus_client.parser import text_string_to_metric_families

from ogw.policy.decision import Reason
from ogw.report.events import CATALOGUE
from ogw.report.metrics import ADMIN_CAUSES, AUTH_RESULTS, AUTH_SCHEMES, TLS_VERSIONS

CONF = ROOT / "conf" / "prometheus"
RULES = yaml.safe_load((CONF / "ogw.rules.yml").read_text("utf-8"))
ALERTS = [rule for group in RULES["groups"] for rule in group["rules"]]
ALLOW = ("--allowed-host", "127.0.0.0/8 to=127.0.0.0/8")
OPEN_METRICS = "application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5"
NUMBERS = {str(number) for number in range(64)}
LABELS = {
    "cause": set(ADMIN_CAUSES),
    "decision": {"allowed", "refused", "reported"},
    "direction": {"up", "down"},
    "enforced": {"true", "false"},
    "event": {str(int(number)) for number in CATALOGUE},
    "proxy": NUMBERS,
    "reason": {reason.token for reason in Reason},
    "result": {"taken", "refused", "opened", "failed", *AUTH_RESULTS},
    "scheme": set(AUTH_SCHEMES),
    "source": NUMBERS,
    "version": set(TLS_VERSIONS.values()),
    "worker": NUMBERS,
}

RELAY = "http://proxy.example:3128"
LABELS["url"] = {RELAY, "others"}  # of relay proxies: the operator named them, and only so many are counted apart

INFOS = {"ogw_build_info": {"python", "version"}, "ogw_policy_info": {"policy"}}


def promtool(*words, stdin=b""):
    done = subprocess.run([peer("promtool"), *words], input=stdin, capture_output=True, timeout=60, cwd=CONF)
    assert done.returncode == 0 and not done.stderr, (done.stdout, done.stderr)
    return done.stdout.decode()


@pytest.fixture(scope="module")
def exposed(tmp_path_factory, authority):
    """/metrics of a gateway that uses all that there is: in the text format, and in OpenMetrics."""
    issued = Issued(tmp_path_factory.mktemp("admin"), authority, address())
    more = ("--relay-proxy", RELAY, "--allowed-host-source", f"https://{address()}:1/list")
    with Gateway(*ALLOW, *more, *issued.flags, workers=2) as gateway:
        until(lambda: b"ogw_source_serial{" in ask(gateway, "/metrics")[2])  # lists are looked after from the start on
        yield [ask(gateway, "/metrics", headers={"Accept": accept})[2] for accept in ("text/plain", OPEN_METRICS)]


@pytest.mark.long
def test_promtool_has_nothing_to_say_about_the_metrics(exposed):
    text, _open = exposed
    assert promtool("check", "metrics", stdin=text) == ""


def test_no_label_is_a_host_a_subject_or_an_address_and_all_are_bounded(exposed):
    seen = set()
    for family in text_string_to_metric_families(exposed[0].decode()):
        names = {name for sample in family.samples for name in sample.labels}
        if family.type == "histogram":
            assert names - {"url"} == {"le"}
            seen |= {("url", sample.labels["url"]) for sample in family.samples if "url" in names}
        elif family.name in INFOS:
            assert names == INFOS[family.name] and len(family.samples) == 1
        else:
            seen |= {label for sample in family.samples for label in sample.labels.items()}
    assert {(name, value) for name, value in seen if value not in LABELS.get(name, ())} == set()


def test_every_metric_says_what_it_is_in_a_sentence(exposed):
    families = list(text_string_to_metric_families(exposed[0].decode()))
    assert families and all(family.name.startswith("ogw_") for family in families)
    assert all(family.documentation.endswith(".") for family in families)


@pytest.mark.long
def test_promtool_takes_the_rules_and_the_configuration():
    assert "SUCCESS" in promtool("check", "rules", "ogw.rules.yml")
    assert "SUCCESS" in promtool("check", "config", "prometheus.yml")


@pytest.mark.long
def test_the_unit_tests_of_the_rules_pass():
    assert "SUCCESS" in promtool("test", "rules", "ogw.rules.test.yml")


@pytest.mark.parametrize("alert", ALERTS, ids=lambda alert: alert["alert"])
def test_an_alert_has_a_test_that_it_fires_and_that_it_does_not_and_says_what_to_do(alert):
    tests = yaml.safe_load((CONF / "ogw.rules.test.yml").read_text("utf-8"))["tests"]
    (test,) = [test for test in tests if test["name"] == alert["alert"]]
    assert all(f'alertname="{alert["alert"]}"' in one["expr"] for one in test["promql_expr_test"])
    assert [len(one["exp_samples"]) for one in test["promql_expr_test"]][:2] == [0, 1]
    assert {'instance="a"', 'instance="b"'} <= set(re.findall(r'instance="."', json.dumps(test).replace("\\", "")))
    said = alert["annotations"]
    assert alert["labels"]["severity"] in ("critical", "warning")
    fired = test["promql_expr_test"][1]["exp_samples"][0]["labels"]
    whose = "instance" if "instance=" in fired else "job"  # several gateways together have no instance
    assert said["summary"].startswith(f"{{{{ $labels.{whose} }}}}: ")
    assert re.search(r"ogw (status|fleet status|events \d{3})", said["description"])
    assert {int(number) for number in re.findall(r"ogw events (\d+)", said["description"])} <= set(CATALOGUE)


@pytest.mark.parametrize("alert", ALERTS, ids=lambda alert: alert["alert"])
def test_an_alert_asks_for_metrics_and_labels_that_there_are(exposed, alert):
    names = {sample.name for family in text_string_to_metric_families(exposed[0].decode()) for sample in family.samples}
    asked = set(re.findall(r"\bogw_\w+", alert["expr"]))
    assert asked <= names and (asked or alert["expr"].startswith('up{job="ogw"}'))
    for name, operator, value in re.findall(r'(\w+)(=~?)"([^"]*)"', alert["expr"]):
        if name != "job":
            pattern = value if operator == "=~" else re.escape(value)
            for choice in _choices(pattern):
                assert any(re.fullmatch(choice, known) for known in LABELS[name]), (name, choice)


def _choices(pattern):
    """The alternatives of a pattern, each on its own: one that fits nothing would go unnoticed among others."""
    inner = re.match(r"\(([^)]*)\)(.*?)(?:\|(.*))?$", pattern)
    if inner is None:
        return pattern.split("|")
    return [*(choice + inner[2] for choice in inner[1].split("|")), *(inner[3].split("|") if inner[3] else ())]


def test_no_counter_falls_when_a_worker_is_killed():
    with Server(echo) as upstream, Gateway(*ALLOW, workers=2) as gateway:
        for _ in range(20):
            with gateway.tunnel(upstream.target, rest=b"hello") as sock:
                assert sock.recv(5) == b"hello"
            with gateway.ask("www.example.com:443")[0] as sock:
                read_all(sock)
        held = [gateway.tunnel(upstream.target) for _ in range(10)]
        for number in range(4):
            before = metrics(gateway)
            os.kill(gateway.workers[number % 2], signal.SIGKILL)
            until(lambda n=number: metrics(gateway)["ogw_worker_deaths_total"] == n + 1)
            until(lambda: len(gateway.workers) == 2)
            after = metrics(gateway)
            counted = [name for name in before if re.match(r"\w+_(total|bucket|count|sum)\b", name)]
            assert {name: after[name] for name in counted if after[name] < before[name]} == {}
            assert after['ogw_requests_total{decision="allowed",reason="allowed"}'] == 30
        until(lambda: metrics(gateway)["ogw_tunnels_active"] == 0 == metrics(gateway)["ogw_clients_connected"])
        closed = {name: value for name, value in metrics(gateway).items() if name.startswith("ogw_tunnels_closed")}
        assert closed['ogw_tunnels_closed_total{reason="worker-died"}'] == 10 and sum(closed.values()) == 30
        for sock in held:
            sock.close()


def test_the_lines_that_the_supervisor_wrote_are_counted_too():
    with Gateway(*ALLOW) as gateway:
        until(lambda: metrics(gateway)["ogw_log_lines_total"] >= 1)


@pytest.mark.long
def test_a_real_prometheus_scrapes_the_gateway_answers_queries_and_fires(tmp_path):
    admin = f"{address()}:9180"
    config = yaml.safe_load((CONF / "prometheus.yml").read_text("utf-8"))
    config["scrape_configs"][0]["static_configs"][0]["targets"] = [admin]
    with Server(echo) as upstream, Gateway(*ALLOW, "--admin-address", admin) as gateway:
        with Prometheus(tmp_path, config) as prometheus:
            value = prometheus.value
            tunnels = [gateway.tunnel(upstream.target) for _ in range(7)]
            until(lambda: value("ogw_tunnels_active") == ["7"])
            assert value('up{job="ogw"}') == ["1"] and value("ogw_dial_seconds_count") == ["7"]
            for sock in tunnels:
                sock.close()
            until(lambda: value("ogw_tunnels_active") == ["0"])
            (target,) = prometheus.asked("targets")["activeTargets"]
            assert (target["health"], target["lastError"]) == ("up", "")
            # It asks for OpenMetrics, and only there an info metric has a type of its own.
            known = prometheus.asked("metadata?metric=ogw_build")
            assert known["ogw_build"][0]["type"] == "info"
            gateway.stop()
            until(lambda: value('ALERTS{alertname="OgwDown",alertstate="firing"}') == ["1"])
