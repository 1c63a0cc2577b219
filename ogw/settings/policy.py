"""The policy that the settings ask for."""

from ogw.policy.hosts import Policy
from ogw.policy.index import HostIndex
from ogw.policy.subjects import Subjects
from ogw.policy.tls_rules import Mode, TlsRules
from ogw.settings.settings import Config


def policy_of(config: Config) -> Policy:
    """All that may refuse a tunnel or reject a session, ready to be asked.

    The certificates of this machine's agents are added to a list of allowed ones; they never begin one, since with a
    list everything that is not in it is rejected.
    """
    certificates = config.allowed_client_certificate and (
        *config.allowed_client_certificate,
        *config.agent_certificates,
    )
    return Policy(
        (*config.allowed_host, *config.sourced_hosts),
        config.denied_host,
        config.allowed_port,
        config.allowed_client,
        config.allowed_target_network,
        TlsRules(
            mode=Mode(config.tls_rules),
            min_version=config.tls_min_version,
            any_allowed_host=config.server_name == "allowed-hosts",
            ech=config.encrypted_client_hello,
            subjects=Subjects(certificates) if certificates else None,
            certificate_hosts=HostIndex(config.client_certificate_hosts) if config.client_certificate_hosts else None,
            allow_unseen=config.unseen_client_certificate == "allow",
            max_size=config.handshake_max_size,
        ),
        report_until=config.reports_until,
    )
