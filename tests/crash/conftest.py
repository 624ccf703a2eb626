"""Shared by the crash tests: a recording VFS for each test that asks for one, and a queue with everything in it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from . import looks
from .vfs import RecordingVFS


@pytest.fixture
def vfs() -> Iterator[RecordingVFS]:
    """A VFS of its own for one test."""
    recording = RecordingVFS()
    yield recording
    recording.close()


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A queue with everything in it, to be copied."""
    path = tmp_path_factory.mktemp("whole") / "queue.db"
    looks.make(path)
    return path
