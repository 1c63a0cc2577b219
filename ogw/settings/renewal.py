"""When certificates and revocation lists are to be renewed: some time before they end."""

import time

# Seconds before its end, by the setting that names it: a list's end comes every day, or week.
SOON = {
    "listen-tls-certificate": 21 * 86400.0,
    "listen-client-crl": 6 * 3600.0,
    "admin-tls-certificate": 21 * 86400.0,
}


def soon_over(name: str, until: float) -> bool:
    """Whether what a setting names is to be renewed now; `until` in Unix seconds, 0 for no end."""
    return bool(until) and until - SOON[name] <= time.time()
