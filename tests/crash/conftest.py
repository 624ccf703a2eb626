"""Shared by the crash tests: a recording VFS for each test that asks for one."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from .vfs import RecordingVFS


@pytest.fixture
def vfs() -> Iterator[RecordingVFS]:
    """A VFS of its own for one test."""
    recording = RecordingVFS()
    yield recording
    recording.close()
