"""A course of nbgrader's as a folder: its configuration, its directories, its gradebook."""

from pathlib import Path

from nbgrader import api
from nbgrader.coursedir import CourseDirectory
from traitlets.config.loader import Config, PyFileConfigLoader

from autograder.gradebook import GradebookError

CONFIGURATION = "nbgrader_config.py"
STUDENTS = "students.csv"


class Coursework:
    """``with Coursework(folder) as course:`` and then ``course.book``, nbgrader's own gradebook."""

    def __init__(self, root: Path):
        self.root = root.resolve()
        if not (self.root / CONFIGURATION).is_file():
            raise GradebookError(
                f"{root}: no course is here, for there is no {CONFIGURATION}; go into the folder of your course, "
                "name it with --course, or make one with: attnlab course new FOLDER"
            )
        self.config = _configuration(self.root)
        self.directory = CourseDirectory(config=self.config, root=str(self.root))
        self._book: api.Gradebook | None = None

    @property
    def book(self) -> api.Gradebook:
        """nbgrader's gradebook; made where there is none."""
        if self._book is None:
            self._book = api.Gradebook(self.directory.db_url, self.directory.course_id)
        return self._book

    @property
    def students_file(self) -> Path:
        return self.root / STUDENTS

    def folder(self, kind: str, student: str, assignment: str) -> Path:
        """Where nbgrader keeps a step of a student's work: ``course.folder("submitted", "anna", "01_softmax")``."""
        return Path(self.directory.format_path(getattr(self.directory, f"{kind}_directory"), student, assignment))

    def assignments(self) -> list[str]:
        """What was released, in the order of the course."""
        return sorted(assignment.name for assignment in self.book.assignments)

    def sources(self) -> list[str]:
        """What could be released: the folders of the source directory that hold a notebook."""
        folder = self.folder("source", ".", "x").parent
        return sorted(path.name for path in folder.glob("*") if any(path.glob("*.ipynb")))

    def close(self) -> None:
        if self._book is not None:
            self._book.close()

    def __enter__(self) -> "Coursework":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _configuration(root: Path) -> Config:
    try:
        config = PyFileConfigLoader(CONFIGURATION, path=str(root)).load_config()
    except Exception as error:  # it is the instructor's own Python, and may raise what it likes
        raise GradebookError(
            f"{root / CONFIGURATION}: cannot be run ({type(error).__name__}: {error}); mend this line of your settings"
        ) from None
    config.NbGrader.logfile = None
    return config
