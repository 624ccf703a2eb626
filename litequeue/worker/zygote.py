"""Imported last by the fork server, and by nothing else: what is imported by now is shared with every child.

Freezing it keeps the garbage collector of the children from touching it, which would copy it.
"""

from __future__ import annotations

import gc

gc.collect()
gc.freeze()
