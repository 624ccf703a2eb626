"""The stored workflow as a graph, and its drawings."""

from __future__ import annotations

import io
import re
import shutil
import subprocess
from textwrap import dedent
from typing import Any

import pytest

from litequeue import chain, chord, group
from litequeue.canvas.graph import Graph
from litequeue.core.records import NewCanvas, NewGroup, NewTask
from litequeue.core.ties import MEMBER
from litequeue.exceptions import IncompleteStream
from litequeue.result import AsyncResult, GroupResult


def drawing(text: str) -> str:
    return dedent(text).strip("\n")


def ended(result: Any) -> Any:
    """Wait for a result, whatever it is."""
    result.get(timeout=10, propagate=False, **({} if isinstance(result, GroupResult) else {"follow_parents": False}))
    return result


class TestText:
    def test_a_task_alone(self, app: Any, tasks: Any) -> None:
        result = tasks.give.delay(1)
        assert str(result.graph) == str(app.graph(result.id)) == "give  PENDING"

    def test_a_chain(self, tasks: Any, worker: Any) -> None:
        result = chain(tasks.give.si(1), tasks.fail.s("x"), tasks.add.s(1)).apply_async()
        worker()
        ended(result)
        assert str(result.graph) == drawing(
            """
            give  SUCCESS
            ↓
            fail  FAILURE
            ↓
            add  FAILURE
            """
        )

    def test_a_group(self, tasks: Any) -> None:
        result = group(tasks.give.si(1), tasks.add.si(1)).apply_async()
        assert str(result.graph) == drawing(
            """
            group of 2: 0 ended
            ├─ give  PENDING
            └─ add  PENDING
            """
        )

    def test_a_chord_between_two_steps(self, tasks: Any, worker: Any, gates: Any) -> None:
        worker()
        header = group(tasks.give.s(2), tasks.fail.s("x"), tasks.hold.s("gate"))
        result = chain(tasks.give.si(1), header, tasks.add.s(), tasks.give.s()).apply_async()
        gates.await_task("gate")
        ended(result.parent.parent[1])
        expected = drawing(
            """
            give  SUCCESS
            ↓
            group of 3: {}
            ├─ give  SUCCESS
            ├─ fail  FAILURE
            └─ hold  {}
            ↓
            add  {}
            ↓
            give  {}
            """
        )
        ended(result.parent.parent[0])
        assert str(result.graph) == expected.format("2 ended, 1 failed", "STARTED", "PENDING", "PENDING")
        gates.open("gate")
        ended(result)
        assert str(result.graph) == expected.format("all ended, 1 failed", "SUCCESS", "FAILURE", "FAILURE")

    def test_whichever_node_is_asked_for(self, app: Any, tasks: Any) -> None:
        result = chain(tasks.give.si(1), group(tasks.give.s(), tasks.add.s()), tasks.add.s()).apply_async()
        texts = {str(app.graph(node)) for node in (result, result.parent, result.parent[1], result.parent.parent)}
        assert len(texts) == 1

    def test_members_that_are_chains_groups_and_chords(self, tasks: Any) -> None:
        result = chord(
            [
                chain(tasks.give.si(1), tasks.add.s(1)),
                chain(tasks.give.si(2), group(tasks.add.s(1), chain(tasks.add.s(2), tasks.give.s()))),
                chord([tasks.give.si(3), tasks.give.si(4)], tasks.add.s()),
                tasks.hold.si("gate"),
            ],
            tasks.add.s(),
        ).apply_async()
        assert str(result.graph) == drawing(
            """
            group of 4: 0 ended
            ├─ give  PENDING
            │  ↓
            │  add  PENDING
            ├─ give  PENDING
            │  ↓
            │  group of 2: 0 ended
            │  ├─ add  PENDING
            │  └─ add  PENDING
            │     ↓
            │     give  PENDING
            ├─ group of 2: 0 ended
            │  ├─ give  PENDING
            │  └─ give  PENDING
            │  ↓
            │  add  PENDING
            └─ hold  PENDING
            ↓
            add  PENDING
            """
        )

    def test_a_group_after_a_group(self, tasks: Any) -> None:
        result = (group(tasks.give.si(1), tasks.give.si(2)) | group(tasks.add.s(), tasks.give.s())).apply_async()
        assert str(result.graph) == drawing(
            """
            group of 2: 0 ended
            ├─ give  PENDING
            └─ give  PENDING
            ↓
            group of 2: 0 ended
            ├─ add  PENDING
            └─ give  PENDING
            """
        )

    def test_groups_of_one(self, tasks: Any) -> None:
        head = chain(tasks.give.si(0), chord([tasks.give.s(1)], tasks.add.s()))
        result = (head | chord([chain(tasks.give.s(2), tasks.hold.s("x"))], tasks.add.s())).apply_async()
        assert str(result.graph) == drawing(
            """
            give  PENDING
            ↓
            group of 1: 0 ended
            └─ give  PENDING
            ↓
            add  PENDING
            ↓
            group of 1: 0 ended
            └─ give  PENDING
               ↓
               hold  PENDING
            ↓
            add  PENDING
            """
        )

    def test_a_group_of_one_right_after_a_group(self, tasks: Any) -> None:
        body = chord([tasks.give.s(3)], tasks.add.s())
        result = chord([tasks.give.si(1), tasks.give.si(2)], body).apply_async()
        assert str(result.graph) == drawing(
            """
            group of 2: 0 ended
            ├─ give  PENDING
            └─ give  PENDING
            ↓
            group of 1: 0 ended
            └─ give  PENDING
            ↓
            add  PENDING
            """
        )

    def test_callbacks_and_error_callbacks(self, tasks: Any, worker: Any) -> None:
        first = tasks.give.si(1)
        first.link(tasks.add.s(1))
        second = tasks.fail.s("x")
        second.link_error(tasks.give.si("told"))
        result = chain(first, second, tasks.give.s()).apply_async()
        worker()
        ended(result)
        ended(result.parent.children[-1])
        ended(result.parent.parent.children[-1])
        assert str(result.graph) == drawing(
            """
            give  SUCCESS
            └─ link: add  SUCCESS
            ↓
            fail  FAILURE
            └─ on error: give  SUCCESS
            ↓
            give  FAILURE
            """
        )

    def test_a_callback_that_is_a_canvas(self, tasks: Any) -> None:
        first = tasks.give.si(1)
        first.link(chain(tasks.add.s(1), group(tasks.give.s(), tasks.give.s())))
        assert str(first.apply_async().graph) == drawing(
            """
            give  PENDING
            └─ link: add  PENDING
               ↓
               group of 2: 0 ended
               ├─ give  PENDING
               └─ give  PENDING
            """
        )

    def test_a_large_group_shows_the_first_members_and_those_that_failed(
        self, app: Any, tasks: Any, worker: Any
    ) -> None:
        members = [tasks.fail.si("x") if slot in (20, 30, 40, 50) else tasks.give.si(slot) for slot in range(60)]
        result = chord(members, tasks.add.s()).apply_async()
        worker()
        ended(result)
        assert str(result.graph) == drawing(
            """
            group of 60: all ended, 4 failed
            ├─ give  SUCCESS
            ├─ give  SUCCESS
            ├─ give  SUCCESS
            ├─ [20] fail  FAILURE
            ├─ [30] fail  FAILURE
            ├─ [40] fail  FAILURE
            └─ ×54 more: 53 SUCCESS, 1 FAILURE
            ↓
            add  FAILURE
            """
        )

    def test_a_long_chain_shows_its_ends(self, tasks: Any) -> None:
        result = chain(tasks.give.si(step) for step in range(50)).apply_async()
        assert str(result.graph) == drawing(
            """
            give  PENDING
            ↓
            give  PENDING
            ↓
            give  PENDING
            ↓
            ×46 more: 46 PENDING
            ↓
            give  PENDING
            """
        )

    def test_more_than_was_asked_for(self, app: Any, tasks: Any) -> None:
        result = group(tasks.give.si(slot) for slot in range(50)).apply_async()
        graph = app.graph(result, limit=10)
        assert (len(graph.nodes), graph.complete, graph.ended) == (11, False, False)
        assert str(graph) == drawing(
            """
            group of 50: 0 ended
            ├─ give  PENDING
            ├─ give  PENDING
            ├─ give  PENDING
            └─ ×47 more: 40 not read, 7 PENDING
            (only the nearest tasks are shown; there are more)
            """
        )

    def test_with_ids_and_in_ascii(self, tasks: Any) -> None:
        canvas = group(tasks.give.si(1).set(task_id="one"), chain(tasks.give.si(1).set(task_id="a"), tasks.add.s(1)))
        result = chord(canvas.tasks, tasks.add.s().set(task_id="body")).apply_async()
        text = result.graph.to_text(ids=True, ascii=True)
        assert re.sub(r"[0-9a-f]{8}-[0-9a-f-]{27}", "ID", text) == drawing(
            """
            group of 2: 0 ended  ID
            |- give  PENDING  one
            `- give  PENDING  a
               v
               add  PENDING  ID
            v
            add  PENDING  body
            """
        )

    def test_nothing_of_it_in_the_file(self, app: Any) -> None:
        graph = app.graph("nobody")
        assert str(graph) == "the file has nothing of nobody"
        assert (list(graph), graph.edges, bool(graph)) == ([], (), True)

    def test_what_ran_in_place(self, tasks: Any) -> None:
        result = chain(tasks.give.si(1), tasks.add.s(2)).apply()
        assert str(result.graph) == drawing(
            """
            give  SUCCESS
            ↓
            add  SUCCESS
            """
        )

    def test_a_set_put_together_by_hand(self, app: Any, tasks: Any) -> None:
        results = app.ResultSet([tasks.give.delay(1), group(tasks.add.si(1), tasks.add.si(2)).apply_async()])
        assert str(results.graph) == drawing(
            """
            group of 2: 0 ended
            ├─ give  PENDING
            └─ group of 2: 0 ended
               ├─ add  PENDING
               └─ add  PENDING
            """
        )

    def test_a_name_cannot_steer_the_terminal(self, app: Any) -> None:
        result = app.send_task("evil\n\x1b[2Jname\u202e", task_id="x")
        assert str(result.graph) == "evil\\n\\x1b[2Jname\\u202e  PENDING"


