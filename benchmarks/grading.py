"""How fast submissions are graded, beside stock ``nbgrader autograde`` and beside a bare fork, in one run.

    python -m benchmarks.grading                       # 20 submissions; stock takes two minutes
    python -m benchmarks.grading --submissions 200 --no-stock
    python -m benchmarks.grading --memory 1000         # does memory grow?
    python -m benchmarks.grading --load 1000           # a large class, as `attnlab grade` does it: two workers

The class is made of the solved chapter 1 with the declared misconceptions in it: some answers right, some wrong.
Stock nbgrader runs ``assert`` cells with the same laws' oracles in them. The bare fork runs the same cells and checks
with nothing around them: no isolation, no protocol, no gradebook, no diagnosis.
"""

import argparse
import contextlib
import inspect
import json
import os
import re
import resource
import shutil
import subprocess
import sys
import tempfile
import textwrap
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
CHAPTER = "01_softmax"
CONFIG = "from autograder.nbgrader import configure\nconfigure(get_config(), seed=20261121)\n"
STOCK = (
    "c = get_config()\nc.CourseDirectory.source_directory = 'solutions'\n"
    "c.CourseDirectory.release_directory = 'notebooks'\n"
)


def answers() -> list[dict[str, str]]:
    """What the students of the class wrote: everything right, or one misconception in one exercise."""
    from autograder import catalogue

    chosen: list[dict[str, str]] = [{}]
    for exercise in catalogue.of_chapter(1):
        for misconception in exercise.misconceptions[:4]:
            source = textwrap.dedent(inspect.getsource(misconception.function))
            source = source[source.index("def ") :].replace(f"def {misconception.name}(", f"def {exercise.name}(", 1)
            source = "import numpy as np\nfrom types import SimpleNamespace\n" + source
            if "reference." not in source:
                chosen += [{exercise.name: source}, {}]
    return chosen


def submissions(folder: Path, count: int, stock: bool) -> None:
    """A course with released chapter 1 and a class that handed it in."""
    solved = json.loads((ROOT / "solutions" / CHAPTER / f"{CHAPTER}.ipynb").read_text(encoding="utf-8"))
    for cell in solved["cells"]:
        cell["source"] = "".join(cell["source"])
        if stock and cell["source"].rstrip().endswith(")") and cell["metadata"].get("nbgrader", {}).get("grade"):
            cell["source"] = asserts(cell["metadata"]["nbgrader"]["grade_id"])
    source = folder / "solutions" / CHAPTER
    source.mkdir(parents=True)
    (source / f"{CHAPTER}.ipynb").write_text(json.dumps(solved), encoding="utf-8")
    (folder / "nbgrader_config.py").write_text(STOCK if stock else CONFIG)
    nbgrader(folder, "generate_assignment", CHAPTER)
    released = json.loads((folder / "notebooks" / CHAPTER / f"{CHAPTER}.ipynb").read_text(encoding="utf-8"))
    solutions = {c["metadata"].get("nbgrader", {}).get("grade_id"): c["source"] for c in solved["cells"]}
    wrong = answers()
    for number in range(count):
        changed = wrong[number % len(wrong)]
        for cell in released["cells"]:
            name = cell["metadata"].get("nbgrader", {}).get("grade_id", "")
            if name.endswith("_answer"):
                cell["source"] = changed.get(name.removesuffix("_answer"), solutions[name])
        path = folder / "submitted" / f"student{number:04d}" / CHAPTER / f"{CHAPTER}.ipynb"
        path.parent.mkdir(parents=True)
        path.write_text(json.dumps(released), encoding="utf-8")


def asserts(name: str) -> str:
    """The checks of an exercise as a stock nbgrader test cell has them: run in the student's kernel, all or nothing."""
    return (
        "import torch\nfrom autograder import catalogue\nfrom autograder.laws import run_check\n"
        "from autograder.student import Here\n"
        f"for law in catalogue.by_name()[{name!r}].checks:\n"
        f"    came = run_check(law, catalogue.by_name()[{name!r}], Here({{{name!r}: {name}}}), 20261121)[0]\n"
        "    assert came.status == 'pass', came.what"
    )


