"""What people do with canvases, as guides and notes show it."""

from __future__ import annotations

import io
import itertools
from typing import Any

import pytest

from litequeue import Signature, chain, chord, group, signature, subtask
from litequeue.canvas import chunks, xmap, xstarmap
from litequeue.exceptions import ChordError
from litequeue.result import AsyncResult, GroupResult
from tests.canvas.semantics.tasks import Bad, add, error_seen, fail, mul, new_errback, pair, same, step, told, tsum


class TestSignatures:
    """A call as a value."""

    def test_by_name(self, run: Any) -> None:
        sig = signature(add.name, args=(2, 2), countdown=0.01)
        assert run(sig).value == 4
        assert sig.options["countdown"] == 0.01

    def test_fields(self) -> None:
        sig = add.signature((2, 2), {"debug": True}, countdown=10)
        assert (sig.args, sig.kwargs, sig.options) == ((2, 2), {"debug": True}, {"countdown": 10})
        assert (sig.task, sig.name) == (add.name, add.name)

    def test_repr_reads_as_a_call(self) -> None:
        assert repr(add.s(2, 2)) == f"{add.name}(2, 2)"
        assert repr(add.s(2, 2) | mul.s(8)).startswith(f"{add.name}(2, 2) | ")

    def test_called_it_runs_here(self) -> None:
        assert add.s(2, 2)() == 4
        assert add.s(2)(4) == 6

    def test_partial(self, run: Any) -> None:
        partial = add.s(2)
        assert partial.delay(4).get(timeout=10) == 6
        assert partial.apply_async((4,)).get(timeout=10) == 6

    def test_keywords_are_merged(self, run: Any) -> None:
        sig = pair.s(2, debug=False, keep=1)
        assert sig.delay(debug=True).get(timeout=10) == [[2], {"debug": True, "keep": 1}]
        assert sig.apply_async(kwargs={"debug": True}).get(timeout=10) == [[2], {"debug": True, "keep": 1}]

    def test_clone(self) -> None:
        clone = add.s(2).clone(args=(4,), kwargs={"debug": True})
        assert (clone.args, clone.kwargs) == ((4, 2), {"debug": True})

    def test_tilde(self, run: Any) -> None:
        assert ~add.s(2, 2) == 4

    def test_immutable(self, run: Any) -> None:
        for sig in (told.si("x"), told.signature(("x",), immutable=True)):
            assert run(add, (2, 2), link=sig).of("told") == [["x"]]

    def test_subtask_is_an_older_name(self) -> None:
        assert subtask is signature or subtask(add, (2, 2)) == signature(add, (2, 2))
        assert isinstance(add.subtask((2, 2)), Signature)


class TestCallbacks:
    """link and link_error."""

    def test_a_callback_adds_its_own_argument(self, run: Any) -> None:
        done = run(add, (2, 2), link=add.s(8))
        assert done.result.children[0].get(timeout=10) == 12

    def test_linked_signatures(self, run: Any) -> None:
        sig = add.s(2, 2)
        sig.link(mul.s(4))
        sig.link(told.s())
        done = run(sig)
        assert done.value == 4
        assert done.of("told") == [[4]]

    def test_an_errback_logs_the_result(self, run: Any) -> None:
        assert run(fail, ("x",), link_error=error_seen.s()).of("error_seen") == [["Bad('x')", "FAILURE", True]]
        assert run(fail.signature(("x",), link_error=error_seen.s())).of("error_seen") != []

    def test_on_error_reads_well(self, run: Any) -> None:
        assert add.s(2, 2).on_error(error_seen.s()).delay().get(timeout=10) == 4


