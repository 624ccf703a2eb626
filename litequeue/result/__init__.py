"""Waiting for tasks, and reading what became of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from litequeue.core.exports import exports

if TYPE_CHECKING:
    from litequeue.result.async_result import AsyncResult as AsyncResult
    from litequeue.result.eager_result import EagerResult as EagerResult
    from litequeue.result.group_result import GroupResult as GroupResult
    from litequeue.result.joining import allow_join_result as allow_join_result
    from litequeue.result.joining import assert_will_not_block as assert_will_not_block
    from litequeue.result.joining import denied_join_result as denied_join_result
    from litequeue.result.joining import task_join_will_block as task_join_will_block
    from litequeue.result.result_set import ResultSet as ResultSet
    from litequeue.result.tree import ResultBase as ResultBase
    from litequeue.result.tree import result_from_tuple as result_from_tuple

_MODULE_OF = {
    "AsyncResult": "async_result",
    "EagerResult": "eager_result",
    "GroupResult": "group_result",
    "ResultBase": "tree",
    "ResultSet": "result_set",
    "allow_join_result": "joining",
    "assert_will_not_block": "joining",
    "denied_join_result": "joining",
    "result_from_tuple": "tree",
    "task_join_will_block": "joining",
}

__all__ = (
    "AsyncResult",
    "EagerResult",
    "GroupResult",
    "ResultBase",
    "ResultSet",
    "allow_join_result",
    "assert_will_not_block",
    "denied_join_result",
    "result_from_tuple",
    "task_join_will_block",
)

__getattr__, __dir__ = exports(__name__, _MODULE_OF, __all__)