def nbgrader(folder: Path, *words: str) -> None:
    tools = str(Path(sys.executable).parent) + os.pathsep + os.environ["PATH"]
    paths = os.pathsep.join([str(ROOT / "lib"), str(ROOT)])
    environment = os.environ | {"PATH": tools, "PYTHONPATH": paths, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "nbgrader", *words]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
    if done.returncode and "generate" in words[0]:
        raise SystemExit(done.stdout + done.stderr)


def timed(act: Callable[[], Any]) -> tuple[float, float]:
    """Seconds on the clock, and of processor time: of this process, of the zygote, and of all that they started."""
    from autograder import host

    def used() -> float:
        whose = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
        ours = sum(getattr(resource.getrusage(w), kind) for w in whose for kind in ("ru_utime", "ru_stime"))
        fields = Path(f"/proc/{zygote()}/stat").read_text().rsplit(")", 1)[1].split()
        return ours + sum(map(int, fields[11:15])) / os.sysconf("SC_CLK_TCK")

    wall, cpu = time.perf_counter(), used()
    act()
    wall = time.perf_counter() - wall
    host.shared().start().close()  # the zygote counts a child when it has reaped it, and reaps when it forks
    return wall, used() - cpu


def ours(folder: Path, jobs: int) -> None:
    from autograder.classroom import Classroom

    with Classroom(folder) as classroom:
        for result in classroom.grade(CHAPTER, force=True, jobs=jobs):
            if result.error:
                raise SystemExit(result.error)


def bare(folder: Path) -> None:
    """Fork, run the cells, run the checks, end. What no judge can be faster than."""
    import gc

    from autograder import catalogue, submission, worker
    from autograder.laws import run_check
    from autograder.student import Here

    shell = worker.warm_up().shell
    gc.collect()
    gc.freeze()
    exercises = catalogue.of_chapter(1)
    for path in sorted(folder.glob(f"submitted/*/{CHAPTER}/{CHAPTER}.ipynb")):
        child = os.fork()
        if child == 0:
            nowhere = os.open(os.devnull, os.O_RDWR)
            os.dup2(nowhere, 1)
            for source in submission.read(path).sources:
                shell.run_cell(source)
            for exercise in exercises:
                for law in exercise.checks:
                    run_check(law, exercise, Here(shell.user_ns, repeats=False), 20261121)
            os._exit(0)
        os.waitpid(child, 0)


def scores(folder: Path) -> dict[str, dict[str, float]]:
    from nbgrader.api import Gradebook

    with Gradebook(f"sqlite:///{folder / 'gradebook.db'}") as book:
        found = book.find_assignment(CHAPTER).submissions
        return {s.student.id: {g.name: g.score for n in s.notebooks for g in n.grades} for s in found}


def zygote() -> int:
    """The process that forks: the launcher, or its only child where there are namespaces."""
    from autograder import host

    launcher = host.shared()._process.pid  # type: ignore[attr-defined]
    children = Path(f"/proc/{launcher}/task/{launcher}/children").read_text().split()
    return int(children[0]) if children else launcher


def memory(folder: Path, count: int) -> None:
    """Grade so many submissions in one process; say how much memory it and the zygote took, on the way."""
    from autograder.classroom import Classroom

    def resident(process: int) -> float:
        text = Path(f"/proc/{process}/status").read_text()
        return int(re.search(r"VmRSS:\s+(\d+)", text)[1]) / 1024  # type: ignore[index]

    done = 0
    with Classroom(folder) as classroom:
        while done < count:
            for _ in classroom.grade(CHAPTER, force=True):
                done += 1
                if done % max(count // 10, 1) == 0:
                    print(
                        f"{done:6d}  judge {resident(os.getpid()):7.1f} MiB  zygote {resident(zygote()):7.1f} MiB",
                        flush=True,
                    )
                if done >= count:
                    break


def load(folder: Path, count: int) -> None:
    """Grade a large class once, with two workers: how fast, what failed, in how much memory at the worst moment."""
    from autograder.classroom import Classroom

    with Classroom(folder) as classroom, _Watch() as watch:
        began = time.perf_counter()
        failed = sum(bool(result.error) for result in classroom.grade(CHAPTER, jobs=2))
        took = time.perf_counter() - began
        kept = len(classroom.latest())
    size = (folder / "gradebook.db").stat().st_size / 2**20
    print(f"{count} submissions in {took:.0f} s: {count / took:.1f} a second, {1000 * took / count:.0f} ms each")
    print(f"{failed} failed; {kept} in the gradebook, which has {size:.1f} MiB")
    print("at the worst moment " + ", ".join(f"{name} {mib:.0f} MiB" for name, mib in watch.worst.items()))


class _Watch:
    """The memory of the coordinator, its workers, and the zygote with the submissions, four times a second.

    A page that several processes share counts as a part of one in each (PSS): the sum is what the machine gives.
    """

    def __enter__(self) -> "_Watch":
        self.worst: dict[str, float] = {"all": 0.0}
        from autograder import host

        self._launcher = host.shared()._process.pid  # type: ignore[attr-defined]
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._look)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _look(self) -> None:
        while not self._over.wait(0.25):
            parents = _parents()
            zygote = _below(self._launcher, parents)
            workers = _below(os.getpid(), parents) - zygote - {os.getpid()}
            groups = {"coordinator": {os.getpid()}, "workers": workers, "zygote and submissions": zygote}
            now = {name: sum(map(_share, members)) for name, members in groups.items()}
            if sum(now.values()) > self.worst["all"]:
                self.worst = {"all": sum(now.values()), **now}


