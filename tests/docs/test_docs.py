"""docs/ runs, is complete, and leads somewhere.

Completeness is read from the code: what is declared there has a mention here, or the test says what is missing.
"""

from __future__ import annotations

import inspect
import os
import re
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import ClassVar, get_origin, get_type_hints

import click
import pytest

from litequeue import canvas, config, exceptions, signals, states
from litequeue.app import LiteQueue
from litequeue.app.embedded import worker_options
from litequeue.calling import options as call_options
from litequeue.canvas.chains import OF_THE_WHOLE
from litequeue.canvas.graph import Graph, GraphEdge, GraphNode
from litequeue.cli.main import COMMANDS, litequeue
from litequeue.config.table import SETTINGS
from litequeue.core import context, state, ties
from litequeue.result import AsyncResult, EagerResult, GroupResult
from litequeue.result.logged import LoggedLine
from litequeue.result.progress import Progress
from litequeue.result.reading import Attempt
from litequeue.task import HANDLERS, Task
from tests.docs.pages import DOCS, README, ROOT, anchors, blocks, code_words, command_lines, links, pages, spans

PAGES = pages()
INTERNAL = {"app", "request_stack", "overrides", "overrides_apply_async", "takes_error", "customised_calls", "abstract"}
"""Annotated attributes of Task that are no options."""
ALIASES = {"maybe_signature", "maybe_subtask", "xmap", "xstarmap"}
"""Names of litequeue.canvas for what the page calls by another."""
OF_THE_CODE = {"KIND", "PARTS", "TASK_NAME", "TYPES", "COPIES_ITSELF", "REBUILDS_ITSELF", "complete", "is_plain"}
OF_THE_CODE |= {"parts", "has_parts", "change_parts", "register_type", "ended_as_header"}
"""What signatures and results offer to the code of ours alone, or to those who write another kind of one."""


def name(page: Path) -> str:
    """A page, as a test's id."""
    return page.stem


# It runs


