"""What was graded, when, by whom and with what outcome: a table of ours beside nbgrader's, in the same database.

One row for each time that a submission was judged. `attnlab grade` writes it in the transaction that writes the
scores: there is a row exactly when there are scores. `nbgrader autograde` writes its scores itself, and the row after
them. Rows are added, never changed. No key leads into nbgrader's tables, so that its own tools remove and rename there
as they like.
"""

import getpass
import json
import socket
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import (
    Column,
    Connection,
    DateTime,
    Float,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    func,
    insert,
    select,
)

OURS = MetaData()
HISTORY = Table(
    "attnlab_history",
    OURS,
    Column("id", Integer, primary_key=True),
    Column("assignment", String(128), nullable=False),
    Column("student", String(128), nullable=False),
    Column("at", DateTime, nullable=False),  # UTC, as nbgrader stores times
    Column("who", String(256), nullable=False),
    Column("version", String(64), nullable=False),
    Column("seed", String(64), nullable=False),
    Column("handed_in", DateTime),
    Column("digest", String(64), nullable=False),
    Column("before", Float),
    Column("after", Float),
    Column("worth", Float, nullable=False),
    Column("error", Text, nullable=False),
    Column("verdicts", Text, nullable=False),
    Column("files", Text, nullable=False),
    Index("attnlab_history_whose", "assignment", "student"),
)


@dataclass(frozen=True)
class Event:
    """One judgement of one submission.

    ``before`` and ``after`` are points as nbgrader counts them, with manual points and late penalty; ``before`` is None
    at the first time, ``after`` where the submission could not be graded, and ``error`` says why. ``verdicts`` are
    those of ``panel.plain``, one an exercise, each with the ``notebook`` it is in.
    """

    assignment: str
    student: str
    at: datetime
    who: str
    version: str
    seed: int
    handed_in: datetime | None
    digest: str  # of what was handed in
    before: float | None = None
    after: float | None = None
    worth: float = 0.0
    error: str = ""
    verdicts: list[dict[str, Any]] = field(default_factory=list)
    files: dict[str, str] = field(default_factory=dict)  # of the autograded folder: SHA-256 by name
    number: int = 0  # of its row: a later one has a larger


def now() -> datetime:
    return datetime.now(UTC)


def whoami() -> str:
    """The person and the machine, such as ``ada@lab3``."""
    try:
        person = getpass.getuser()
    except (KeyError, OSError, ImportError):  # a container's nameless user
        person = "somebody"
    return f"{person}@{socket.gethostname()}"


def write(db: Connection, event: Event) -> None:
    """Add a row, in the caller's transaction."""
    row = {column.name: getattr(event, column.name) for column in HISTORY.c if column.name != "id"}
    row |= {"at": stored(event.at), "handed_in": stored(event.handed_in), "seed": str(event.seed)}
    row |= {name: json.dumps(row[name], ensure_ascii=True) for name in ("verdicts", "files")}
    db.execute(insert(HISTORY).values(**row))


def read(
    db: Connection,
    assignments: Sequence[str] = (),
    students: Sequence[str] = (),
    last: bool = False,
    verdicts: bool = True,
) -> list[Event]:
    """The judgements, the oldest first: all, or of each submission the ``last``. ``verdicts`` are most of a row."""
    wanted = [column for column in HISTORY.c if verdicts or column.name != "verdicts"]
    whose = [HISTORY.c.assignment.in_(assignments)] if assignments else []
    whose += [HISTORY.c.student.in_(students)] if students else []
    query = select(*wanted).where(*whose).order_by(HISTORY.c.id)
    if last:
        newest = select(func.max(HISTORY.c.id)).where(*whose).group_by(HISTORY.c.assignment, HISTORY.c.student)
        query = query.where(HISTORY.c.id.in_(newest))
    return [_event(row) for row in db.execute(query).mappings()]


def _event(row: Any) -> Event:
    values = {name: value for name, value in row.items() if name != "id"} | {"number": row["id"]}
    values |= {name: value.replace(tzinfo=UTC) for name in ("at", "handed_in") if (value := values[name]) is not None}
    values |= {name: json.loads(values[name]) for name in ("verdicts", "files") if name in values}
    return Event(**{**values, "seed": int(values["seed"])})


def stored(moment: datetime | None) -> datetime | None:
    """A time as nbgrader's tables hold it: UTC, and not saying so."""
    return moment.astimezone(UTC).replace(tzinfo=None) if moment and moment.tzinfo else moment
