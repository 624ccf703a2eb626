"""The tasks: plain functions, run in the worker's processes."""

import ast
import tokenize
import warnings

from app import app


@app.task(bind=True)
def analyse(self, path):
    """Count what is in the Python file `path`.

    A file that is not Python 3 (the standard library carries some as test data) is a result too, not a failure.
    `attempt` is 1, or more when the process that ran the task before died.
    """
    report = {"lines": 0, "functions": 0, "classes": 0, "imports": 0, "python": True, "attempt": self.request.attempt}
    try:
        with tokenize.open(path) as file:
            source = file.read()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            tree = ast.parse(source, path)
    except (SyntaxError, ValueError, RecursionError):
        return {**report, "python": False}

    report["lines"] = source.count("\n")
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            report["functions"] += 1
        elif isinstance(node, ast.ClassDef):
            report["classes"] += 1
        elif isinstance(node, ast.Import | ast.ImportFrom):
            report["imports"] += 1
    return report
