"""What an app offers for schedules: `add_periodic_task`, `schedules`, `Beat`."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from litequeue.app.schedules import Schedules
    from litequeue.beat.service import Service


class Periodic:
    """The part of `LiteQueue` that is about schedules."""

    @functools.cached_property
    def schedules(self) -> Schedules:
        """The entries of the schedule in the file, to be read and changed by this program."""
        from litequeue.app.schedules import Schedules

        return Schedules(self)  # type: ignore[arg-type]

    def add_periodic_task(
        self, schedule: Any, sig: Any, args: Any = (), kwargs: Any = (), name: str | None = None, **opts: Any
    ) -> str:
        """Add an entry to `beat_schedule` and return its name; `sig` is a signature or a task.

        `name` is that of the entry, by default the text of the signature. `opts` are fields of the entry (`catchup`,
        `jitter`, …), and options of the call (`queue`, `expires`, …).
        """
        from litequeue.app.schedules import periodic_entry

        key, entry = periodic_entry(self, schedule, sig, args, kwargs, name, opts)
        app: Any = self
        if app.configured:
            self._put_periodic(key, entry, name)
        else:
            # What the configuration says of beat_schedule is not known before it has been read.
            app.on_after_configure.connect(
                lambda **_kwargs: self._put_periodic(key, entry, name), weak=False, dispatch_uid=object()
            )
        return key

    def _put_periodic(self, key: str, entry: Mapping[str, Any], name: str | None) -> None:
        app: Any = self
        entries = app.conf.beat_schedule
        if name is None and key in entries:
            import logging

            logging.getLogger("litequeue.beat").warning(
                "Entry %s takes the place of an earlier one; give each a name=", key
            )
        entries[key] = entry

    def Beat(self, **options: Any) -> Service:
        """A scheduler for this app that has not started: `app.Beat().run()` serves until `stop()` is called.

        `max_interval` is its longest sleep in seconds, `scheduler` (or `scheduler_cls`) its class, `hostname` its node
        name.
        """
        from litequeue.app.schedules import make_beat

        return make_beat(self, **options)
