"""Whether a list that came may take the place of the one in force: its expiry, its serial, and what was rolled back."""

import enum
from collections.abc import Collection
from typing import Optional

from ogw.language.messages import gettext as _
from ogw.policy.rules import time_text
from ogw.settings.elsewhere.kept import GoodCopy
from ogw.settings.elsewhere.record import Record, Seen
from ogw.settings.elsewhere.signature import Distrusted, ListReason, Signature, sha256_of


class Verdict(enum.Enum):
    """What becomes of it. HELD: it is what was rolled back, and is left where it is."""

    TAKE = enum.auto()
    SAME = enum.auto()
    HELD = enum.auto()


def judge(
    body: bytes,
    signature: Optional[Signature],
    good: Optional[GoodCopy],
    record: Record,
    keys: Collection[str],
    now: float,
) -> Verdict:
    """Of a list whose signature is its own and good, or that needs none. Raises Distrusted.

    good  the copy in force; None for none
    now   Unix seconds
    """
    if signature is not None:
        _require_alive(signature, now)
        _require_new(signature, good, record, keys)
    if record.held is not None and record.held.sha256 == sha256_of(body):
        return Verdict.HELD
    if good is None or good.copy.body != body:
        return Verdict.TAKE
    is_resigned = signature is not None and (good.signature is None or good.signature.text != signature.text)
    return Verdict.TAKE if is_resigned else Verdict.SAME


def after(body: bytes, signature: Optional[Signature], good: Optional[GoodCopy], record: Record, keys: Collection[str]
          ) -> Record:  # fmt: skip
    """What is to be remembered once it was taken: a rollback is over when another list comes.

    The list in force is another one only with a higher serial: of two servers the slower one may still have it.
    """
    highest = record.highest(keys)
    is_newer = signature is not None and (highest is None or signature.serial > highest.serial)
    if good is None or good.copy.body != body or is_newer:
        record = record._replace(held=None)
    return remembered(signature, record)


def remembered(signature: Optional[Signature], record: Record) -> Record:
    """With the serial that was seen."""
    return record if signature is None else record.with_serial(signature.key, signature.serial, signature.sha256)


def _require_alive(signature: Signature, now: float) -> None:
    if signature.expires <= now:
        told = _("its signature expired at {time}, and by the clock of this machine it is {now}")
        raise Distrusted(
            ListReason.EXPIRED, told.format(time=time_text(int(signature.expires)), now=time_text(int(now)))
        )


def _require_new(signature: Signature, good: Optional[GoodCopy], record: Record, keys: Collection[str]) -> None:
    came = Seen(signature.serial, signature.sha256)
    own = good and good.signature and Seen(good.signature.serial, good.signature.sha256)
    highest = max((one for one in (own, record.highest(keys)) if one), default=None)
    if highest is None or came in (own, highest) or came.serial > highest.serial:
        return
    told = _("its serial {serial} is lower than {highest}, which was seen before: it is an old list")
    if came.serial == highest.serial:
        told = _("its serial {serial} was seen before, with another content; a changed list needs a higher one")
    raise Distrusted(ListReason.REPLAYED, told.format(serial=came.serial, highest=highest.serial))
