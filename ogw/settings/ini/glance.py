"""What the INI file says of one setting, for those who need it before all else is read, or nothing else."""

import re
from io import StringIO

from ogw.machine.files import read_file

MOST = 64 << 20  # bytes of a file that are looked at: all that whoever reads it whole takes (file.py)


def glance(path: str, name: str) -> str:
    """The first value of the setting; "" for none. A file that is wrong or closed to us is no matter here."""
    try:
        text = read_file(path, MOST)
    except OSError:
        return ""
    if not re.search(rb"^" + name.encode(), text, re.MULTILINE):
        return ""
    from ogw.settings.ini.parser import IniParser

    parser = IniParser()
    try:
        parser.parse(StringIO(text.decode("utf-8-sig")))
    except ValueError:
        return ""
    return parser.values.get(name, [(0, "")])[0][1]
