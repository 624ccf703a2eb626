"""Settings: each declared once, with its default, unit and sentence."""

from litequeue.config.settings import NoEffectWarning, Settings, as_seconds, canonical_name, parse_assignment
from litequeue.config.table import SETTINGS, Setting

__all__ = ("SETTINGS", "NoEffectWarning", "Setting", "Settings", "as_seconds", "canonical_name", "parse_assignment")
