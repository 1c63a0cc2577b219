"""Two real gateways, from afar: Prometheus scrapes them by TLS and with a token, and their difference is seen."""

import json

import pytest
import yaml
from harness.admin import ask
from harness.commands import ogw
from harness.gateway import ROOT, Gateway, address
from harness.issued import Issued
from harness.prometheus import Prometheus
from harness.waiting import until

TOKEN = "0123456789abcdef"
DASHBOARD = json.loads((ROOT / "conf" / "grafana" / "ogw.json").read_text("utf-8"))


def panel(title):
    """The query of a panel, with its variables filled in as they are for all gateways."""
    (found,) = [one for one in DASHBOARD["panels"] if one["title"] == title]
    return found["targets"][0]["expr"].replace("$job", ".*").replace("$instance", ".*")


@pytest.mark.long
def test_two_policies_are_found_by_the_dashboard_the_alert_and_the_command(tmp_path, authority, authority_file):
    token = tmp_path / "token"
    Issued.put(token, f"{TOKEN}\n".encode())
    hosts = [address(), address()]
    ini = [tmp_path / f"{host}.ini" for host in hosts]
    for file in ini:
        file.write_text("[ogw]\nallowed-host = www.example.com\n")
    (tmp_path / "gateways.json").write_text(json.dumps([{"targets": [f"{host}:9180" for host in hosts]}]))
    config = yaml.safe_load((ROOT / "conf" / "prometheus" / "fleet.yml").read_text("utf-8"))
    scrape = config["scrape_configs"][0]
    scrape["authorization"]["credentials_file"] = str(token)
    scrape["tls_config"]["ca_file"] = authority_file
    scrape["file_sd_configs"][0]["files"] = [f"{tmp_path}/*.json"]
    flags = [
        ["--config", str(file), "--admin-address", host, "--admin-token-file", str(token),
         *Issued(tmp_path, authority, host).flags]
        for host, file in zip(hosts, ini, strict=True)
    ]  # fmt: skip
    urls = [f"https://{host}:9180" for host in hosts]
    status = ["fleet", "status", *urls, "--token-file", token, "--ca", authority_file]
    with Gateway(*flags[0]), Gateway(*flags[1]) as second, Prometheus(tmp_path, config) as prometheus:
        until(lambda: prometheus.value("count(ogw_build_info)") == ["2"], what=lambda: prometheus.asked("targets"))
        assert prometheus.value(panel("Policies in force")) == ["1"]
        assert ogw(*status).returncode == 0
        ini[1].write_text("[ogw]\nallowed-host = other.example.com\n")
        assert ogw("reload", "--run-dir", second.run_dir).returncode == 0
        until(lambda: prometheus.value(panel("Policies in force")) == ["2"])
        assert prometheus.value(panel("Versions")) == ["1"]
        assert sorted(prometheus.value(panel("Gateways, by policy"))) == ["1", "1"]
        until(lambda: prometheus.value('ALERTS{alertname="OgwPoliciesDiffer",alertstate="firing"}') == ["1"])
        done = ogw(*status)
        assert done.returncode == 1 and "the policies differ" in done.stdout
        # A token that was taken out of the gateway's file: Prometheus sees it as down, and says why.
        Issued.put(tmp_path / "other", b"fedcba9876543210\n")
        (tmp_path / "other").rename(token)
        until(lambda: ask(second, "/metrics", tcp=None)[0] == 200)
        until(lambda: prometheus.value('up{job="ogw"}') == ["1", "1"])  # both read the same file anew
