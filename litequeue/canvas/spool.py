"""Where the rows of a canvas are kept between planning and writing.

The file is not locked while a caller's generator runs, and nothing is written when it raises: so every row is made
before the first is written. Beyond some thousand rows they go to a temporary file, so that memory does not grow with
the canvas.
"""

from __future__ import annotations

import marshal
import tempfile
from collections.abc import Iterator
from typing import IO, Final

from litequeue.core.records import NewTask

SLICE: Final = 2000
"""Rows that are written to the temporary file, and read from it, at a time."""
IN_MEMORY: Final = 10_000
"""Rows that are kept in memory before there is a temporary file; a row of few arguments is some 600 bytes."""


class Spool:
    """Rows in the order they were added; they may be gone through again and again."""

    def __init__(self) -> None:
        self._rows: list[NewTask] = []
        self._file: IO[bytes] | None = None
        self._slices: list[tuple[int, int]] = []
        self._end = 0
        self._full = IN_MEMORY
        self._size = 0

    def append(self, row: NewTask) -> None:
        """Add a row."""
        rows = self._rows
        rows.append(row)
        if len(rows) > self._full:
            self._write_out()

    def _write_out(self) -> None:
        """Move the rows from memory to the file."""
        if self._file is None:
            self._file = tempfile.TemporaryFile(prefix="litequeue-")  # noqa: SIM115  # closed with the spool
            self._full = SLICE
        rows, at = self._rows, self._end
        self._file.seek(at)
        for start in range(0, len(rows), SLICE):
            data = marshal.dumps(list(map(tuple, rows[start : start + SLICE])))
            self._file.write(data)
            self._slices.append((at, len(data)))
            at += len(data)
        self._end = at
        self._size += len(rows)
        rows.clear()

    def __len__(self) -> int:
        return self._size + len(self._rows)

    def __iter__(self) -> Iterator[NewTask]:
        file = self._file
        if file is not None:
            for at, length in self._slices:
                file.seek(at)
                yield from map(NewTask._make, marshal.loads(file.read(length)))
        yield from self._rows

    def close(self) -> None:
        """Give up the rows."""
        self._rows.clear()
        if self._file is not None:
            self._file.close()
            self._file = None

    def __del__(self) -> None:
        self.close()
