"""The container image: built on a base of Debian's packages, and run by podman with next to no rights."""

import contextlib
import json
import pathlib
import shutil
import socket
import ssl
import tarfile

import pytest
from harness.clones import clone, package
from harness.containers import Container, is_zombie, numbers_of
from harness.gateway import address, read_head
from harness.peers import peer
from harness.upstreams import Server, https, server_context
from harness.waiting import PATIENCE, until
from packing.calls import NotBuilt
from packing.image import engine_of

from ogw import __version__

pytestmark = [pytest.mark.long, pytest.mark.timeout(900)]

ROOT = pathlib.Path(__file__).parent.parent.parent
NAME = "www.bench.example"
# What OpenShift and the like allow: a user whom nobody knows, of group 0; a root that is read-only; no capability.
BARE = (
    *("--user", "1000680000", "--read-only", "--read-only-tmpfs=false", "--cap-drop", "all"),
    *("--security-opt", "no-new-privileges", "--memory", "128m", "--cpus", "0.5"),
)
TMP = ("--tmpfs", "/tmp:size=1m,mode=1777")
ALLOW = ("--env", f"OGW_ALLOWED_HOST={NAME} to=127.0.0.0/8")


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    """A clone of these sources."""
    return clone(tmp_path_factory.mktemp("tree") / "ogw")


@pytest.fixture(scope="module")
def image(built):
    return built[0]


@pytest.fixture
def server(authority, podman):
    """An HTTPS server on the containers' network."""
    with podman.network(), Server(https(server_context(authority, NAME), []), host=address()) as server:
        yield server


def hosts(server):
    """So that the gateway finds it."""
    return "--add-host", f"{NAME}:{server.host}"


@contextlib.contextmanager
def tunnel(authority):
    """An open tunnel to the server, and the TLS session in it; on the containers' network."""
    context = ssl.create_default_context()
    authority.configure_trust(context)
    with socket.create_connection(("127.0.0.1", 8080), timeout=60 * PATIENCE) as sock:
        sock.sendall(f"CONNECT {NAME}:443 HTTP/1.1\r\n\r\n".encode())
        assert read_head(sock).startswith(b"HTTP/1.1 200 ")
        with context.wrap_socket(sock, server_hostname=NAME) as session:
            yield session


def test_a_client_passes_through_one_that_may_do_nothing_else(podman, image, server, authority_file):
    with Container(podman, image, *BARE, *TMP, *ALLOW, *hosts(server)) as container:
        started = container.wait_for(101)
        assert started["workers"] == 1 and started["version"] == __version__  # half a core
        until(lambda: container.check_health() == "healthy")
        curl = [peer("curl"), "-sS", "--cacert", authority_file, "-x", "http://127.0.0.1:8080"]
        done = podman.inside(*curl, "--write-out", "%{http_code} %{size_download}", f"https://{NAME}/300000",
                             "--output", "/dev/null")  # fmt: skip
        assert done.stdout == "200 300000"
        assert container.wait_for(107) and container.wait_for(108)["bytes_down"] > 300_000
        status = container.run("cat", "/proc/1/status").stdout
        assert "CapBnd:\t0000000000000000" in status and "NoNewPrivs:\t1" in status
        assert "\nUid:\t1000680000\t" in status and "\nGid:\t0\t" in status
        assert "Read-only file system" in container.run("touch", "/opt/ogw/x", check=False).stderr
        assert container.run("ogw", "status").stdout.startswith(f"ogw {__version__} on ")


def test_a_stop_drains_it(podman, image, server, authority):
    """As SIGTERM of any engine: an open tunnel finishes, nobody new is sent there, and it ends with 0."""
    with (
        Container(podman, image, *BARE, *TMP, *ALLOW, *hosts(server), "--env", "OGW_DRAIN_TIMEOUT=1h") as container,
        podman.network(),
    ):
        until(lambda: container.check_health() == "healthy")
        with tunnel(authority) as session:
            session.sendall(b"PUT /1 HTTP/1.1\r\nContent-Length: 10\r\n\r\nfirst")
            container.signal("TERM")
            container.wait_for(110)
            assert container.run("ogw", "ready", check=False).stdout == "not ready: draining\n"
            assert [container.check_health() for _time in range(3)][-1] == "unhealthy"
            session.sendall(b" then")
            assert read_head(session).startswith(b"HTTP/1.1 200 OK")
        assert container.wait() == 0
        assert container.lines()[-1]["event"] == 102 and container.lines()[-1]["count"] == 0


def test_process_1_reaps_what_others_leave_behind(podman, image):
    with Container(podman, image, *BARE, *TMP) as container:
        container.wait_for(101)
        before = container.children()
        (inner,) = container.run("sh", "-c", "sleep 1000 >&- 2>&- & echo $!").stdout.split()
        orphans = until(lambda: container.children() - before)
        assert {str(numbers_of(pid)[-1]) for pid in orphans} == {inner}
        container.run("sh", "-c", f"kill {inner}")
        until(lambda: container.children() == before)
        assert not any(map(is_zombie, orphans))


