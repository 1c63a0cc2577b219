"""Kerberos tickets of a real KDC: obtained once for many, renewed before they end, and why there is none."""

import os
import threading
import time

import pytest
from gevent import sleep, spawn
from harness.realm import Realm, with_gssapi
from harness.waiting import PATIENCE

from ogw.policy.decision import Reason
from ogw.tunnel.tried import Tried

module = with_gssapi("ogw.tunnel.tickets")

HOST = "127.0.0.1"
SERVICE = f"HTTP/{HOST}"


@pytest.fixture(scope="module")
def realm():
    with Realm() as realm, pytest.MonkeyPatch.context() as patch:
        for name, value in realm.environment.items():
            patch.setenv(name, value)
        realm.add(SERVICE)
        yield realm


def tickets_of(keytab="", principal="", cache="", limit=20.0 * PATIENCE, told=None, tried=None):
    return module.Tickets(
        module.Kerberos(str(keytab), principal, cache), tried or Tried(), lambda *words: told.append(words), limit
    )


def failure(tickets, host=HOST):
    return error_of(tickets.token, host)


def error_of(function, *words):
    with pytest.raises(module.KerberosFailed) as caught:
        function(*words)
    return caught.value


def is_over(tickets):
    """There is no token any more."""
    try:
        tickets.token(HOST)
    except module.KerberosFailed:
        return True
    return False


def wait_until(condition):
    """The loop goes on meanwhile."""
    end = time.monotonic() + 30 * PATIENCE
    while not condition():
        assert time.monotonic() < end
        sleep(0.02)


def test_many_tunnels_at_once_ask_the_kdc_once(realm):
    tickets = tickets_of(realm.add("many"), "many")
    before = realm.asked("AS_REQ"), realm.asked("TGS_REQ")
    asking = [spawn(tickets.token, HOST) for _number in range(50)]
    tokens = {greenlet.get()[0] for greenlet in asking}
    assert len(tokens) == 50 and all(token.startswith(b"\x60") for token in tokens)
    # Two for a ticket: the first is told to prove itself before it gets one.
    assert (realm.asked("AS_REQ") - before[0], realm.asked("TGS_REQ") - before[1]) == (2, 1)


def test_without_a_principal_the_first_of_the_keytab_is_taken(realm):
    assert tickets_of(realm.add("first")).token(HOST)[0]


@pytest.mark.long
def test_a_ticket_is_renewed_before_it_ends_while_tunnels_go_on(realm):
    tickets = tickets_of(realm.add("short", more="-maxlife 4s"), "short")
    _token, first = tickets.token(HOST)
    wait_until(lambda: tickets.token(HOST)[1] is not first)
    assert time.monotonic() < first.ends


@pytest.mark.long
def test_a_renewal_that_fails_leaves_what_is_there(realm):
    told = []
    tickets = tickets_of(realm.add("away", more="-maxlife 4s"), "away", told=told)
    _token, first = tickets.token(HOST)
    realm.admin("delprinc -force away")
    wait_until(lambda: told or tickets.token(HOST)[1] is not first)
    reason, sentence = told[0]
    assert reason is Reason.RELAY_PRINCIPAL_UNKNOWN and "away" not in sentence
    wait_until(lambda: is_over(tickets))
    assert failure(tickets).reason is Reason.RELAY_PRINCIPAL_UNKNOWN


def test_a_refused_ticket_that_was_accepted_is_followed_by_a_new_one(realm):
    tickets = tickets_of(realm.add("refused"), "refused")
    _token, first = tickets.token(HOST)
    assert not tickets.renewed(first, HOST)
    first.accepted.add(HOST)
    before = realm.asked("AS_REQ")
    assert tickets.renewed(first, HOST) and realm.asked("AS_REQ") > before
    assert tickets.renewed(first, HOST)  # another tunnel, which sent the old one, too
    assert tickets.token(HOST)[1] is not first


