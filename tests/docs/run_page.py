"""Run the code of one page: `python -m tests.docs.run_page docs/tasks.md`, in an empty folder.

The blocks of a page are one program, run from the top in that folder:

- a `python` block is executed, unless the line before it is `<!-- not run: reason -->`;
- a `python` block whose first line is `# name.py` is written into that file instead;
- an expression with the comment `# -> text` must have that repr, and a statement with `# raises Error: text` must
  raise that; `...` in the text stands for anything;
- a block after `<!-- prints -->` is what the `python` block before it must print (`...` as above);
- a block after `<!-- rows: expression -->` is what `tests.docs.rows` must draw of that canvas;
- where the page wrote files, the lines of a `console` block are run too: `$ litequeue ... worker` is started, and
  stopped at the end of the page; `$ python name.py` must print what the block shows.
"""

from __future__ import annotations

import ast
import io
import os
import re
import shlex
import signal
import subprocess
import sys
import tokenize
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from types import ModuleType
from typing import Any

from tests.docs.pages import Block, blocks
from tests.docs.preambles import PREAMBLES
from tests.docs.rows import drawn

_EXPECTED = re.compile(r"# (->|raises) (.+)$")
_TIMEOUT = 60  # seconds for one command of a console block


class Page:
    """A page that is being run."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.module = ModuleType("__main__")
        self.module.__dict__.update(__same__=same, __raises__=raises)
        self.workers: list[subprocess.Popen[bytes]] = []
        self.wrote_files = False
        self.printed = io.StringIO()
        """What the last `python` block printed."""

    def run(self) -> None:
        """Run every block, and stop what the page started."""
        sys.modules["__main__"] = self.module  # so that classes of the page are found by their name
        sys.path.insert(0, os.getcwd())
        exec(PREAMBLES.get(self.path.stem, ""), self.module.__dict__)
        try:
            for block in blocks(self.path):
                if block.not_run is None:
                    self._run_block(block)
        finally:
            self._stop()

    def _run_block(self, block: Block) -> None:
        if block.language == "python" and block.file:
            Path(block.file).write_text(block.text, encoding="utf-8")
            self.wrote_files = True
        elif block.language == "python":
            self.printed = io.StringIO()
            with redirect_stdout(self.printed):
                exec(compile(checked(block), str(block.page), "exec"), self.module.__dict__)
        elif block.rows_of is not None:
            self._check_text(block, drawn(eval(block.rows_of, self.module.__dict__)))
        elif block.printed:
            self._check_text(block, self.printed.getvalue())
        elif block.language == "console" and self.wrote_files:
            for command, output in commands(block.text):
                self._run_command(command, output, f"{block.page.name}:{block.line}")

    @staticmethod
    def _check_text(block: Block, text: str) -> None:
        where = f"{block.page.name}:{block.line}"
        assert matches(text.strip(), block.text.strip()), f"{where}: the page is to show\n{text}"

    def _run_command(self, command: list[str], output: str, where: str) -> None:
        if command[0] == "litequeue" and "worker" in command:
            self.workers.append(subprocess.Popen([sys.executable, "-m", *command]))
        elif command[0] in ("litequeue", "python"):
            given = command[1:] if command[0] == "python" else ["-m", *command]
            done = subprocess.run([sys.executable, *given], capture_output=True, text=True, timeout=_TIMEOUT)
            assert done.returncode == 0, f"{where}: {shlex.join(command)} failed: {done.stderr}"
            assert matches(done.stdout.strip(), output), f"{where}: {shlex.join(command)} printed {done.stdout!r}"

    def _stop(self) -> None:
        for value in list(vars(self.module).values()):
            if type(value).__name__ == "EmbeddedWorker":
                value.stop(timeout=10)
        for worker in self.workers:
            worker.send_signal(signal.SIGTERM)
        for worker in self.workers:
            assert worker.wait(timeout=_TIMEOUT) == 0, "the worker of the page did not end well"


def commands(text: str) -> Iterator[tuple[list[str], str]]:
    """(command, what it prints) of each line after `$ `."""
    for part in re.split(r"^\$ ", text, flags=re.MULTILINE)[1:]:
        line, _, output = part.partition("\n")
        yield shlex.split(line, comments=True), output.strip()


def checked(block: Block) -> ast.Module:
    """The code of the block, numbered as in the page, with a check for each comment that says what to expect."""
    tree = ast.parse(block.text)
    expected = {}
    for token in tokenize.generate_tokens(io.StringIO(block.text).readline):
        found = _EXPECTED.match(token.string) if token.type == tokenize.COMMENT else None
        if found:
            expected[token.start[0]] = (found[1], found[2].strip())
    adder = _Adder(expected, f"{block.page.name}:%d", block.line)
    tree = ast.fix_missing_locations(adder.visit(tree))
    assert not adder.expected, f"{block.page.name}: a comment says what to expect of no expression: {adder.expected}"
    return ast.increment_lineno(tree, block.line - 1)


class _Adder(ast.NodeTransformer):
    def __init__(self, expected: dict[int, tuple[str, str]], where: str, first: int) -> None:
        self.expected = expected
        self.where = where
        self.first = first

    def visit_Expr(self, node: ast.Expr) -> ast.AST:
        if self.expected.get(node.end_lineno or 0, ("",))[0] != "->":
            return self.visit_Assign(node)
        call = ast.Call(ast.Name("__same__", ast.Load()), [node.value, *self._names(node)], [])
        return ast.copy_location(ast.Expr(call), node)

    def visit_Assign(self, node: ast.Assign | ast.Expr) -> ast.AST:
        if self.expected.get(node.end_lineno or 0, ("",))[0] != "raises":
            return node
        call = ast.Call(ast.Name("__raises__", ast.Load()), self._names(node), [])
        return ast.copy_location(ast.With([ast.withitem(call)], [node]), node)

    def _names(self, node: ast.stmt) -> list[ast.expr]:
        """What the comment beside the statement says, and where that is."""
        _, text = self.expected.pop(node.end_lineno or 0)
        return [ast.Constant(text), ast.Constant(self.where % (node.lineno + self.first - 1))]


def matches(shown: str, expected: str) -> bool:
    """Whether `shown` is the text `expected`, in which `...` stands for anything."""
    return bool(re.fullmatch(".*".join(map(re.escape, expected.split("..."))), shown, re.DOTALL))


def same(value: Any, expected: str, where: str) -> None:
    """AssertionError unless the repr of `value` is as the page says."""
    if not matches(repr(value), expected):
        raise AssertionError(f"{where}: the page says {expected}, and it is {value!r}")


@contextmanager
def raises(expected: str, where: str) -> Iterator[None]:
    """AssertionError unless the block raises what the page says."""
    try:
        yield
    except Exception as exc:
        shown = f"{type(exc).__name__}: {exc}"
        if not matches(shown, expected) and shown.partition(":")[0] != expected:
            raise AssertionError(f"{where}: the page says that it raises {expected}, and it raises {shown}") from exc
    else:
        raise AssertionError(f"{where}: the page says that it raises {expected}, and it raises nothing")


if __name__ == "__main__":
    Page(Path(sys.argv[1]).resolve()).run()