def test_nothing_need_be_writable(podman, image):
    """No socket then: health is asked over TCP."""
    with Container(podman, image, *BARE) as container:
        container.wait_for(101)
        assert any(line["message"].startswith("run-dir: ") for line in container.lines())
        until(lambda: container.check_health() == "healthy")
        assert container.run("ogw", "ready").stdout == "ready\n"
        container.signal("TERM")
        assert container.wait() == 0


@pytest.mark.parametrize("name", ["relay-proxy-password", "relay-proxy-username", "relay-proxy-ca"])
def test_a_secret_that_cannot_be_read_is_said(podman, image, tmp_path, name):
    secret = tmp_path / "secret"
    secret.write_text("5ecret")
    secret.chmod(0o600)
    variable = f"OGW_{name.upper().replace('-', '_')}_FILE"
    for path, why in (("/run/secrets/it", "Permission denied"), ("/run/secrets/no", "No such file or directory")):
        given = ["--volume", f"{secret}:/run/secrets/it:ro", "--env", f"{variable}={path}"]
        done = podman("run", "--rm", "--network", "host", *BARE, *given, image, check=False)
        assert done.returncode == 2
        assert f"{variable}: " in done.stderr and f"{path}: {why}" in done.stderr and "5ecret" not in done.stderr
        assert all(json.loads(line)["event"] == 401 for line in done.stdout.splitlines()) and done.stdout


def test_an_ini_file_is_mounted_and_read_again(podman, image, tmp_path):
    folder = tmp_path / "ogw"
    folder.mkdir()
    (folder / "ogw.ini").write_text("[ogw]\nallowed-host = one.example.com\n")
    with Container(podman, image, *BARE, *TMP, "--volume", f"{folder}:/etc/ogw:ro") as container:
        before = container.wait_for(101)["policy"]
        (folder / "ogw.ini").write_text("[ogw]\nallowed-host = two.example.com\n")
        assert container.run("ogw", "reload").stdout.startswith("reloaded, changed: allowed-host; policy ")
        assert container.wait_for(109)["policy"] != before


def test_any_command_of_ogw_runs_in_it(podman, image):
    assert podman("run", "--rm", *BARE, "--network", "none", image, "version").stdout == f"ogw {__version__}\n"
    done = podman("run", "--rm", *BARE, "--network", "none", image, "check", "--allowed-host", "*", check=False)
    assert done.returncode == 2 and "--allowed-host" in done.stderr


def test_the_archive_is_the_image(built):
    name, archive = built
    assert archive.name.startswith(f"ogw-{__version__}-image-")
    with tarfile.open(archive) as packed:
        (one,) = json.load(packed.extractfile("manifest.json"))
        config = json.load(packed.extractfile(one["Config"]))["config"]
    assert one["RepoTags"] == [name] == [f"localhost/ogw:{__version__}"]
    assert config["User"] == "65532:65532" and config["Healthcheck"]["Test"] == ["CMD", "ogw", "ready"]
    assert (config["Entrypoint"], config["Cmd"]) == (["ogw"], ["run"])
    assert config["Labels"]["org.opencontainers.image.version"] == __version__


def test_the_compose_file_runs_it_with_no_more_rights(podman, image, tmp_path):
    program = peer("podman-compose")
    for name in ("iptables", "netavark"):  # with which podman makes the bridge that compose puts it on
        peer(name)
    file = shutil.copy2(ROOT / "conf" / "container" / "compose.yaml", tmp_path)
    compose = [program, "--file", file, "--project-name", "shop"]
    podman.inside(*compose, "up", "--detach")
    try:
        container = Container(podman, image, name="shop_ogw_1")
        started = container.wait_for(101)
        until(lambda: container.check_health() == "healthy")
        assert started["workers"] == 1
        known = container.known()
        limits = known["HostConfig"]
        assert known["ImageName"] == image and known["Config"]["User"] == "65532:65532"
        assert limits["ReadonlyRootfs"] and (limits["Memory"], limits["NanoCpus"]) == (256 << 20, 10**9)
        assert not known["EffectiveCaps"] and not known["BoundingCaps"]
        assert "NoNewPrivs:\t1" in container.run("cat", "/proc/1/status").stdout
        container.run("touch", "/var/lib/ogw/x")
        through = ["-x", "http://127.0.0.1:8080", "https://elsewhere.example/"]
        assert "403 Forbidden: host-not-allowed" in podman.inside(peer("curl"), "-sv", *through, check=False).stderr
    finally:
        podman.inside(*compose, "down")


def test_without_a_base_nothing_is_built(tree, podman):
    done = package(tree, "image", check=False)
    assert done.returncode == 1 and "an image needs a base: name one" in done.stderr
    done = package(tree, "image", "--engine", "podman", "--base", "localhost/none:1", check=False)
    assert done.returncode == 1 and "the base localhost/none:1 cannot be had: " in done.stderr
    assert "--debian trixie" in done.stderr and "Traceback" not in done.stderr
    assert podman("images", "--quiet", "localhost/none").stdout == ""


def test_without_an_engine_it_says_what_to_install(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(NotBuilt, match="podman or buildah or docker is needed to build an image"):
        engine_of("")
    with pytest.raises(NotBuilt, match="buildah is needed"):
        engine_of("buildah")