class TestNodesAndEdges:
    def test_of_a_chord(self, app: Any, tasks: Any) -> None:
        names = iter("abc")
        header = [tasks.give.s().set(task_id=next(names)) for _ in range(2)]
        canvas = chain(tasks.give.si(1).set(task_id="head"), chord(header, tasks.add.s().set(task_id="body")))
        graph = canvas.apply_async().graph
        (group_id,) = (node.id for node in graph.nodes if node.kind == "group")
        assert [(node.id, node.kind, node.name, node.state, node.ended) for node in graph.nodes] == [
            ("head", "task", "give", "PENDING", False),
            ("a", "task", "give", "PENDING", False),
            ("b", "task", "give", "PENDING", False),
            (group_id, "group", "group of 2", "PENDING", False),
            ("body", "task", "add", "PENDING", False),
        ]
        assert set(graph.edges) == {
            ("head", "a", "then"),
            ("head", "b", "then"),
            ("a", group_id, "member"),
            ("b", group_id, "member"),
            (group_id, "body", "body"),
        }

    def test_going_through_it_gives_results(self, app: Any, tasks: Any) -> None:
        result = chord([tasks.give.si(1), tasks.give.si(2)], tasks.add.s()).apply_async()
        graph = result.graph
        assert {type(node).__name__ for node in graph} == {"AsyncResult", "GroupResult"}
        assert set(graph) == {result, result.parent, *result.parent}
        assert graph[result.parent] == [result]
        assert dict(graph.items())[result] == []
        assert result in graph
        assert "nobody" not in graph
        assert len(graph) == 4
        with pytest.raises(KeyError):
            graph["nobody"]

    def test_build_graph_as_in_celery(self, tasks: Any, worker: Any) -> None:
        result = chain(tasks.give.si(1), tasks.give.s()).apply_async()
        with pytest.raises(IncompleteStream, match=result.id):
            result.build_graph()
        assert isinstance(result.build_graph(intermediate=True), Graph)
        worker()
        result.get(timeout=10)
        assert [node.get() for node in result.build_graph()] == [1, 1]
        file = io.StringIO()
        assert result.graph.to_dot(file) == file.getvalue()

    def test_what_cannot_be_asked_for(self, app: Any) -> None:
        with pytest.raises(TypeError, match="needs a result"):
            app.graph(3)

    def test_repr(self, app: Any, tasks: Any) -> None:
        graph = chain(tasks.give.si(1), tasks.give.s().set(task_id="last")).apply_async().graph
        assert repr(graph) == "<Graph of last: 2 nodes, 1 edges>"


