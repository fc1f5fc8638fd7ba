"""``attnlab build``: chapters → solutions, executed → notebooks, by nbgrader's own generate step."""

import asyncio
import hashlib
import os
import re
import shutil
import tempfile
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from typing import NoReturn

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError
from nbformat import NotebookNode

from autograder import record
from course import imports, paths
from course.paths import derived, shown
from course.source import KERNEL, BuildError, Chapter, chapters_in, check_misconceptions, solved_notebook

CELL_SECONDS = 300
MAKERS = ("build", "colab", "imports", "paths", "source")  # the modules of course/ that have a say in a notebook
Progress = Callable[[str, str], None]
_one_at_a_time = threading.Lock()


@dataclass(frozen=True)
class Built:
    """What became of a chapter: executed anew, or left as it was."""

    chapter: Chapter
    changed: bool
    kept: Path | None = None  # where a student's work went that stood in the way


def select(words: Sequence[str]) -> list[Chapter]:
    """The chapters that were named, by number, name or file; all of them where none was."""
    found = chapters_in(paths.CHAPTERS)
    if not words:
        return found
    selected = []
    for word in words:
        stem = Path(word).stem
        matches = [c for c in found if c.name == stem or (stem.isdigit() and c.number == int(stem))]
        if not matches:
            names = ", ".join(c.name for c in found)
            raise BuildError(f"{word}: there is no such chapter; there are {names}")
        selected += matches
    return selected


def build(chapters: Sequence[Chapter], jobs: int, force: bool, progress: Progress) -> list[Built]:
    """Build what changed. Nothing is half-written: a notebook is replaced when it is whole."""
    todo: list[Job] = []
    for chapter in chapters:
        job = Job(chapter, solved_notebook(chapter), digest_of(chapter))
        if not force and job.release.exists() and _digest_in(job.solution) == job.digest:
            progress(chapter.name, "up to date")
        else:
            progress(chapter.name, "trying every wrong answer")
            check_misconceptions(chapter)
            todo.append(job)
    with ThreadPoolExecutor(max_workers=jobs) as pool:  # the work is in the kernels, which are processes
        futures = [pool.submit(_build, job, progress) for job in todo]
        try:
            built = {future.result() for future in futures}
        except BaseException:
            for future in futures:
                future.cancel()
            raise
    return [next((b for b in built if b.chapter == c), Built(c, False)) for c in chapters]


@dataclass
class Job:
    """A chapter that is to be built."""

    chapter: Chapter
    notebook: NotebookNode
    digest: str

    @property
    def solution(self) -> Path:
        return derived(paths.SOLUTIONS, self.chapter.name)

    @property
    def release(self) -> Path:
        return derived(paths.NOTEBOOKS, self.chapter.name)


def _build(job: Job, progress: Progress) -> Built:
    name = job.chapter.name
    progress(name, "running")
    execute(job.notebook, job.chapter, progress)
    progress(name, "making the student's notebook")
    released = student_text(job.notebook, job.chapter)
    job.notebook.metadata["attnlab"] = {"digest": job.digest}
    write(job.solution, to_text(job.notebook))
    kept = keep_work(job.release)
    write(job.release, released)
    progress(name, "built")
    return Built(job.chapter, True, kept)


def check(chapters: Sequence[Chapter], progress: Progress) -> list[str]:
    """What differs between the derived files and what their sources make, outputs aside: a sentence each."""
    wrong = []
    for chapter in chapters:
        progress(chapter.name, "comparing")
        fresh = solved_notebook(chapter)
        expected = {
            derived(paths.SOLUTIONS, chapter.name): to_text(fresh),
            derived(paths.NOTEBOOKS, chapter.name): student_text(fresh, chapter),
        }
        for path, text in expected.items():
            if not path.exists():
                wrong.append(f"{shown(path)}:1: is missing; run: attnlab build")
                continue
            there = path.read_text(encoding="utf-8")
            if path.is_relative_to(paths.SOLUTIONS):
                there = to_text(without_outputs(nbformat.reads(there, as_version=4)))
            if difference := first_difference(there, text):
                line, found, made = difference
                wrong.append(
                    f"{shown(path)}:{line}: has {found!r} where its source makes {made!r}; "
                    f"edit {shown(chapter.path)} and run: attnlab build"
                )
        progress(chapter.name, "compared")
    return wrong + [f"{shown(path)}: has no source in chapters/; delete it" for path in orphans()]


def orphans() -> list[Path]:
    """Derived folders whose chapter is gone."""
    names = {chapter.name for chapter in chapters_in(paths.CHAPTERS)}
    folders = [path for base in (paths.SOLUTIONS, paths.NOTEBOOKS) if base.exists() for path in base.iterdir()]
    return sorted(path for path in folders if path.is_dir() and path.name not in names)


def first_difference(a: str, b: str) -> tuple[int, str, str] | None:
    """The first line where two texts differ, and the two lines."""
    first, second = a.splitlines(), b.splitlines()
    for line, (x, y) in enumerate(zip_longest(first, second, fillvalue=""), 1):
        if x != y:
            return line, x.strip()[:80], y.strip()[:80]
    return (len(first), "", "") if a != b else None


def digest_of(chapter: Chapter) -> str:
    """Of everything that the notebook's text and outputs depend on, within this repository."""
    declared = {Path(exercise.declared_at.rpartition(":")[0]) for exercise in chapter.exercises}
    files = {chapter.path, *declared, *(Path(__file__).with_stem(name) for name in MAKERS)}
    for path in (chapter.path, *declared):
        files.update(imports.reached_by(path))
    total = hashlib.sha256()
    for path in sorted(files):
        total.update(path.name.encode() + b"\0" + path.read_bytes().replace(b"\r\n", b"\n") + b"\0")
    return total.hexdigest()[:16]


