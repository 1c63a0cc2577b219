"""The same of each event as advice.py has of each reason."""

from gettext import gettext as _

from ogw.policy.advice import NOTHING, Advice

# By the event's number (report/events.py).
EVENTS = {
    100: Advice(
        _(
            "Something worth knowing that has no number of its own: the four counters every `log-interval`, a tunnel "
            "that has been open for so long, or, as a warning, a setting that will not do what its author hoped."
        ),
        _("read the warnings among them once after each change of the configuration"),
    ),
    101: Advice(
        _("The gateway has started. The line says where it listens, its version and its workers."),
        NOTHING,
    ),
    102: Advice(
        _("The gateway has stopped. The line says how many tunnels it had to cut."),
        _("nothing, if you stopped it; else look at the lines before, and at the service manager's log"),
    ),
    103: Advice(
        _("A CONNECT request came from a client. It is logged at `log-level = debug` only."),
        NOTHING,
    ),
    104: Advice(
        _("What a client sent is not a CONNECT request that the gateway takes."),
        _("find out which program on that client it is, and set it up to use the gateway as a proxy for https only"),
    ),
    105: Advice(
        _(
            "A target, or the client certificate of a session, is not in your lists. The line says which, and for "
            "whom. With `policy-mode = report` it says `enforced` false, and the target passed."
        ),
        _("add it, if it is meant to pass (`ogw suggest`); if not, find out what on that client wants to go there"),
    ),
    106: Advice(
        _(
            "A tunnel was open, but its TLS session breaks the TLS rules; the server got none of it. With "
            "`tls-rules = report` the line says `enforced` false, and the session passed."
        ),
        _("see the reason; `ogw inspect` shows what the gateway sees in a recorded session"),
    ),
    107: Advice(
        _("A TLS session passed the TLS rules. The line has its server name and version."),
        NOTHING,
    ),
    108: Advice(
        _("A tunnel closed, or its client left before it was open. The line has bytes, duration, and the reason."),
        _("nothing, unless one reason becomes frequent"),
    ),
    109: Advice(
        _("The gateway has taken a new configuration. The line says what changed, and both policy hashes."),
        _("make sure that you know who changed it"),
    ),
    110: Advice(
        _("The gateway was told to stop: it takes no new tunnels, and the open ones have `drain-timeout` to finish."),
        _("nothing; if tunnels are cut at the end, raise `drain-timeout`"),
    ),
    111: Advice(
        _("A list of allowed hosts that is kept elsewhere was read, and it had changed."),
        _("look at what came and what went"),
    ),
    112: Advice(
        _("A client came from a network that `allowed-client` does not name."),
        _("add its network, if it is one of yours; if not, keep it away from the gateway's port with a firewall"),
    ),
    113: Advice(
        _(
            "An upgrade: a successor serves, and the process before it keeps only the tunnels that are open, for "
            "`upgrade-drain-timeout` at most."
        ),
        _("nothing; `ogw status` shows what is left, until its end"),
    ),
    114: Advice(
        _(
            "At a `tls://` address a client's TLS handshake with the gateway failed, or there was none. TLS has an "
            "alert for most causes, and an HTTP answer for none."
        ),
        _("see the reason; `openssl s_client -connect GATEWAY:PORT` shows the handshake from that client's side"),
    ),
    115: Advice(
        _(
            "Somebody rolled a list back with `ogw sources rollback`, or undid that. The line says who, and which list "
            "is in force."
        ),
        _("see that its owner corrects the list; another one, if it is signed with a higher serial, ends the rollback"),
    ),
    300: Advice(
        _("The agent whose endpoints the gateway should allow is not set up on this machine."),
        _("install it, or list the hosts yourself in `allowed-host`"),
    ),
    301: Advice(
        _("A list of allowed hosts that is kept elsewhere cannot be read; the last good one stays in force."),
        _("look at the detail: a name, a certificate, a proxy on the way; until then new hosts are refused"),
    ),
    302: Advice(
        _(
            "A limit is reached, so that a client got 503, an unfinished TLS handshake was ended, or accepting paused "
            "for a moment."
        ),
        _("raise the limit that the line names, add workers, or find the client that takes it all: `ogw top`"),
    ),
    303: Advice(
        _(
            "A list came from its server, but its signature is not what `allowed-host-source-key` asks for; the last "
            "good one stays in force."
        ),
        _("see the reason; if whoever keeps the list has changed nothing, somebody between you may have"),
    ),
    304: Advice(
        _("The signature of a list that is in force has expired. The list stays in force."),
        _("let its owner sign it anew; if that was done, find out who keeps the new one from this gateway"),
    ),
    400: Advice(
        _("An error of the gateway itself. One tunnel ended; the others went on."),
        _("please report it, with its `traceback`"),
    ),
    401: Advice(
        _("The configuration is wrong. The line says where and why; at a reload the running configuration stays."),
        _("correct it; `ogw config show` checks it without a start"),
    ),
    402: Advice(
        _("What should be a TLS handshake cannot be parsed. Nothing that cannot be parsed passes."),
        _("broken or hostile; record it and ask `ogw inspect`"),
    ),
    403: Advice(
        _("The target, its name, or a relay proxy on the way cannot be reached. This is no decision of the policy."),
        _("see the reason; try from the gateway's machine what the client tried"),
    ),
    404: Advice(
        _("A relay proxy answered, and said no."),
        _("look at `received_status`: 407 is the password, 403 its rules, 5xx a target that it cannot reach"),
    ),
    405: Advice(
        _("A worker died, and its tunnels with it; another took its place and serves those that waited."),
        _("look for `out of memory` in the system's log; else please report it"),
    ),
    406: Advice(
        _("An upgrade was refused, or its successor failed. The running gateway goes on as before."),
        _("see why in the line, and in the successor's own lines before it; `ogw check` tells the settings' mistakes"),
    ),
}
