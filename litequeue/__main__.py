"""`python -m litequeue` is `litequeue`."""

from __future__ import annotations

import sys


def main() -> int:
    """The program `litequeue`; its exit code."""
    try:
        # Imported here, because each child process of a worker imports this module and has no use for the rest.
        from litequeue.cli.main import run

        return run()
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main())
