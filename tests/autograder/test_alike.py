"""Answers that look alike: found through new names and layout, and never where the course or the class explains it."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from submissions import RIGHT, SOFTMAX

from autograder import catalogue
from autograder.report import alike
from autograder.report.alike import Written

OWN = '''
def softmax(x, axis=-1):
    biggest = x.max(axis=axis, keepdims=True)
    weights = np.exp(x - biggest)
    normaliser = weights.sum(axis=axis, keepdims=True)
    return weights / normaliser

def table(values, width=12):
    """Rows of a table."""
    lines = []
    for index, value in enumerate(values):
        if value > 3 and index % 2 == 0:
            lines.append(str(value).rjust(width) + "|" + "#" * int(value))
        elif value < -3:
            lines.insert(0, "-" * width)
    return "\\n".join(lines)
'''
OTHERS = """
def softmax(x, axis=-1):
    e = np.exp(x - np.max(x, axis, keepdims=True))
    return e / e.sum(axis, keepdims=True)

class Timer:
    def __init__(self):
        self.started, self.laps = time.perf_counter(), {}

    def lap(self, name):
        self.laps[name] = self.laps.get(name, 0.0) + time.perf_counter() - self.started
        self.started = time.perf_counter()
        return sorted(self.laps.items(), key=lambda item: -item[1])[:5]
"""
EXERCISES = [catalogue.by_name()[name] for name in ("softmax", "log_softmax", "softmax_temperature", "softmax_vjp")]


def renamed(text: str) -> str:
    """With other names, comments and layout."""
    for old, new in {"values": "zahlen", "lines": "zeilen", "weights": "e", "biggest": "m", "index": "i"}.items():
        text = re.sub(rf"\b{old}\b", new, text)
    return text.replace("    return", "    # at the end\n\n    return").replace(" + ", "+")


def found(*texts: str, known=()) -> list:
    written = [Written(f"s{i}", text) for i, text in enumerate(texts)]
    return alike.pairs("lab", written, alike.expected(known, EXERCISES))


def test_a_copy_with_other_names_comments_and_layout_is_found_and_shown_line_by_line():
    (pair,) = found(OWN, OTHERS, renamed(OWN))
    assert pair.students == ("s0", "s2") and min(pair.shares) > 0.9
    text, other = ("\n".join(line for line, _ in lines) for lines in pair.texts)
    assert (text, other) == (OWN, renamed(OWN))
    marked = [line for line, both in pair.texts[0] if both]
    assert any("rjust" in line for line in marked)


def test_a_part_that_was_taken_is_found_and_the_rest_is_not_marked():
    (pair,) = found(OWN, OWN + OTHERS)
    assert pair.shares[0] > 0.7 > pair.shares[1]
    assert not any(both for line, both in pair.texts[1] if "laps" in line)


def test_what_the_course_itself_gives_is_nobodys_copy():
    assert found(*["\n".join(RIGHT)] * 2) == []
    wrong = alike.expected((), EXERCISES)
    assert found(*["\n".join(wrong)] * 2) == []
    assert found(OWN, OWN, known=[OWN]) == []


def test_what_many_in_the_class_have_is_an_idiom():
    texts = [OWN + f"\nresult_{i} = {i}\n" for i in range(8)]
    assert found(*texts, *[OTHERS] * 2) and all(p.students == ("s8", "s9") for p in found(*texts, *[OTHERS] * 2))


def test_short_answers_are_not_compared():
    assert found(SOFTMAX, SOFTMAX) == []
    assert found("", "   ", "x = 1") == []


def test_given_cells_do_not_count_as_written_whatever_their_spaces():
    assert alike.own_text(["import numpy as np\n", "x = 1", " \n"], ["import  numpy as np"]) == "x = 1"


@pytest.mark.parametrize("text", ["'" * 5000, "(" * 5000, "\0\u202e" * 300, "def" * 3000, "é" * 2000])
def test_odd_text_is_read(text):
    assert found(text, OWN) == []


@pytest.mark.slow
def test_the_same_class_gives_the_same_pairs_in_another_process():
    """Hashes of strings differ from one Python to the next; what is told of people must not."""
    code = (
        "import test_alike as t; from autograder.report.alike import pairs, Written, expected;"
        "p = t.found(t.OWN, t.OTHERS, t.renamed(t.OWN), t.OWN + t.OTHERS); print([(x.students, x.shares) for x in p])"
    )
    here = Path(__file__).parent
    folders = [here, here.parent.parent, here.parent.parent / "lib"]
    said = set()
    for seed in ("1", "2"):
        environment = os.environ | {"PYTHONHASHSEED": seed, "PYTHONPATH": os.pathsep.join(map(str, folders))}
        done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
        said.add(done.stdout)
    assert len(said) == 1 and "s0" in said.pop()
