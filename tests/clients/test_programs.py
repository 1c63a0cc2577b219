"""Programs are told to use the gateway as docs/clients.md says, and fetch what a real server behind it has."""

import hashlib
import importlib.util
import subprocess
import sys
import zipfile

import pytest
from harness.peers import peer, without
from harness.waiting import until

NAME = "www.example.com"
URL = f"https://{NAME}/"
HERE = "here it is\n"  # at that URL


@pytest.fixture(scope="module")
def repository(site, tmp_path_factory):
    """A repository of git with one file."""
    work = tmp_path_factory.mktemp("work")
    (work / "file").write_text(HERE)
    git = [peer("git"), "-C", str(work), "-c", "user.name=Till", "-c", "user.email=till@example.com"]
    bare = str(site.folder / "tiny.git")
    for words in (["init", "-q"], ["add", "."], ["commit", "-qm", "One"], ["clone", "-q", "--bare", ".", bare]):
        subprocess.run([*git, *words], check=True)
    subprocess.run([peer("git"), "-C", bare, "update-server-info"], check=True)


@pytest.fixture(scope="module")
def packages(site, tmp_path_factory):
    """A repository of Debian packages with one that is empty."""
    folder = site.folder / "debian"
    tree = tmp_path_factory.mktemp("tree")
    (tree / "DEBIAN").mkdir()
    (tree / "DEBIAN").chmod(0o755)
    control = "Package: tiny\nVersion: 1\nArchitecture: all\nMaintainer: Till <till@example.com>\nDescription: tiny\n"
    (tree / "DEBIAN" / "control").write_text(control)
    folder.mkdir()
    built = folder / "tiny_1_all.deb"
    subprocess.run([peer("dpkg-deb"), "--root-owner-group", "--build", tree, built], check=True, capture_output=True)
    data = built.read_bytes()
    where = f"Filename: ./{built.name}\nSize: {len(data)}\nSHA256: {hashlib.sha256(data).hexdigest()}\n"
    (folder / "Packages").write_text(control + where)


