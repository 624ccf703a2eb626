"""Whatever a canvas is made of, its drawing shows the steps that it is made of: found back from the rows alone."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from litequeue import LiteQueue, chain, chord, group
from litequeue.canvas import drawing

TASK = st.just("task")


def _composed(part: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    member = part.filter(lambda shape: shape[0] != "group")  # a group that is a member itself is spliced
    return st.one_of(
        st.tuples(st.just("chain"), st.lists(part, min_size=2, max_size=3)),
        st.tuples(st.just("group"), st.lists(member, min_size=2, max_size=3)),
        st.tuples(st.just("chord"), st.lists(member, min_size=1, max_size=3), part),
    )


SHAPES = st.recursive(TASK, _composed, max_leaves=12)


@pytest.fixture(scope="module")
def app() -> Iterator[LiteQueue]:
    with LiteQueue("shapes", broker=":memory:", set_as_current=False) as app:
        yield app


@pytest.fixture(autouse=True)
def _in_full(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(drawing, "FOLD", 1000)


def canvas_of(app: LiteQueue, shape: Any, names: Iterator[int]) -> Any:
    if shape == "task":
        return app.signature(f"t{next(names)}", app=app)
    kind, parts = shape[:2]
    made = [canvas_of(app, part, names) for part in parts]
    if kind == "chain":
        return chain(*made, app=app)
    if kind == "group":
        return group(made, app=app)
    return chord(made, canvas_of(app, shape[2], names), app=app)


def stages_of(shape: Any, names: Iterator[int]) -> list[Any]:
    """What runs one after the other: names of tasks, and lists of what runs side by side."""
    if shape == "task":
        return [f"t{next(names)}"]
    if shape[0] == "chain":
        return [stage for part in shape[1] for stage in stages_of(part, names)]
    side_by_side = [stages_of(part, names) for part in shape[1]]
    return [side_by_side, *(stages_of(shape[2], names) if shape[0] == "chord" else ())]


def lines_of(stages: list[Any]) -> list[str]:
    lines: list[str] = []
    for stage in stages:
        if lines:
            lines.append("↓")
        if isinstance(stage, str):
            lines.append(f"{stage}  PENDING")
            continue
        lines.append(f"group of {len(stage)}: 0 ended")
        for number, member in enumerate(stage, 1):
            glyph, bar = ("└─ ", "   ") if number == len(stage) else ("├─ ", "│  ")
            first, *rest = lines_of(member)
            lines += [glyph + first, *(bar + line for line in rest)]
    return lines


@given(SHAPES)
@settings(max_examples=150, deadline=None)
def test_a_drawing_shows_the_steps(app: LiteQueue, shape: Any) -> None:
    result = canvas_of(app, shape, count()).apply_async()
    assert str(result.graph).splitlines() == lines_of(stages_of(shape, count()))
