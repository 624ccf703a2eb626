"""An app with one task. The queue is the file quickstart.db in the folder where you are."""

from litequeue import LiteQueue

app = LiteQueue("tasks", broker="sqlite:///quickstart.db")


@app.task
def add(x, y):
    """The sum of two numbers, computed in a worker."""
    return x + y
