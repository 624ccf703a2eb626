"""What importing litequeue must not bring along: programs import it at their start, and many only enqueue."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
HEAVY = {
    "apsw",
    "asyncio",
    "click",
    "filelock",
    "multiprocessing",
    "psutil",
    "sqlite3",
    "subprocess",
    "uuid",
    "zoneinfo",
}


def imported_by(code: str) -> set[str]:
    program = f"import sys; before = set(sys.modules)\n{code}\nprint(*(set(sys.modules) - before))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=ROOT, check=True)
    return set(done.stdout.split())


@pytest.mark.parametrize(
    "code",
    [
        "import litequeue",
        "from litequeue import LiteQueue, shared_task, signature",
        "from litequeue import LiteQueue\napp = LiteQueue('x', broker='x.db')\n@app.task\ndef f(): pass\nf.s()",
    ],
)
def test_nothing_heavy(code: str) -> None:
    assert not imported_by(code) & HEAVY


def test_the_package_itself_imports_next_to_nothing() -> None:
    assert {name for name in imported_by("import litequeue") if name.startswith("litequeue")} == {"litequeue"}


def test_a_call_needs_neither_event_loop_nor_processes_nor_command_line() -> None:
    code = (
        "from litequeue import LiteQueue\napp = LiteQueue('x', broker=':memory:')\n"
        "@app.task\ndef f(): pass\nassert f.delay().state == 'PENDING'"
    )
    assert not imported_by(code) & {"asyncio", "click", "multiprocessing", "psutil"}
