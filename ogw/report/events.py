"""The catalogue of numbered events, and the one place where the names of log fields stand."""

import enum
import logging


class Event(enum.IntEnum):
    """The number of a log line. Never reused; 100-107, 300 and 400-403 mean what they did in the original."""

    INFORMATION = 100
    SERVICE_STARTED = 101
    SERVICE_STOPPED = 102
    CONNECT_RECEIVED = 103
    NOT_A_CONNECT = 104
    TARGET_NOT_ALLOWED = 105
    TLS_REJECTED = 106
    TLS_VERIFIED = 107
    TUNNEL_CLOSED = 108
    CONFIGURATION_RELOADED = 109
    DRAINING = 110
    SOURCE_REFRESHED = 111
    CLIENT_REFUSED = 112
    HANDED_OVER = 113
    CLIENT_TLS_FAILED = 114
    SOURCE_ROLLED_BACK = 115
    AGENT_NOT_FOUND = 300
    SOURCE_UNREACHABLE = 301
    LIMIT_REACHED = 302
    SOURCE_REFUSED = 303
    SOURCE_OVERDUE = 304
    ERROR = 400
    WRONG_CONFIGURATION = 401
    HANDSHAKE_MALFORMED = 402
    NETWORK_ERROR = 403
    RELAY_REFUSED = 404
    WORKER_DIED = 405
    UPGRADE_FAILED = 406


# Event -> level, what the line is called. The level is the default one of the event.
CATALOGUE: dict[int, tuple[int, str]] = {
    Event.INFORMATION: (logging.INFO, "information"),
    Event.SERVICE_STARTED: (logging.INFO, "service started"),
    Event.SERVICE_STOPPED: (logging.INFO, "service stopped"),
    Event.CONNECT_RECEIVED: (logging.DEBUG, "CONNECT received"),
    Event.NOT_A_CONNECT: (logging.WARNING, "not a CONNECT request"),
    Event.TARGET_NOT_ALLOWED: (logging.WARNING, "target not allowed"),
    Event.TLS_REJECTED: (logging.WARNING, "TLS session rejected"),
    Event.TLS_VERIFIED: (logging.INFO, "TLS session verified"),
    Event.TUNNEL_CLOSED: (logging.INFO, "tunnel closed"),
    Event.CONFIGURATION_RELOADED: (logging.INFO, "configuration reloaded"),
    Event.DRAINING: (logging.INFO, "draining"),
    Event.SOURCE_REFRESHED: (logging.INFO, "allow list source refreshed"),
    Event.CLIENT_REFUSED: (logging.WARNING, "client refused"),
    Event.HANDED_OVER: (logging.INFO, "handed over to a successor"),
    Event.CLIENT_TLS_FAILED: (logging.WARNING, "client's TLS handshake failed"),
    Event.SOURCE_ROLLED_BACK: (logging.WARNING, "allow list source rolled back"),
    Event.AGENT_NOT_FOUND: (logging.WARNING, "agent not found or not configured on this machine"),
    Event.SOURCE_UNREACHABLE: (logging.WARNING, "allow list source unreachable, last good list kept"),
    Event.LIMIT_REACHED: (logging.WARNING, "a limit is reached"),
    Event.SOURCE_REFUSED: (logging.WARNING, "allow list source not trusted, last good list kept"),
    Event.SOURCE_OVERDUE: (logging.WARNING, "signature of an allow list source expired, its list kept"),
    Event.ERROR: (logging.ERROR, "error"),
    Event.WRONG_CONFIGURATION: (logging.ERROR, "wrong configuration"),
    Event.HANDSHAKE_MALFORMED: (logging.WARNING, "TLS handshake cannot be parsed"),
    Event.NETWORK_ERROR: (logging.WARNING, "network error"),
    Event.RELAY_REFUSED: (logging.WARNING, "relay proxy refused"),
    Event.WORKER_DIED: (logging.ERROR, "a worker died and was replaced"),
    Event.UPGRADE_FAILED: (logging.ERROR, "upgrade failed"),
}


class Field:
    """The names of log fields. Renaming one breaks somebody's dashboard."""

    TIME = "time"  # RFC 3339, UTC
    LEVEL = "level"
    EVENT = "event"  # the number
    NAME = "name"  # of the event
    REASON = "reason"  # the token of a Reason, or of a ListReason
    MESSAGE = "message"
    TUNNEL = "tunnel"  # id: process, number
    CLIENT = "client"  # address:port
    CLIENT_SUBJECT = "client_subject"  # of the certificate that the client showed to the gateway itself, RFC 4514
    VIA = "via"  # address:port of the load balancer that it came through
    TARGET = "target"  # host:port
    UPSTREAM = "upstream"  # address:port that was dialed
    BYTES_UP = "bytes_up"
    BYTES_DOWN = "bytes_down"
    DIAL = "dial"  # seconds, look-up included
    SERVER_NAME = "server_name"  # of the ClientHello
    TLS_VERSION = "tls_version"  # that the server chose
    SUBJECT = "subject"  # of the client certificate, RFC 4514
    ECH = "ech"  # the ClientHello has an encrypted_client_hello, real or GREASE
    ENFORCED = "enforced"  # false where the TLS rules, or the policy, only report
    HANDSHAKE = "handshake"  # seconds from the 200 to the verdict
    DURATION = "duration"  # seconds from accept to close
    STATUS = "status"  # of the answer
    RECEIVED_STATUS = "received_status"  # of the relay proxy's answer
    DETAIL = "detail"
    LISTEN = "listen"
    VERSION = "version"
    WORKERS = "workers"
    ADMIN = "admin"  # address:port of metrics and health
    MAX_TUNNELS = "max_tunnels"
    DESCRIPTORS = "descriptors"  # that each worker may have
    TUNNELS = "tunnels"  # the original's four counters: open tunnels,
    CLIENTS = "clients"  # distinct clients that have one,
    ERRORS = "errors"  # events from 400 on,
    TLS_REJECTIONS = "tls_rejections"
    OLD_POLICY = "old_policy"
    NEW_POLICY = "new_policy"  # of a file that was changed
    BY = "by"  # who changed it, or rolled a list back
    FILE = "file"
    ADDED = "added"  # such as "allowed-host www.example.com"
    REMOVED = "removed"
    UNTIL = "until"  # RFC 3339: when policy-mode = report ends
    CHANGED = "changed"  # names of settings
    SOURCE = "source"  # file or URL of a list
    RULES_ADDED = "rules_added"  # its rules that were not in it before
    RULES_REMOVED = "rules_removed"
    TRACEBACK = "traceback"
    COUNT = "count"
    POLICY = "policy"  # hash of the policy in force
    PROCESS = "process"  # start id
    SEQUENCE = "sequence"  # of the line within its process: a gap shows
