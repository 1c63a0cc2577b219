"""conf/helm/ogw, as the real helm renders it: what a cluster would take, and with no more rights than it needs."""

import base64
import json
import math
import re

import kubernetes_validate
import pytest
import yaml
from harness.commands import ROOT, ogw
from harness.helm import CHART, container_of, helm, ini_of, one, pod_of, render, run

from ogw import __version__
from ogw.settings.kinds import duration
from ogw.settings.loader import load

pytestmark = pytest.mark.long

KUBERNETES = ("1.27", "1.30", "1.33")
OF_OPERATOR = {"ServiceMonitor", "PrometheusRule"}  # kinds that Kubernetes itself does not have
MANY = 1_000_000
EVERYTHING = {
    "image": {"digest": f"sha256:{'0' * 64}", "pullSecrets": [{"name": "registry"}]},
    "settings": {
        **{"allowed-host": ["www.example.com", "*.example.org"], "workers": 2, "admin-page": True},
        **{"relay-proxy": "http://proxy.example.com:3128", "relay-proxy-username": "gateway"},
    },
    "relayProxyPassword": {"value": "5ecret"},
    "service": {
        **{"type": "LoadBalancer", "annotations": {"a.example/b": "true"}, "sourceRanges": ["10.0.0.0/8"]},
        **{"loadBalancerClass": "example.com/internal", "nodePort": 30080, "ipFamilyPolicy": "PreferDualStack"},
    },
    "antiAffinity": "required",
    "autoscaling": {
        "enabled": True,
        "metrics": [
            {
                "type": "Pods",
                "pods": {
                    "metric": {"name": "ogw_tunnels_active"},
                    "target": {"type": "AverageValue", "averageValue": "3000"},
                },
            }
        ],
    },
    "metrics": {
        "enabled": True,
        "serviceMonitor": {"enabled": True, "labels": {"release": "prometheus"}, "endpoint": {"scheme": "https"}},
        "prometheusRule": {"enabled": True, "labels": {"release": "prometheus"}},
    },
    "networkPolicy": {
        "enabled": True,
        "clients": [{"ipBlock": {"cidr": "10.0.0.0/8"}}],
        "monitoring": [{"namespaceSelector": {"matchLabels": {"name": "monitoring"}}}],
        "targetPorts": [443, 3128],
    },
    "podAnnotations": {"example.com/team": "network"},
    "podLabels": {"team": "network"},
    "podSecurityContext": {"runAsUser": 1000680000},
    "nodeSelector": {"kubernetes.io/os": "linux"},
    "tolerations": [{"key": "edge", "operator": "Exists"}],
    "priorityClassName": "system-cluster-critical",
    "env": [{"name": "SSL_CERT_FILE", "value": "/ca/ca.pem"}],
    "volumes": [{"name": "ca", "configMap": {"name": "ca"}}],
    "volumeMounts": [{"name": "ca", "mountPath": "/ca", "readOnly": True}],
}
USER = {"relay-proxy-username": "gateway"}
NOTHING = {
    "settings": {"drain-delay": "0s"},
    "podDisruptionBudget": {"enabled": False},
    "antiAffinity": "off",
}
WAYS = {"as shipped": {}, "everything": EVERYTHING, "nothing": NOTHING}

each_way = pytest.mark.parametrize("values", WAYS.values(), ids=WAYS)


@each_way
def test_helm_has_nothing_to_say_about_it(values):
    said = helm("lint", CHART, "--strict", values=values).stdout
    assert "1 chart(s) linted, 0 chart(s) failed" in said and "[WARNING]" not in said and "[ERROR]" not in said


@each_way
@pytest.mark.parametrize("version", KUBERNETES)
def test_it_is_what_kubernetes_takes(values, version):
    rendered = render(values, kubernetes=version)
    for each in rendered:
        if each["kind"] not in OF_OPERATOR:
            kubernetes_validate.validate(each, version, strict=True)


@each_way
def test_kubectl_knows_every_field(values):
    """What its own types do not have would be gone from what it gives back."""
    rendered = [each for each in render(values) if each["kind"] not in OF_OPERATOR]
    words = ("patch", "--local", "--filename=-", "--patch={}", "--output=jsonpath={}")
    for before in rendered:
        back = json.loads(run("kubectl", *words, stdin=json.dumps(before)).stdout)
        assert lost(before, back) == []


