"""Write docs/settings.md from the table of settings: `python docs/generate_settings.py`."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta
from pathlib import Path
from typing import Any

from litequeue.config.table import SECTIONS, SETTINGS, Setting
from litequeue.config.without_broker import WITHOUT_BROKER

PAGE = Path(__file__).with_name("settings.md")

INTRODUCTION = """\
# Settings

<!-- Made by docs/generate_settings.py from litequeue/config/table.py: change the table, not this page. -->

```python
app = LiteQueue("proj", broker="queue.db")
app.conf.task_default_queue = "default"
app.conf.update(result_expires=3600, worker_concurrency=4)
app.config_from_object("proj.settings")                            # a module, an object or its dotted name
app.config_from_object("django.conf:settings", namespace="CELERY") # only names that begin with CELERY_
```

## How a value is found

The first of these that has one:

1. the environment, for two settings: `LITEQUEUE_BROKER_URL` and `LITEQUEUE_RESULT_BACKEND`;
2. what the program set: `LiteQueue(..., name=value)`, `app.conf.name = value`, `app.conf.update(...)`;
3. the configuration source, `config_from_object` or `config_from_envvar`. It is read when a setting is first read;
4. `app.add_defaults(...)`;
5. the default below.

`app.conf` is read as attributes or as items and counts as a mapping of all settings. `app.conf.humanize()` shows as
text what was changed; passwords and keys are hidden.

## Names

- **An unknown name is an error** that suggests the nearest one. In a configuration module or object these are its own
  business: private names, modules, functions, classes, and UPPER_CASE constants that do not look like a setting.
- **A program's own data** goes into `app.conf.user`, a plain dict.
- **Celery's older spellings** (`CELERY_TASK_RESULT_EXPIRES`, `CELERYD_CONCURRENCY`, `CELERYBEAT_SCHEDULE`,
  `BROKER_URL`) mean the same as the new ones, in any mixture. Only two spellings of one setting that disagree are an
  error. `CELERY_` before a new name in upper case is understood as well.
- `TIME_ZONE`, as Django names it, stands for `timezone` where that is not given.
- **A setting that means nothing without a message broker** is accepted, has no effect, and warns once
  (`NoEffectWarning`).

Values are checked when they are set, and the error names the setting and the value. Numbers and switches may be text
(`"4"`, `"false"`), as they come from the environment. Every number of seconds may be a `timedelta`.

*Accepted; used by ...* marks a setting of a part that is optional or comes later: without that part it has no effect.
"""


def page() -> str:
    """The whole page."""
    parts = [INTRODUCTION]
    for title, names in SECTIONS.items():
        parts.append(f"## {title}\n")
        parts.extend(_described(SETTINGS[name]) for name in names)
    parts.append(_without_broker())
    return "\n".join(parts)


def _described(setting: Setting) -> str:
    facts = [f"default {_shown(setting.default)}"]
    if setting.name == "worker_pool_start_method":
        facts = ["default `'forkserver'`, on Windows `'spawn'`"]
    if setting.unit:
        facts.append(f"in {setting.unit}" if " " not in setting.unit else setting.unit)
    facts.append("litequeue's own" if setting.kind == "own" else f"older: {_code(setting.old)}")
    lines = [f"### `{setting.name}`\n", f"*{'; '.join(facts)}*\n", setting.sentence]
    if setting.feature:
        lines.append(f"\n*Accepted; used by {setting.feature}.*")
    return "\n".join(lines) + "\n"


def _without_broker() -> str:
    lines = ["## Without effect\n", "These of Celery's settings are accepted and warn once.\n"]
    for why, names in WITHOUT_BROKER.items():
        lines.append(f"Because {why}:\n")
        lines.append(_code(names) + "\n")
    return "\n".join(lines)


def _shown(default: Any) -> str:
    if isinstance(default, timedelta):
        return f"`timedelta(days={default.days})`"
    return f"`{default!r}`"


def _code(names: Iterable[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
