"""Judge on other machines, through Dask: notebooks go there, marks and verdicts come back.

Nothing is shared but the network: a submission travels as its bytes. Only we write the gradebook. Dask gives what a
lost worker was at to another one. Each worker process keeps one zygote, and judges one submission at a time.
"""

import contextlib
import pickle
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import FunctionType
from typing import Any

from autograder import errand, host
from autograder.database import GradebookError, Tell
from autograder.gradebook import Released
from autograder.judging import Books, Graded, Handed, judge_submission
from autograder.submission import SubmissionError, check_student, read
from autograder.version import fingerprint, version

WAIT = 60.0  # seconds for a worker to appear, the first or another
LOOK = 1.0  # seconds between two looks at whether there are workers
AHEAD = 4  # submissions that lie ready for each thread of a worker
_alone = threading.Lock()


@dataclass(frozen=True)
class Parcel:
    """A submission on its way to a worker."""

    assignment: str
    student: str
    folder: str
    files: dict[str, bytes]
    released: dict[str, Released]
    seed: int
    isolated: bool  # only where a submission cannot get out


class Cluster:
    """Judges for ``Classroom.grade``: the workers of the Dask scheduler at this address."""

    def __init__(self, address: str, tell: Tell = lambda sentence: None, isolated: bool = False):
        self.address, self.tell, self.isolated = address, tell, isolated

    def __call__(self, books: Books, seed: int, waiting: Sequence[Handed]) -> Iterator[tuple[int, Graded]]:
        parcels = {}
        for number, handed in enumerate(waiting):
            released = books[handed.assignment]
            if _can_travel(handed, released):
                parcels[number] = (handed, released)
            else:  # a link, a missing file, an id that is none: no code runs to say so
                yield number, judge_submission(handed, released, seed)
        if parcels:
            yield from self._spread(parcels, seed)

    def _spread(self, parcels: dict[int, Any], seed: int) -> Iterator[tuple[int, Graded]]:
        """So many are under way that no worker waits; the others stay here, for a scheduler cannot hold a class."""
        from distributed import CancelledError, wait

        with self._connected() as client:
            task = _nameless(errand.run)
            under_way: dict[Any, int] = {}
            left = iter(parcels.items())
            finished, seen = 0, time.monotonic()
            while finished < len(parcels):
                threads = sum(worker["nthreads"] for worker in self._workers(client).values())
                seen = self._bear(threads, seen)
                for _, (number, (handed, released)) in zip(range(AHEAD * threads - len(under_way)), left, strict=False):
                    words = pickle.dumps(_packed(handed, released, seed, self.isolated))
                    future = client.submit(task, fingerprint(), version(), words, pure=False)
                    under_way[future] = number
                if not under_way:  # there is no worker yet
                    time.sleep(LOOK / 10)
                    continue
                try:
                    done = wait(list(under_way), timeout=LOOK, return_when="FIRST_COMPLETED").done
                except TimeoutError:
                    continue
                except CancelledError as error:
                    raise GradebookError(self._gone()) from error
                for future in done:
                    number = under_way.pop(future)
                    finished += 1
                    yield number, self._result(client, future, parcels[number][0])

    def _result(self, client: Any, future: Any, handed: Handed) -> Graded:
        from distributed import KilledWorker

        try:
            said, words = future.result()
        except KilledWorker as error:
            died = f"{handed.folder}: each of the {error.allowed_failures + 1} workers that judged it died."
            return Graded(handed.assignment, handed.student, error=died)
        except Exception as error:  # what else Dask may say: the connection, the memory, another Python
            raise GradebookError(
                f"The cluster at {self.address} could not judge {handed.folder}: {type(error).__name__}: {error}. "
                "What is graded so far is recorded; mend the cluster and give the same command again."
            ) from error
        if said:
            where = client.who_has([future]).get(future.key, ["?"])
            raise GradebookError(f"The worker {next(iter(where), '?')} of the cluster at {self.address} {said}.")
        return pickle.loads(words)

    def _workers(self, client: Any) -> dict[str, Any]:
        if client.status != "running":
            raise GradebookError(self._gone())
        return client.scheduler_info(n_workers=-1)["workers"]

    def _gone(self) -> str:
        return (
            f"The scheduler at {self.address} does not answer any more. What is graded so far is recorded; start it "
            "and give the same command again."
        )

    def _bear(self, threads: int, seen: float) -> float:
        """When there last was a worker; a sentence once there is none, an end when there is none for too long."""
        now = time.monotonic()
        if threads:
            self._told = False
            return now
        if now - seen > WAIT:
            raise GradebookError(
                f"The cluster at {self.address} has had no worker for {WAIT:.0f} seconds; start some with "
                f"`dask worker {self.address} --nthreads 1` and give the same command again."
            )
        if not getattr(self, "_told", False):
            self.tell(f"The cluster at {self.address} has no worker; waiting for one, up to {WAIT:.0f} seconds …")
            self._told = True
        return seen

    @contextlib.contextmanager
    def _connected(self) -> Iterator[Any]:
        try:
            from distributed import Client
        except ImportError:
            raise GradebookError(
                "A cluster needs Dask, which is not installed here; run: python -m pip install -e '.[cluster]'"
            ) from None
        try:
            client = Client(self.address, timeout=10)
        except (OSError, ValueError, TimeoutError) as error:
            raise GradebookError(
                f"There is no Dask scheduler at {self.address} ({error}); start one with `dask scheduler`, and give "
                "the address that it prints."
            ) from error
        try:
            yield client
        finally:
            client.close(timeout=2)


def _nameless(function: Any) -> FunctionType:
    """A copy that travels as code: what has a module goes by its name, and neither scheduler nor worker may have it."""
    copy = FunctionType(function.__code__, {}, function.__name__)
    copy.__module__ = "__main__"
    return copy


def _can_travel(handed: Handed, released: Mapping[str, Released]) -> bool:
    """Whether it is at least a submission: plain notebooks under an id that is one."""
    paths = [path for name in released if (path := handed.folder / f"{name}.ipynb").exists() or path.is_symlink()]
    try:
        check_student(handed.student)
        for path in paths:
            read(path)
    except SubmissionError:
        return False
    return bool(paths)


def _packed(handed: Handed, released: Mapping[str, Released], seed: int, isolated: bool) -> Parcel:
    names = [f"{name}.ipynb" for name in released]
    files = {name: (handed.folder / name).read_bytes() for name in names if (handed.folder / name).exists()}
    return Parcel(handed.assignment, handed.student, str(handed.folder), files, dict(released), seed, isolated)


def serve(words: bytes) -> tuple[str, bytes]:
    """In the worker: unpack, judge, pack. Where it has several threads, they take turns."""
    parcel: Parcel = pickle.loads(words)
    if parcel.isolated and not (layers := host.shared().layers).complete:
        return f"has {layers}, which --require-isolation does not take; attnlab doctor says there what is missing", b""
    with _alone, tempfile.TemporaryDirectory(prefix="attnlab-parcel-") as folder:
        for name, data in parcel.files.items():
            (Path(folder) / name).write_bytes(data)
        handed = Handed(parcel.assignment, parcel.student, Path(folder))
        result = judge_submission(handed, parcel.released, parcel.seed)
        result.error = result.error.replace(folder, parcel.folder)
        return "", pickle.dumps(result)
