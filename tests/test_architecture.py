"""Arrows point down, and every kind of line has its room."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "litequeue"
FILES = sorted(PACKAGE.rglob("*.py"))

EVERYBODY = {"exceptions"}
MAY_USE = {
    "core": set(),
    "states": set(),
    "signals": {"utils", "core"},
    "utils": {"core", "signals"},
    "store": {"core"},
    "schedules": {"core"},
    "beat": {"core", "schedules", "store.contract", "signals", "utils"},
    "worker": {"core", "store.contract", "signals", "utils"},
    "config": {"core", "utils", "app"},
    "multi": {"utils"},
    "events": {"core", "result", "app.current", "states", "signals", "utils", "multi.pidfile"},
    "inspect": {"core", "result", "schedules", "states", "utils", "dead_letters", "pausing"},
    "doctor": {"core", "inspect", "beat", "store", "config", "app", "utils"},
}
"""What a room may import. Rooms that are not here are above all of these, and may use them."""

HEAVY = {"apsw", "click", "psutil", "filelock", "asyncio", "multiprocessing"}


def _imports(tree: ast.AST) -> Iterator[tuple[str, int]]:
    """(module, line) of every import that runs, wherever it stands."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            continue
        if isinstance(node, ast.Import):
            yield from ((alias.name, node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield from ((f"{node.module}.{alias.name}", node.lineno) for alias in node.names)
        else:
            yield from _imports(node)


def _room(path: Path) -> str:
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return parts[0]


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_arrows_point_down(path: Path) -> None:
    room = _room(path)
    if room not in MAY_USE:
        return
    allowed = MAY_USE[room] | EVERYBODY | {room}
    wrong = [
        f"{path.name}:{line} imports {name}"
        for name, line in _imports(ast.parse(path.read_text(encoding="utf-8")))
        if name.startswith("litequeue.")
        and not any(f"{name}.".startswith(f"litequeue.{target}.") for target in allowed)
    ]
    assert wrong == []


@pytest.mark.parametrize(
    ("module", "home"),
    [
        ("apsw", "store/sqlite"),
        ("click", "cli"),
        ("filelock", "store/sqlite"),
        ("textual", "inspect/viewer"),
        ("pickle", None),
    ],
)
def test_each_library_has_its_room(module: str, home: str | None) -> None:
    if home is None:
        homes = {"core", "app"}
        found = {_room(path) for path in FILES if _names(path, module)}
        assert found <= homes, found
        return
    outside = [
        str(path.relative_to(PACKAGE))
        for path in FILES
        if _names(path, module) and not path.is_relative_to(PACKAGE / home)
    ]
    assert outside == []


def _names(path: Path, module: str) -> bool:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return any(name.split(".")[0] == module for name, _ in _imports(tree))


def test_only_the_clock_and_measurements_read_the_wall_time() -> None:
    readers = [
        str(path.relative_to(PACKAGE))
        for path in FILES
        if "time.time()" in path.read_text(encoding="utf-8") and path.name not in ("clock.py", "ids.py")
    ]
    assert readers == []


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_modules_and_functions_stay_small(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert len(text.splitlines()) <= 610, path
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            first = node.body[0].lineno  # the arguments of Celery's constructor are twenty lines
            assert node.end_lineno is not None
            assert node.end_lineno - first <= 46, f"{path.name}: {node.name} has become long"


def test_every_move_between_states_is_legal() -> None:
    """The table of moves names only states that are there, and only what ended badly leaves a terminal state."""
    from litequeue.core import state

    assert set(state.MOVES) == set(state.ALL)
    assert all(targets <= set(state.ALL) for targets in state.MOVES.values())
    assert {name for name, targets in state.MOVES.items() if not targets} == {state.SUCCEEDED, state.IGNORED}
    assert all(state.MOVES[name] <= {state.READY, state.WAITING} for name in state.TERMINAL)
