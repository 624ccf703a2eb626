"""Stamps: headers put on every task of a canvas, by which the tasks can be found and revoked.

A stamp is an option of the signature; the option `stamped_headers` lists which options are stamps.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from copy import deepcopy
from typing import TYPE_CHECKING, Any

from litequeue.canvas.groups import group
from litequeue.canvas.lazy import LazyList
from litequeue.canvas.tree import as_list, as_member

if TYPE_CHECKING:
    from litequeue.canvas.chains import chain
    from litequeue.canvas.chords import chord
    from litequeue.canvas.signature import Signature

NAMES = "stamped_headers"
"""The option that lists the names of the stamps."""


class StampingVisitor(ABC):
    """Says, for each part of a canvas that is stamped, which stamps it gets.

    Every method gets the part and the stamps so far, and returns those to add; a `stamped_headers` among them limits
    which of them are stamps. The methods `on_..._end` return nothing.
    """

    @abstractmethod
    def on_signature(self, sig: Signature, **headers: Any) -> dict[str, Any]:
        """The stamps of a task."""

    def on_group_start(self, group: group, **headers: Any) -> dict[str, Any]:
        """The stamps of a group, which each of its members gets."""
        return {}

    def on_group_end(self, group: group, **headers: Any) -> None:  # noqa: B027
        """Called when the group is stamped."""

    def on_chain_start(self, chain: chain, **headers: Any) -> dict[str, Any]:
        """The stamps of a chain, which each of its steps gets."""
        return {}

    def on_chain_end(self, chain: chain, **headers: Any) -> None:  # noqa: B027
        """Called when the chain is stamped."""

    def on_chord_header_start(self, sig: chord, **header: Any) -> dict[str, Any]:
        """The stamps of a chord's header and body; unless overridden, what `on_group_start` says of the header."""
        return self.on_group_start(sig.header_group(), **header)

    def on_chord_header_end(self, sig: chord, **header: Any) -> None:
        """Called when the header is stamped."""
        self.on_group_end(sig.header_group(), **header)

    def on_chord_body(self, sig: chord, **header: Any) -> dict[str, Any]:
        """The stamps of the body of the chord `sig`."""
        return {}

    def on_callback(self, callback: Signature, **header: Any) -> dict[str, Any]:
        """The stamps of a linked task."""
        return {}

    def on_errback(self, errback: Signature, **header: Any) -> dict[str, Any]:
        """The stamps of an error callback."""
        return {}


def stamps_of(
    sig: Signature | None, said: Mapping[str, Any] | None, append_stamps: bool, headers: Mapping[str, Any]
) -> dict[str, Any]:
    """The stamps of a part: those of what it is in, those the visitor said, and those it has.

    Where two have the same name, the later one's value stays (the visitor's over the canvas's, the part's own over
    both), or both are listed with `append_stamps`.
    """
    stamps = dict(headers)
    stamps.setdefault(NAMES, list(headers))
    if said is not None:
        _merge(stamps, {NAMES: list(said), **said}, append_stamps)
    if sig is not None:
        own = sig.options
        stamps[NAMES] = _distinct(stamps[NAMES], own.get(NAMES) or ())
        _merge(stamps, {name: own[name] for name in stamps[NAMES] if name in own}, append_stamps)
    stamps[NAMES] = _distinct(stamps[NAMES])
    return stamps


def _distinct(*lists: Any) -> list[Any]:
    return list(dict.fromkeys(name for names in lists for name in names))


def _merge(stamps: dict[str, Any], more: Mapping[str, Any], append_stamps: bool) -> None:
    """Merge `more` into `stamps`; see the tests of Celery's own rules in tests/canvas."""
    for name, value in more.items():
        if name not in stamps:
            stamps[name] = value
            continue
        mine = stamps[name]
        if isinstance(mine, dict):
            if isinstance(value, Mapping):
                stamps[name] = mine = dict(mine)
                _merge(mine, value, append_stamps)
            continue
        if append_stamps and isinstance(mine, (int, float, str)):
            mine = stamps[name] = [mine]
        if isinstance(mine, list) and isinstance(value, list):
            stamps[name] = [*mine, *value]
        elif append_stamps:
            stamps[name] = [*as_list(mine), value]


def stamp_links(sig: Signature, visitor: Any, append_stamps: bool, headers: Mapping[str, Any]) -> None:
    """Stamp what is linked to `sig`."""
    for option, hook in (("link", "on_callback"), ("link_error", "on_errback")):
        links = as_list(sig.options.get(option))
        if not links:
            continue
        sig.options[option] = links = [as_member(link, sig._app) for link in links]
        stamps = deepcopy(dict(headers))
        for link in links:
            said = None if visitor is None else getattr(visitor, hook)(link, **stamps) or {}
            stamps = stamps_of(None, said, append_stamps, stamps)
            link.stamp(visitor, append_stamps, **stamps)


def stamp_chain(whole: chain, visitor: Any, append_stamps: bool, headers: Mapping[str, Any]) -> None:
    """Stamp the steps of a chain."""
    said = None if visitor is None else visitor.on_chain_start(whole, **headers) or {}
    stamps = stamps_of(whole, said, append_stamps, headers)
    stamp_links(whole, visitor, append_stamps, stamps)
    whole.tasks[:] = map(as_member, whole.tasks)
    for step in whole.tasks:
        step.stamp(visitor, append_stamps, **stamps)
    if visitor is not None:
        visitor.on_chain_end(whole, **stamps)


def stamp_group(whole: group, visitor: Any, append_stamps: bool, headers: Mapping[str, Any]) -> None:
    """Stamp the members of a group; those of a generator when they are taken."""
    said = None if visitor is None else visitor.on_group_start(whole, **headers) or {}
    stamps = stamps_of(whole, said, append_stamps, headers)
    stamp_links(whole, visitor, append_stamps, stamps)
    _stamp_each(whole.tasks, visitor, append_stamps, stamps)
    if visitor is not None:
        visitor.on_group_end(whole, **stamps)


def stamp_chord(whole: chord, visitor: Any, append_stamps: bool, headers: Mapping[str, Any]) -> None:
    """Stamp the header and the body of a chord."""
    said = None if visitor is None else visitor.on_chord_header_start(whole, **headers) or {}
    stamps = stamps_of(whole, said, append_stamps, headers)
    stamp_links(whole, visitor, append_stamps, stamps)
    _stamp_each(whole.header_tasks, visitor, append_stamps, stamps)
    if visitor is not None:
        visitor.on_chord_header_end(whole, **stamps)
    if whole.body is not None:
        if visitor is not None:
            said = visitor.on_chord_body(whole, **stamps) or {}
            stamps = stamps_of(whole, said, append_stamps, stamps)
        whole.body.stamp(visitor, append_stamps, **stamps)


def _stamp_each(tasks: list[Any], visitor: Any, append_stamps: bool, stamps: Mapping[str, Any]) -> None:
    def stamped(task: Any) -> Any:
        task = as_member(task)
        task.stamp(visitor, append_stamps, **stamps)
        return task

    if isinstance(tasks, LazyList):
        tasks.change_each(stamped)
    else:
        tasks[:] = map(stamped, tasks)
