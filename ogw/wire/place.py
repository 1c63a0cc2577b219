"""A host as it stands before a port: an IPv6 address, full of colons itself, in brackets (RFC 3986, section 3.2.2)."""


def place(host: str, port: int) -> str:
    """`host:port`, as in a CONNECT, a URL, a rule and a log line."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def in_brackets(host: str) -> str:
    """The host alone, ready to be followed by a port."""
    return f"[{host}]" if ":" in host else host
