"""Where a gateway's INI file is, unless somebody says otherwise."""

DEFAULT_FILE = "/etc/ogw/ogw.ini"
