"""nbgrader for this course: `nbgrader autograde` and the rest, run in this folder, go through the judge."""

from autograder.nbgrader import configure

configure(get_config())
