"""What `self.request` says in a canvas: ids, and what is to come."""

from __future__ import annotations

from typing import Any

from litequeue import chain, chord, group
from tests.canvas.semantics.tasks import around, become, errback, step, told, who

w = who.s


class TestIds:
    """root_id, parent_id, group, group_index."""

    def test_chain(self, run: Any) -> None:
        done = run(chain(w("a"), w("b"), w("c")))
        a, b, c = (done.who()[name] for name in "abc")
        assert (a["root"], a["parent"]) == (a["id"], None)
        assert (b["root"], b["parent"]) == (a["id"], a["id"])
        assert (c["root"], c["parent"]) == (a["id"], b["id"])
        assert {each["group"] for each in (a, b, c)} == {None}
        assert done.result.id == c["id"]

    def test_group(self, run: Any) -> None:
        done = run(group(w("a"), w("b")))
        a, b = (done.who()[name] for name in "ab")
        for index, each in enumerate((a, b)):
            assert (each["root"], each["parent"]) == (each["id"], None)
            assert (each["group"], each["index"]) == (done.result.id, index)

    def test_nested_groups_are_one(self, run: Any) -> None:
        done = run(group(group(w("a"), w("b")), w("c"), group(w("d"))))
        assert [done.who()[name]["index"] for name in "abcd"] == [0, 1, 2, 3]
        assert {each["group"] for each in done.who().values()} == {done.result.id}

    def test_group_in_a_chain(self, run: Any) -> None:
        done = run(chain(w("h"), group(w("a"), w("b")), w("t")))
        h, a, b, t = (done.who()[name] for name in "habt")
        assert {each["root"] for each in (h, a, b, t)} == {h["id"]}
        assert (a["parent"], b["parent"]) == (h["id"], h["id"])
        assert (a["index"], b["index"]) == (0, 1)
        assert a["group"] == b["group"] is not None
        assert t["parent"] in (a["id"], b["id"])

    def test_group_at_the_end_of_a_chain(self, run: Any) -> None:
        done = run(chain(w("g"), w("h"), group(w("a"), w("b"))))
        g, h, a, b = (done.who()[name] for name in "ghab")
        assert {each["root"] for each in (a, b)} == {g["id"]}
        assert {each["parent"] for each in (a, b)} == {h["id"]}

    def test_chord(self, run: Any) -> None:
        done = run(chord([w("a"), w("b")], w("c")))
        a, b, c = (done.who()[name] for name in "abc")
        assert (a["index"], b["index"]) == (0, 1)
        assert a["group"] == b["group"] == done.result.parent.id
        assert c["parent"] in (a["id"], b["id"])

    def test_chain_in_a_header(self, run: Any) -> None:
        done = run(chord([chain(w("a"), w("b")), w("c")], w("body")))
        a, b, c, _ = (done.who()[name] for name in ("a", "b", "c", "body"))
        assert a["group"] is None
        assert (b["group"], b["index"]) == (c["group"], 0)
        assert c["index"] == 1
        assert (b["root"], b["parent"]) == (a["id"], a["id"])

    def test_chord_in_a_header(self, run: Any) -> None:
        done = run(chord([chord([w("a"), w("b")], w("c")), w("d")], w("e")))
        a, b, c, d, e = (done.who()[name] for name in "abcde")
        assert a["group"] == b["group"] != d["group"]
        assert (c["group"], c["index"]) == (d["group"], 0)
        assert e["parent"] in (c["id"], d["id"])

    def test_replaced(self, run: Any) -> None:
        done = run(chain(w("a"), become.s(w("n")), w("b")).set(task_id="last-of-it"))
        a, n, b = (done.who()[name] for name in "anb")
        assert n["id"] == done.result.parent.id
        assert n["root"] == b["root"] == a["id"]
        assert b["parent"] == n["id"]

    def test_callbacks(self, run: Any) -> None:
        done = run(w("a"), link=w("b"))
        a, b = (done.who()[name] for name in "ab")
        assert (b["root"], b["parent"]) == (a["id"], a["id"])

    def test_errbacks(self, run: Any) -> None:
        from tests.canvas.semantics.tasks import fail

        done = run(chain(w("a"), fail.s("x")), link_error=w("e"))
        a, e = (done.who()[name] for name in "ae")
        assert (e["root"], e["parent"]) == (a["id"], done.result.id)

    def test_group_id_in_the_result(self, run: Any) -> None:
        result = run(group(w("a"), w("b"))).result
        assert result.results[0]._get_task_meta()["group_id"] == result.id


class TestToCome:
    """chain, callbacks, errbacks, chord."""

    def test_the_rest_of_a_chain_is_told_backwards(self, run: Any) -> None:
        done = run(chain(around.s("a"), step.s("b"), step.s("c")))
        assert [entry[-1] for entry in done.of("around")[0][1]["chain"]] == ["c", "b"]

    def test_a_group_that_is_to_come_is_a_group_or_a_chord(self, run: Any) -> None:
        done = run(chain(around.s("a"), group(step.s("b"), step.s("c")), step.s("d"), step.s("e")))
        assert [entry[0] for entry in done.of("around")[0][1]["chain"]] == [step.name, "litequeue.chord"]
        done = run(chain(around.s("a"), group(step.s("b"), step.s("c"))))
        assert done.of("around")[0][1]["chain"] == [["litequeue.group"]]

    def test_callbacks_and_errbacks(self, run: Any) -> None:
        done = run(around.s("a").set(link=[told.s("x")], link_error=[errback.s()]))
        seen = done.of("around")[0][1]
        assert seen["callbacks"] == [[told.name, "x"]]
        assert seen["errbacks"] == [[errback.name]]
        assert seen["chain"] == []

    def test_nothing(self, run: Any) -> None:
        seen = run(around.s("a")).of("around")[0][1]
        assert seen == {"chain": [], "callbacks": [], "errbacks": [], "chord": None}

    def test_the_body_of_a_chord(self, run: Any) -> None:
        done = run(chord([around.s("a"), step.s("b")], step.s("body")))
        assert done.of("around")[0][1]["chord"] == [step.name, "body"]

    def test_what_task_received_is_told(self, run: Any) -> None:
        from litequeue.signals import task_received

        seen: list[tuple[Any, Any]] = []

        def received(request: Any = None, **kw: Any) -> None:
            if request.task_name == step.name and "a" in request.args:
                seen.append((request.callbacks, request.errbacks))

        task_received.connect(received)
        try:
            run(step.s("a").set(link=[told.s("x")], link_error=[errback.s()]))
        finally:
            task_received.disconnect(received)
        [(callbacks, errbacks)] = seen
        assert [(entry["task"], entry["options"]) for entry in callbacks] == [(told.name, callbacks[0]["options"])]
        assert errbacks[0]["task"] == errback.name
