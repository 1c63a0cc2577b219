"""/etc/hosts and /etc/resolv.conf: what is read of them, whatever is there."""

import contextlib
import os
import resource

import gevent
import pytest
from harness.dns import SILENT, Dns

from ogw.policy.decision import Reason
from ogw.tunnel import name_files, resolve
from ogw.tunnel.name_files import Hosts, ResolvConf, WatchedFile, read_lines, read_resolv_conf
from ogw.tunnel.resolve import Resolver


@pytest.fixture(autouse=True)
def _look_at_once(monkeypatch):
    monkeypatch.setattr(name_files, "LOOK_AGAIN", 0.0)


@contextlib.contextmanager
def no_descriptors():
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (3, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


def hosts_of(tmp_path, text):
    file = tmp_path / "hosts"
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    return Hosts(str(file))


# /etc/hosts.


def test_names_comments_and_aliases_are_read(tmp_path):
    hosts = hosts_of(tmp_path, "192.0.2.1 a.example B.Example. # c.example\n::1\ta.example\n#192.0.2.2 d.example\n\n")
    assert hosts.look_up("a.example").addresses == ["::1", "192.0.2.1"]
    assert hosts.look_up("b.example").addresses == ["192.0.2.1"]
    assert hosts.look_up("c.example") is hosts.look_up("d.example") is None


def test_addresses_are_put_in_turn_once_and_again_when_the_file_changed(tmp_path):
    hosts = hosts_of(tmp_path, "192.0.2.1 a.example\n192.0.2.2 a.example\n::1 a.example\n")
    lookup = hosts.look_up("a.example")
    assert lookup.addresses == ["::1", "192.0.2.1", "192.0.2.2"] and hosts.look_up("a.example") is lookup
    (tmp_path / "hosts").write_text("192.0.2.30 a.example\n")
    assert hosts.look_up("a.example").addresses == ["192.0.2.30"]


@pytest.mark.parametrize("junk", ["no address a.example\n", "1.2.3 a.example\n", "192.0.2.1", "\0\xff\n", "\r\n"])
def test_lines_that_make_no_sense_are_passed_over(tmp_path, junk):
    hosts = hosts_of(tmp_path, junk + "\n192.0.2.7 b.example\n")
    assert hosts.look_up("a.example") is None and hosts.look_up("b.example").addresses == ["192.0.2.7"]


def test_a_name_on_many_lines_has_each_address_once(tmp_path):
    lines = [f"10.{number >> 16}.{number >> 8 & 255}.{number & 255} a.example\n" for number in range(100_000)]
    hosts = hosts_of(tmp_path, "".join(lines * 2))
    assert len(hosts.look_up("a.example").addresses) == 100_000


def test_a_file_that_has_no_end_is_read_up_to_a_bound(tmp_path):
    file = tmp_path / "hosts"
    file.write_bytes(b"192.0.2.1 a.example\n" * 100)
    assert read_lines(str(file), 50) == [b"192.0.2.1 a.example"] * 2
    assert read_lines(str(file), 2000) == [*[b"192.0.2.1 a.example"] * 100, b""]


@pytest.mark.parametrize("kind", ["pipe", "folder", "device", "missing", "dangling", "unreadable name"])
def test_what_is_no_file_has_no_names_and_nothing_waits(tmp_path, kind):
    path = str(tmp_path / "hosts")
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "folder":
        os.mkdir(path)
    elif kind == "device":
        path = "/dev/zero"
    elif kind == "dangling":
        os.symlink("nowhere", path)
    elif kind == "unreadable name":
        path = f"{tmp_path}/{'a' * 300}"
    assert Hosts(path).look_up("a.example") is None
    with contextlib.suppress(OSError):
        assert read_resolv_conf(path) == ResolvConf([])


def test_names_that_were_known_stay_known_while_no_descriptor_is_left(tmp_path):
    hosts = hosts_of(tmp_path, "192.0.2.1 a.example\n")
    assert hosts.look_up("a.example").addresses == ["192.0.2.1"]
    (tmp_path / "hosts").write_text("192.0.2.2 a.example # and more\n")
    with no_descriptors():
        assert hosts.look_up("a.example").addresses == ["192.0.2.1"]
    assert hosts.look_up("a.example").addresses == ["192.0.2.2"]


def test_a_file_that_goes_away_takes_its_names_along(tmp_path):
    hosts = hosts_of(tmp_path, "192.0.2.1 a.example\n")
    assert hosts.look_up("a.example")
    (tmp_path / "hosts").unlink()
    assert hosts.look_up("a.example") is None


# /etc/resolv.conf.


@pytest.mark.parametrize(
    ("text", "servers", "rotate", "only_tcp"),
    [
        ("nameserver 192.0.2.1\n", ["192.0.2.1"], False, False),
        ("nameserver 192.0.2.1\nnameserver ::1\nnameserver 192.0.2.1\n", ["192.0.2.1", "::1"], False, False),
        ("nameserver fe80::1%eth0\n", ["fe80::1%eth0"], False, False),
        ("# nameserver 192.0.2.1\n;nameserver 192.0.2.1\nnameserver\nnameserver x\n", [], False, False),
        ("  nameserver\t192.0.2.1 # first\r\noptions rotate ndots:5 use-vc\nsearch a\n", ["192.0.2.1"], True, True),
        ("options timeout:1 attempts:5 edns0 trust-ad\n", [], False, False),
        ("".join(f"nameserver 192.0.2.{n}\n" for n in range(20)), [f"192.0.2.{n}" for n in range(8)], False, False),
        ("nameserver \xff\xfe\n\0", [], False, False),
    ],
)
def test_servers_and_options_are_read(tmp_path, text, servers, rotate, only_tcp):
    file = tmp_path / "resolv.conf"
    file.write_bytes(text.encode("latin-1"))
    assert read_resolv_conf(str(file)) == ResolvConf([(server, 53) for server in servers], rotate, only_tcp)


def resolver_of(path, monkeypatch, timeout=8.0):
    monkeypatch.setattr(resolve, "RESOLV_CONF", str(path))
    return Resolver([], timeout, Hosts("/dev/null"))


def until_done(lookup):
    with gevent.Timeout(20):
        while not lookup.done:
            gevent.sleep(0.01)
    return lookup


@pytest.fixture
def servers(monkeypatch):
    """DNS servers whose port is the one of resolv.conf."""

    @contextlib.contextmanager
    def start(names, **more):
        with Dns(names, **more) as dns:
            monkeypatch.setattr(name_files, "DNS_PORT", dns.port)
            yield dns

    return start


def test_a_changed_file_changes_the_servers_and_forgets_what_the_old_ones_said(tmp_path, monkeypatch, servers):
    file = tmp_path / "resolv.conf"
    with servers({"a.example": ["192.0.2.1"]}, ttl=600, nothing=(600, 600)) as first:
        file.write_text(f"nameserver {first.host}\n")
        resolver = resolver_of(file, monkeypatch)
        for _turn in range(2):
            assert until_done(resolver.look_up("a.example")).addresses == ["192.0.2.1"]
        assert len(first.asked) == 2
    with servers({"a.example": ["192.0.2.2"]}) as second:
        file.write_text(f"nameserver {second.host}\n# another\n")
        assert until_done(resolver.look_up("a.example")).addresses == ["192.0.2.2"]
    resolver.close()


def test_who_asks_after_a_change_does_not_wait_for_the_old_server(tmp_path, monkeypatch, servers):
    file = tmp_path / "resolv.conf"
    with servers({"a.example": SILENT}, ttl=600, nothing=(600, 600)) as first:
        file.write_text(f"nameserver {first.host}\n")
        resolver = resolver_of(file, monkeypatch)
        waiting = resolver.look_up("a.example")
        with servers({"a.example": ["192.0.2.2"]}, ttl=600, nothing=(600, 600)) as second:
            file.write_text(f"nameserver {second.host}\n# another\n")
            assert until_done(resolver.look_up("a.example")).addresses == ["192.0.2.2"]
            assert until_done(waiting).failure is Reason.DNS_TIMEOUT
            assert resolver.look_up("a.example").addresses == ["192.0.2.2"] and len(second.asked) == 2
    resolver.close()


def test_servers_are_asked_in_turn_where_the_file_says_so(tmp_path, monkeypatch, servers):
    file = tmp_path / "resolv.conf"
    with servers({"a.example": ["192.0.2.1"]}) as dns:
        file.write_text(f"nameserver {dns.host}\nnameserver 127.0.0.1\noptions rotate\n")
        resolver = resolver_of(file, monkeypatch)
        for turn in range(4):
            until_done(resolver.look_up("a.example"))
            assert len(dns.asked) == 2 * (
                turn + 1
            )  # nobody listens at the other, which is asked first every other time
        resolver.close()


def test_servers_are_asked_over_tcp_where_the_file_says_so(tmp_path, monkeypatch, servers):
    file = tmp_path / "resolv.conf"
    with servers({"a.example": ["192.0.2.1"]}) as dns:
        file.write_text(f"nameserver {dns.host}\noptions use-vc\n")
        resolver = resolver_of(file, monkeypatch)
        assert until_done(resolver.look_up("a.example")).addresses == ["192.0.2.1"]
        assert dns.streams == len(dns.asked) == 2
        resolver.close()


@pytest.mark.parametrize("text", [None, "", "search a.example\n"])
def test_this_machine_is_asked_where_the_file_names_nobody(tmp_path, monkeypatch, text):
    file = tmp_path / "resolv.conf"
    if text is not None:
        file.write_text(text)
    resolver = resolver_of(file, monkeypatch)
    lookup = until_done(resolver.look_up("a.example"))
    assert "127.0.0.1:53" in lookup.detail or lookup.detail == "a.example: there is no such name"
    resolver.close()


def test_a_file_that_cannot_be_read_for_want_of_descriptors_is_read_later(tmp_path, monkeypatch, servers):
    file = tmp_path / "resolv.conf"
    with servers({"a.example": ["192.0.2.1"]}) as dns:
        file.write_text(f"nameserver {dns.host}\n")
        resolver = resolver_of(file, monkeypatch)
        with no_descriptors():
            lookup = resolver.look_up("a.example")
            assert lookup.done and lookup.failure is Reason.NO_DESCRIPTORS
        assert until_done(resolver.look_up("a.example")).addresses == ["192.0.2.1"]
        resolver.close()


def test_a_file_is_looked_at_again_only_after_a_while(tmp_path, monkeypatch):
    monkeypatch.setattr(name_files, "LOOK_AGAIN", 3600.0)
    file = tmp_path / "hosts"
    watched = WatchedFile(str(file))
    assert watched.poll()
    file.write_text("x")
    assert not watched.poll()
