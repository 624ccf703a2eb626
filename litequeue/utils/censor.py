"""Hiding secrets in settings that are shown."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

MASK = "********"
_SECRET = re.compile("API|TOKEN|KEY|SECRET|PASS|PROFANITIES_LIST|SIGNATURE", re.IGNORECASE)
_PASSWORD = re.compile(r"(?<=://)([^:@/\s]*):[^@/\s]*@")
_NOT_SECRET = frozenset({"task_default_routing_key"})


def censor(values: Mapping[Any, Any]) -> dict[Any, Any]:
    """A copy of `values` with whatever is named like a secret, and passwords in URLs, hidden."""
    return {key: _censored(key, value) for key, value in values.items()}


def _censored(key: Any, value: Any) -> Any:
    if isinstance(value, Mapping):
        return censor(value)
    if isinstance(key, str) and value is not None and _SECRET.search(key) and key not in _NOT_SECRET:
        return MASK
    if isinstance(value, str) and "://" in value:
        return _PASSWORD.sub(rf"\1:{MASK}@", value)
    return value
