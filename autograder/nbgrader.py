"""nbgrader through the judge: ``nbgrader autograde`` runs our sandbox and our checks, and keeps everything else.

In ``nbgrader_config.py``:

    from autograder.nbgrader import configure

    c = get_config()
    configure(c)
"""

import os
from pathlib import Path
from typing import Any

from nbconvert.exporters.exporter import ResourcesDict
from nbformat import v4
from nbformat.notebooknode import NotebookNode, from_dict
from nbgrader.api import Gradebook as Stock
from nbgrader.coursedir import CourseDirectory
from nbgrader.preprocessors import NbGraderPreprocessor
from nbgrader.utils import is_grade, is_solution
from traitlets import Integer

from autograder import autograded, catalogue, history, panel
from autograder.database import ANY_COURSE, is_server, normal
from autograder.gradebook import Gradebook
from autograder.grading import grade
from autograder.history import Event
from autograder.judge import VISIBLE_SEED
from autograder.judging import Handed, digest
from autograder.report import discreet
from autograder.submission import Cell, SubmissionError, check_student
from autograder.version import version

JUDGE, TIDY, REMEMBER, FORGET, VEIL = (
    f"autograder.nbgrader.{name}" for name in ("Judge", "Tidy", "Remember", "Forget", "Veil")
)
OURS = "attnlab"  # what one preprocessor of ours leaves for another


class Tidy(NbGraderPreprocessor):
    """Comes first: makes a submission whole, as the course released it, and takes out what would run in a browser.

    nbgrader's own pipeline stops the whole class where a cell comes twice, or where its marks were lost and it cannot
    tell where a deleted cell belongs.
    """

    def preprocess(self, nb: NotebookNode, resources: ResourcesDict) -> tuple[NotebookNode, ResourcesDict]:
        wanted = resources["nbgrader"]
        try:
            check_student(wanted["student"])
        except SubmissionError:
            with Stock(wanted["db_url"]) as stock:  # nbgrader has entered the student before it asks us
                stock.remove_student(wanted["student"])
            raise
        gradebook = Gradebook(wanted["db_url"])
        try:
            released = gradebook.released(wanted["assignment"])[wanted["notebook"]]
        finally:
            gradebook.close()
        nb.cells = [from_dict(cell) for cell in autograded.whole(nb, released.cells)]
        nb.metadata = from_dict({"language_info": {"name": "python"}})  # the kernel is put back from the gradebook
        nb.nbformat, nb.nbformat_minor = 4, 5
        return nb, resources


class Judge(NbGraderPreprocessor):
    """Stands where nbgrader's Execute stands. Writes each verdict into its test cell: the panel, then the points.

    nbgrader's SaveAutoGrades reads the points from there, so gradebook, formgrader, feedback and exporters are its own.
    """

    seed = Integer(
        VISIBLE_SEED,
        help="The inputs of the checks are drawn from this seed. Keep one of your own: "
        "then an answer that has learned the visible inputs by heart earns nothing.",
    ).tag(config=True)

    def preprocess(self, nb: NotebookNode, resources: ResourcesDict) -> tuple[NotebookNode, ResourcesDict]:
        code = [(index, cell) for index, cell in enumerate(nb.cells) if cell.cell_type == "code"]
        running = [(index, cell) for index, cell in code if _read(index, cell).runs]
        tests = {cell.metadata.nbgrader.grade_id: cell for _, cell in code if is_grade(cell) and not is_solution(cell)}
        exercises = [e for name in tests if (e := catalogue.by_name().get(name))]
        grading = grade([_read(index, cell).source for index, cell in running], exercises, self.seed)
        for (_, cell), came in zip(running, grading.cells, strict=False):
            cell.outputs = [from_dict(output) for output in autograded.outputs(came)]
        for verdict in grading.verdicts:
            tests[verdict.exercise.name].outputs = [from_dict(o) for o in autograded.verdict_outputs(verdict)]
        wanted = resources["nbgrader"]
        told = [{"notebook": wanted["notebook"], **panel.plain(verdict)} for verdict in grading.verdicts]
        with Gradebook(wanted["db_url"]) as gradebook:
            resources[OURS] = {
                "seed": self.seed,
                "verdicts": told,
                "before": gradebook.points(wanted["assignment"], wanted["student"]),
            }
        for name in tests.keys() - {verdict.exercise.name for verdict in grading.verdicts}:
            self.log.warning("No exercise of the course is called %s: its cell earns nothing", name)
            tests[name].outputs = [v4.new_output("stream", text=f"No exercise is called {name}.\n"), _points(0.0)]
        return nb, resources


