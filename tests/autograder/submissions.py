"""Small notebooks for the tests of the judge."""

import json
from pathlib import Path
from typing import Any

from autograder import catalogue, submission
from autograder.exercise import Exercise
from autograder.grading import Grading, grade
from autograder.isolation import Limits
from autograder.judge import Verdict

SOFTMAX = """
import numpy as np

def softmax(x, axis=-1):
    e = np.exp(x - np.max(x, axis=axis, keepdims=True))
    return e / np.sum(e, axis=axis, keepdims=True)
"""
LOG_SOFTMAX = """
def log_softmax(x, axis=-1):
    x = x - np.max(x, axis=axis, keepdims=True)
    return x - np.log(np.sum(np.exp(x), axis=axis, keepdims=True))
"""
TEMPERATURE = """
def softmax_temperature(x, tau, axis=-1):
    return softmax(x / tau, axis)
"""
VJP = """
def softmax_vjp(p, g, axis=-1):
    return p * (g - np.sum(p * g, axis=axis, keepdims=True))
"""
RIGHT = [SOFTMAX, LOG_SOFTMAX, TEMPERATURE, VJP]
NAMES = ("softmax", "log_softmax", "softmax_temperature", "softmax_vjp")
SEED = 20261121


def exercises(*names: str) -> list[Exercise]:
    return [catalogue.by_name()[name] for name in names or NAMES]


def graded(
    *sources: str, names: tuple[str, ...] = ("softmax",), seed: int = SEED, limits: Limits | None = None
) -> Grading:
    """Grade cells as a submission."""
    return grade(list(sources), exercises(*names), seed, limits)


def verdict(*sources: str, name: str = "softmax", seed: int = SEED) -> Verdict:
    return graded(*sources, names=(name,), seed=seed).verdicts[0]


def cell(source: str, **metadata: Any) -> dict[str, Any]:
    return {
        "cell_type": "code",
        "execution_count": None,
        "id": f"c{abs(hash((source, repr(metadata)))) % 10**8}",
        "metadata": metadata,
        "outputs": [],
        "source": source,
    }


def notebook(*cells: dict[str, Any] | str, minor: int = 5) -> dict[str, Any]:
    """Notebook format 4, as JupyterLab writes it."""
    whole = [cell(c) if isinstance(c, str) else c for c in cells]
    if minor < 5:
        whole = [{k: v for k, v in c.items() if k != "id"} for c in whole]
    return {"cells": whole, "metadata": {}, "nbformat": 4, "nbformat_minor": minor}


def points(path: Path, content: dict[str, Any] | str | bytes) -> dict[str, float]:
    """What a file earns, by exercise."""
    data = (
        content
        if isinstance(content, bytes)
        else (content if isinstance(content, str) else json.dumps(content)).encode()
    )
    path.write_bytes(data)
    read = submission.read(path)
    grading = grade(read.sources, read.exercises(), SEED)
    return {v.exercise.name: v.points for v in grading.verdicts}
