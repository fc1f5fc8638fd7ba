"""The database behind a gradebook: how it is named, what may be wrong with it, and how long to wait for it."""

import sqlite3
import time
from collections.abc import Callable
from typing import TypeVar

from sqlalchemy import Column, Engine, MetaData, String, Table, insert, select
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, IntegrityError, NoSuchModuleError, OperationalError

Result = TypeVar("Result")
Tell = Callable[[str], None]

PATIENCE = 120.0  # seconds that a run waits for a gradebook that somebody else has locked
PAUSE = 0.2  # seconds between two tries, and that SQLite itself waits
CLASHES = 5  # two who write the same row at once: tries
ANY_COURSE = "default_course"  # what nbgrader calls a course that has no name
MINE = MetaData()
COURSE = Table("attnlab_course", MINE, Column("name", String(128), primary_key=True))


class GradebookError(Exception):
    """The gradebook cannot be used as it is. The message says why and what to do."""


def normal(url: str) -> str:
    """A URL that SQLAlchemy opens with the driver that we bring: ``postgresql://`` as ``postgresql+psycopg://``."""
    for plain in ("postgresql://", "postgres://"):
        if url.startswith(plain):
            return "postgresql+psycopg://" + url.removeprefix(plain)
    return url


def shown(url: str) -> str:
    """A URL for a screen: without its password."""
    try:
        return make_url(url).render_as_string(hide_password=True)
    except ArgumentError:
        return "the database"


def is_server(url: str) -> bool:
    return not url.startswith("sqlite")


def patiently(act: Callable[[], Result], where: str, tell: Tell, seconds: float = PATIENCE) -> Result:
    """Do something in the database: wait while it is locked, try again where two clash, else one clear sentence.

    What is done must be a transaction of its own, so that nothing of it stays when it fails.
    """
    began, told, clashes = time.monotonic(), False, 0
    while True:
        try:
            return act()
        except IntegrityError as error:  # somebody else wrote the same row meanwhile: it is there now
            clashes += 1
            if clashes >= CLASHES:
                raise GradebookError(_sentence(error, where)) from error
        except DBAPIError as error:
            waited = time.monotonic() - began
            if not is_locked(error):
                raise GradebookError(_sentence(error, where)) from error
            if waited > seconds:
                raise GradebookError(
                    f"{where} has been locked by another program for {waited:.0f} seconds. What is graded so far is "
                    "recorded; end that program (formgrader? a database browser?) and give the same command again."
                ) from error
            if not told:
                tell(f"{where} is locked by another program; waiting for it, up to {seconds:.0f} seconds …")
                told = True
            time.sleep(PAUSE)
        except (ArgumentError, NoSuchModuleError, ImportError) as error:
            raise GradebookError(
                f"{where} is no database that can be opened ({error}); write sqlite:///path/to/gradebook.db or "
                "postgresql://person@host/database."
            ) from error


def is_locked(error: DBAPIError) -> bool:
    """Whether another program holds it, so that waiting helps."""
    code = getattr(error.orig, "sqlite_errorcode", 0) & 0xFF
    state = getattr(error.orig, "sqlstate", None)
    return code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED) or state in ("40001", "40P01", "55P03")


def _sentence(error: DBAPIError, where: str) -> str:
    why = " ".join(str(error.orig).split())
    if isinstance(error.orig, sqlite3.Error) and getattr(error.orig, "sqlite_errorcode", 0) & 0xFF in (
        sqlite3.SQLITE_FULL,
        sqlite3.SQLITE_IOERR,
    ):
        advice = "make room on its disk and give the same command again"
    elif isinstance(error, OperationalError) and not isinstance(error.orig, sqlite3.Error):
        advice = "see that the server runs and lets you in, then give the same command again"
    else:
        advice = "mend that and give the same command again"
    return f"{where} cannot be written or read: {why}. What is graded so far is recorded; {advice}."


def claim(engine: Engine, name: str, where: str) -> None:
    """One database holds one course: the first that comes gives it its name, another is refused."""
    with engine.begin() as db:
        found = db.execute(select(COURSE.c.name)).scalars().all()
        if not found:
            db.execute(insert(COURSE).values(name=name))
        elif found != [name]:
            raise GradebookError(
                f"{where} holds the course {found[0]!r}, and this is the course {name!r}: assignments of two courses "
                "would be taken for one another. Give this course a database of its own; or, if it is the same "
                f"course, put c.CourseDirectory.course_id = {found[0]!r} into nbgrader_config.py."
            )
