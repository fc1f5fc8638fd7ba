"""What keeps a student's process from everything that is none of its business, and how much of it this system has.

On Linux three layers, each of which holds where another is missing: namespaces (what it can see), Landlock (which files
it may open), seccomp (what it may ask of the kernel); limits on memory, time, threads and files are under all of them.
Elsewhere a submission has a process of its own, with the limits that system knows, and nothing hides the disk from it.
"""

import importlib.util
import os
import shutil
import sys
import tempfile
import time
import weakref
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from autograder.isolation import kernel, landlock, namespaces, seccomp

try:
    import fcntl
except ImportError:  # Windows: a folder that is left behind stays
    fcntl = None  # type: ignore[assignment]

PREFIX = "attnlab-judge-"
NEW = 60.0  # seconds

COURSE = str(Path(__file__).resolve().parent.parent.parent)
SYSTEM = (
    "/usr", "/lib", "/lib64", "/lib32", "/bin", "/sbin", "/nix/store", "/etc/ld.so.cache", "/etc/ld.so.conf",
    "/etc/ld.so.conf.d", "/etc/alternatives", "/etc/fonts", "/etc/localtime", "/etc/mime.types",
)  # fmt: skip


@dataclass(frozen=True)
class Limits:
    """What one submission may use."""

    memory: int = 2 << 30  # bytes, on top of what Python and the libraries take
    cpu: int = 600  # seconds, all cells and checks together
    threads: int = 64
    file_bytes: int = 64 << 20
    folder_megabytes: int = 128
    open_files: int = 256
    cell_seconds: float = 60.0  # for one cell
    notebook_seconds: float = 180.0  # for all cells
    exercise_seconds: float = 10.0  # for all laws of one exercise


@dataclass(frozen=True)
class Layers:
    """What isolation is in force."""

    namespaces: bool = False
    landlock: bool = False
    seccomp: bool = False
    limits: bool = False

    @property
    def complete(self) -> bool:
        """Files, network, other processes and the machine's resources are all out of a submission's reach."""
        return (self.namespaces or self.landlock) and self.seccomp and self.limits

    def sentences(self) -> list[str]:
        """What a submission can do here, for ``attnlab doctor``."""
        files = self.namespaces or self.landlock
        alone = self.namespaces or self.seccomp
        return [
            "Files: it sees Python and a folder of its own, nothing else."
            if files
            else "Files: it can read what you can read. Keep the seed and the gradebook on another machine.",
            "Network: none." if alone else "Network: it has this machine's.",
            "Processes: it sees and starts none." if self.seccomp else "Processes: it can start some, and see others.",
            "Limits: memory, processor time, threads and files are bounded."
            if self.limits
            else "Limits: only time is bounded, not memory.",
        ]

    def __str__(self) -> str:
        there = [name for name, on in asdict(self).items() if on]
        return ", ".join(there) if there else "a process of its own, no more"


def possible() -> Layers:
    """What this system should be able to do. Whether it does, is seen when a process is put under it."""
    if not kernel.LINUX:
        return Layers(limits=importlib.util.find_spec("resource") is not None)
    return Layers(namespaces=True, landlock=landlock.version() > 0, seccomp=seccomp.supported(), limits=True)


def readable_paths() -> list[str]:
    """What Python needs to import from: the system's libraries, Python's own folders, the packages."""
    python = {sys.prefix, sys.exec_prefix, sys.base_prefix, sys.base_exec_prefix}
    packages = {p for p in sys.path if "site-packages" in p or "dist-packages" in p}
    paths = [*SYSTEM, *python, *packages, *(os.path.realpath(p) for p in python | packages)]
    return [path for path in dict.fromkeys(paths) if os.path.exists(path)]


def hidden_paths(secrets: Sequence[str] = ()) -> list[str]:
    """What must not be seen even where it lies under a readable path."""
    return [os.path.realpath(path) for path in (COURSE, *secrets)]


def restrict(layers: Layers, limits: Limits, folder: str, number: int) -> Layers:
    """Put this process under all layers; it cannot take them off. Gives back those that came into force."""
    if layers.limits:
        set_limits(limits)
    if layers.namespaces:
        namespaces.enter_submission(number, folder, limits.folder_megabytes)
        set_limit("RLIMIT_NPROC", limits.threads)  # counted for this submission alone, now that it is a user alone
    os.chdir(folder)
    if not kernel.LINUX:
        return layers
    with suppress(OSError):
        kernel.drop_capabilities()
    in_force = layers
    if layers.landlock:
        try:
            devices = [f"/dev/{name}" for name in namespaces.DEVICES]
            process = ["/proc"] if layers.namespaces else []
            landlock.restrict([*readable_paths(), *process], [folder, *devices])
        except OSError:
            in_force = replace(in_force, landlock=False)
    if layers.seccomp:
        try:
            seccomp.restrict()
        except OSError:
            in_force = replace(in_force, seccomp=False)
    return in_force


def set_limits(limits: Limits) -> None:
    """The limits that every Unix has. Memory is counted from what is mapped already."""
    with suppress(OSError):  # macOS has no /proc, and no limit on memory either
        mapped = int(Path("/proc/self/statm").read_text().split()[0]) * os.sysconf("SC_PAGE_SIZE")
        set_limit("RLIMIT_AS", mapped + limits.memory)
    set_limit("RLIMIT_CPU", limits.cpu)
    set_limit("RLIMIT_FSIZE", limits.file_bytes)
    set_limit("RLIMIT_NOFILE", limits.open_files)
    set_limit("RLIMIT_CORE", 0)


def set_limit(kind: str, value: int) -> None:
    """Lower a limit for good. What this system does not know is left out."""
    import resource

    number = getattr(resource, kind, None)
    if number is not None:
        hard = resource.getrlimit(number)[1]
        value = value if hard == resource.RLIM_INFINITY else min(value, hard)
        with suppress(ValueError, OSError):
            resource.setrlimit(number, (value, value))


class PrivateFolder(tempfile.TemporaryDirectory[str]):
    """An empty folder that goes away with its owner.

    The owner holds a lock on it. One that was killed holds none any more: who comes next takes its folder away.
    """

    def __init__(self) -> None:
        super().__init__(prefix=PREFIX, ignore_cleanup_errors=True)
        lock = _locked(self.name)
        self._unlock = None if lock is None else weakref.finalize(self, os.close, lock)

    def cleanup(self) -> None:
        super().cleanup()
        if self._unlock:
            self._unlock()


def _locked(folder: str) -> int | None:
    """A lock on a folder, for as long as this process and its forks live; None where somebody else has it."""
    if fcntl is None:
        return None
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(handle)
        return None
    return handle


def sweep() -> None:
    """Take away what judges left that were killed: folders of ours, of this user's, that nobody holds."""
    if fcntl is None:
        return
    for path in Path(tempfile.gettempdir()).glob(f"{PREFIX}*"):
        with suppress(OSError):
            status = path.lstat()
            if status.st_uid != os.getuid() or time.time() - status.st_mtime < NEW:
                continue  # somebody else's, or made just now and not yet locked
            lock = _locked(str(path))
            if lock is not None:
                shutil.rmtree(path, ignore_errors=True)
                os.close(lock)
