"""Build what is installed: from the commit that is checked out, and from nothing that lies beside it.

A tree with changes that no commit has is refused, and the same commit gives the same bytes.
"""

import argparse
import importlib
import pathlib
import sys
from collections.abc import Mapping
from types import ModuleType

from packing.calls import NotBuilt

from ogw.cli.exits import FAILED, INTERRUPTED

KINDS = pathlib.Path(__file__).parent / "packing"  # one file a kind, with parser() and run(); others only help


def kinds() -> Mapping[str, ModuleType]:
    modules = {path.stem: importlib.import_module(f"packing.{path.stem}") for path in sorted(KINDS.glob("[a-z]*.py"))}
    return {name: module for name, module in modules.items() if hasattr(module, "run")}


def parser(known: Mapping[str, ModuleType]) -> argparse.ArgumentParser:
    lines = [f"  {name:8}{(module.__doc__ or '').splitlines()[0]}" for name, module in known.items()]
    made = argparse.ArgumentParser(
        "tools/package",
        description=__doc__,
        epilog="\n".join(["kinds (tools/package KIND --help says more):", *lines]),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    made.add_argument("kind", choices=known, metavar="KIND", help="what to build")
    made.add_argument("flags", nargs=argparse.REMAINDER, help="those of the kind")
    return made


def main() -> int:
    known = kinds()
    asked = parser(known).parse_args()
    module = known[asked.kind]
    try:
        status: int = module.run(module.parser().parse_args(asked.flags))
        return status
    except NotBuilt as error:
        print(f"tools/package: {error}", file=sys.stderr)
        return FAILED
    except OSError as error:
        print(f"tools/package: {error.filename or 'a file'}: {error.strerror}", file=sys.stderr)
        return FAILED
    except KeyboardInterrupt:
        return INTERRUPTED


if __name__ == "__main__":
    sys.exit(main())
