"""Daemons that fetch images, told by the drop-in of docs/clients.md; they pull from a registry behind the gateway."""

import gzip
import hashlib
import io
import json
import shlex
import signal
import subprocess
import tarfile
import tempfile

import pytest
from harness.peers import peer, root
from harness.site import MANIFEST
from harness.waiting import PATIENCE, until

pytestmark = pytest.mark.long
IMAGE = "www.example.com/tiny:1"


@pytest.fixture(scope="module")
def registry(site):
    """A registry with one image, which has one file."""
    folder = site.folder / "v2" / "tiny"
    (folder / "blobs").mkdir(parents=True)
    (folder / "manifests").mkdir()
    (site.folder / "v2" / "index.html").write_text("{}")

    def keep(kind, data):
        name = f"sha256:{hashlib.sha256(data).hexdigest()}"
        (folder / "blobs" / name).write_bytes(data)
        return {"mediaType": kind, "size": len(data), "digest": name}

    layer = io.BytesIO()
    with tarfile.open(fileobj=layer, mode="w") as archive:
        archive.addfile(tarfile.TarInfo("file"))
    plain = f"sha256:{hashlib.sha256(layer.getvalue()).hexdigest()}"
    about = {"architecture": "amd64", "os": "linux", "config": {}, "rootfs": {"type": "layers", "diff_ids": [plain]}}
    manifest = {
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "config": keep("application/vnd.docker.container.image.v1+json", json.dumps(about).encode()),
        "layers": [keep("application/vnd.docker.image.rootfs.diff.tar.gzip", gzip.compress(layer.getvalue()))],
    }
    text = json.dumps(manifest).encode()
    for name in ("1", f"sha256:{hashlib.sha256(text).hexdigest()}"):
        (folder / "manifests" / name).write_bytes(text)


@pytest.fixture
def folder():
    """A short path: those of sockets have 107 characters."""
    with tempfile.TemporaryDirectory() as folder:
        yield folder


@pytest.fixture
def service(home):
    """A home whose environment is that of a service with the drop-in, as systemd makes it."""
    lines = home.page("Services of systemd").splitlines()
    assert lines[0] == "[Service]"
    for line in lines[1:]:
        home.environment |= dict(one.split("=", 1) for one in shlex.split(line.removeprefix("Environment=")))
    assert home.environment["HTTPS_PROXY"].startswith("http://127.")
    return home


@pytest.fixture
def start(service, folder):
    """Starts a daemon that keeps what it has in the folder, and stops it at the end of the test."""
    running = []

    def run(*command):
        log = (service.folder / "log").open("wb")
        running.append((subprocess.Popen(command, env=service.environment, stdout=log, stderr=log), log))

    yield run
    for process, log in running:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(30 * PATIENCE)
        finally:
            process.kill()
            log.close()


def answers(home, *command):
    """Wait until the daemon answers this question."""
    until(lambda: home.attempt(*command).returncode == 0, what=lambda: (home.folder / "log").read_text()[-2000:])


def test_docker_pulls_through_the_gateway(service, start, registry, site, folder):
    root()
    dockerd, unshare = peer("dockerd"), peer("unshare")
    own = f"--data-root {folder}/data --exec-root {folder}/run --pidfile {folder}/pid --host unix://{folder}/sock"
    network = "--bridge=none --iptables=false --ip6tables=false --ip-forward=false --ip-masq=false"
    # It would write a key into /etc/docker.
    hide = "mkdir -p /etc/docker && mount -t tmpfs none /etc/docker"
    start(unshare, "--mount", "sh", "-c", f"{hide} && exec {dockerd} {own} {network} --storage-driver=vfs")
    ask = (peer("curl"), "-sS", "--fail-with-body", "--noproxy", "*", "--unix-socket", f"{folder}/sock")
    answers(service, *ask, "http://docker/version")
    said = service.run(*ask, "-X", "POST", f"http://docker/images/create?fromImage={IMAGE.replace(':', '&tag=')}")
    assert "Downloaded newer image" in said
    assert IMAGE in service.run(*ask, "http://docker/images/json")
    service.write(".docker/config.json", service.page("Docker and containerd", 1))
    docker = (peer("docker"), "--host", f"unix://{folder}/sock")
    made = service.run(*docker, "create", IMAGE, "/file").strip()
    assert "HTTPS_PROXY=http://127." in service.run(*docker, "inspect", "--format", "{{.Config.Env}}", made)
    assert ("GET", "/v2/tiny/manifests/1") in site.asked or ("HEAD", "/v2/tiny/manifests/1") in site.asked


def test_ctr_of_containerd_pulls_through_the_gateway(service, start, registry, folder):
    root()
    places = f'version = 2\nroot = "{folder}/data"\nstate = "{folder}/run"\n[grpc]\naddress = "{folder}/sock"\n'
    start(peer("containerd"), "--config", service.write("config.toml", places))
    ctr = (peer("ctr"), "--address", f"{folder}/sock")
    answers(service, *ctr, "version")
    service.run(*ctr, "images", "pull", "--snapshotter", "native", IMAGE)
    assert IMAGE in service.run(*ctr, "images", "list", "--quiet")


def test_podman_pulls_through_the_gateway_by_itself(told, registry, folder):
    root()
    own = ("--root", f"{folder}/data", "--runroot", f"{folder}/run", "--tmpdir", f"{folder}/tmp")
    podman = (peer("podman"), *own, "--storage-driver", "vfs")
    told.run(*podman, "pull", "--quiet", IMAGE)
    assert IMAGE.partition(":")[0] in told.run(*podman, "images")
