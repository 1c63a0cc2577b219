"""Which way a relay proxy is to know the gateway, by what it offers and what there is to show."""

import pytest

from ogw.cli.edit.relay_auth import Means, about, chosen, listed, what_is_missing

ALL = ("Negotiate", "NTLM", "Digest", "Basic")
USER, OF_DOMAIN = Means("gateway"), Means("CORP\\gateway")
BOTH = Means("CORP\\gateway", "/etc/ogw/gateway.keytab")


@pytest.mark.parametrize(
    ("offered", "means", "auth"),
    [
        (ALL, BOTH, "negotiate"),
        (ALL, OF_DOMAIN, "ntlm"),
        (ALL, USER, "digest"),
        (ALL, Means(), ""),
        (("basic", "DIGEST"), OF_DOMAIN, "digest"),
        (("Basic",), BOTH, "basic"),
        (("NTLM", "Basic"), USER, "basic"),
        (("Negotiate", "NTLM"), USER, "ntlm"),
        (("Negotiate",), USER, ""),
        (ALL, BOTH._replace(lacking=frozenset({"negotiate", "ntlm"})), "digest"),
        (("Bearer", "another"), BOTH, ""),
        ((), BOTH, ""),
    ],
)
def test_the_best_way_that_can_be_used_is_taken(offered, means, auth):
    assert chosen(offered, means) == auth


@pytest.mark.parametrize(
    ("offered", "means", "says"),
    [
        (("Basic",), Means(), "--username NAME --password-stdin"),
        (("NTLM",), Means(), "'DOMAIN\\NAME'"),
        (("Negotiate",), USER, "--auth negotiate --keytab FILE"),
        (("Negotiate", "Digest"), Means(), ", or a keytab"),
        (("Bearer",), BOTH, "ogw supports no scheme"),
        ((), USER, "ogw supports no scheme"),
        (("NTLM",), USER._replace(lacking=frozenset({"ntlm"})), "pip install 'ogw[ntlm]'"),
    ],
)
def test_what_is_missing_is_named(offered, means, says):
    assert says in what_is_missing(offered, means)


def test_what_is_weak_is_said():
    assert "unencrypted" in about("basic", encrypted=False) and about("basic", encrypted=True) == ""
    assert "weak" in about("ntlm", encrypted=True) and about("digest", encrypted=False) == ""
    assert listed(["negotiate", "NTLM", "Bearer"]) == "Negotiate, NTLM, and Bearer" and listed([]) == ""