@pytest.mark.parametrize(
    "page", [page for page in PAGES if any(b.language == "python" for b in blocks(page))], ids=name
)
def test_the_code_of_a_page_runs(page: Path, tmp_path: Path) -> None:
    environment = {k: v for k, v in os.environ.items() if not k.startswith("LITEQUEUE_")}
    environment |= {"PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1", "NO_COLOR": "1"}
    done = subprocess.run(
        [sys.executable, "-W", "error", "-m", "tests.docs.run_page", str(page)],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=110,
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_a_block_that_is_not_run_says_why(page: Path) -> None:
    comments = re.findall(r"^<!-- not run:?(.*?)-->$", page.read_text(encoding="utf-8"), re.MULTILINE)
    assert all(reason.strip() for reason in comments)
    assert len(comments) == sum(block.not_run is not None for block in blocks(page)), "a comment stands before no block"


# It leads somewhere


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_links_lead_to_a_file_and_a_heading(page: Path) -> None:
    for link in links(page):
        target, _, anchor = link.partition("#")
        there = page.parent / target if target else page
        assert there.exists(), f"{page.name} links to {link}: there is no such file"
        if anchor:
            assert anchor in anchors(there), f"{page.name} links to {link}: there is no such heading"


def test_every_page_is_on_the_map() -> None:
    assert {page.name for page in DOCS.glob("*.md")} - {"index.md"} <= set(links(DOCS / "index.md"))


# It is complete


def missing(names: Iterable[str], *where: str) -> list[str]:
    """Which of `names` none of the pages `where` (none: the whole of docs/) writes as code."""
    there = [DOCS / page for page in where] or DOCS.glob("*.md")
    words = set().union(*(code_words(page) for page in there))
    return sorted(set(names) - words)


def declared_options() -> set[str]:
    """What `@app.task` takes: its own keywords, those that make the task, and the attributes that a task may set."""
    own = inspect.signature(LiteQueue._declare).parameters.keys() - {"self", "fun", "opts"}
    source = inspect.getsource(sys.modules["litequeue.app.declaring"])
    made = set(re.findall(r'options\.pop\("(\w+)"', source)) | set(re.findall(r'"(pydantic\w*)"', source))
    hints = get_type_hints(Task, localns={"LiteQueue": LiteQueue, "RequestStack": object, "Preset": object})
    attributes = {
        attribute
        for attribute, hint in hints.items()
        if not attribute.startswith("_") and get_origin(hint) is not ClassVar and hint is not ClassVar
    }
    return (own | made | attributes) - INTERNAL


def public(cls: type) -> set[str]:
    """The public methods and properties that a class of ours defines."""
    return {n for base in cls.__mro__[:-1] for n in vars(base) if not n.startswith("_") and base is not dict}


def test_every_setting() -> None:
    assert not missing(SETTINGS)


def test_every_option_of_a_call() -> None:
    assert not missing(
        call_options.OPTIONS | inspect.signature(Task.apply_async).parameters.keys() - {"self", "options"}, "calling.md"
    )


def test_every_option_of_a_task() -> None:
    assert not missing(declared_options(), "tasks.md")


def test_every_handler_of_a_task() -> None:
    assert not missing(HANDLERS, "tasks.md")


def test_every_field_of_the_request() -> None:
    assert not missing({*context._FIELDS, "children"}, "tasks.md")


def test_every_state() -> None:
    celery = states.ALL_STATES | states.READY_STATES | states.UNREADY_STATES
    assert not missing({*state.ALL, *celery}, "tasks.md")


def test_everything_a_result_offers() -> None:
    assert not missing(
        {*public(AsyncResult), *public(EagerResult), *Attempt._fields, *LoggedLine._fields}, "results.md"
    )
    assert not missing({*Progress._fields, "Progress", "fraction"}, "results.md")


def test_everything_a_group_of_results_offers() -> None:
    assert not missing({*public(GroupResult), "ResultSet"} - OF_THE_CODE, "results.md")


def test_everything_a_canvas_is_made_of() -> None:
    assert not missing(set(canvas.__all__) - ALIASES, "canvas.md")
    assert not missing(public(canvas.Signature) - OF_THE_CODE, "canvas.md")


def test_every_method_of_a_visitor() -> None:
    assert not missing(public(canvas.StampingVisitor), "canvas.md")


def test_everything_a_graph_offers() -> None:
    of_it = {*public(Graph), *inspect.signature(Graph).parameters} - {"app", "node_id", "members", "sizes", "callers"}
    assert not missing({*of_it - {"items"}, *GraphNode._fields, *GraphEdge._fields}, "canvas.md")


def test_every_way_to_hang_on_another() -> None:
    assert not missing({ties.THEN, ties.LINK, ties.BODY, ties.ERRBACK, ties.QUEUE}, "glossary.md")


def test_every_option_of_a_whole_chain() -> None:
    assert not missing(OF_THE_WHOLE, "calling.md")


def test_every_exception() -> None:
    classes = [*vars(exceptions).values(), *vars(config).values()]
    ours = {c.__name__ for c in classes if isinstance(c, type) and issubclass(c, BaseException)}
    assert not missing(ours, "exceptions.md")


def test_every_signal() -> None:
    ours = {signal for signal, value in vars(signals).items() if isinstance(value, signals.Signal)}
    assert not missing(ours, "signals.md")


def test_everything_an_app_is_made_of() -> None:
    assert not missing(inspect.signature(LiteQueue).parameters.keys() - {"conf"}, "app.md")


def test_every_signal_of_an_app() -> None:
    app = LiteQueue(set_as_current=False)
    assert not missing((n for n, value in vars(app).items() if isinstance(value, signals.Signal)), "app.md")


def test_every_option_of_a_worker_in_a_program() -> None:
    assert not missing(inspect.signature(worker_options).parameters.keys() - {"app", "ignored"}, "testing.md")


def options_of(command: click.Command) -> set[str]:
    """Every spelling of the options of a command."""
    found = [param for param in command.params if isinstance(param, click.Option)]
    return {spelling for option in found for spelling in (*option.opts, *option.secondary_opts)}


def options_of_all(command: click.Command, words: list[str]) -> set[str]:
    """The options of a command, and of the command of it that `words` name."""
    found = options_of(command)
    if isinstance(command, click.Group):
        found = found.union(*(options_of(inner) for name, inner in command.commands.items() if name in words))
    return found


def command(of: str) -> click.Command:
    """The command `of`, imported."""
    found = litequeue.get_command(click.Context(litequeue), of)
    assert found is not None
    return found


def test_every_command_and_its_options() -> None:
    assert not missing(COMMANDS, "command-line.md")
    assert not missing(options_of(litequeue).union(*(options_of(command(each)) for each in COMMANDS)))


# It is true


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_command_lines_use_options_that_exist(page: Path) -> None:
    for line in command_lines(page):
        words = line.split()[1:]
        called = next((word for word in words if word in COMMANDS), None)
        known = options_of(litequeue) | {"-h", "--help"} | (options_of_all(command(called), words) if called else set())
        used = {re.split(r"[=\d:]", word)[0] for word in words if re.match(r"--?[A-Za-z]", word)}
        assert used <= known, f"{page.name}: {line}: {used - known}"


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_paths_of_the_source_exist(page: Path) -> None:
    for span in spans(page):
        if re.fullmatch(r"\w+(/[\w.]+)+\.(py|sql|md)|(\w+/)+", span):
            homes = [ROOT, DOCS, ROOT / "tests", ROOT / "litequeue", ROOT / "litequeue" / "worker"]
            assert any((home / span).exists() for home in homes), f"{page.name} names {span}, which is not there"


def test_the_readme_is_a_page() -> None:
    assert README in PAGES
