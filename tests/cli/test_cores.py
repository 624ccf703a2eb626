"""How many slots `auto` means."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from litequeue.utils.cores import available_cores

ALLOWED = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def test_without_a_quota_it_is_what_the_process_may_run_on(tmp_path: Path) -> None:
    assert available_cores(tmp_path) == ALLOWED


@pytest.mark.parametrize(
    ("text", "cores"),
    [("max 100000", ALLOWED), ("50000 100000", 1), ("100000 100000", 1), ("99900000 100000", ALLOWED), ("x", ALLOWED)],
)
def test_a_quota_of_control_groups_2_counts(tmp_path: Path, text: str, cores: int) -> None:
    (tmp_path / "cpu.max").write_text(text, encoding="ascii")
    assert available_cores(tmp_path) == cores


@pytest.mark.parametrize(("quota", "cores"), [("-1", ALLOWED), ("50000", 1), ("99900000", ALLOWED)])
def test_a_quota_of_control_groups_1_counts(tmp_path: Path, quota: str, cores: int) -> None:
    (tmp_path / "cpu").mkdir()
    (tmp_path / "cpu/cpu.cfs_quota_us").write_text(quota, encoding="ascii")
    (tmp_path / "cpu/cpu.cfs_period_us").write_text("100000", encoding="ascii")
    assert available_cores(tmp_path) == cores
