"""A class that never was: 16 invented students and the 30 notebooks they handed in, right, wrong, broken and late.

Right answers are the course's alternatives, wrong ones its declared misconceptions, each written into the released
notebook as a student would. The class is the same each time.
"""

import ast
import copy
import inspect
import io
import json
import random
import re
import sys
import textwrap
import zipfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import ModuleType
from typing import Any

import yaml

from autograder import catalogue
from autograder.exercise import Exercise
from autograder.roster import Student
from course import paths

SEED = 20261121
CHAPTERS = "1,4"
SOFTMAX, ATTENTION = "01_softmax", "04_scaled_dot_product"
DUE = {SOFTMAX: datetime(2026, 11, 13, 18), ATTENTION: datetime(2026, 11, 20, 18)}

NAMES = (
    "Amara Okafor", "Anton Lindqvist", "Beatriz Nunes", "Chen Yu", "Dilnoza Karimova", "Elif Aydın", "Fergus MacRae",
    "Hana Kobayashi", "Ivo Petrov", "Jana Nováková", "Leila Haddad", "Mateo Quiroga", "Noor Siddiqui", "Søren Holm",
    "Thandi Mokoena", "Wanda Ziółko",
)  # fmt: skip


@dataclass(frozen=True)
class Sheet:
    """What one student hands in: for an exercise the name of a misconception or an alternative, "" for nothing written.

    What is not named is as in the solution. ``hours`` are those before the due date; below zero it is late.
    """

    student: str
    answers: Mapping[str, str] = field(default_factory=dict)
    hours: float = 5.0
    file: str = ""
    way: str = "written"  # or "untouched", "broken"


def _sheets() -> dict[str, list[Sheet]]:
    left_softmax = {"softmax_temperature": "", "softmax_vjp": ""}
    left_attention = {"scaled_dot_product_attention": "", "attention_vjp": ""}
    return {
        SOFTMAX: [
            Sheet("Amara Okafor", {"softmax": "softmax_with_the_axis_moved"}, 52),
            Sheet("Anton Lindqvist", {"softmax": "overflows"}, 3, "softmax_final.ipynb"),
            Sheet("Beatriz Nunes", {"softmax": "overflows", "softmax_vjp": "diagonal_only"}, 1.5),
            Sheet("Chen Yu", {"log_softmax": "log_softmax_by_logaddexp", "softmax_vjp": "vjp_in_two_terms"}, 75),
            Sheet("Dilnoza Karimova", {"softmax_vjp": "diagonal_only"}, 20),
            Sheet("Elif Aydın", {"softmax": "normalises_the_whole_array"}, 8, "01_softmax (1).ipynb"),
            Sheet("Fergus MacRae", way="broken", hours=0.2, file="01_softmax.ipynb"),
            Sheet("Hana Kobayashi", {"softmax": "softmax_as_exp_of_log"}, 30, "Untitled.ipynb"),
            Sheet("Ivo Petrov", {"softmax": "overflows", **left_softmax}, 0.6),
            Sheet("Jana Nováková", {"softmax_temperature": "multiplies"}, 26),
            Sheet("Leila Haddad", {"softmax_vjp": "vjp_by_a_weighted_average"}, 11),
            Sheet("Mateo Quiroga", {"log_softmax": "forgets_the_maximum_outside"}, -4),
            Sheet("Noor Siddiqui", {"softmax_temperature": "multiplies", "softmax_vjp": "forgets_the_mean"}, 2),
            Sheet("Søren Holm", way="untouched", hours=0.1),
            Sheet("Thandi Mokoena", {"softmax_temperature": "temperature_after_the_maximum"}, 47),
            Sheet("Wanda Ziółko", {"log_softmax": "log_sum_overflows"}, 6),
        ],
        ATTENTION: [
            Sheet("Amara Okafor", {"dot_scores": "dot_scores_by_einsum"}, 40),
            Sheet("Anton Lindqvist", {"scaled_dot_product_attention": "forgets_the_scale"}, 2),
            Sheet("Beatriz Nunes", {"scaled_dot_product_attention": "forgets_the_scale", "attention_vjp": ""}, 1),
            Sheet("Chen Yu", {"attention_vjp": "attention_vjp_by_einsum"}, 90),
            Sheet("Dilnoza Karimova", {"scaled_dot_product_attention": "takes_a_softmax_over_the_queries"}, 19),
            Sheet("Elif Aydın", {"dot_scores": "=pair", "scaled_dot_product_attention": "=pair"}, 4),
            Sheet("Hana Kobayashi", {"dot_scores": "dot_scores_by_broadcasting"}, 28, "attention.ipynb"),
            Sheet("Ivo Petrov", {"dot_scores": "multiplies_elementwise_and_sums", **left_attention}, -26),
            Sheet("Jana Nováková", {"scaled_dot_product_attention": "forgets_the_scale"}, 23),
            Sheet("Leila Haddad", {"scaled_dot_product_attention": "attention_with_scaled_scores"}, 9),
            Sheet("Mateo Quiroga", {"dot_scores": "=pair again", "scaled_dot_product_attention": "=pair again"}, 3),
            Sheet("Noor Siddiqui", {"scaled_dot_product_attention": "scales_twice"}, 5, "my notebook.ipynb"),
            Sheet("Thandi Mokoena", {"attention_vjp": "vjp_transposes_every_axis"}, 44),
            Sheet("Wanda Ziółko", {"scaled_dot_product_attention": "compares_positions_with_themselves"}, -2),
        ],
    }


