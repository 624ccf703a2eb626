"""Chains, and what `|` makes of two signatures.

| left | right | `left | right` |
|---|---|---|
| task | task, group | chain of both |
| anything | chain | as if its steps were joined one by one |
| anything but a group | group of one | as if it were that one task |
| group | anything | chord of the group and the right one |
| chain that ends in a group | task, chord | the group becomes a chord whose body is the right one |
| chain that ends in a chord | task, group | joined to the body of that chord |
| chain | anything else | one more step |
| chord | task, chord | joined to its body |
| chord | group, chain | chain of both |

The left one is copied, the right one is taken as it is. An empty group after a chain or a group changes nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, TypeGuard

from litequeue.canvas.chords import chord
from litequeue.canvas.composed import Composed, first_name, members
from litequeue.canvas.groups import group, is_empty_group, the_only_one
from litequeue.canvas.lazy import Joined
from litequeue.canvas.signature import Signature
from litequeue.canvas.tree import as_list, as_member, without_repeats

if TYPE_CHECKING:
    from litequeue.app.base import LiteQueue

OF_THE_WHOLE = frozenset({"chord", "group_id", "group_index", "link", "link_error", "parent_id", "root_id", "task_id"})
"""Options of a chain that are not for its first step."""


@Signature.register_type()
class chain(Composed):
    """Tasks one after the other, each called with the result of the one before.

    `chain(a, b, c)` is `a | b | c`, so a chain that begins with a group comes out as a chord. One argument that is
    iterable gives the steps.
    """

    KIND = "chain"
    TASK_NAME = "litequeue.chain"
    PARTS = ("tasks",)

    def __new__(cls, *tasks: Any, **options: Any) -> Any:
        """`chain(a, b, c)` as `a | b | c` makes it, and linear in the number of steps."""
        if options or not tasks or (len(tasks) == 1 and isinstance(tasks[0], dict)):
            return super().__new__(cls)
        given = tasks if len(tasks) > 1 or hasattr(tasks[0], "apply_async") else tasks[0]
        if not hasattr(given, "__iter__") or isinstance(given, (str, bytes)):
            given = tasks
        whole = folded(given)
        if cls is not chain and type(whole) is chain:
            return cls.of(whole.tasks, whole._app)
        return whole

    def __init__(self, *tasks: Any, app: LiteQueue | None = None, **options: Any) -> None:
        if "task" in self:  # `__new__` has made it
            return
        if len(tasks) == 1 and not isinstance(tasks[0], dict) and hasattr(tasks[0], "__iter__"):
            tasks = tuple(tasks[0])
        options.pop("use_link", None)
        steps = [as_member(task, app) for task in tasks]
        super().__init__(self.TASK_NAME, (), {"tasks": steps}, subtask_type=self.KIND, app=app, **options)

    @classmethod
    def of(cls, steps: list[Any], app: LiteQueue | None = None) -> chain:
        """A chain of exactly these steps, in this list."""
        new: chain = dict.__new__(cls)
        Signature.__init__(new, cls.TASK_NAME, (), {"tasks": steps}, subtask_type=cls.KIND, app=app)
        return new

    @property
    def tasks(self) -> list[Any]:
        """Its steps."""
        return self["kwargs"]["tasks"]  # type: ignore[no-any-return]

    @tasks.setter
    def tasks(self, tasks: Iterable[Any]) -> None:
        self["kwargs"]["tasks"] = members(tasks)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Enqueue it with these arguments for its first step; None where it has no steps."""
        return self.apply_async(args, kwargs) if self.tasks else None

    def run(self, args: Any = None, kwargs: Any = None, **options: Any) -> Any:
        """`apply_async`, under Celery's inner name."""
        return self.apply_async(args, kwargs, **options)

    @property
    def is_plain(self) -> bool:
        """Whether nothing is said of the chain itself: neither options nor arguments."""
        return not (self.options or self.args or self.partial_kwargs or self.immutable)

    def unchain_tasks(self) -> list[Any]:
        """Copies of its steps, as they are when the chain is taken apart.

        What was linked to the chain is linked to its last step, its error callbacks to every step; arguments and the
        other options of the chain go to its first step.
        """
        steps: list[Any] = []
        todo: list[Any] = [self]
        while todo:
            step = todo.pop()
            if isinstance(step, chain):
                todo.extend(reversed(_one_level(step)))
            else:
                steps.append(step)
        return steps

    def prepare_steps(
        self,
        args: Any,
        kwargs: Any,
        tasks: Iterable[Any],
        root_id: str | None = None,
        parent_id: str | None = None,
        link_error: Any = None,
        app: LiteQueue | None = None,
        last_task_id: str | None = None,
        group_id: str | None = None,
        chord_body: Any = None,
        clone: bool = True,
        from_dict: Any = None,
        group_index: int | None = None,
    ) -> tuple[list[Any], list[Any]]:
        """Copies of `tasks` as the steps of this chain, frozen, and their results; both begin with the last."""
        from litequeue.canvas.freezing import prepare_steps

        ids = {"_id": last_task_id, "group_id": group_id, "chord": chord_body, "group_index": group_index}
        steps, results = prepare_steps(tasks, args, kwargs, ids, root_id, parent_id, link_error)
        self.id = results[0].id if results else last_task_id
        return steps, results

    def stamp(self, visitor: Any = None, append_stamps: bool = False, **headers: Any) -> None:
        """Stamp every step."""
        from litequeue.canvas.stamping import stamp_chain

        stamp_chain(self, visitor, append_stamps, headers)

    def _text(self, show: Callable[[Any], str]) -> str:
        if not self.tasks:
            return f"<{type(self).__name__}@{id(self):#x}: empty>"
        return without_repeats(first_name(self.tasks), " | ".join(map(show, self.tasks)))


