"""Questions to whoever sets the gateway up: an answer is checked as it is given, and asked for again if it is wrong."""

from collections.abc import Callable

from ogw.cli.agreement import agreed
from ogw.cli.parser import filled, wrapped
from ogw.language.messages import gettext as _
from ogw.settings.ini.file import EditError


def agrees(question: str, default: bool) -> bool:
    """Whether the operator says yes. Raises EOFError."""
    choices = _("Y/n") if default else _("y/N")
    while True:
        said = answer(f"{question} [{choices}]")
        if not said:
            return default
        if (meant := agreed(said)) is not None:
            return meant
        mistake(_("answer y or n"))


def answer(question: str) -> str:
    """What is typed behind the last line of the question. Raises EOFError."""
    *before, last = wrapped(question)
    for line in before:
        print(line)
    return input(f"{last} ").strip()


def say(text: str) -> None:
    print(*wrapped(text), sep="\n")


def mistake(sentence: str) -> None:
    """Say what is wrong, or what came of an answer."""
    print(filled(sentence, "  "), flush=True)  # before what it tells of is waited for


def ask_checked(question: str, default: str, check: Callable[[str], object]) -> str:
    """The first answer that `check` does not raise EditError of. Raises EOFError."""
    asks = _("{question} [{default}]:") if default else _("{question}:")
    while True:
        given = answer(asks.format(question=question, default=default)) or default
        try:
            check(given)
        except EditError as error:
            for line in str(error).splitlines():
                mistake(line)
        else:
            return given
