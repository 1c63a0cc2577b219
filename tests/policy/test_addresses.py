"""The address guard: every network of its table at both ends, IPv4 inside IPv6, and what lets an address through."""

from ipaddress import IPv4Address, ip_address, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ogw.policy.addresses import REFUSED, AddressGuard
from ogw.policy.decision import Reason

# Written down a second time, from the design: a slip in the guard's own table must not pass unseen.
TABLE = [
    "0.0.0.0/8",
    "10.0.0.0/8",
    "100.64.0.0/10",
    "127.0.0.0/8",
    "168.63.129.16/32",
    "169.254.0.0/16",
    "172.16.0.0/12",
    "192.0.0.0/24",
    "192.0.2.0/24",
    "192.88.99.0/24",
    "192.168.0.0/16",
    "198.18.0.0/15",
    "198.51.100.0/24",
    "203.0.113.0/24",
    "224.0.0.0/4",
    "240.0.0.0/4",
    "::/128",
    "::1/128",
    "100::/64",
    "64:ff9b:1::/48",
    "2001::/23",
    "2001:db8::/32",
    "3fff::/20",
    "5f00::/16",
    "fc00::/7",
    "fe80::/10",
    "fec0::/10",
    "ff00::/8",
]
NETWORKS = [ip_network(text) for text in TABLE]


def forms(four):
    number = int(IPv4Address(four))
    return [
        f"::ffff:{four}",
        f"64:ff9b::{four}",
        str(ip_address(0x2002 << 112 | number << 80)),
        f"::{four}",
        f"::ffff:0:{four}",
        f"2606:4700::5efe:{four}",
        f"2606:4700::200:5efe:{four}",
    ]


def test_the_table_is_the_one_that_was_promised():
    assert [network for network, _ in REFUSED] == TABLE


@pytest.mark.parametrize("network", NETWORKS, ids=str)
def test_both_ends_of_each_network_are_refused_and_its_neighbours_are_not(network):
    guard = AddressGuard()
    for address in (network[0], network[-1]):
        decision = guard.judge(str(address))
        assert decision.reason is Reason.ADDRESS_NOT_ALLOWED
        assert str(address) in decision.detail and "allowed-target-network" in decision.detail
    for number in (int(network[0]) - 1, int(network[-1]) + 1):
        if 0 < number < 1 << network.max_prefixlen:
            neighbour = type(network[0])(number)
            inside_another = any(neighbour in other for other in NETWORKS if other.version == network.version)
            carries = neighbour.version == 6 and number < 1 << 32
            if not inside_another and not carries:
                assert guard.judge(str(neighbour)).allowed, neighbour


@pytest.mark.parametrize("network", [network for network in NETWORKS if network.version == 4], ids=str)
def test_a_refused_address_is_refused_inside_every_ipv6_form(network):
    for form in forms(str(network[0])) + forms(str(network[-1])):
        assert not AddressGuard().judge(form).allowed, form


@pytest.mark.parametrize("form", forms("8.8.8.8"))
def test_a_global_address_passes_inside_every_ipv6_form(form):
    assert AddressGuard().judge(form).allowed


@pytest.mark.parametrize("address", ["8.8.8.8", "2606:4700::1111", "172.15.255.255", "172.32.0.0", "2001:200::"])
def test_a_global_address_passes(address):
    assert AddressGuard().judge(address).allowed


@pytest.mark.parametrize("address", ["10.1.2.3", "2002:a01:203::", *forms("10.1.2.3")])
def test_an_allowed_network_lets_its_addresses_pass_in_every_form(address):
    network = ip_network("10.1.0.0/16")
    assert AddressGuard([network]).judge(address).allowed
    assert AddressGuard().judge(address, (network,)).allowed
    assert not AddressGuard([ip_network("10.2.0.0/16")]).judge(address).allowed
    assert not AddressGuard().judge(address, (ip_network("fd00::/8"),)).allowed


def test_what_one_rule_allows_is_not_remembered_for_another():
    guard = AddressGuard()
    assert guard.judge("10.1.2.3", (ip_network("10.0.0.0/8"),)).allowed
    assert not guard.judge("10.1.2.3").allowed


@pytest.mark.parametrize("address", ["fd00::5efe:10.1.2.3", "2001:db8::5efe:10.1.2.3", "::1"])
def test_a_network_of_the_inside_does_not_allow_a_refused_outside(address):
    guard = AddressGuard([ip_network("10.0.0.0/8"), ip_network("0.0.0.0/8")])
    assert not guard.judge(address).allowed
    assert not AddressGuard().judge(address, (ip_network("10.0.0.0/8"), ip_network("0.0.0.0/8"))).allowed
    assert AddressGuard([ip_network(address)]).judge(address).allowed


@given(st.ip_addresses())
def test_any_address_is_judged_as_the_table_says(address):
    def refused(address):
        if any(address in network for network in NETWORKS if network.version == address.version):
            return True
        number = int(address)
        if address.version == 6:
            if number >> 32 in (0, 0xFFFF, 0xFFFF0000, 0x64FF9B << 64) or number >> 32 & 0xFDFFFFFF == 0x5EFE:
                return refused(IPv4Address(number & 0xFFFFFFFF))
            if number >> 112 == 0x2002:
                return refused(IPv4Address(number >> 80 & 0xFFFFFFFF))
        return False

    assert AddressGuard().judge(str(address)).allowed is not refused(address)
