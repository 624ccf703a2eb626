"""The SQLite engine: the only folder that imports apsw, and the only one that holds SQL."""