class Kdc:
    """Gives so many tickets at once; who asks again waits until it `fails`. `asked`: for which places."""

    keytab = cache = ""

    def __init__(self, gives=1):
        self._gives, self.asked, self._goes_on = gives, [], threading.Event()

    def obtain(self, place):
        self.asked.append(place)
        if len(self.asked) > self._gives:
            self._goes_on.wait(30 * PATIENCE)
            raise module.KerberosFailed(Reason.RELAY_KDC_SILENT, "nobody is there")
        return module.Ticket(None, None, 3600.0)

    def fetch(self, _ticket, _host):
        return 3600.0

    def token(self, _ticket, _host):
        return b"token"

    def fails(self):
        self._goes_on.set()


@pytest.mark.parametrize("happens", ["is refused", "ends"])
def test_who_has_no_ticket_any_more_is_told_why_its_renewal_fails(happens):
    kdc, told = Kdc(), []
    tickets = module.Tickets(kdc, Tried(), lambda *words: told.append(words), 20.0 * PATIENCE)
    _token, held = tickets.token(HOST)
    held.made -= 0.6 * held.ticket.seconds
    tickets.token(HOST)  # which begins to renew it
    if happens == "ends":
        held.made -= held.ticket.seconds
        waiting = spawn(failure, tickets)
    else:
        held.accepted.add(HOST)
        waiting = spawn(error_of, tickets.renewed, held, HOST)
    sleep(0)
    kdc.fails()
    assert waiting.get().reason is Reason.RELAY_KDC_SILENT and not told


def test_a_relay_proxy_that_accepts_and_refuses_in_turn_does_not_keep_the_kdc_busy():
    kdc = Kdc(gives=20)
    tickets = module.Tickets(kdc, Tried(), lambda *words: None, 20.0 * PATIENCE)
    for _tunnel in range(10):
        _token, held = tickets.token(HOST)
        held.accepted.add(HOST)
        tickets.renewed(held, HOST)
    assert len(kdc.asked) == 2


def test_reloads_leave_no_threads_behind():
    before = threads()
    for _reload in range(4):
        tickets = module.Tickets(Kdc(), Tried(), lambda *words: None, 20.0 * PATIENCE)
        for asking in [spawn(tickets.token, f"proxy-{number}.example") for number in range(20)]:
            asking.get()
    assert threads() - before <= module.MOST_THREADS


def threads():
    """Of this process, those of which Python knows nothing among them."""
    return len(os.listdir("/proc/self/task"))


def test_a_ticket_cache_is_used_and_read_again_when_it_changes(realm):
    keytab = realm.add("cached")
    cache = realm.ticket("cached", keytab)
    tickets = tickets_of(cache=f"FILE:{cache}")
    _token, first = tickets.token(HOST)
    assert tickets.token(HOST)[1] is first
    realm.ticket("cached", keytab)
    wait_until(lambda: tickets.token(HOST)[1] is not first)


def test_a_ticket_cache_that_is_broken_leaves_what_is_there(realm):
    told = []
    keytab = realm.add("breaks")
    cache = realm.ticket("breaks", keytab)
    tickets = tickets_of(cache=f"FILE:{cache}", told=told)
    _token, first = tickets.token(HOST)
    cache.write_text("")
    wait_until(lambda: tickets.token(HOST)[1] is first and told)
    for _number in range(20):
        assert tickets.token(HOST)[1] is first
    assert [reason for reason, _sentence in told] == [Reason.RELAY_TICKET]
    realm.ticket("breaks", keytab)
    wait_until(lambda: tickets.token(HOST)[1] is not first)


@pytest.mark.long
def test_what_is_wrong_with_a_ticket_cache(realm, tmp_path):
    missing = failure(tickets_of(cache=f"FILE:{tmp_path}/none"))
    assert missing.reason is Reason.RELAY_TICKET and f"{tmp_path}/none" in missing.what
    cache = realm.ticket("old", realm.add("old"), "-l", "2s")
    tickets = tickets_of(cache=f"FILE:{cache}")
    wait_until(lambda: os.stat(cache).st_mtime + 3 < time.time())
    assert failure(tickets).reason is Reason.RELAY_TICKET


