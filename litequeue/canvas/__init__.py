"""Calls as values: signatures, and what is composed of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

# Not left to `__getattr__`: importing the module of the same name would put the module in the place of the function.
from litequeue.canvas.signature import Signature as Signature
from litequeue.canvas.signature import maybe_signature as maybe_signature
from litequeue.canvas.signature import signature as signature
from litequeue.canvas.signature import subtask as subtask
from litequeue.core.exports import exports

if TYPE_CHECKING:
    from litequeue.canvas.chains import _chain as _chain
    from litequeue.canvas.chains import chain as chain
    from litequeue.canvas.chords import _chord as _chord
    from litequeue.canvas.chords import chord as chord
    from litequeue.canvas.groups import group as group
    from litequeue.canvas.maps import chunks as chunks
    from litequeue.canvas.maps import xmap as xmap
    from litequeue.canvas.maps import xstarmap as xstarmap
    from litequeue.canvas.stamping import StampingVisitor as StampingVisitor

maybe_subtask = maybe_signature

_MODULE_OF = {
    "StampingVisitor": "stamping",
    "_chain": "chains",
    "_chord": "chords",
    "chain": "chains",
    "chord": "chords",
    "chunks": "maps",
    "group": "groups",
    "xmap": "maps",
    "xstarmap": "maps",
}

__all__ = (
    "Signature",
    "StampingVisitor",
    "chain",
    "chord",
    "chunks",
    "group",
    "maybe_signature",
    "maybe_subtask",
    "signature",
    "subtask",
    "xmap",
    "xstarmap",
)

__getattr__, __dir__ = exports(__name__, _MODULE_OF, __all__)