def lost(before, after, path=""):
    """The paths of values that are not in what came back."""
    if isinstance(before, dict):
        known = after if isinstance(after, dict) else {}
        return [gone for key in before for gone in lost(before[key], known.get(key), f"{path}.{key}")]
    if isinstance(before, list) and isinstance(after, list) and len(before) == len(after):
        return [gone for pair in zip(before, after, strict=True) for gone in lost(*pair, f"{path}[]")]
    return [] if before == after else [path]


# Rights.


@each_way
def test_the_pod_is_restricted_field_by_field(values):
    """As the Pod Security Standards have it, https://kubernetes.io/docs/concepts/security/pod-security-standards/."""
    pod = pod_of(render(values))
    assert not {"hostNetwork", "hostPID", "hostIPC", "initContainers", "ephemeralContainers"} & pod.keys()
    for volume in pod["volumes"]:
        assert volume.keys() - {"name"} <= {"configMap", "secret", "emptyDir", "projected", "downwardAPI"}
    own = pod["securityContext"]
    assert own["runAsNonRoot"] is True and own["seccompProfile"] == {"type": "RuntimeDefault"}
    assert own.keys() <= {"runAsNonRoot", "seccompProfile", "runAsUser", "fsGroup"} and own.get("runAsUser") != 0
    (container,) = pod["containers"]
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert all("hostPort" not in port for port in container["ports"])
    assert "/" not in [mount["mountPath"] for mount in container["volumeMounts"]]
    assert pod["automountServiceAccountToken"] is False and pod["enableServiceLinks"] is False
    writable = {mount["name"] for mount in container["volumeMounts"] if not mount.get("readOnly")}
    assert writable == {"run", "state"}


# The settings.


def config_of(rendered, tmp_path, **variables):
    """What ogw makes of the ConfigMap, as in the pod."""
    file = tmp_path / "ogw.ini"
    file.write_text(ini_of(rendered))
    given = {each["name"]: each["value"].replace("$(POD_IP)", "10.1.2.3") for each in container_of(rendered)["env"][1:]}
    return load(["--config", str(file)], {**given, **variables})


@each_way
def test_ogw_takes_the_ini_file(values, tmp_path):
    config = config_of(render({**values, "relayProxyPassword": {"value": ""}}), tmp_path)
    assert config.reload_on_change == "yes" and config.health_address == ("10.1.2.3", 9181)
    assert (config.run_dir, config.state_dir) == ("/run/ogw", "/var/lib/ogw")
    is_open = values.get("metrics", {}).get("enabled", False)
    assert config.admin_address == (("10.1.2.3", 9180) if is_open else ("127.0.0.1", 9180))


def test_settings_of_every_kind_come_through(tmp_path):
    settings = {
        "allowed-host": ["www.example.com", 'till.example.com from=10.1.0.0/16 note="a: b # c"'],
        "denied-host": "one.example.com",
        "allowed-port": [443, 8443],
        "preset": [],
        "max-tunnels": MANY,
        "log-every-refusal": True,
        "reload-rechecks-tunnels": "no",
        "tls-min-version": "1.0",
        "drain-timeout": 90,
    }
    config = config_of(render({"settings": settings}), tmp_path)
    assert [rule.note for rule in config.allowed_host] == ["", "a: b # c"]
    assert len(config.denied_host) == 1 and config.allowed_port == (443, 8443) and config.max_tunnels == MANY
    assert (config.log_every_refusal, config.reload_rechecks_tunnels) == ("yes", "no")
    assert config.tls_min_version == load(["--tls-min-version", "1.0"], {}).tls_min_version
    assert (config.drain_delay, config.drain_timeout) == (5, 90)


def test_only_a_setting_that_needs_a_restart_changes_the_pods():
    def pods(**settings):
        rendered = render({"settings": settings})
        return one(rendered, "Deployment")["spec"]["template"], ini_of(rendered)

    pods_before, ini_before = pods()
    for name, value in (("allowed-host", ["www.example.com"]), ("log-level", "debug"), ("max-tunnels", 7)):
        pods_now, ini_now = pods(**{name: value})
        assert pods_now == pods_before and ini_now != ini_before, name
    for name, value in (("workers", 2), ("log-format", "text"), ("listen-port", 3128), ("drain-delay", "9s")):
        pods_now, _ini = pods(**{name: value})
        assert pods_now != pods_before, name


