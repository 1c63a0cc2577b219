"""Pods of a rendered Deployment, which podman runs as a kubelet would."""

import base64
import contextlib
import copy
import http.client

import yaml
from harness.containers import Container
from harness.helm import container_of, ini_of, one, pod_of
from harness.mounted import Mounted
from harness.waiting import until

NETWORK = "pods"
SUBNET = "10.89.77.{}"  # .1 is this side of the bridge
# What podman 4.3 does not know, or knows otherwise: the kubelet's part is done here.
LEFT_OUT = ("affinity", "topologySpreadConstraints", "terminationGracePeriodSeconds")
OF_KUBELET = ("startupProbe", "readinessProbe", "livenessProbe", "lifecycle")
AS_HOST_PORTS = ("ports",)  # it would publish all of them


class Pod(Container):
    """One that runs what the Deployment says. Use as a context manager: it is removed.

    config   its mounted ConfigMap (harness/mounted.py)
    address  its own
    """

    def __init__(self, podman, rendered, folder, number):
        self._pod = f"ogw-{number}"
        super().__init__(podman, "", name=f"{self._pod}-pod-0-ogw")
        self._rendered = rendered
        self._folder = folder
        self.address = SUBNET.format(10 + number)
        folder.mkdir()
        self.config = Mounted(folder / "config", {"ogw.ini": ini_of(rendered)})
        for secret in [each for each in rendered if each["kind"] == "Secret"]:
            files = {name: base64.b64decode(text).decode() for name, text in secret["data"].items()}
            Mounted(folder / "secret", files, pod_of(rendered)["securityContext"]["fsGroup"])

    def __enter__(self):
        file = self._folder / "pod.yaml"
        file.write_text(yaml.safe_dump(self._for_podman()))
        self._podman("play", "kube", "--network", NETWORK, "--ip", self.address, file)
        return self

    def __exit__(self, *exception):
        self._podman("pod", "rm", "--force", "--time", "0", f"{self._pod}-pod-0", check=False)

    def _for_podman(self):
        """The Deployment without the kubelet's part, and with folders of this machine for its volumes."""
        deployment = copy.deepcopy(one(self._rendered, "Deployment"))
        deployment["metadata"]["name"] = self._pod
        deployment["spec"]["replicas"] = 1
        pod = deployment["spec"]["template"]["spec"]
        pod["restartPolicy"] = "Never"  # podman would begin one anew that a test ends
        for name in LEFT_OUT:
            pod.pop(name, None)
        (container,) = pod["containers"]
        for name in (*OF_KUBELET, *AS_HOST_PORTS):
            container.pop(name, None)
        container["env"] = [
            {"name": each["name"], "value": each.get("value", "").replace("$(POD_IP)", self.address)}
            for each in container["env"]
        ]
        pod["volumes"] = [self._volume(each) for each in pod["volumes"]]
        return deployment

    def _volume(self, volume):
        folder = self._folder / volume["name"]
        if "emptyDir" in volume:
            folder.mkdir()
            folder.chmod(0o777)
        return {"name": volume["name"], "hostPath": {"path": str(folder), "type": "Directory"}}

    # The kubelet.

    def answers(self, name):
        """Whether one of its probes would succeed just now."""
        container = container_of(self._rendered)
        asked = container[name]["httpGet"]
        port = next(each["containerPort"] for each in container["ports"] if each["name"] == asked["port"])
        with self._podman.network(), contextlib.suppress(OSError):
            seconds = container[name].get("timeoutSeconds", 1)
            connection = http.client.HTTPConnection(self.address, port, timeout=seconds)
            with contextlib.closing(connection):
                connection.request("GET", asked["path"])
                return 200 <= connection.getresponse().status < 400
        return False

    def becomes_ready(self):
        """Within what its startup probe gives it."""
        probe = container_of(self._rendered)["startupProbe"]
        until(lambda: self.answers("startupProbe"), seconds=probe["periodSeconds"] * probe["failureThreshold"])
        until(lambda: self.answers("readinessProbe"))

    def terminate(self):
        """preStop, SIGTERM, and SIGKILL when the grace period is over: its exit code."""
        container = container_of(self._rendered)
        grace = pod_of(self._rendered)["terminationGracePeriodSeconds"]
        if "lifecycle" in container:
            self.run(*container["lifecycle"]["preStop"]["exec"]["command"])
        self._podman("stop", "--time", grace, self._name)
        return self.state()["ExitCode"]
