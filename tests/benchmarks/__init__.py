"""The figures litequeue is held to, measured: `python -m tests.benchmarks` (or `make bench`).

Each figure is printed with what it should reach and with a ceiling measured in the same run: a bare apsw loop that
makes the same row changes with json and a generated id, or a bare process pool. A ratio between two numbers of one run
says more than either: machines and their moods differ.

`figures.py` lists them, one function each; `canvases.py` and `beat.py` have those of canvases and schedules;
`machinery.py` starts workers and files; `ceiling.py` has the bare loops; `peers/` the same work done by Celery, Huey
and Dramatiq where they are installed.
"""