@pytest.fixture(scope="module")
def index(site):
    """An index of Python packages with one that is empty."""
    folder = site.folder / "simple" / "tiny"
    folder.mkdir(parents=True)
    with zipfile.ZipFile(folder / "tiny-1-py3-none-any.whl", "w") as wheel:
        wheel.writestr("tiny-1.dist-info/METADATA", "Metadata-Version: 2.1\nName: tiny\nVersion: 1\n")
        wheel.writestr("tiny-1.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        wheel.writestr("tiny-1.dist-info/RECORD", "")
    (folder / "index.html").write_text('<a href="tiny-1-py3-none-any.whl">tiny-1-py3-none-any.whl</a>')


@pytest.fixture(scope="module")
def metadata(site):
    """A repository of rpm packages without any."""
    (site.folder / "rpm").mkdir()
    subprocess.run([peer("createrepo_c"), "--quiet", site.folder / "rpm"], check=True)


def curl(home, *flags):
    assert home.run(peer("curl"), "-sS", *flags, URL) == HERE


def wget(home):
    assert home.run(peer("wget"), "-q", "-O", "-", f"--ca-certificate={home.environment['SSL_CERT_FILE']}", URL) == HERE


def git(home):
    home.run(peer("git"), "clone", "-q", f"{URL}tiny.git")
    assert (home.folder / "tiny" / "file").read_text() == HERE


def apt(home, source=f"deb {URL}debian ./", setting=""):
    with_apt(home, source, setting)
    home.run(peer("apt-get"), "update")
    home.run(peer("apt-get"), "download", "-q", "tiny")
    assert (home.folder / "tiny_1_all.deb").exists()


def with_apt(home, source, setting):
    """Give apt folders of its own, and a source that nobody signed."""
    for folder in ("etc/apt.conf.d", "etc/preferences.d", "lists/partial", "cache/archives/partial"):
        (home.folder / folder).mkdir(parents=True)
    places = {"Dir::Etc": "etc", "Dir::State": "", "Dir::Cache": "cache"}
    own = "".join(f'{name} "{home.folder}/{place}";\n' for name, place in places.items())
    own += 'Dir::State::status "/dev/null";\n'
    trust = f'Acquire::https::CAInfo "{home.environment["SSL_CERT_FILE"]}"; APT::Sandbox::User "";'
    home.write("etc/apt.conf.d/30gateway", setting)
    home.write("etc/sources.list", source.replace("deb ", "deb [trusted=yes] "))
    home.environment["APT_CONFIG"] = home.write("apt.conf", own + trust)


def dnf(home, setting=""):
    where = f"[tiny]\nname=tiny\nbaseurl={URL}rpm\nsslcacert={home.environment['SSL_CERT_FILE']}\n"
    own = f"reposdir={home.folder}\ncachedir={home.folder}/cache\nlogdir={home.folder}\npersistdir={home.folder}\n"
    config = home.write("dnf.conf", f"[main]\n{own}{setting}{where}")
    said = home.run(peer("dnf"), "--config", config, "--installroot", str(home.folder / "root"), "makecache")
    assert "Metadata cache created." in said


def pip(home, setting="[global]\n"):
    if importlib.util.find_spec("pip") is None:
        without("pip is not installed for this Python")
    home.write(".config/pip/pip.conf", f"{setting}index-url = {URL}simple\nextra-index-url =\nfind-links =\n")
    home.run(sys.executable, "-m", "pip", "download", "-q", "--no-deps", "tiny")
    assert (home.folder / "tiny-1-py3-none-any.whl").exists()


BY_VARIABLES = {"curl": curl, "wget": wget, "git": git, "apt": apt, "pip": pip}


@pytest.fixture
def served(repository, packages, index):
    """All that these programs fetch."""


@pytest.mark.parametrize("program", BY_VARIABLES)
def test_a_program_goes_through_the_gateway_where_the_variables_say_so(program, told, served):
    BY_VARIABLES[program](told)


@pytest.mark.long
def test_dnf_goes_through_the_gateway_where_the_variables_say_so(told, metadata):
    dnf(told)


def test_curl_is_told_in_its_command_line(home):
    assert home.shell(f'curl() {{ command curl -sS "$@"; }}; {home.page("curl")}') == HERE


def test_curl_is_told_in_its_file(home):
    home.write(".curlrc", home.page("curl", 1))
    curl(home)


def test_curl_says_why_it_was_refused(home, gateway):
    done = home.attempt(peer("curl"), "-sS", "-v", "-x", gateway.url, "https://elsewhere.example/")
    assert done.returncode == 56
    assert "HTTP/1.1 403 Forbidden: host-not-allowed" in done.stderr
    assert "curl: (56) CONNECT tunnel failed, response 403" in done.stderr


def test_curl_with_the_gateway_as_https_is_told_to_use_http(home, gateway):
    done = home.attempt(peer("curl"), "-sS", "-x", gateway.url.replace("http://", "https://"), URL)
    assert done.returncode != 0
    assert "TLS handshake instead of an HTTP request" in gateway.wait_for(reason="bad-request")["message"]


def test_wget_is_told_in_its_file(home):
    home.write(".wgetrc", home.page("wget"))
    wget(home)


def test_git_is_told_by_its_setting(home, repository):
    home.shell(home.page("git"))
    assert (home.folder / "tiny" / "file").read_text() == HERE


def test_apt_is_told_in_its_file(home, packages):
    apt(home, source=home.page("apt", 1), setting=home.page("apt"))


def test_a_source_of_apt_over_plain_http_is_refused(home, gateway):
    with_apt(home, home.page("apt", 1).replace("https://", "http://"), home.page("apt").replace("https::", "http::"))
    done = home.attempt(peer("apt-get"), "update")
    assert "405  Method Not Allowed: not-connect" in done.stderr
    assert "use the gateway for https, not for http" in gateway.wait_for(event=104, reason="not-connect")["message"]


def test_pip_is_told_in_its_file(home, index):
    pip(home, home.page("pip"))


@pytest.mark.long
def test_dnf_is_told_in_its_file(home, metadata):
    dnf(home, home.page("dnf"))


def test_a_revocation_list_over_plain_http_is_refused_and_its_line_says_so(home, gateway):
    done = home.attempt(peer("curl"), "-sS", "-f", "-x", gateway.url, "http://crl3.example.com/Root.crl")
    assert done.returncode == 22 and "405" in done.stderr
    shown = " ".join(home.page("Revocation lists and certificates over plain http").split())
    told = shown.removesuffix(" ...").partition("(not-connect): ")[2]
    until(lambda: any(told in line["message"] for line in gateway.events(104)), what=lambda: gateway.events(104))


def test_a_tunnel_for_plain_http_is_refused_too(home, gateway):
    done = home.attempt(peer("curl"), "-sS", "--proxytunnel", "-x", gateway.url, f"http://{NAME}/Root.crl")
    assert done.returncode == 56 and "response 403" in done.stderr
    assert gateway.wait_for(event=105, target=f"{NAME}:80")["reason"] == "port-not-allowed"
