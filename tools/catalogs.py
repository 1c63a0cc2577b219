"""Keep what ogw says in other languages: take the messages out of the sources, say what is missing or wrong, compile.

    python3 tools/catalogs.py update          bring the catalogs in line with the sources
    python3 tools/catalogs.py check [de ...]  every fault of every catalog, or of these
    python3 tools/catalogs.py compile         what ogw reads; a package, tools/run and the tests do that by themselves

A catalog is ogw/language/catalogs/LANGUAGE.po; the words that it must use are in tools/glossary/LANGUAGE.txt.
"""

import argparse
import sys

from translating.catalogs import OTHERS, read, source, write
from translating.compiling import compile_stale
from translating.faults import faults
from translating.glossary import glossary
from translating.messages import template


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("verb", choices=("update", "check", "compile"))
    parser.add_argument("languages", nargs="*", default=OTHERS, metavar="LANGUAGE")
    asked = parser.parse_args()
    return {"update": _update, "check": _check, "compile": _compile}[asked.verb](asked.languages)


def _update(languages: list[str]) -> int:
    messages = template()
    for language in languages:
        catalog = read(language)
        catalog.update(messages, no_fuzzy_matching=True)
        write(language, catalog)
        print(source(language))
    return 0


def _check(languages: list[str]) -> int:
    messages = template()
    found = [
        f"{language}: {fault}"
        for language in languages
        for fault in faults(read(language), messages, glossary(language))
    ]
    print(*found, sep="\n")
    print(f"{len(messages)} messages, {len(found)} faults", file=sys.stderr)
    return 1 if found else 0


def _compile(languages: list[str]) -> int:
    for path in compile_stale():
        print(path)
    return 0


if __name__ == "__main__":
    sys.exit(main())
