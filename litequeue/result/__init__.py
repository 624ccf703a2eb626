"""Waiting for tasks, and reading what became of them."""

from litequeue.result.async_result import AsyncResult, ResultBase, result_from_tuple
from litequeue.result.eager_result import EagerResult
from litequeue.result.joining import (
    allow_join_result,
    assert_will_not_block,
    denied_join_result,
    task_join_will_block,
)

__all__ = (
    "AsyncResult",
    "EagerResult",
    "ResultBase",
    "allow_join_result",
    "assert_will_not_block",
    "denied_join_result",
    "result_from_tuple",
    "task_join_will_block",
)
