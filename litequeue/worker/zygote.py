"""Imported last by the fork server, and by nothing else, to make it a good parent of workers' children.

A signal to the whole process group (a service manager's SIGTERM, Ctrl-C, Ctrl-\\) must not end it: `multiprocessing`
learns through it how children end, and would call living ones dead. Children inherit this until they set their own
handlers. What is imported by now is shared with every child; freezing it keeps the collector from touching, and so
copying, it.
"""

from __future__ import annotations

import gc
import signal

for _name in ("SIGTERM", "SIGQUIT", "SIGHUP", "SIGINT"):
    if hasattr(signal, _name):
        signal.signal(getattr(signal, _name), signal.SIG_IGN)

gc.collect()
gc.freeze()
