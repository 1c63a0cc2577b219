"""Say why a bundle cannot be installed with this Python; nothing where it can. `install` calls it.

It must run on whatever Python a machine has.
"""

import importlib.util
import platform
import sys
import sysconfig


def why_not(python, architecture, glibc):
    here = f"{sys.version_info[0]}.{sys.version_info[1]}"
    machine = sysconfig.get_platform().rpartition("-")[2]
    library, version = platform.libc_ver()
    if here != python:
        return f"it is Python {here}; take the bundle for that (py{here}), or name a Python {python} with --python"
    if machine != architecture:
        return f"it is for {machine}; take the bundle for that"
    if library != "glibc" or numbers(version) < numbers(glibc):
        return f"glibc {glibc} or newer is needed, and here is {' '.join((library, version)).strip() or 'none'}"
    if sysconfig.get_config_var("Py_GIL_DISABLED"):
        return "it is one without the global lock, and there is no bundle for that"
    if importlib.util.find_spec("venv") is None:
        return "it has no module venv; install all of Python (on Debian: apt install python3-venv)"
    return ""


def numbers(version):
    return tuple(int(part) for part in version.split("."))


print(why_not(*sys.argv[1:]))