PAIR = {
    "dot_scores": """
def dot_scores(queries, keys):
    # go through the table of all pairs and fill it in, one cell after the other
    *lead, rows, width = queries.shape
    table = np.zeros((*lead, rows, keys.shape[-2]))
    for where in np.ndindex(*lead):
        for i in range(rows):
            for j in range(keys.shape[-2]):
                running = 0.0
                for c in range(width):
                    running += queries[where][i, c] * keys[where][j, c]
                table[where][i, j] = running
    return table
""",
    "scaled_dot_product_attention": """
def scaled_dot_product_attention(queries, keys, values):
    # same table as before, then every row becomes shares and picks its mixture
    table = dot_scores(queries, keys) / queries.shape[-1] ** 0.5
    mixed = np.zeros((*table.shape[:-1], values.shape[-1]))
    for place in np.ndindex(*table.shape[:-1]):
        biggest = max(table[place])
        powers = [np.exp(entry - biggest) for entry in table[place]]
        whole = sum(powers)
        for j, power in enumerate(powers):
            mixed[place] += power / whole * values[place[:-1]][j]
    return mixed
""",
}
RENAMED = {
    "queries": "q", "keys": "k", "values": "v", "table": "out", "running": "total", "where": "b", "width": "dim",
    "rows": "n", "lead": "batch", "mixed": "result", "place": "pos", "biggest": "m", "powers": "exps", "power": "e",
    "whole": "s", "entry": "x",
}  # fmt: skip


def students() -> list[Student]:
    found = []
    for number, name in enumerate(NAMES):
        first, _, last = name.partition(" ")
        login = first.lower().replace("ø", "o")
        found.append(Student(login, first, last, f"{login}@example.org", str(4100 + number)))
    return found


def archives() -> dict[str, bytes]:
    """What the platform hands over: an archive for each assignment, as Gradescope exports it."""
    return {f"{name}.zip": _archive(number, name, list(sheets(name))) for number, name in enumerate(DUE, 1)}