class TestChains:
    """One after the other."""

    def test_simple(self, run: Any) -> None:
        assert chain(add.s(2, 2), add.s(4), add.s(8))().get(timeout=10) == 16
        assert (add.s(2, 2) | add.s(4) | add.s(8))().get(timeout=10) == 16

    def test_independent_steps(self, run: Any) -> None:
        result = (add.si(2, 2) | add.si(4, 4) | add.si(8, 8))()
        assert result.get(timeout=10) == 16
        assert result.parent.get() == 8
        assert result.parent.parent.get() == 4

    def test_partial(self, run: Any) -> None:
        assert (add.s(4) | mul.s(8))(16).get(timeout=10) == 160

    def test_of_chains(self, run: Any) -> None:
        canvas = add.s(4, 16) | mul.s(2) | (add.s(4) | mul.s(8))
        assert canvas().get(timeout=10) == 352

    def test_parents(self, run: Any) -> None:
        result = chain(add.s(4, 4), mul.s(8), mul.s(10))()
        assert (result.get(timeout=10), result.parent.get(), result.parent.parent.get()) == (640, 64, 8)

    def test_collect(self, run: Any) -> None:
        result = run(add, (2, 2), link=mul.s(16)).result
        assert [(each.id, value) for each, value in result.collect()] == [(result.id, 4), (result.children[0].id, 64)]

    def test_graph(self, run: Any) -> None:
        result = run(chain(add.s(4, 4), mul.s(8), mul.s(10))).result
        ids = [result.parent.parent.id, result.parent.id, result.id]
        graph = result.parent.parent.graph
        assert [node.id for node in graph.nodes] == ids
        assert [(edge.source, edge.target) for edge in graph.edges] == list(itertools.pairwise(ids))
        drawing = io.StringIO()
        graph.to_dot(drawing)
        assert "digraph" in drawing.getvalue()
        assert drawing.getvalue().count("->") == 2


class TestGroups:
    """All at once."""

    def test_simple(self, run: Any) -> None:
        result = group(add.s(i, i) for i in range(10))()
        assert result.get(timeout=10) == [2 * i for i in range(10)]

    def test_of_a_hundred(self, run: Any) -> None:
        assert run(group(add.s(i, i) for i in range(100))).value == [2 * i for i in range(100)]

    def test_its_result(self, run: Any) -> None:
        result = run(group([add.s(2**i, 2**i) for i in range(1, 6)])).result
        assert isinstance(result, GroupResult)
        assert result.ready()
        assert result.successful()
        assert not result.failed()
        assert not result.waiting()
        assert result.completed_count() == 5
        assert result.join() == result.get() == [4, 8, 16, 32, 64]
        assert [each.get() for each in result] == [4, 8, 16, 32, 64]
        assert len(result) == 5

    def test_saved_and_restored(self, run: Any) -> None:
        result = run(group(add.s(1, 1), add.s(2, 2))).result
        result.save()
        assert GroupResult.restore(result.id).get() == [2, 4]

    def test_one_that_was_put_together_by_hand(self, run: Any) -> None:
        result = GroupResult("by hand", [run(add, (i, i)).result for i in (1, 2)])
        assert GroupResult.restore(result.id) is None
        result.save()
        assert GroupResult.restore(result.id).get() == [2, 4]
        result.delete()
        assert GroupResult.restore(result.id) is None

    def test_an_empty_one_saved_and_restored(self, run: Any) -> None:
        result = group().apply_async()
        result.save()
        assert GroupResult.restore(result.id).results == []

    def test_a_head_feeds_every_member(self, run: Any) -> None:
        workflow = pair.s("create") | group(same.s(), step.s("mail"))
        value = workflow.delay(username="art").get(timeout=10)
        assert value[0] == [["create"], {"username": "art"}]

    def test_immutable_members_take_nothing(self, run: Any) -> None:
        result = (add.s(4, 4) | group(add.si(i, i) for i in range(10)))()
        assert result.get(timeout=10) == [2 * i for i in range(10)]
        assert result.parent.get() == 8

    def test_as_they_complete(self, run: Any) -> None:
        result = run(group(add.s(i, i) for i in range(5))).result
        assert sorted(value["result"] for _, value in result.iter_native()) == [0, 2, 4, 6, 8]


