"""Looks whether anything is wrong with a queue, its file, its workers or its app, and says what to do.

`examine(app)` gives a `Finding` for each check. Nothing is changed, and no file is made.
"""

from __future__ import annotations

from litequeue.doctor.examining import CHECKS, examine
from litequeue.doctor.findings import ERROR, OK, WARNING, Finding

__all__ = ("CHECKS", "ERROR", "OK", "WARNING", "Finding", "examine")
