"""The same of each event as advice.py has of each reason."""

from ogw.language.messages import gettext_noop as N_
from ogw.policy.advice import NOTHING, Advice

# By the event's number (report/events.py).
EVENTS = {
    100: Advice(
        N_(
            "Something that has no number of its own: the four counters every `log-interval`, a tunnel that has been "
            "open for that long, or, as a warning, a setting that will not do what it seems to do."
        ),
        N_("read the warnings among them once after each change of the configuration"),
    ),
    101: Advice(
        N_("The gateway has started. The line says where it listens, its version and its workers."),
        NOTHING,
    ),
    102: Advice(
        N_("The gateway has stopped. The line says how many tunnels it had to cut."),
        N_("nothing, if you stopped it; else look at the log lines before this one, and at the service manager's log"),
    ),
    103: Advice(
        N_("A CONNECT request came from a client. It is logged at `log-level = debug` only."),
        NOTHING,
    ),
    104: Advice(
        N_("What a client sent is not a CONNECT request that the gateway accepts."),
        N_("find out which program on that client sent it, and set it up to use the gateway as a proxy for https only"),
    ),
    105: Advice(
        N_(
            "A target, or the client certificate of a session, is not in your lists. The line says which, and for "
            "whom. With `policy-mode = report` it says `enforced` false, and the target passed."
        ),
        N_(
            "add it, if it should pass (`ogw suggest`); if not, find out which program on that client wants to reach "
            "the target"
        ),
    ),
    106: Advice(
        N_(
            "A tunnel was open, but its TLS session breaks the TLS rules; nothing of it was sent to the server. With "
            "`tls-rules = report` the line says `enforced` false, and the session passed."
        ),
        N_("look at the reason; `ogw inspect` shows what the gateway sees in a recorded session"),
    ),
    107: Advice(
        N_("A TLS session passed the TLS rules. The line has its server name and version."),
        NOTHING,
    ),
    108: Advice(
        N_("A tunnel closed, or its client left before it was open. The line has bytes, duration, and the reason."),
        N_("nothing, unless one reason becomes frequent"),
    ),
    109: Advice(
        N_("The gateway has taken a new configuration. The line says what changed, and both policy hashes."),
        N_("make sure that you know who changed it"),
    ),
    110: Advice(
        N_(
            "The gateway was told to stop: after `drain-delay` it takes no new tunnels, and the open ones have "
            "`drain-timeout` to finish."
        ),
        N_("nothing; if tunnels are cut at the end, raise `drain-timeout`"),
    ),
    111: Advice(
        N_("A list of allowed hosts that is kept elsewhere was read, and it had changed."),
        N_("check which host rules were added and which were removed"),
    ),
    112: Advice(
        N_("A client came from a network that `allowed-client` does not name."),
        N_(
            "add its network, if the client is one of yours; if not, keep it away from the gateway's port with a "
            "firewall"
        ),
    ),
    113: Advice(
        N_(
            "An upgrade: a successor serves, and the process before it keeps only the tunnels that are open, for "
            "`upgrade-drain-timeout` at most."
        ),
        N_("nothing; `ogw status` shows the tunnels that are left, until the old process ends"),
    ),
    114: Advice(
        N_(
            "At a `tls://` address a client's TLS handshake with the gateway failed, or there was no handshake. For "
            "most causes the client gets a TLS alert."
        ),
        N_("look at the reason; `openssl s_client -connect GATEWAY:PORT` shows the handshake from that client's side"),
    ),
    115: Advice(
        N_(
            "Somebody rolled a list back with `ogw sources rollback`, or undid that. The line says who, and which list "
            "is in force."
        ),
        N_("let the owner correct the list; a new list, if it is signed with a higher serial, ends the rollback"),
    ),
    300: Advice(
        N_("The agent whose endpoints the gateway should allow is not set up on this machine."),
        N_("install the agent, or list the hosts yourself in `allowed-host`"),
    ),
    301: Advice(
        N_("A list of allowed hosts that is kept elsewhere cannot be read; the last good one stays in force."),
        N_(
            "look at the detail: the cause is a name, a certificate or a proxy on the way; until it is mended, new "
            "hosts are refused"
        ),
    ),
    302: Advice(
        N_(
            "A limit is reached, so that a client got 503, an unfinished TLS handshake was ended, or accepting paused "
            "for a moment."
        ),
        N_("raise the limit that the line names, add workers, or find the client that uses it up: `ogw top`"),
    ),
    303: Advice(
        N_(
            "A list came from its server, but its signature is not what `allowed-host-source-key` asks for; the last "
            "good one stays in force."
        ),
        N_(
            "look at the reason; if the list's owner has changed nothing, somebody on the way may have changed the list"
        ),
    ),
    304: Advice(
        N_("The signature of a list that is in force has expired. The list stays in force."),
        N_("let the list's owner sign it anew; if that was done, find out why this gateway does not get the new one"),
    ),
    400: Advice(
        N_("An error of the gateway itself. One tunnel ended; the others went on."),
        N_("please report it, with its `traceback`"),
    ),
    401: Advice(
        N_("The configuration is wrong. The line says where and why; at a reload the configuration in force stays."),
        N_("correct the configuration; `ogw config show` checks it without a start"),
    ),
    402: Advice(
        N_("What should be a TLS handshake cannot be parsed. Nothing that cannot be parsed passes."),
        N_("one side is broken or hostile: record the session and look at it with `ogw inspect`"),
    ),
    403: Advice(
        N_(
            "The target or a relay proxy on the way cannot be reached, or the target's name cannot be looked up. "
            "This is no decision of the policy."
        ),
        N_("look at the reason; try from the gateway's machine what the client tried"),
    ),
    404: Advice(
        N_("A relay proxy answered, and did not open the tunnel."),
        N_(
            "look at `received_status`: 407 means the password, 403 the proxy's rules, 5xx a target that the proxy "
            "cannot reach"
        ),
    ),
    405: Advice(
        N_("A worker died, and its tunnels with it; another took its place and serves the clients that waited."),
        N_("look for `out of memory` in the system's log; if it is not there, please report it"),
    ),
    406: Advice(
        N_("An upgrade was refused, or its successor failed. The running gateway goes on as before."),
        N_(
            "the cause is in the line, and in the successor's own lines before it; `ogw check` tells mistakes of the "
            "settings"
        ),
    ),
}
