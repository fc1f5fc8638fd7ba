"""A course of nbgrader's as a folder: its configuration, its directories, its gradebook, its list of students."""

from pathlib import Path

from nbgrader import api
from nbgrader.coursedir import CourseDirectory

from autograder.classroom import Classroom, GradebookError
from autograder.database import Tell

CONFIGURATION = "nbgrader_config.py"
STUDENTS = "students.csv"


class Coursework:
    """``with Coursework(folder) as course:`` and then ``course.book``, nbgrader's own gradebook."""

    def __init__(self, root: Path, database: str | None = None, tell: Tell = lambda sentence: None):
        self.root = root.resolve()
        if not (self.root / CONFIGURATION).is_file():
            raise GradebookError(
                f"{root}: no course is here, for there is no {CONFIGURATION}; go into the folder of your course, "
                "name it with --course, or make one with: attnlab course new FOLDER"
            )
        self.classroom = Classroom(self.root, database=database, tell=tell)
        self.config = self.classroom.config
        self.config.NbGrader.logfile = None
        self.directory: CourseDirectory = self.classroom.course
        self.book: api.Gradebook = self.classroom.gradebook.stock

    @property
    def students_file(self) -> Path:
        return self.root / STUDENTS

    def folder(self, kind: str, student: str, assignment: str) -> Path:
        """Where nbgrader keeps a step of a student's work: ``course.folder("submitted", "anna", "01_softmax")``."""
        return Path(self.directory.format_path(getattr(self.directory, f"{kind}_directory"), student, assignment))

    def assignments(self) -> list[str]:
        """What was released, in the order of the course."""
        return self.classroom.gradebook.assignments()

    def sources(self) -> list[str]:
        """What could be released: the folders of the source directory that hold a notebook."""
        folder = self.folder("source", ".", "x").parent
        return sorted(path.name for path in folder.glob("*") if any(path.glob("*.ipynb")))

    def close(self) -> None:
        self.classroom.close()

    def __enter__(self) -> "Coursework":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
