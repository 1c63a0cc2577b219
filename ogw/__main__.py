"""`python -m ogw`."""

import sys

from ogw.cli.main import main

sys.exit(main())
