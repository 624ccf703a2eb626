"""Lists that are filled when somebody looks at them.

`LazyList` keeps what a generator would give: a group of 100,000 tasks from a generator is sent without ever being a
list of 100,000 signatures. `Joined` is the list of steps of a chain that grows by `|`: joining one step to n others
costs one step, not n copies.

Both are lists, so that every encoder writes them as one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any, NoReturn, SupportsIndex


class _Raises:
    """An iterator that raises an error each time it is asked."""

    def __init__(self, error: BaseException) -> None:
        self.error = error

    def __iter__(self) -> Iterator[Any]:
        return self

    def __next__(self) -> NoReturn:
        raise self.error


def _spent() -> Iterator[Any]:
    return _Raises(
        RuntimeError(
            "the generator of this group has been used up by sending it; make the group of a list to send it again"
        )
    )


class LazyList(list[Any]):
    """A list that takes its items from `source` one by one, as they are asked for, and keeps them.

    `change` is applied to each item. A generator that raises does so again at each later look: a list that ended early
    must not pass for a whole one.
    """

    __slots__ = ("_change", "_rest", "_source")

    def __init__(self, source: Iterable[Any], change: Callable[[Any], Any] | None = None) -> None:
        super().__init__()
        self._source: Iterable[Any] | None = source
        self._rest: Iterator[Any] | None = None
        self._change = change

    @property
    def complete(self) -> bool:
        """Whether every item has been taken."""
        return self._source is None and self._rest is None

    def _more(self) -> Iterator[Any] | None:
        if self._source is not None:
            source, self._source = self._source, None
            try:
                self._rest = iter(source) if self._change is None else map(self._change, source)
            except BaseException as exc:
                self._rest = _Raises(exc)
                raise
        return self._rest

    def take(self, count: int) -> bool:
        """Have at least `count` items; whether there are as many."""
        rest = self._more()
        if rest is not None:
            try:
                while list.__len__(self) < count:
                    list.append(self, next(rest))
            except StopIteration:
                self._rest = None
            except BaseException as exc:
                self._rest = _Raises(exc)
                raise
        return list.__len__(self) >= count

    def fill(self) -> LazyList:
        """Have every item; the list itself."""
        rest = self._more()
        if rest is not None:
            try:
                list.extend(self, rest)
            except BaseException as exc:
                self._rest = _Raises(exc)
                raise
            self._rest = None
        return self

    def drain(self) -> Iterator[Any]:
        """Every item, without keeping those that have not been looked at: they can then not be had again."""
        if self.complete:
            yield from list.__iter__(self)
            return
        source, rest, self._source, self._rest = self._source, self._rest, None, _spent()
        if isinstance(source, LazyList):
            source = source.drain()
        if rest is None and source is not None:
            rest = iter(source) if self._change is None else map(self._change, source)
        yield from list.__iter__(self)
        list.clear(self)
        if rest is not None:
            yield from rest

    def change_each(self, change: Callable[[Any], Any]) -> None:
        """Put `change(item)` in the place of each item, now or when it is taken."""
        for index, item in enumerate(list.__iter__(self)):
            list.__setitem__(self, index, change(item))
        if self._source is not None:
            first = self._change
            self._change = change if first is None else lambda item: change(first(item))
        elif self._rest is not None:
            self._rest = map(change, self._rest)

    # What a list offers, over every item

    def __iter__(self) -> Iterator[Any]:
        return list.__iter__(self) if self.complete else self._as_taken()

    def _as_taken(self) -> Iterator[Any]:
        index = 0
        while self.take(index + 1):
            yield list.__getitem__(self, index)
            index += 1

    def __bool__(self) -> bool:
        return self.take(1)

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, int) and index >= 0:
            self.take(index + 1)
        else:
            self.fill()
        return list.__getitem__(self, index)

    def __add__(self, other: Any) -> Any:
        return [*self, *other] if isinstance(other, list) else NotImplemented

    def __radd__(self, other: Any) -> Any:
        return [*other, *self] if isinstance(other, list) else NotImplemented

    def __iadd__(self, other: Any) -> Any:
        self.extend(other)
        return self

    def __reduce_ex__(self, protocol: SupportsIndex) -> Any:
        return list, (list(self),)

    def __copy__(self) -> list[Any]:
        return list(self)

    copy = __copy__

    def __deepcopy__(self, memo: dict[int, Any]) -> list[Any]:
        from copy import deepcopy

        return deepcopy(list(self), memo)

    def __repr__(self) -> str:
        shown = [repr(item) for item in list.__iter__(self)]
        return f"[{', '.join(shown if self.complete else [*shown, '...'])}]"


def _over_all(name: str) -> Any:
    of_list = getattr(list, name)

    def method(self: LazyList, *args: Any, **kwargs: Any) -> Any:
        return of_list(self.fill(), *args, **kwargs)

    method.__name__ = name
    method.__doc__ = of_list.__doc__
    return method


for _name in (
    *("__len__", "__contains__", "__eq__", "__ne__", "__lt__", "__le__", "__gt__", "__ge__", "__reversed__"),
    *("__setitem__", "__delitem__", "__mul__", "__rmul__", "__imul__"),
    *("append", "extend", "insert", "remove", "pop", "clear", "index", "count", "sort", "reverse"),
):
    setattr(LazyList, _name, _over_all(_name))
LazyList.__hash__ = None


class Joined(LazyList):
    """The steps of `chain | step`: the first `size` items of `trunk`, which are never changed, and `last`.

    Longer chains that begin with the same steps share the trunk. Whoever looks at the steps gets copies of them.
    Threads may share a chain, so nothing here is decided by looking first and writing then: `setdefault` decides.
    """

    __slots__ = ("_copies", "_filled", "last", "size", "trunk")

    def __init__(self, trunk: dict[int, Any], size: int, last: Any) -> None:
        super().__init__(())
        self.trunk = trunk
        self.size = size
        self.last = last
        self._copies: dict[str, list[Any]] = {}
        self._filled = False

    @classmethod
    def of(cls, steps: list[Any]) -> Joined:
        """The steps of a chain, to be followed by others."""
        return cls({index: step.clone() for index, step in enumerate(steps[:-1])}, len(steps) - 1, steps[-1])

    @property
    def complete(self) -> bool:
        """Whether somebody has looked, and may have changed a step."""
        return self._filled

    def originals(self) -> list[Any]:
        """The steps as they are in the trunk: to be copied, not to be changed."""
        return [*map(self.trunk.__getitem__, range(self.size)), self.last]

    def followed_by(self, last: Any) -> Joined:
        """These steps and one more."""
        trunk, step = self.trunk, self.last.clone()
        if trunk.setdefault(self.size, step) is not step:  # another chain goes on from here
            trunk = dict(enumerate([*self.originals()[:-1], step]))
        return Joined(trunk, self.size + 1, last)

    def fill(self) -> Joined:
        """Have every step; the list itself."""
        if not self._filled:
            copies = [*(step.clone() for step in self.originals()[:-1]), self.last]
            list.__setitem__(self, slice(None), self._copies.setdefault("steps", copies))
            self._filled = True
        return self

    def take(self, count: int) -> bool:
        """Have every step; whether there are at least `count`."""
        return list.__len__(self.fill()) >= count

    def __bool__(self) -> bool:
        return not self._filled or list.__len__(self) > 0


def is_lazy(value: Any) -> bool:
    """Whether `value` is a list that a generator has not given every item of yet."""
    return isinstance(value, LazyList) and not isinstance(value, Joined) and not value.complete
