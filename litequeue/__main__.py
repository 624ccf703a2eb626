"""`python -m litequeue` is `litequeue`."""

from __future__ import annotations

import sys

from litequeue.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
