"""Flags of the tools, whose values are read as the gateway's settings are."""

import argparse
from collections.abc import Callable
from typing import Any

from ogw.wire.connect import BadTarget, Target, parse_target


def value_of(kind: Callable[[str], Any]) -> Callable[[str], Any]:
    """A type for argparse, from a kind of settings: what is wrong is said in the same words."""

    def read(text: str) -> Any:
        try:
            return kind(text)
        except ValueError as error:
            raise argparse.ArgumentTypeError(f"{text!r}: {error}") from None

    return read


def place_of(text: str) -> Target:
    """HOST:PORT."""
    try:
        return parse_target(text.encode())
    except BadTarget as error:
        raise ValueError(f"it is not HOST:PORT: {error}") from None