EVIL = 'a"b\\N`c`<script>;[x](y){z}|#quot; end\n-->'


class TestLanguages:
    @pytest.fixture
    def result(self, app: Any, tasks: Any, worker: Any) -> AsyncResult:
        first = tasks.give.si(1)
        first.link(tasks.add.s(1))
        last = tasks.fail.s("x").on_error(tasks.give.si(1))
        result = chain(first, group(tasks.give.s(), tasks.give.s()), last).apply_async()
        worker()
        ended(result)
        ended(result.children[0])
        ended(result.parent.parent.children[-1])
        return result

    def test_mermaid(self, result: Any) -> None:
        assert result.graph.to_mermaid() == dedent(
            """\
            flowchart TD
              n0["give<br/>SUCCESS"]
              n1["give<br/>SUCCESS"]
              n2["give<br/>SUCCESS"]
              n3(["group of 2<br/>SUCCESS"])
              n4["fail<br/>FAILURE"]
              n5["add<br/>SUCCESS"]
              n6["give<br/>SUCCESS"]
              n0 --> n1
              n1 --- n3
              n0 --> n2
              n2 --- n3
              n3 -- body --> n4
              n0 -. link .-> n5
              n4 -. error .-> n6
              classDef success fill:#c8e6c9
              class n0,n1,n2,n3,n5,n6 success
              classDef failure fill:#ffcdd2
              class n4 failure
            """
        )

    def test_dot(self, result: Any) -> None:
        assert result.graph.to_dot() == dedent(
            """\
            digraph workflow {
              node [shape=box, style="rounded,filled", fillcolor="#f4f4f4"];
              n0 [label="give\\nSUCCESS", fillcolor="#c8e6c9"];
              n1 [label="give\\nSUCCESS", fillcolor="#c8e6c9"];
              n2 [label="give\\nSUCCESS", fillcolor="#c8e6c9"];
              n3 [label="group of 2\\nSUCCESS", shape=ellipse, fillcolor="#c8e6c9"];
              n4 [label="fail\\nFAILURE", fillcolor="#ffcdd2"];
              n5 [label="add\\nSUCCESS", fillcolor="#c8e6c9"];
              n6 [label="give\\nSUCCESS", fillcolor="#c8e6c9"];
              n0 -> n1;
              n1 -> n3 [arrowhead=none];
              n0 -> n2;
              n2 -> n3 [arrowhead=none];
              n3 -> n4 [label="body"];
              n0 -> n5 [label="link", style=dashed];
              n4 -> n6 [label="error", style=dashed, color="#c62828"];
            }
            """
        )

    def test_labels_are_safe_whatever_a_name_contains(self, app: Any) -> None:
        graph = app.send_task(EVIL).graph
        mermaid = graph.to_mermaid().splitlines()
        assert len(mermaid) == 2
        assert re.fullmatch(r'  n0\["[\w .#;-]+<br/>PENDING"\]', mermaid[1])
        dot = graph.to_dot().splitlines()[2]
        assert re.fullmatch(r'  n0 \[label="(?:[^"\\]|\\.)*"\];', dot)
        assert '"a\\"b\\\\N`c`' in dot

    @pytest.mark.skipif(shutil.which("dot") is None, reason="Graphviz is not installed")
    def test_graphviz_reads_it(self, app: Any, result: Any) -> None:
        for graph in (result.graph, app.send_task(EVIL).graph):
            subprocess.run(["dot", "-Tsvg"], input=graph.to_dot().encode(), check=True, capture_output=True)


