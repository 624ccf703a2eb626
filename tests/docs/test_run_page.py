"""The runner of pages finds what is wrong with one."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.docs.pages import ROOT, anchors, blocks, command_lines, links


def run(page: Path) -> subprocess.CompletedProcess[str]:
    """Run a page as the tests of docs/ do."""
    return subprocess.run(
        [sys.executable, "-m", "tests.docs.run_page", str(page)],
        cwd=page.parent,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=60,
    )


@pytest.fixture
def page(tmp_path: Path) -> Path:
    return tmp_path / "page.md"


@pytest.mark.parametrize(
    "code",
    [
        "x = 1\nx + 1  # -> 2",
        "[1, 'two', 3]  # -> [1, ..., 3]",
        "1 / 0  # raises ZeroDivisionError: division by zero",
        "x = {}['k']  # raises KeyError",
        "if True:\n    sum(\n        [1, 2]\n    )  # -> 3",
        "class E(Exception): pass\nimport __main__\n__main__.E is E  # -> True",
    ],
)
def test_a_page_that_is_right(page: Path, code: str) -> None:
    page.write_text(f"text\n\n```python\n{code}\n```\n")
    done = run(page)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("x = 1\nx + 1  # -> 3", "page.md:5: the page says 3, and it is 2"),
        ("1 + 1  # raises ValueError", "page.md:4: the page says that it raises ValueError, and it raises nothing"),
        (
            "1 / 0  # raises KeyError",
            "page.md:4: the page says that it raises KeyError, and it raises ZeroDivisionError",
        ),
        ("x = 1  # -> 1", "page.md: a comment says what to expect of no expression"),
        ("\nboom()", 'page.md", line 5'),
    ],
)
def test_a_page_that_is_wrong_says_where(page: Path, code: str, said: str) -> None:
    page.write_text(f"text\n\n```python\n{code}\n```\n")
    done = run(page)
    assert done.returncode != 0
    assert said in done.stderr


def test_blocks_are_one_program_and_may_be_left_out(page: Path) -> None:
    page.write_text(
        "```python\nx = 1\n```\n<!-- not run: it would fail -->\n```python\n1 / 0\n```\n```python\nx  # -> 1\n```\n"
    )
    assert run(page).returncode == 0
    assert [block.not_run for block in blocks(page)] == [None, "it would fail", None]


@pytest.mark.parametrize(("shown", "code"), [("1\n2", 0), ("1\n...", 0), ("1\n3", 1), ("1", 1)])
def test_what_a_block_prints_must_be_as_shown(page: Path, shown: str, code: int) -> None:
    page.write_text(f"```python\nprint(1)\nprint(2)\n```\n\n<!-- prints -->\n```text\n{shown}\n```\n")
    assert run(page).returncode == code


CANVAS = """```python
from litequeue import LiteQueue
app = LiteQueue("proj", broker="q.db")
add = app.task(lambda x, y: x + y, name="add")
```

<!-- rows: add.s(1, 2) | add.s(3) -->
```text
row  task       state    after  edge
a    add(1, 2)  ready
b    add(…, 3)  waiting  %s      then
```
"""


@pytest.mark.parametrize(("after", "code"), [("a", 0), ("b", 1)])
def test_the_rows_of_a_canvas_must_be_as_drawn(page: Path, after: str, code: int) -> None:
    page.write_text(CANVAS % after)
    done = run(page)
    assert done.returncode == code, done.stderr
    assert code == 0 or "page.md:9: the page is to show\nrow  task" in done.stderr


@pytest.mark.parametrize(("printed", "code"), [("3", 0), ("4", 1)])
def test_files_are_written_and_commands_must_print_what_is_shown(page: Path, printed: str, code: int) -> None:
    page.write_text(
        f"```python\n# three.py\nprint(3)\n```\n```console\n$ pip install x\n$ python three.py\n{printed}\n```\n"
    )
    assert run(page).returncode == code


def test_what_a_page_links_to_and_calls(page: Path) -> None:
    page.write_text(
        "# A `code` heading, twice\n[a](b.md#c) [w](https://x.y) `litequeue -A proj worker -c 2`\n"
        "```console\n$ litequeue purge -f\n$ X=1 litequeue worker --burst  # why\n```\n"
    )
    assert links(page) == ["b.md#c"]
    assert anchors(page) == {"a-code-heading-twice"}
    assert [line.strip() for line in command_lines(page)] == [
        "litequeue purge -f",
        "litequeue worker --burst",
        "litequeue -A proj worker -c 2",
    ]
