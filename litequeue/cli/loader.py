"""What hands the app of a command line on to a worker's child processes."""

from __future__ import annotations

from typing import Any

from litequeue.app.base import LiteQueue
from litequeue.app.loading import AppLoader


class CommandLineLoader(AppLoader):
    """An `AppLoader` that also reads the module of `--config` again in each child."""

    def __init__(self, app: LiteQueue, config: str | None) -> None:
        super().__init__(app)
        self.config = config

    def __getstate__(self) -> dict[str, Any]:
        return {**super().__getstate__(), "config": self.config}

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        self.config = state["config"]
        if self.config is not None:
            self.app.config_from_object(self.config, force=True)
