"""The schemes that need libraries which few have. They are imported here and now, so only where the settings ask."""

from typing import TYPE_CHECKING

from ogw.policy.decision import Reason
from ogw.report.events import Event
from ogw.report.log import Log
from ogw.settings.settings import Config
from ogw.tunnel.tried import Tried

if TYPE_CHECKING:
    from ogw.tunnel.negotiate import Negotiate
    from ogw.tunnel.ntlm import Ntlm

MOST_SECONDS = 5.0  # that a tunnel waits for a KDC: a second relay proxy may need none

# The one of this process. A reload that does not change who the gateway is leaves it its tickets.
_last: "dict[tuple[str, str, str], Negotiate]" = {}


def negotiate_of(config: Config, log: Log, tried: Tried) -> "Negotiate":
    """Kerberos, as the settings say. A reload has what failed be tried once more."""
    from ogw.tunnel.kerberos import Kerberos
    from ogw.tunnel.negotiate import Negotiate
    from ogw.tunnel.tickets import Tickets

    def tell(reason: Reason, sentence: str) -> None:
        log.event(Event(reason.event), sentence, reason.token, count=1)

    who = config.relay_proxy_keytab, config.relay_proxy_principal.reveal(), config.relay_proxy_ticket_cache
    found = _last.get(who)
    if found is None:
        _last.clear()
        _last[who] = found = Negotiate(Tickets(Kerberos(*who), tried, tell, min(MOST_SECONDS, config.dial_timeout)))
    found.tickets.go_on_with(tell, min(MOST_SECONDS, config.dial_timeout))
    return found


def ntlm() -> "Ntlm":
    from ogw.tunnel.ntlm import Ntlm

    return Ntlm()
