"""The filter's line: `state:failed name:proj.* queue:mail words`."""

from __future__ import annotations

import difflib
import re
from datetime import tzinfo
from typing import Final

from litequeue.inspect.filters import STATES, Filter, make_filter

KEYS: Final = {
    "state": "a state: `failed`, `running`, or Celery's `FAILURE`",
    "name": "a task name; `*` stands for anything",
    "queue": "a queue; `*` stands for anything",
    "worker": "the node name of the worker that took it last",
    "root": "the id of the first task of its canvas",
    "since": "enqueued since: `30m`, `2h`, `1d`, or `2030-01-31`",
    "before": "enqueued before, in the same words",
}
"""What may stand before a colon."""
_LISTS: Final = ("state", "name", "queue")
_WORD: Final = re.compile(r'([A-Za-z_]+):("[^"]*"?|\S*)|"[^"]*"?|\S+')


def parse(text: str, zone: tzinfo | None = None) -> Filter:
    """The filter that `text` says; what has no key is looked for in ids, names, arguments, results and errors.

    ValueError: there is no such key, state or time.
    """
    given: dict[str, list[str]] = {key: [] for key in KEYS}
    words: list[str] = []
    for found in _WORD.finditer(text):
        key, value = found[1], (found[2] or "").strip('"')
        if key is None or (key not in KEYS and not _is_slip(key)):
            words.append(found[0].strip('"'))
        elif value:
            given[key] += [each for each in value.split(",") if each] if key in _LISTS else [value]
    return make_filter(
        states=[state for value in given["state"] for state in _states(value)],
        names=given["name"],
        queues=given["queue"],
        worker=_last(given["worker"]),
        root_id=_last(given["root"]),
        since=_last(given["since"]),
        before=_last(given["before"]),
        text=" ".join(filter(None, words)) or None,
        zone=zone,
    )


def _is_slip(key: str) -> bool:
    """Whether a word before a colon is meant as a key. ValueError: it is nearly one."""
    near = difflib.get_close_matches(key.lower(), KEYS, n=1, cutoff=0.7)
    if near:
        raise ValueError(f"no {key}: here; did you mean {near[0]}:?")
    return False


def _states(value: str) -> list[str]:
    """The states that `value` is, or, while it is typed, may become."""
    if value in STATES or value.upper() in STATES:
        return [value]
    return [state for state in STATES if state.lower().startswith(value.lower())] or [value]


def _last(values: list[str]) -> str | None:
    return values[-1] if values else None


def quoted(key: str, value: str) -> str:
    """`key:value` as it is written in the filter's line."""
    return f'{key}:"{value}"' if " " in value else f"{key}:{value}"
