"""Every message between the processes, by name, with the fields that it must have."""

from collections.abc import Mapping
from typing import Any

Message = dict[str, Any]
Fields = Mapping[str, type]

# What the supervisor orders ("order").
ORDERS: Mapping[str, Fields] = {
    "drain": {},
    "end": {},
    "door closed": {},
    "ping": {},  # is it alive?
    "reopen": {},
    "prepare": {"number": int, "config": str},  # build this configuration; the number is the reload's
    "take": {"number": int, "recheck": bool},  # take what was built
    "forget": {"number": int},
    "answer": {"number": int, "what": str},  # a question about its tunnels
    "reply": {"number": int, "answer": dict},  # to what the admin process asked
}

# What a child says ("said").
SAYINGS: Mapping[str, Fields] = {
    "ready": {},
    "pong": {},
    "prepared": {"number": int, "mistake": str},
    "taken": {"number": int},
    "answer": {"number": int},  # with "answer", or with "error" where there is none
    "asks": {"number": int, "what": str, "about": dict},  # the admin process
    "closing": {},
    "drained": {"cut": int},
}


def checked(message: Message, key: str, known: Mapping[str, Fields]) -> str:
    """Its name, once it is one of these and has their fields. Raises ValueError: whoever sent it is not to be trusted.

    key  where the name stands: "order" or "said"
    """
    name = message.get(key)
    fields = known.get(name) if isinstance(name, str) else None
    if fields is None or not all(isinstance(message.get(field), kind) for field, kind in fields.items()):
        raise ValueError("not a message")
    return str(name)