@pytest.mark.parametrize(
    ("delay", "timeout"),
    [("5s", "60s"), ("0s", "20s"), ("1500ms", "1h"), ("2m", 0), (0, "1d"), (10, "7"), ("0.2s", "1.5m")],
)
def test_the_stop_of_a_pod_follows_from_the_settings(delay, timeout):
    rendered = render({"settings": {"drain-delay": delay, "drain-timeout": timeout}})
    waits = math.ceil(duration(0)(str(delay)))
    pod = pod_of(rendered)
    assert pod["terminationGracePeriodSeconds"] == 2 * waits + math.ceil(duration(0)(str(timeout))) + 10
    hook = {"preStop": {"exec": {"command": ["sleep", str(waits)]}}}
    assert container_of(rendered).get("lifecycle") == (hook if waits else None)


def test_without_them_it_is_as_with_what_ogw_takes_then(tmp_path):
    rendered = render({"settings": {"drain-delay": None, "drain-timeout": None}})
    assert "drain" not in ini_of(rendered)
    config = config_of(rendered, tmp_path)
    assert config.drain_delay is None  # auto: readiness is asked for, so 5 s
    grace = pod_of(rendered)["terminationGracePeriodSeconds"]
    assert grace == 2 * 5 + config.drain_timeout + 10


def test_who_asks_for_readiness_has_noticed_before_the_door_closes():
    rendered = render()
    probe = container_of(rendered)["readinessProbe"]
    notices = probe["periodSeconds"] * probe["failureThreshold"]
    assert notices < 5 and "drain-delay = 5s\n" in ini_of(rendered)


def test_the_docs_tell_of_the_stop_as_it_is():
    pod = pod_of(render())
    page = (ROOT / "docs" / "kubernetes.md").read_text("utf-8")
    assert f"| at most {pod['terminationGracePeriodSeconds']} (`terminationGracePeriodSeconds`) |" in page
    assert "| 0 to 5 (`drain-delay`) |" in page and "| 10 to 70 (`drain-timeout`) |" in page


def test_values_in_the_docs_are_values():
    page = (ROOT / "docs" / "kubernetes.md").read_text("utf-8")
    known = yaml.safe_load((CHART / "values.yaml").read_text("utf-8")).keys()
    blocks = re.findall(r"(?<=\n\n)(?:    .+\n)+", page)
    shown = [values for values in map(mapping_of, blocks) if values and values.keys() <= known]
    assert len(shown) == 3
    for values in shown:
        assert render(values)


def mapping_of(block):
    """The mapping that an indented block is, {} for none."""
    try:
        value = yaml.safe_load(block)
    except yaml.YAMLError:
        return {}
    return value if isinstance(value, dict) else {}


# Options.


def kinds(values=None):
    return sorted(each["kind"] for each in render(values))


ALWAYS = ["ConfigMap", "Deployment", "Service"]
OPTIONS = {
    "HorizontalPodAutoscaler": {"autoscaling": {"enabled": True}},
    "NetworkPolicy": {"networkPolicy": {"enabled": True}},
    "Secret": {"relayProxyPassword": {"value": "5ecret"}, "settings": USER},
    "ServiceMonitor": {"metrics": {"enabled": True, "serviceMonitor": {"enabled": True}}},
    "PrometheusRule": {"metrics": {"prometheusRule": {"enabled": True}}},
}


def test_each_option_is_on_or_off():
    assert kinds() == [*ALWAYS[:2], "PodDisruptionBudget", ALWAYS[2]]
    assert kinds(NOTHING) == ALWAYS
    for kind, values in OPTIONS.items():
        more = ["Service"] * values.get("metrics", {}).get("enabled", False)
        assert kinds({**values, "podDisruptionBudget": {"enabled": False}}) == sorted([*ALWAYS, kind, *more])