def _digest_in(path: Path) -> str | None:
    try:
        metadata = nbformat.read(path, as_version=4).metadata
    except (OSError, ValueError):
        return None
    return metadata.get("attnlab", {}).get("digest")


def execute(notebook: NotebookNode, chapter: Chapter, progress: Progress) -> None:
    """Run every cell in a fresh kernel. A cell that raises is an error in the source."""
    total = sum(cell.cell_type == "code" for cell in notebook.cells)
    started: list[NotebookNode] = []

    def count(cell: NotebookNode, cell_index: int) -> None:
        if cell.cell_type == "code":
            started.append(cell)
            progress(chapter.name, f"running cell {len(started)} of {total}")

    def fail(sentence: str) -> NoReturn:
        raise BuildError(f"{shown(chapter.path)}:{line_of(started[-1], chapter) if started else 1}: {sentence}")

    environment = os.environ | {
        "PYTHONPATH": os.pathsep.join([str(paths.LIBRARY), str(paths.ROOT)]),
        "PYTHONHASHSEED": "0",
        "OMP_NUM_THREADS": "1",
        record.SETTING: "",  # what our solutions pass is no learner's progress
    }
    with tempfile.TemporaryDirectory(prefix="attnlab-") as folder:
        client = NotebookClient(
            notebook,
            timeout=CELL_SECONDS,
            kernel_name="python3",
            record_timing=False,
            coalesce_streams=True,
            on_cell_start=count,
        )
        client.extra_arguments = ["--log-level=40"]
        try:
            asyncio.run(client.async_execute(cwd=folder, env=environment))  # its own loop, closed at the end
        except CellExecutionError as error:
            fail(f"this cell raised {error.ename}: {error.evalue}")
        except CellTimeoutError:
            fail(f"this cell ran longer than {CELL_SECONDS} s")
        except DeadKernelError:
            fail("the kernel died in this cell")
    notebook.metadata.update(nbformat.from_dict(KERNEL))
    for cell in notebook.cells:
        alternative = cell.metadata.get("mystnb", {}).get("image", {}).get("alt")
        for output in cell.get("outputs", ()):
            if output.output_type == "stream" and output.name == "stderr":
                where = f"{shown(chapter.path)}:{line_of(cell, chapter)}"
                raise BuildError(f"{where}: this cell warns: {output.text.strip()}")
            if alternative and "image/png" in output.get("data", {}):
                output.metadata["image/png"] = {"alt": alternative}


def line_of(cell: NotebookNode, chapter: Chapter) -> int:
    """Where a cell begins in its source."""
    first = cell.source.splitlines()[0]
    lines = chapter.path.read_text(encoding="utf-8").splitlines()
    return next((number for number, line in enumerate(lines, 1) if line == first), 1)


def without_outputs(notebook: NotebookNode) -> NotebookNode:
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
    notebook.metadata.pop("attnlab", None)
    return notebook


def to_text(notebook: NotebookNode) -> str:
    return nbformat.writes(notebook, version=4).rstrip("\n") + "\n"


def student_text(solved: NotebookNode, chapter: Chapter) -> str:
    """The released notebook, by nbgrader's own generate step in a course of its own."""
    from nbgrader.apps import NbGraderAPI
    from nbgrader.coursedir import CourseDirectory
    from traitlets.config import Config

    paths.put_own_tools_first()
    with _one_at_a_time, tempfile.TemporaryDirectory(prefix="attnlab-") as folder:
        root = Path(folder)
        source = root / "source" / chapter.name / f"{chapter.name}.ipynb"
        write(source, to_text(solved))
        config = Config()
        config.CourseDirectory.root = str(root)
        config.CourseDirectory.db_url = f"sqlite:///{root / 'gradebook.db'}"
        config.NbGrader.logfile = None
        api = NbGraderAPI(CourseDirectory(config=config), config=config)
        result = api.generate_assignment(chapter.name, force=True, create=True)
        if not result["success"]:
            said = [
                line for line in str(result.get("log")).splitlines() if re.match(r"\w[\w.]*(Error|Exception):", line)
            ]
            raise BuildError(
                f"{shown(chapter.path)}: nbgrader cannot release it: {said[0] if said else result['error']}"
            )
        return (root / "release" / chapter.name / f"{chapter.name}.ipynb").read_text(encoding="utf-8").rstrip(
            "\n"
        ) + "\n"


def write(path: Path, text: str) -> None:
    """All of it or nothing: into a neighbour first, which then takes the place."""
    path.parent.mkdir(parents=True, exist_ok=True)
    neighbour = path.with_suffix(".partial")
    neighbour.write_text(text, encoding="utf-8", newline="\n")
    os.replace(neighbour, path)


def keep_work(path: Path) -> Path | None:
    """Set aside a notebook in which somebody has solved something. nbgrader's checksums tell."""
    from nbgrader.utils import compute_checksum

    try:
        notebook = nbformat.read(path, as_version=4)
        answers = [cell for cell in notebook.cells if cell.metadata.get("nbgrader", {}).get("solution")]
        if all(cell.metadata.nbgrader.get("checksum") == compute_checksum(cell) for cell in answers):
            return None
    except FileNotFoundError:
        return None
    except (ValueError, AttributeError, KeyError):
        pass  # no notebook any more: somebody's all the same
    number = 1
    while (aside := path.with_name(f"{path.stem}.mine-{number}.ipynb")).exists():
        number += 1
    os.replace(path, aside)
    return aside


def remove_orphans() -> list[Path]:
    gone = orphans()
    for path in gone:
        shutil.rmtree(path)
    return gone
