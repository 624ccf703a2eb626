"""Several workers by one command: nodes by name or number, their options, and what is done to their processes.

`parsing` reads a command line, `nodes` makes the nodes of it, `pidfile` says which process a pid file stands for,
`cluster` starts and ends processes. Nothing here prints.
"""