def test_prometheus_is_told_what_else_it_needs_to_ask():
    more = {"scheme": "https", "authorization": {"credentials": {"name": "ogw-token", "key": "token"}}}
    values = {"metrics": {"enabled": True, "serviceMonitor": {"enabled": True, "endpoint": more}}}
    (monitor,) = [each for each in render(values) if each["kind"] == "ServiceMonitor"]
    plain = {"port": "admin", "path": "/metrics", "interval": "30s"}
    assert monitor["spec"]["endpoints"] == [{**plain, **more}]


def test_a_service_keeps_the_clients_addresses_where_it_can():
    def service(kind):
        return one(render({"service": {"type": kind}}), "Service")["spec"]

    assert "externalTrafficPolicy" not in service("ClusterIP")
    assert service("NodePort")["externalTrafficPolicy"] == service("LoadBalancer")["externalTrafficPolicy"] == "Local"
    everything = one(render(EVERYTHING), "Service", "ogw")
    assert everything["spec"]["loadBalancerSourceRanges"] == ["10.0.0.0/8"]
    assert everything["metadata"]["annotations"] == {"a.example/b": "true"}


def test_with_an_autoscaler_the_deployment_does_not_say_how_many():
    rendered = render(EVERYTHING)
    assert "replicas" not in one(rendered, "Deployment")["spec"]
    scaler = one(rendered, "HorizontalPodAutoscaler")["spec"]
    assert (scaler["minReplicas"], scaler["maxReplicas"]) == (2, 6)
    assert [metric["type"] for metric in scaler["metrics"]] == ["Resource", "Pods"]
    assert scaler["scaleTargetRef"]["name"] == one(rendered, "Deployment")["metadata"]["name"]
    assert one(render(), "Deployment")["spec"]["replicas"] == 2


def test_the_password_is_a_file_and_nothing_else():
    for values in ({"value": "5ecret: x"}, {"existingSecret": "relay-proxy", "key": "it"}):
        rendered = render({"relayProxyPassword": values, "settings": USER})
        name, key = values.get("existingSecret", "ogw"), values.get("key", "password")
        (volume,) = [each for each in pod_of(rendered)["volumes"]
                     if "secret" in each]  # fmt: skip
        assert volume["secret"] == {"secretName": name, "defaultMode": 0o440}
        assert f"\nrelay-proxy-password-file = /etc/ogw-secret/{key}\n" in ini_of(rendered)
        assert "5ecret" not in yaml.safe_dump_all([each for each in rendered if each["kind"] != "Secret"])
    secret = one(render({"relayProxyPassword": {"value": "5ecret: x"}, "settings": USER}), "Secret")
    assert base64.b64decode(secret["data"]["password"]) == b"5ecret: x"


def test_the_file_is_for_a_group_that_the_cluster_may_choose():
    for group, given in ((65532, {}), (7, {"group": 7}), (None, {"group": 0})):
        rendered = render({"relayProxyPassword": {"existingSecret": "relay-proxy", **given}, "settings": USER})
        assert pod_of(rendered)["securityContext"].get("fsGroup") == group
    assert "fsGroup" not in pod_of(render())["securityContext"]


def test_the_alerts_are_those_of_conf_prometheus():
    rules = yaml.safe_load((ROOT / "conf" / "prometheus" / "ogw.rules.yml").read_text("utf-8"))
    assert one(render(EVERYTHING), "PrometheusRule")["spec"] == rules
    # They know the gateways by this job.
    monitor = one(render(EVERYTHING), "ServiceMonitor")
    service = one(render(EVERYTHING), "Service", "ogw-metrics")
    assert service["metadata"]["labels"][monitor["spec"]["jobLabel"]] == "ogw"
    assert monitor["spec"]["selector"]["matchLabels"].items() <= service["metadata"]["labels"].items()


def test_what_selects_pods_selects_these_alone():
    rendered = render(EVERYTHING, name="shop")
    labels = one(rendered, "Deployment")["spec"]["template"]["metadata"]["labels"]
    selectors = [*found(rendered, "matchLabels"), *found(rendered, "selector")]
    ours = [each for each in selectors if "app.kubernetes.io/name" in each]
    assert len(ours) >= 7 and all(each["app.kubernetes.io/instance"] == "shop" for each in ours)
    assert all(each.items() <= labels.items() for each in ours if "app.kubernetes.io/component" not in each)
    assert {each["metadata"]["name"] for each in rendered} == {"shop-ogw", "shop-ogw-metrics"}