class TestScale:
    def test_a_group_of_10_000_and_a_chain_of_10_000(self, app: Any, tasks: Any) -> None:
        members = [
            NewTask(f"m{n}", "give", "celery", 0, "[[1],{}]", "json", ties=MEMBER, group_id="g", group_index=n)
            for n in range(10_000)
        ]
        app.store.enqueue_canvas(NewCanvas(members, (NewGroup("g", 10_000),)))
        assert "×9997 more: 9000 not read, 997 PENDING" in str(app.graph("g"))
        assert "×9997 more: 9997 PENDING" in str(app.graph("g", limit=20_000))
        result = chain(*(tasks.give.si(1) for _ in range(10_000))).apply_async()
        assert "×9996 more: 9996 PENDING" in str(app.graph(result, limit=20_000))

    def test_nested_200_deep_and_300_chords_in_a_row(self, tasks: Any) -> None:
        canvas = tasks.give.si(0)
        for _ in range(200):
            canvas = group(tasks.give.si(1), chain(tasks.give.si(2), canvas))
        assert str(canvas.apply_async().graph).count("group of 2") == 200
        chords = [chord([tasks.give.si(1), tasks.give.si(2)], tasks.add.si(1)) for _ in range(300)]
        assert str(chain(*chords).apply_async().graph).count("group of 2") == 300

    def test_rows_that_wait_for_each_other_in_a_ring(self, app: Any) -> None:
        ring = [
            NewTask("a", "give", "celery", 0, "[[1],{}]", "json", after="b", edge="then"),
            NewTask("b", "give", "celery", 0, "[[1],{}]", "json", after="a", edge="then"),
        ]
        app.store.enqueue_canvas(NewCanvas(ring))
        assert str(app.graph("a")) == "give  PENDING\n↓\ngive  PENDING"
