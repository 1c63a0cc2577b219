"""The same of each reason why a list from elsewhere is not trusted as advice.py has of each reason of a refusal."""

from ogw.language.messages import gettext_noop as N_
from ogw.policy.advice import Advice

_SIGN = N_("let the list's owner sign it (`ogw sign`), and put the list and the signature on the server")

# By the token of a ListReason (settings/elsewhere/signature.py): why event 303.
LIST_REASONS = {
    "list-signature-missing": Advice(
        N_("There is no signature beside the list, at its URL with `.sig` behind the path."), _SIGN
    ),
    "list-signature-malformed": Advice(N_("The signature file is no signature, or is cut short."), _SIGN),
    "list-key-unknown": Advice(
        N_("The list is signed with a key that is not in `allowed-host-source-key`."),
        N_(
            "if the key is a new one of the list's owner, and the owner confirms it, add it; do not add a key again "
            "that was removed"
        ),
    ),
    "list-signature-wrong": Advice(
        N_("The signature was not made with the key that it names: it is forged, or damaged."),
        N_(
            "ask the list's owner which signature is on the server; if it is another one, somebody has changed it on "
            "its way"
        ),
    ),
    "list-name-wrong": Advice(
        N_("The signature is that of another list."),
        N_("sign with `--name`, or let the URL end with `#NAME`; if both are right, somebody has exchanged the lists"),
    ),
    "list-signature-mismatch": Advice(
        N_(
            "The signature is that of another content; list and signature were fetched twice, since the server may "
            "have been changing them."
        ),
        N_(
            "put a list and a signature that belong together on the server; if they do, something on the way changes "
            "the list"
        ),
    ),
    "list-signature-expired": Advice(
        N_("The signature that was fetched has expired."),
        N_("sign the list anew, and check the clock of the gateway's machine"),
    ),
    "list-serial-old": Advice(
        N_("The list that was fetched is older than one that was seen before, or is another one with the same serial."),
        N_("sign the right list with a higher serial; if that was done, somebody replays the old one"),
    ),
}