def _parents() -> dict[int, int]:
    found = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            found[int(path.parent.name)] = int(path.read_text().rsplit(")", 1)[1].split()[1])
    return found


def _below(root: int, parents: dict[int, int]) -> set[int]:
    found = {root}
    while more := {process for process, parent in parents.items() if parent in found} - found:
        found |= more
    return found


def _share(process: int) -> float:
    """MiB of a process, its part of what it shares; 0 for one that has ended."""
    with contextlib.suppress(OSError):
        return int(re.search(r"Pss:\s+(\d+)", Path(f"/proc/{process}/smaps_rollup").read_text())[1]) / 1024  # type: ignore[index]
    return 0.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--submissions", type=int, default=20)
    parser.add_argument("--no-stock", action="store_true", help="leave out stock nbgrader")
    parser.add_argument(
        "--memory", type=int, default=0, metavar="N", help="only: grade N submissions, watch the memory"
    )
    parser.add_argument("--load", type=int, default=0, metavar="N", help="only: grade a class of N with two workers")
    parser.add_argument("--keep", type=Path, help="make the course here, and leave it")
    words = parser.parse_args()
    os.environ["OMP_NUM_THREADS"] = "1"
    folder = words.keep or Path(tempfile.mkdtemp(prefix="attnlab-bench-"))
    try:
        mine = folder / "ours"
        submissions(mine, words.load or words.submissions, stock=False)
        if words.load:
            load(mine, words.load)
            return
        if words.memory:
            memory(mine, words.memory)
            return
        ours(mine, 1)  # the zygote is warm, and every check has run
        count = words.submissions
        rows = [("judge, one core", timed(lambda: ours(mine, 1)))]
        rows.append(("judge, two workers", timed(lambda: ours(mine, 2))))
        if not words.no_stock:
            theirs = folder / "stock"
            submissions(theirs, count, stock=True)
            rows.append(("stock nbgrader", timed(lambda: nbgrader(theirs, "autograde", CHAPTER))))
        rows.append(("bare fork", timed(lambda: bare(mine))))
        for name, (wall, cpu) in rows:
            clock, used = 1000 * wall / count, 1000 * cpu / count
            print(f"{name:20} {clock:8.0f} ms a submission on the clock, {used:8.0f} ms of processor", flush=True)
        found = {name: wall for name, (wall, _) in rows}
        print(f"judge : bare fork = {found['judge, one core'] / found['bare fork']:.2f}")
        if not words.no_stock:
            for name in ("judge, one core", "judge, two workers"):
                print(f"stock : {name} = {found['stock nbgrader'] / found[name]:.0f}")
            compare(scores(mine), scores(theirs))
    finally:
        if not words.keep:
            shutil.rmtree(folder, ignore_errors=True)


def compare(mine: dict[str, dict[str, float]], stock: dict[str, dict[str, float]]) -> None:
    """Stock gives all or nothing: its full marks are to be ours, and where ours are full, so are its."""
    from autograder import catalogue

    full = {e.name: e.points for e in catalogue.of_chapter(1)}
    pairs = [(mine[s][e], stock[s][e], full[e]) for s in mine for e in full]
    agree = sum((a == worth) == (b == worth) for a, b, worth in pairs)
    print(f"full marks agree in {agree} of {len(pairs)} exercises")


if __name__ == "__main__":
    main()