_chain = chain


def _one_level(whole: chain) -> list[Any]:
    """Copies of the steps of a chain, with what was said of the chain said of them."""
    copy = whole.clone()
    steps: list[Any] = [as_member(step) for step in copy.tasks]
    options = copy.options
    if not steps or copy.is_plain:
        return steps
    first, last = steps[0], steps[-1]
    for_first = {name: value for name, value in options.items() if name not in OF_THE_WHOLE}
    if copy.args or copy.partial_kwargs:
        first = steps[0] = first.clone(copy.args, copy.partial_kwargs)
    first.options.update(for_first)
    if copy.immutable:
        first.set_immutable(True)
    for callback in as_list(options.get("link")):
        last.link(callback)
    for errback in as_list(options.get("link_error")):
        for step in steps:
            _link_error(step, errback, step is last)
    if options.get("task_id"):
        steps[-1].options.setdefault("task_id", options["task_id"])
    return steps


def _link_error(step: Signature, errback: Any, is_last: bool) -> None:
    """Link an error callback of a chain to one of its steps.

    Not to a group that is followed by something: what fails there is told to that, as where the chain is sent, unless
    `task_allow_error_cb_on_chord_header` says that both are.
    """
    if is_last or step.app.conf.task_allow_error_cb_on_chord_header:
        step.link_error(as_member(errback).clone())
    elif isinstance(step, chain):
        for inner in step.tasks:
            _link_error(inner, errback, False)
    elif isinstance(step, chord) and isinstance(step.body, (group, chain, chord)):
        _link_error(step.body, errback, False)
    elif not isinstance(step, group):
        step.link_error(as_member(errback).clone())


# Joining


def joined(left: Signature, right: Signature) -> Signature:
    """`left | right`."""
    if isinstance(left, chain) and left.is_plain:
        step = the_only_one(right) or right
        steps = left.tasks
        if not isinstance(step, chain) and _is_one_more_step(steps, step):
            trunk = steps if _untouched(steps) else Joined.of(steps)
            return type(left).of(trunk.followed_by(step), left._app)
    if isinstance(left, (chain, chord)) and not (isinstance(left, chord) and isinstance(right, (chain, group))):
        left = left.clone()
    return join_to(left, right)


def _untouched(steps: list[Any]) -> TypeGuard[Joined]:
    """Whether these are steps that were joined, and nobody has looked at them."""
    return isinstance(steps, Joined) and not steps.complete