def sheets(assignment: str) -> Iterator[tuple[Sheet, bytes]]:
    """Who hands in what."""
    released = json.loads(paths.derived(paths.NOTEBOOKS, assignment).read_text(encoding="utf-8"))
    exercises = {e.name: e for e in catalogue.of_chapter(int(assignment[:2]))}
    solved = _solutions(assignment)
    for sheet in _sheets()[assignment]:
        text = json.dumps(_written(released, sheet, exercises, solved), ensure_ascii=False, indent=1)
        yield sheet, (text[: len(text) // 3] if sheet.way == "broken" else text).encode()


def _archive(number: int, assignment: str, handed: list[tuple[Sheet, bytes]]) -> bytes:
    root, record = f"assignment_{number}_export", {}
    by_name = {student.name: student for student in students()}
    out = io.BytesIO()
    rng = random.Random(SEED + number)
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for index, (sheet, data) in enumerate(handed):
            key = f"submission_{1000 * number + index}"
            when = DUE[assignment] - timedelta(hours=sheet.hours, minutes=rng.uniform(0, 5))
            student = by_name[sheet.student]
            record[key] = {
                ":submitters": [{":name": student.name, ":sid": student.id, ":email": student.email}],
                ":created_at": when.replace(tzinfo=UTC, microsecond=0),
            }
            info = zipfile.ZipInfo(f"{root}/{key}/{sheet.file or f'{assignment}.ipynb'}", when.timetuple()[:6])
            archive.writestr(info, data, zipfile.ZIP_DEFLATED)
        info = zipfile.ZipInfo(f"{root}/submission_metadata.yml", DUE[assignment].timetuple()[:6])
        archive.writestr(info, yaml.safe_dump(record, allow_unicode=True))
    return out.getvalue()


def _written(
    released: dict[str, Any], sheet: Sheet, exercises: Mapping[str, Exercise], solved: Mapping[str, str]
) -> dict[str, Any]:
    """The released notebook with the student's answers in it."""
    notebook = copy.deepcopy(released)
    if sheet.way == "untouched":
        return notebook
    for cell in notebook["cells"]:
        name = cell["metadata"].get("nbgrader", {}).get("grade_id", "").removesuffix("_answer")
        if name not in exercises or cell["metadata"]["nbgrader"].get("grade"):
            continue
        wanted = sheet.answers.get(name, "=solution")
        if wanted.startswith("=pair"):
            cell["source"] = _pair(name, again=wanted.endswith("again"))
        elif wanted == "=solution":
            cell["source"] = solved[name]
        elif wanted:
            cell["source"] = answer(exercises[name], wanted)
    return notebook


def _solutions(assignment: str) -> dict[str, str]:
    """The solved cells, as somebody writes who does not mark where a solution begins."""
    solved = json.loads(paths.derived(paths.SOLUTIONS, assignment).read_text(encoding="utf-8"))
    found = {}
    for cell in solved["cells"]:
        name = cell["metadata"].get("nbgrader", {}).get("grade_id", "")
        if name.endswith("_answer"):
            lines = "".join(cell["source"]).splitlines()
            found[name.removesuffix("_answer")] = "\n".join(line for line in lines if "### " not in line)
    return found


def _pair(name: str, again: bool) -> str:
    """An answer, or the same one by somebody who changed its names and its comment."""
    text = PAIR[name].strip()
    if not again:
        return text
    text = re.sub(r"    # .*\n", "", text)
    return re.sub(r"\b(" + "|".join(RENAMED) + r")\b", lambda match: RENAMED[match[1]], text)


# ------------------------------------------------------------------------- a declared answer as a cell of a notebook


def answer(exercise: Exercise, wanted: str) -> str:
    """The source of a misconception or an alternative, under the exercise's name, with the helpers it needs."""
    functions = {m.name: m.function for m in exercise.misconceptions} | {f.__name__: f for f in exercise.alternatives}
    function = functions[wanted]
    module = sys.modules[function.__module__]
    helpers = [_text(helper) for helper in _helpers(function, module)]
    own = re.sub(rf"\bdef {wanted}\(", f"def {exercise.name}(", _text(function), count=1)
    # What they call "reference" is, for a student, a function of the same name that they have written.
    text = re.sub(r"\breference\.(\w+)", r"\1", "\n\n\n".join([*helpers, own]))
    return f"import functools\n\n\n{text}" if "functools." in text else text


def _helpers(function: Callable[..., Any], module: ModuleType) -> list[Callable[..., Any]]:
    """The functions of the same module that it calls, those first that others need."""
    found: list[Callable[..., Any]] = []

    def visit(code: Any) -> None:
        for inner in code.co_consts:
            if inspect.iscode(inner):
                visit(inner)
        for name in code.co_names:
            helper = vars(module).get(name)
            if inspect.isfunction(helper) and helper.__module__ == module.__name__ and helper not in found:
                visit(helper.__code__)
                found.append(helper)

    visit(inspect.unwrap(function).__code__)
    return found


def _text(function: Callable[..., Any]) -> str:
    """Its source, without the declaration above it and without its docstring."""
    source = textwrap.dedent(inspect.getsource(function))
    (tree,) = ast.parse(source).body
    assert isinstance(tree, ast.FunctionDef)
    lines = source.splitlines()
    first = tree.body[0]
    if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant) and isinstance(first.value.value, str):
        del lines[first.lineno - 1 : first.end_lineno]
    return "\n".join(lines[tree.lineno - 1 :])


def enrolled(path: Path) -> None:
    """Write the list of students."""
    from autograder.roster import append

    append(path, students())
