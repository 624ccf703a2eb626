"""The tasks: plain functions, run in the worker's processes."""

import ast
import tokenize
import warnings

from app import app

COUNTS = ("lines", "functions", "classes", "imports")


@app.task(bind=True)
def analyse(self, path, module):
    """Count what is in the Python file `path`.

    A file that is not Python 3 (the standard library carries some as test data) is a result too, not a failure.
    `attempt` is 1, or more when the process that ran the task before died.
    """
    report = {"module": module, **dict.fromkeys(COUNTS, 0), "python": True, "attempt": self.request.attempt}
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


@app.task
def package(reports, name):
    """The sum of a package; called once, with the reports of all its modules in their order."""
    return {
        "package": name,
        "files": len(reports),
        "not_python": sum(not report["python"] for report in reports),
        "ran_again": sum(report["attempt"] > 1 for report in reports),
        "largest": largest(reports),
        **{count: sum(report[count] for report in reports) for count in COUNTS},
    }


@app.task
def library(packages):
    """The sum of the library; called once, with those of all its packages."""
    counts = ("files", "not_python", "ran_again", *COUNTS)
    return {
        "packages": {one["package"]: one["files"] for one in packages},
        "largest": largest(report for one in packages for report in one["largest"]),
        **{count: sum(one[count] for one in packages) for count in counts},
    }


def largest(reports):
    """The ten largest modules."""
    return sorted(reports, key=lambda report: -report["lines"])[:10]
