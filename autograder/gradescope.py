"""Gradescope: results as it shows them, and an autograder that grades there with this course's judge.

The bundle is a zip for "Configure Autograder": ``setup.sh`` makes the environment when the bundle is uploaded,
``run_autograder`` grades one submission. What isolation holds there is that of Gradescope's container: each result says
which, in its ``extra_data``.
"""

import io
import json
import re
import stat
import sys
import zipfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from autograder import catalogue, isolation, panel, submission
from autograder.exercise import Exercise
from autograder.grading import grade
from autograder.submission import SubmissionError

ROOT = Path(isolation.COURSE)
ZIP_TIME = (1980, 1, 1, 0, 0, 0)
MARKS = {"pass": "✓", "fail": "✗", "todo": "○", "untried": "–"}
PINNED = ("numpy", "matplotlib", "pytest", "ipython")

SETUP = """#!/usr/bin/env bash
# Gradescope runs this once, when the bundle is uploaded.
set -euo pipefail
cd /autograder/source
python=
for name in python3.14 python3.13 python3.12 python3.11; do
  if command -v "$name" && "$name" -m venv --help; then python="$name"; break; fi
done >/dev/null
if [ -z "$python" ]; then
  apt-get update
  apt-get install -y --no-install-recommends python3.11 python3.11-venv
  python=python3.11
fi
"$python" -m venv /autograder/venv
/autograder/venv/bin/python -m pip install --index-url https://download.pytorch.org/whl/cpu -r requirements-torch.txt
/autograder/venv/bin/python -m pip install -r requirements.txt
"""
RUN = """#!/usr/bin/env bash
# Gradescope runs this for each submission; it writes /autograder/results/results.json.
export PYTHONPATH=/autograder/source/lib:/autograder/source OMP_NUM_THREADS=1
exec /autograder/venv/bin/python -P -m autograder.gradescope /autograder
"""


def results(verdicts: Iterable[Mapping[str, Any]], score: float | None = None) -> dict[str, Any]:
    """Gradescope's results from verdicts as ``panel.plain`` says them: a test a law.

    ``score`` counts in the place of the sum, where there is a penalty or a grade that a person gave.
    """
    tests = []
    for verdict in verdicts:
        for number, law in enumerate(verdict["laws"], 1):
            said = [f"{MARKS.get(law['status'], '')} {law['law']}", *law["said"]] if law["status"] != "pass" else []
            if said and verdict["explanation"] and number == _first_failed(verdict["laws"]):
                said.append(("" if verdict["certain"] else "Perhaps: ") + verdict["explanation"])
            tests.append(
                {
                    "name": f"{verdict['exercise']}: {law['law']}",
                    "number": f"{verdict['exercise']}.{number}",
                    "score": law["points"],
                    "max_score": law["of"],
                    "status": "passed" if law["status"] == "pass" else "failed",
                    "output": "\n".join(said),
                    "output_format": "text",
                    "visibility": "visible",
                }
            )
    found: dict[str, Any] = {"tests": tests}
    if score is not None:
        found["score"] = score
    return found


def _first_failed(laws: Sequence[Mapping[str, Any]]) -> int:
    return next((number for number, law in enumerate(laws, 1) if law["status"] != "pass"), 0)


def by_exercise(scores: Mapping[str, tuple[float, float]], score: float) -> dict[str, Any]:
    """Results where only points are known: of what nbgrader's own autograde has graded."""
    tests = [{"name": name, "score": got, "max_score": of} for name, (got, of) in scores.items()]
    return {"tests": tests, "score": score}


def nothing(sentence: str) -> dict[str, Any]:
    """Results where nothing could be graded."""
    return {"score": 0.0, "output": sentence, "output_format": "text", "tests": []}


def grade_folder(folder: Path, exercises: Sequence[Exercise], seed: int) -> dict[str, Any]:
    """Grade what a student uploaded: the notebook in it that holds the most of these exercises."""
    wanted = {exercise.name for exercise in exercises}
    best: tuple[int, submission.Submission] | None = None
    broken = []
    for path in sorted(folder.rglob("*.ipynb")):
        if ".ipynb_checkpoints" in path.parts:
            continue
        try:
            read = submission.read(path)
        except SubmissionError as error:
            broken.append(str(error).replace(str(folder), "").lstrip("/\\"))
            continue
        held = sum(exercise.name in wanted for exercise in read.exercises())
        if held and (best is None or held > best[0]):
            best = (held, read)
    if best is None:
        names = ", ".join(sorted(wanted))
        return nothing(" ".join([*broken, f"No notebook with {names} was uploaded; hand in the chapter's notebook."]))
    grading = grade(best[1].sources, exercises, seed)
    found = results(panel.plain(verdict) for verdict in grading.verdicts)
    return {**found, "extra_data": {"isolation": str(isolation.possible())}}


def bundle(assignment: str, exercises: Sequence[str], seed: int) -> bytes:
    """The zip for Gradescope. It holds the seed: give it to nobody else."""
    known = catalogue.by_name()
    names = [name for name in exercises if name in known]
    if not names:
        raise SubmissionError(
            f"{assignment}: has no exercise that the judge knows, so there is nothing to grade there."
        )
    settings = {"assignment": assignment, "exercises": names, "seed": seed}
    files: dict[str, tuple[bytes, int]] = {
        "setup.sh": (SETUP.encode(), 0o755),
        "run_autograder": (RUN.encode(), 0o755),
        "settings.json": (json.dumps(settings, indent=2).encode(), 0o600),
        "requirements.txt": (_pinned().encode(), 0o644),
        "requirements-torch.txt": ((ROOT / "requirements-torch.lock").read_bytes(), 0o644),
    }
    for folder, inside in ((ROOT / "autograder", "autograder"), (ROOT / "lib" / "attnlab", "lib/attnlab")):
        for path in sorted(folder.rglob("*")):
            if path.is_file() and "__pycache__" not in path.parts and not path.name.startswith("."):
                files[f"{inside}/{path.relative_to(folder).as_posix()}"] = (path.read_bytes(), 0o644)
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, (data, mode) in sorted(files.items()):
            info = zipfile.ZipInfo(name, ZIP_TIME)
            info.create_system, info.external_attr = 3, (stat.S_IFREG | mode) << 16
            archive.writestr(info, data.replace(b"\r\n", b"\n"), zipfile.ZIP_DEFLATED)
    return out.getvalue()


def _pinned() -> str:
    """What the judge needs, in the versions that the course was tested with."""
    lock = (ROOT / "requirements.lock").read_text(encoding="utf-8")
    lines = re.findall(r"^([\w.-]+==[^\s;\\]+(?: *;[^\\\n]*)?)", lock, re.MULTILINE)
    return "".join(f"{line.strip()}\n" for line in lines if line.partition("==")[0] in PINNED)


def main(root: Path) -> int:
    """Grade one submission where Gradescope has put it."""
    settings = json.loads((root / "source" / "settings.json").read_text(encoding="utf-8"))
    exercises = [catalogue.by_name()[name] for name in settings["exercises"]]
    try:
        found = grade_folder(root / "submission", exercises, settings["seed"])
    except Exception as error:  # a fault of ours: the student is told whom to ask, the instructor what it was
        found = nothing("The autograder failed; your instructor can see why, and grade it again.")
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
    (root / "results").mkdir(exist_ok=True)
    (root / "results" / "results.json").write_text(json.dumps(found, ensure_ascii=False), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