class Remember(NbGraderPreprocessor):
    """Comes last: the judgement's row in the history, as ``attnlab grade`` writes it with the scores."""

    def preprocess(self, nb: NotebookNode, resources: ResourcesDict) -> tuple[NotebookNode, ResourcesDict]:
        from autograder.classroom import timestamp_in

        wanted, ours = resources["nbgrader"], resources.pop(OURS)
        assignment, student = wanted["assignment"], wanted["student"]
        course = CourseDirectory(config=self.config)
        folder = Path(course.format_path(course.submitted_directory, student, assignment))
        handed = Handed(assignment, student, folder, timestamp_in(folder))
        with Gradebook(wanted["db_url"]) as gradebook:
            released = gradebook.released(assignment)
            found = digest(handed, released)
            others = []  # nbgrader judges one notebook after the other
            if last := gradebook.history([assignment], [student], last=True):
                others = [
                    v for v in last[0].verdicts if v["notebook"] != wanted["notebook"] and last[0].digest == found
                ]
            event = Event(
                assignment,
                student,
                at=history.now(),
                who=history.whoami(),
                version=version(),
                seed=ours["seed"],
                handed_in=handed.timestamp,
                digest=found,
                before=ours["before"],
                after=gradebook.points(assignment, student),
                worth=sum(notebook.worth for notebook in released.values()),
                verdicts=others + ours["verdicts"],
            )
            gradebook.remember(event)
        return nb, resources


class Forget(NbGraderPreprocessor):
    """Comes last when an assignment is generated: what our build remembers in ``solutions/`` is not released."""

    def preprocess(self, nb: NotebookNode, resources: ResourcesDict) -> tuple[NotebookNode, ResourcesDict]:
        nb.metadata.pop("attnlab", None)
        return nb, resources


class Veil(NbGraderPreprocessor):
    """Comes first in ``nbgrader generate_feedback``: a student reads the panel without the numbers that were drawn.

    Formgrader, which is the instructor's, shows all of it; ``attnlab feedback`` makes the better page.
    """

    def preprocess(self, nb: NotebookNode, resources: ResourcesDict) -> tuple[NotebookNode, ResourcesDict]:
        for cell in nb.cells:
            if is_grade(cell) and not is_solution(cell) and cell.cell_type == "code":
                for output in cell.outputs:
                    if "text/html" in output.get("data", {}):
                        told = "\n".join(map(discreet.sentence, output.data["text/plain"].split("\n")))
                        output.data = from_dict({"text/plain": told})
        return nb, resources


def _read(index: int, cell: NotebookNode) -> Cell:
    return Cell(
        source=cell.source,
        position=index,
        tags=tuple(cell.metadata.get("tags", ())),
        is_test=is_grade(cell) and not is_solution(cell),
    )


def _points(points: float) -> NotebookNode:
    return v4.new_output("execute_result", data={"text/plain": str(float(points))}, execution_count=None)


def configure(config: Any, seed: int | None = None, database: str | None = None) -> None:
    """Set up nbgrader for this course: its folders, the judge in the place of Execute, and submissions that are broken.

    The seed comes from the argument, else from the environment variable ATTNLAB_SEED; the gradebook's database, where
    it is another than ``gradebook.db`` in the course's folder, from the argument or ATTNLAB_DB.
    """
    from nbconvert.preprocessors import ClearMetadataPreprocessor
    from nbgrader import preprocessors as stock
    from nbgrader.converters import GenerateAssignment, GenerateFeedback

    config.CourseDirectory.source_directory = "solutions"
    config.CourseDirectory.release_directory = "notebooks"
    config.Autograde.sanitize_preprocessors = [
        TIDY,
        stock.ClearOutput,
        stock.DeduplicateIds,
        stock.OverwriteKernelspec,
        stock.OverwriteCells,
        stock.CheckCellMetadata,
    ]
    config.Autograde.autograde_preprocessors = [
        JUDGE,
        stock.IgnorePattern,
        ClearMetadataPreprocessor,
        stock.LimitOutput,
        stock.SaveAutoGrades,
        stock.AssignLatePenalties,
        stock.CheckCellMetadata,
        REMEMBER,
    ]
    config.GenerateAssignment.preprocessors = [*GenerateAssignment.preprocessors.default_args[0], FORGET]
    config.GenerateFeedback.preprocessors = [VEIL, *GenerateFeedback.preprocessors.default_args[0]]
    config.OverwriteCells.add_missing_cells = True
    secret = seed if seed is not None else os.environ.get("ATTNLAB_SEED")
    if secret is not None:
        config.Judge.seed = int(secret)
    if url := database or os.environ.get("ATTNLAB_DB"):
        config.CourseDirectory.db_url = normal(url)
        if is_server(url) and not config.CourseDirectory.get("course_id"):
            config.CourseDirectory.course_id = ANY_COURSE  # a server wants every assignment's course to exist