def found(value, key):
    """All values of a key, wherever."""
    if isinstance(value, dict):
        yield from ([value[key]] if isinstance(value.get(key), dict) else [])
    for inner in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from found(inner, key)


def test_the_notes_say_what_to_type_next():
    def notes(values):
        said = helm("install", "ogw", CHART, "--dry-run=client", "--namespace", "ns", values=values).stdout
        return said.partition("NOTES:\n")[2]

    shipped = notes({})
    assert "No host is allowed yet" in shipped and "helm upgrade ogw CHART -n ns" in shipped
    assert "kubectl -n ns rollout status deployment/ogw" in shipped and "http://ogw.ns.svc:8080" in shipped
    everything = notes(EVERYTHING)
    assert "No host" not in everything and "kubectl -n ns get service/ogw" in everything


def test_the_chart_is_of_this_version():
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text("utf-8"))
    assert chart["appVersion"] == __version__


# Bad values.

BAD = [
    ({"replica": 3}, "additional properties 'replica' not allowed"),
    ({"replicas": "two"}, "'/replicas': got string, want integer"),
    ({"replicas": 0}, "'/replicas': minimum: got 0, want 1"),
    ({"image": {"digest": "sha256:12"}}, "'/image/digest': 'sha256:12' does not match pattern"),
    ({"service": {"type": "Load"}}, "'/service/type': value must be one of 'ClusterIP', 'NodePort', 'LoadBalancer'"),
    ({"service": {"sourceRanges": ["10.1.2.3"]}}, "'/service/sourceRanges/0': '10.1.2.3' does not match pattern"),
    ({"settings": {"allowed-host": [{"name": "x"}]}}, "'/settings/allowed-host"),
    ({"settings": {"allowed-host": "x\ny"}}, "'/settings/allowed-host"),
    ({"settings": {"tls-min-version": 1.2}}, "'/settings/tls-min-version': value must be one of '1.0', '1.1'"),
    ({"settings": {"listen-port": 443}}, "'/settings/listen-port': minimum: got 443, want 1,024"),
    ({"relayProxyPassword": {"existingSecret": "a", "value": "b"}}, "'/relayProxyPassword': 'not' failed"),
    ({"antiAffinity": "must"}, "'/antiAffinity': value must be one of 'preferred', 'required', 'off'"),
    ({"podDisruptionBudget": {"maxUnavailable": 0}}, "'/podDisruptionBudget/maxUnavailable"),
    ({"networkPolicy": {"targetPorts": [0]}}, "'/networkPolicy/targetPorts/0': minimum: got 0, want 1"),
    # What the schema does not know, the templates say.
    ({"settings": {"alowed-host": "x"}}, "settings.alowed-host: ogw has no such setting; docs/settings.md lists all"),
    ({"settings": {"run-dir": "/x"}}, "settings.run-dir: the chart sets it; docs/kubernetes.md says by which value"),
    ({"settings": {"log-level": ["a"]}}, "settings.log-level: takes one value, not a list"),
    ({"settings": {"drain-delay": "auto"}}, "settings.drain-delay: auto is no duration, such as 5s or 1m"),
    ({"relayProxyPassword": {"value": "x"}}, "relayProxyPassword: settings.relay-proxy-username is needed, too"),
    ({"autoscaling": {"enabled": True, "min": 7}}, "autoscaling.min: 7 is more than autoscaling.max, 6"),
    ({"metrics": {"serviceMonitor": {"enabled": True}}}, "there is nothing to scrape without metrics.enabled"),
]


@pytest.mark.parametrize(("values", "said"), BAD, ids=[said for _values, said in BAD])
def test_a_bad_value_is_refused_with_what_is_wrong(values, said):
    done = helm("template", "ogw", CHART, values=values, check=False)
    assert done.returncode != 0 and said in done.stderr and done.stdout == ""


def test_ogw_checks_what_the_schema_cannot(tmp_path):
    """As docs/kubernetes.md says."""
    file = tmp_path / "ogw.ini"
    file.write_text(ini_of(render({"settings": {"allowed-host": ["*.com"]}})))
    done = ogw("check", "--config", file)
    assert done.returncode == 2 and "'*.com' is too wide" in done.stderr