def _is_one_more_step(steps: list[Any], step: Signature) -> bool:
    if not steps or is_empty_group(step):
        return False
    last = steps.last if _untouched(steps) else steps[-1]
    if isinstance(step, group):
        return not isinstance(last, chord)
    return not isinstance(last, group) and (isinstance(step, chord) or not isinstance(last, chord))


def folded(tasks: Iterable[Any]) -> Signature:
    """`a | b | c | ...`, in one pass."""
    growing = _Growing(chain.of([]))
    waiting: Signature | None = None
    for task in tasks:
        if waiting is not None:
            growing.join(waiting.clone())
        waiting = as_member(task)
    if waiting is not None:
        growing.join(waiting)
    return growing.whole


def join_to(whole: Signature, right: Signature) -> Signature:
    """`whole | right`, made by changing `whole`, which nobody else has."""
    growing = _Growing(whole)
    growing.join(right)
    return growing.whole


class _Growing:
    """A signature while others are joined to it: the table above, from the outside inwards.

    Where the last one was joined is remembered. A chain of groups and tasks in turn is a chord whose body ends in a
    chord, and so on; going down to the innermost body for each of 10,000 steps would take a minute.
    """

    __slots__ = ("left", "of", "through_chord", "whole")

    def __init__(self, whole: Signature) -> None:
        self.whole = whole
        self._restart()

    def _restart(self) -> None:
        self.left: Any = self.whole
        self.of: chord | None = None
        """The chord whose body `left` is."""
        self.through_chord = False
        """Whether a chord that is not the last step of a chain was entered, which a group does not enter."""

    def join(self, right: Signature) -> None:
        """Make it `whole | right`."""
        if isinstance(right, (chain, chord)) or (
            isinstance(right, group) and (self.through_chord or not right.tasks or the_only_one(right) is not None)
        ):
            self._restart()
        while True:
            if isinstance(self.left, chain) and not self.left.is_plain:
                # What was linked to this chain is linked to its last step before there is another one.
                self._put(chain.of(self.left.unchain_tasks(), self.left._app))
            only = None if isinstance(self.left, group) else the_only_one(right)
            right = right if only is None else only
            inner = self.left if only is not None and isinstance(self.left, chord) else None
            inner = inner or _chord_that_takes(self.left, right)
            if inner is None:
                break
            self.through_chord |= inner is self.left
            self.of, self.left = inner, inner.needed_body()
        self._put(_beside(self.left, right))

    def _put(self, left: Signature) -> None:
        """Take `left` in the place of what `right` is joined to."""
        self.left = left
        if self.of is None:
            self.whole = left
        else:
            self.of.body = left


def _chord_that_takes(left: Any, right: Signature) -> Any:
    """The chord at the end of `left` to whose body `right` is joined; None: it is joined to `left` itself."""
    if isinstance(right, chain) or is_empty_group(right):
        return None
    if isinstance(left, chord):
        return None if isinstance(right, group) else left
    if isinstance(left, chain) and left.tasks and isinstance(left.tasks[-1], chord) and not isinstance(right, chord):
        return left.tasks[-1]
    return None


def _beside(left: Any, right: Signature) -> Signature:
    """`left | right` where `right` does not go into a body of `left`."""
    if isinstance(left, group):
        return left if is_empty_group(right) else chord(left, right, app=left._app)
    if not isinstance(left, chain):
        return chain.of([left, *(right.unchain_tasks() if isinstance(right, chain) else [right])], left._app)
    if isinstance(right, chain):
        whole: Signature = left
        for step in right.unchain_tasks():
            whole = join_to(whole, step)
        return whole
    return _one_more(left, right)


def _one_more(left: chain, right: Signature) -> Signature:
    """A chain and its next step, in place."""
    steps = left.tasks
    if is_empty_group(right):
        return left
    if not steps and isinstance(right, group):
        return right
    if steps and isinstance(steps[-1], group) and not isinstance(right, group):
        steps[-1] = upgraded = chord(steps[-1], right, app=left._app)
        before = steps[-2] if len(steps) > 1 else None
        if isinstance(before, chord):
            steps.pop()
            before.body = join_to(before.needed_body(), upgraded)
    else:
        steps.append(right)
    return left
