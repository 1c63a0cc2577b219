"""JSON that somebody else wrote, and what is wrong with it as a sentence."""

import json
from collections.abc import Callable
from typing import Any, Optional

from ogw.language.messages import gettext as _


def json_in(text: str, where: str, pairs: Optional[Callable[[list[tuple[str, Any]]], Any]] = None) -> Any:
    """What a file says in JSON. Raises ValueError.

    where  the file, with which the sentence of what is wrong begins
    pairs  makes an object of its pairs
    """
    try:
        return json.loads(text, object_pairs_hook=pairs)
    except RecursionError:
        told = _("{where}: not JSON that can be read: too many brackets in one another")
        raise ValueError(told.format(where=where)) from None
    except ValueError as error:
        raise ValueError(_("{where}: not JSON: {error}").format(where=where, error=error)) from None