class TestChords:
    """A group with a callback."""

    def test_simple(self, run: Any) -> None:
        assert chord((add.s(i, i) for i in range(10)), tsum.s())().get(timeout=10) == 90

    def test_header_then_body(self, run: Any) -> None:
        header = [add.s(i, i) for i in range(100)]
        assert chord(header)(tsum.s()).get(timeout=10) == 9900
        assert chord(add.s(i, i) for i in range(100))(tsum.s()).get(timeout=10) == 9900

    def test_immutable_body(self, run: Any) -> None:
        assert run(chord((add.s(i, i) for i in range(3)), told.si("done"))).of("told") == [["done"]]

    def test_by_a_pipe(self, run: Any) -> None:
        assert (group(add.s(i, i) for i in range(10)) | tsum.s())().get(timeout=10) == 90

    def test_an_error_in_the_header(self, run: Any) -> None:
        done = run(chord([add.s(4, 4), fail.s("x"), same.s(8)], tsum.s()))
        assert done.error == Bad("x")
        assert isinstance(done.result.result, ChordError)
        assert done.of("same") == [[8]]

    def test_on_error_of_the_body(self, run: Any) -> None:
        canvas = group(add.s(1, 1), fail.s("x")) | tsum.s().on_error(new_errback.s())
        done = run(canvas)
        assert [entry[0] for entry in done.of("new_errback")] == [done.result.id]

    def test_nine_in_a_chain(self, run: Any) -> None:
        links = [chord([add.s(1), add.s(2)], tsum.s()) for _ in range(9)]
        expected = 0
        for _ in range(9):
            expected = 2 * expected + 3
        assert run(chain(add.s(0, 0), *links)).value == expected

    def test_a_thousand_members(self, run: Any) -> None:
        assert run(chord([add.s(i, 1) for i in range(1000)], tsum.s())).value == sum(range(1001))

    def test_a_thousand_members_behind_a_head(self, run: Any) -> None:
        assert (
            run(chain(add.s(1, 1), chord([add.s(i) for i in range(1000)], tsum.s()))).value == sum(range(1000)) + 2000
        )

    def test_many_at_once(self, run: Any) -> None:
        results = [chord([add.s(i, j) for j in range(5)], tsum.s()).apply_async() for i in range(20)]
        assert [result.get(timeout=10) for result in results] == [5 * i + 10 for i in range(20)]

    def test_a_header_from_a_generator(self, run: Any) -> None:
        assert chord((add.s(i, i) for i in range(300)), tsum.s()).delay().get(timeout=10) == 2 * sum(range(300))


class TestLoops:
    """map, starmap, chunks."""

    def test_map(self, run: Any) -> None:
        assert ~tsum.map([list(range(10)), list(range(100))]) == [45, 4950]
        assert isinstance(tsum.map([]), xmap)

    def test_starmap(self, run: Any) -> None:
        assert ~add.starmap(zip(range(10), range(10), strict=True)) == [2 * i for i in range(10)]
        assert add.starmap([(1, 2)]).apply_async(countdown=0.01).get(timeout=10) == [3]
        assert isinstance(add.starmap([]), xstarmap)

    def test_they_are_one_task(self, run: Any) -> None:
        assert isinstance(run(add.starmap([(i, i) for i in range(50)])).result, AsyncResult)

    def test_chunks(self, run: Any) -> None:
        pieces = add.chunks(zip(range(100), range(100), strict=True), 10)
        assert isinstance(pieces, chunks)
        assert pieces().get(timeout=10) == [[2 * (10 * i + j) for j in range(10)] for i in range(10)]

    def test_chunks_as_a_skewed_group(self, run: Any) -> None:
        canvas = add.chunks([(i, i) for i in range(6)], 2).group().skew(start=0.01, stop=0.04, step=0.01)
        assert canvas().get(timeout=10) == [[0, 2], [4, 6], [8, 10]]

    def test_apply_chunks(self, run: Any) -> None:
        result = chunks.apply_chunks(add, [(1, 1), (2, 2), (3, 3)], 2)
        assert result.get(timeout=10) == [[2, 4], [6]]

    def test_a_map_that_fails(self, run: Any) -> None:
        done = run(fail.map(["x", "y"]))
        assert done.error == Bad("x")
        assert done.names("fail") == ["x"]


class TestNotes:
    """From notes that people keep."""

    def test_three_steps(self, run: Any) -> None:
        assert chain(add.s(2, 2), add.s(4), add.s(8))().get(timeout=10) == 16

    def test_ten_sums(self, run: Any) -> None:
        assert group(add.s(i, i) for i in range(10))().get(timeout=10) == [2 * i for i in range(10)]

    def test_a_list_is_mapped_in_one_task(self, run: Any) -> None:
        assert same.map([1, 2]).delay().get(timeout=10) == [1, 2]
        assert add.starmap([(2, 2), (4, 4)]).delay().get(timeout=10) == [4, 8]

    def test_a_thousand_items_in_chunks_of_ten(self, run: Any) -> None:
        result = add.chunks(zip(range(1000), range(1000), strict=True), 10)()
        assert len(result.results) == 100
        assert sum(map(sum, result.get(timeout=20))) == 999000

    @pytest.mark.parametrize("send", ["send_task", "signature"])
    def test_by_name_from_elsewhere(self, app: Any, run: Any, send: str) -> None:
        result = app.send_task(add.name, (2, 5)) if send == "send_task" else app.signature(add.name, (2, 5)).delay()
        assert result.get(timeout=10) == 7

    def test_a_result_that_is_linked(self, run: Any) -> None:
        done = run(add, (2, 2), link=add.s(16), link_error=error_seen.s())
        assert done.result.children[0].get() == 20
        assert done.of("error_seen") == []
