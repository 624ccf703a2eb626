"""What the examples of some pages take for granted, by page: run before the page's own code."""

from __future__ import annotations

_MODULE = """
from pathlib import Path

def module(name, text):
    path = Path(*name.split(".")).with_suffix(".py")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
"""

PREAMBLES = {
    "settings": _MODULE
    + """
from litequeue import LiteQueue
module("proj.settings", "result_expires = 3600")
module("django.conf", "class settings:\\n    CELERY_TIMEZONE = 'UTC'")
""",
    "signals": """
from litequeue import LiteQueue
app = LiteQueue("proj", broker=":memory:")
add = app.task(lambda x, y: x + y, name="add")
""",
    "inspect": """
from litequeue import LiteQueue
app = LiteQueue("proj", broker="queue.db")
add = app.task(lambda x, y: x + y, name="proj.add")
add.delay(1, 2)
add.delay(3, 4)
""",
    "payloads": _MODULE
    + """
from litequeue import LiteQueue
class Money:
    def __init__(self, amount, currency):
        self.amount, self.currency = amount, currency
module("cbor2", "dumps = loads = bytes")
import cbor2
app = LiteQueue("proj", broker=":memory:")
""",
}
