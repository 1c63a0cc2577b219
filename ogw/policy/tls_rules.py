"""What is asked of TLS sessions, as the settings say it."""

import enum
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Optional

from ogw.policy.index import HostIndex
from ogw.policy.subjects import Subjects
from ogw.wire.connect import Target

TLS_1_3 = 0x0304


class Mode(enum.Enum):
    """What the TLS rules do."""

    ENFORCE = "enforce"
    REPORT = "report"  # judge and log, let pass
    OFF = "off"


@dataclass(frozen=True)
class TlsRules:
    """The rules for handshakes.

    min_version        the least that may be offered as best, and chosen (0x0303 is TLS 1.2)
    any_allowed_host   the server name may be any allowed host instead of the target's
    ech                encrypted_client_hello: "allow", "report" or "deny"
    subjects           allowed client certificates; None: they are not looked at
    certificate_hosts  the targets for which they are; None: all
    """

    mode: Mode = Mode.ENFORCE
    min_version: int = 0x0303
    any_allowed_host: bool = False
    ech: str = "allow"
    subjects: Optional[Subjects] = None
    certificate_hosts: Optional[HostIndex] = None
    allow_unseen: bool = False
    max_size: int = 65536

    @property
    def sees_no_certificate(self) -> bool:
        """Where client certificates are judged, none is seen: each session is TLS 1.3, and rejected for that."""
        return self.min_version >= TLS_1_3 and not self.allow_unseen

    def subjects_for(self, target: Target, client: str, clock: Callable[[], float] = time.time) -> Optional[Subjects]:
        """The allowed client certificates for a target; None where they are not looked at."""
        hosts = self.certificate_hosts
        if self.subjects is None or (hosts is not None and not hosts.covers(target, client, clock, in_any_form=True)):
            return None
        return self.subjects

    def texts(self) -> list[str]:
        """All that decides, for the policy's hash."""
        subjects = [] if self.subjects is None else self.subjects.texts()
        hosts = [] if self.certificate_hosts is None else self.certificate_hosts.texts()
        plain = (self.mode.value, self.min_version, self.any_allowed_host, self.ech, self.allow_unseen, self.max_size)
        return [*map(str, plain), "subjects", *subjects, "hosts", *hosts]
