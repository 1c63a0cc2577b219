"""What programs of several languages do, told as docs/clients.md says: its code is run. And npm, which is one."""

import io
import json
import os
import subprocess
import sys
import tarfile

import pytest
import requests
from harness.peers import peer
from harness.waiting import PATIENCE

NAME = "www.example.com"
URL = f"https://{NAME}/"
HERE = "here it is\n"  # at that URL
REQUESTS = "import requests, sys; print(requests.get(sys.argv[1]).status_code)"
URLLIB = "import urllib.request, sys; print(urllib.request.urlopen(sys.argv[1]).status)"
HTTPX = "import httpx, sys; print(httpx.get(sys.argv[1]).status_code)"
FETCH = "console.log((await fetch(process.argv[2])).status)"
UNDICI = "undici@6"
JAVA = """
import java.net.URI;
import java.net.http.*;

public class App {
    public static void main(String[] a) throws Exception {
        var request = HttpRequest.newBuilder(URI.create(a[0])).build();
        var answer = HttpClient.newHttpClient().send(request, HttpResponse.BodyHandlers.discarding());
        var other = (javax.net.ssl.HttpsURLConnection) URI.create(a[0]).toURL().openConnection();
        System.out.println(answer.statusCode() + " " + other.getResponseCode());
    }
}
"""


@pytest.fixture(scope="module")
def registry(site):
    """A registry of npm with one package that is empty."""
    about = {"name": "tiny-package", "version": "1.0.0"}
    text = json.dumps(about).encode()
    with tarfile.open(site.folder / "tiny-package-1.0.0.tgz", "w:gz") as archive:
        entry = tarfile.TarInfo("package/package.json")
        entry.size = len(text)
        archive.addfile(entry, io.BytesIO(text))
    version = {**about, "dist": {"tarball": f"{URL}tiny-package-1.0.0.tgz"}}
    of_package = {"name": "tiny-package", "dist-tags": {"latest": "1.0.0"}, "versions": {"1.0.0": version}}
    (site.folder / "tiny-package").write_text(json.dumps(of_package))


def python(home, code, *words, **variables):
    return home.run(sys.executable, "-c", code, *words, **variables)


@pytest.mark.parametrize("code", [REQUESTS, URLLIB], ids=["requests", "urllib"])
def test_a_library_of_python_reads_the_variables(code, told):
    assert python(told, code, URL) == "200\n"


def test_http_client_is_told_in_the_code(home):
    assert python(home, home.page("Python", 1)) == "200\n"


def test_requests_says_why_it_was_refused(gateway):
    with requests.Session() as session:
        with pytest.raises(requests.exceptions.ProxyError, match="403 Forbidden: host-not-allowed"):
            session.get("https://elsewhere.example/", proxies={"https": gateway.url}, timeout=30)


@pytest.mark.long
@pytest.mark.parametrize("name", ["httpx", "aiohttp"])
def test_a_library_of_python_that_the_tests_do_not_need_otherwise(name, told, of_pypi):
    code = HTTPX if name == "httpx" else told.page("Python")
    assert python(told, code, URL, PYTHONPATH=str(of_pypi)) == "200\n"


@pytest.mark.long
def test_aiohttp_that_is_not_told_goes_straight(told, site, of_pypi):
    """To an address for which the gateway has no rule: it would refuse it."""
    code = told.page("Python").replace(NAME, site.host)
    done = told.attempt(sys.executable, "-c", code, PYTHONPATH=str(of_pypi))
    assert "host-not-allowed" in done.stderr
    assert python(told, code.replace("trust_env=True", ""), PYTHONPATH=str(of_pypi)) == "200\n"


@pytest.mark.long
def test_a_transport_of_go_reads_the_variables(told):
    told.write("go.mod", "module example.com/fetch\n\ngo 1.19\n")
    told.write("main.go", told.page("Go"))
    own = {"GOFLAGS": "-mod=mod", "GOPROXY": "off", "GOTOOLCHAIN": "local", "CGO_ENABLED": "0"}
    assert told.run(peer("go"), "run", "main.go", **own) == "200\n"


@pytest.mark.long
def test_fetch_of_an_older_node_goes_straight_whatever_the_variables_say(told, site):
    """To an address for which the gateway has no rule: it would refuse it."""
    node = peer("node")
    if int(told.run(node, "-p", "process.versions.node.split('.')[0]")) >= 22:
        pytest.skip("the Node.js here may read the variables")
    told.write("app.mjs", FETCH)
    assert told.run(node, "app.mjs", f"https://{site.host}/", NODE_USE_ENV_PROXY="1") == "200\n"


@pytest.mark.long
def test_fetch_of_an_older_node_goes_through_the_gateway_by_undici(told, newest_node):
    command = ["npm", "install", "--silent", "--no-audit", "--no-fund", "--prefix", told.folder, UNDICI]
    # Not through the gateway: it is only to be tried with it.
    there = {**os.environ, "PATH": newest_node, "npm_config_globalconfig": "/etc/npmrc"}
    done = subprocess.run(command, env=there, capture_output=True, text=True, timeout=120 * PATIENCE)
    if done.returncode:
        pytest.skip(f"{UNDICI} cannot be installed here: {done.stderr}")
    told.write("app.mjs", told.page("Node.js", 1))
    assert told.run(peer("node"), "app.mjs") == "200\n"


@pytest.mark.long
def test_node_is_told_to_read_the_variables(told, newest_node):
    told.write("app.mjs", FETCH)
    assert told.shell(f"{told.page('Node.js').strip()} {URL}", PATH=newest_node) == "200\n"


def npm(home, setting=""):
    home.write(".npmrc", f"{setting}registry={URL}\ncafile={home.environment['SSL_CERT_FILE']}\n")
    home.run("npm", "install", "--no-audit", "--no-fund", "--silent", "tiny-package")
    assert (home.folder / "node_modules" / "tiny-package" / "package.json").exists()


@pytest.mark.long
def test_npm_goes_through_the_gateway_where_the_variables_say_so(told, registry, newest_node):
    told.environment["PATH"] = newest_node
    npm(told)


@pytest.mark.long
def test_npm_is_told_in_its_file(home, registry, newest_node):
    home.environment["PATH"] = newest_node
    npm(home, home.page("npm"))


@pytest.mark.long
def test_java_is_told_by_properties(home, authority_file):
    store = home.folder / "trust"
    about = ["-noprompt", "-file", authority_file, "-keystore", store, "-storepass", "changeit"]
    home.run(peer("keytool"), "-importcert", "-alias", "test", *about)
    home.write("App.java", JAVA)
    trust = f"-Djavax.net.ssl.trustStore={store} -Djavax.net.ssl.trustStorePassword=changeit"
    assert peer("java")
    assert home.shell(f"{home.page('Java').strip()} {URL}", JAVA_TOOL_OPTIONS=trust) == "200 200\n"
