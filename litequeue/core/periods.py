"""Over how long tasks are counted together."""

from __future__ import annotations

from typing import Final

PERIOD: Final = 10
"""Seconds over which tasks are counted together."""
HISTORY: Final = 3600
"""Seconds for which those counts are kept."""