CASES = {
    "expired": ("-expire yesterday", Reason.RELAY_PASSWORD_EXPIRED),
    "locked": ("-allow_tix", Reason.RELAY_ACCOUNT_LOCKED),
}


@pytest.mark.parametrize("name", CASES)
def test_the_kdc_does_not_let_it_in(realm, name):
    options, reason = CASES[name]
    error = failure(tickets_of(realm.add(name, more=options), name))
    assert error.reason is reason and name + "@" not in error.what


def test_an_expired_password(realm):
    keytab = realm.add("overdue")
    realm.admin("modprinc -pwexpire yesterday overdue")
    assert failure(tickets_of(keytab, "overdue")).reason is Reason.RELAY_PASSWORD_EXPIRED


def test_an_unknown_principal(realm):
    keytab = realm.add("deleted")
    realm.admin("delprinc -force deleted")
    assert failure(tickets_of(keytab, "deleted")).reason is Reason.RELAY_PRINCIPAL_UNKNOWN


def test_an_unknown_service(realm):
    error = failure(tickets_of(realm.add("lost"), "lost"), "proxy.nowhere.example")
    assert error.reason is Reason.RELAY_SERVICE_UNKNOWN and "HTTP/proxy.nowhere.example" in error.what


def test_a_wrong_key_is_tried_once_until_the_keytab_changes(realm):
    keytab = realm.add("rekeyed")
    realm.admin("cpw -randkey rekeyed")
    tickets = tickets_of(keytab, "rekeyed")
    assert failure(tickets).reason is Reason.RELAY_KEYTAB
    before = realm.asked("AS_REQ")
    assert failure(tickets).reason is Reason.RELAY_KEYTAB and realm.asked("AS_REQ") == before
    keytab.unlink()
    realm.admin(f"ktadd -k {keytab} rekeyed")
    assert tickets.token(HOST)[0]


def test_a_wrong_key_is_tried_by_one_of_all_workers(realm):
    keytab = realm.add("wrong")
    realm.admin("cpw -randkey wrong")
    tried, before = Tried(), realm.asked("AS_REQ")
    several = [tickets_of(keytab, "wrong", tried=tried) for _number in range(4)]
    asking = [spawn(failure, tickets) for tickets in several]
    assert {greenlet.get().reason for greenlet in asking} == {Reason.RELAY_KEYTAB}
    assert realm.asked("AS_REQ") == before + 2
    tried.forget_refusals()
    several[0].go_on_with(lambda *words: None, 20.0 * PATIENCE)
    assert failure(several[0]).reason is Reason.RELAY_KEYTAB and realm.asked("AS_REQ") == before + 4


def test_keytabs_that_are_none(realm, tmp_path):
    (tmp_path / "garbage").write_text("hello")
    for keytab, principal in ((tmp_path / "none", "a"), (tmp_path / "garbage", "a"), (realm.add("one"), "another")):
        error = failure(tickets_of(keytab, principal))
        assert error.reason is Reason.RELAY_KEYTAB and str(keytab) in error.what


def test_a_silent_kdc_costs_a_limit_and_one_thread_and_then_nothing(realm):
    keytab = realm.add("silence")
    with realm.silent():
        before = threading.active_count()
        tickets = tickets_of(keytab, "silence", limit=0.5)
        began = time.monotonic()
        asking = [spawn(failure, tickets) for _number in range(50)]
        assert {greenlet.get().reason for greenlet in asking} == {Reason.RELAY_KDC_SILENT}
        assert time.monotonic() - began < 5 * PATIENCE
        again = time.monotonic()
        assert failure(tickets).reason is Reason.RELAY_KDC_SILENT
        assert time.monotonic() - again < 0.4 * PATIENCE
        assert threading.active_count() - before <= module.MOST_THREADS


def test_no_kdc(realm):
    keytab = realm.add("nobody")
    realm.stop()
    try:
        assert failure(tickets_of(keytab, "nobody")).reason is Reason.RELAY_KDC_SILENT
    finally:
        realm.start()
