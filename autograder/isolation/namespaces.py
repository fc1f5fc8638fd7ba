"""Namespaces: the zygote's own view of the system, without the course in it, and a narrower one for each submission.

The zygote sees read-only copies (bind mounts) of Python and the system's libraries, and nothing else: no repository, no
home, no gradebook, no network. Each submission has, on top, process numbers of its own (it sees nobody, and whatever
it started dies with it) and an empty folder in memory.
"""

import os
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from autograder.isolation import kernel
from autograder.isolation.kernel import (
    MS_BIND,
    MS_NODEV,
    MS_NOEXEC,
    MS_NOSUID,
    MS_PRIVATE,
    MS_RDONLY,
    MS_REC,
    MS_REMOUNT,
)

DEVICES = ("null", "zero", "full", "random", "urandom")
FOLDER = "/submission"  # a submission's own, laid over nothing that Python is read from
FIRST_USER = 0x6A000000  # far above any account: a user for each submission, so that limits are counted for it alone


def enter(readable: Sequence[str], hidden: Sequence[str], at: str) -> None:
    """Put this process's future children into namespaces of their own; it may then fork the zygote.

    ``at`` is an empty folder, on which the new root is built. Without root's power it takes a user namespace, in which
    it is allowed to make the others.
    """
    kind = kernel.CLONE_NEWNS | kernel.CLONE_NEWPID | kernel.CLONE_NEWNET | kernel.CLONE_NEWIPC | kernel.CLONE_NEWUTS
    if os.geteuid() == 0:
        kernel.unshare(kind)
    else:
        user, group = os.geteuid(), os.getegid()
        kernel.unshare(kind | kernel.CLONE_NEWUSER)
        map_user(user, group)
    build_root(readable, hidden, at)


def map_user(user: int, group: int) -> None:
    """In a new user namespace: we are who we were, and can become nobody else."""
    Path("/proc/self/setgroups").write_text("deny")
    Path("/proc/self/uid_map").write_text(f"{user} {user} 1")
    Path("/proc/self/gid_map").write_text(f"{group} {group} 1")


def build_root(readable: Sequence[str], hidden: Sequence[str], new: str) -> None:
    """A root folder in memory that shows the readable paths, read-only, at their places. It becomes ``/``."""
    kernel.mount("none", "/", flags=MS_REC | MS_PRIVATE)
    kernel.mount("tmpfs", new, "tmpfs", MS_NOSUID | MS_NODEV, "mode=755,size=1m")
    # A path under a shown one stays visible unless something is laid over it; parents come before what lies in them.
    for path in sorted({*readable, *hidden}, key=lambda path: path.count("/")):
        if path in hidden:
            if os.path.isdir(new + path):
                kernel.mount("tmpfs", new + path, "tmpfs", MS_NOSUID | MS_NODEV, "mode=755,size=1m")
        elif os.path.islink(path):
            os.makedirs(os.path.dirname(new + path), exist_ok=True)
            with suppress(FileExistsError):
                os.symlink(os.readlink(path), new + path)
        else:
            show(path, new + path)
    for name in DEVICES:
        show(f"/dev/{name}", f"{new}/dev/{name}", read_only=False)
    os.makedirs(f"{new}/proc", exist_ok=True)
    os.makedirs(new + FOLDER)
    if not os.path.exists(f"{new}/tmp"):  # it may be there already, when Python or the course lies in /tmp
        os.symlink(FOLDER, f"{new}/tmp")
    os.makedirs(f"{new}/old")
    kernel.pivot_root(new, f"{new}/old")
    os.chdir("/")


def leave_old_root() -> None:
    """In the zygote: processes of its own in /proc, the old root gone, nothing left to write to."""
    with suppress(OSError):  # a container hides parts of /proc, and so forbids a fresh one: then there is none
        kernel.mount("proc", "/proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC)
    kernel.unmount("/old")
    os.rmdir("/old")
    kernel.mount("none", "/", flags=MS_REMOUNT | MS_BIND | MS_RDONLY | MS_NOSUID | MS_NODEV)


def show(path: str, at: str, read_only: bool = True) -> None:
    if os.path.isdir(path):
        os.makedirs(at, exist_ok=True)
    else:
        os.makedirs(os.path.dirname(at), exist_ok=True)
        with open(at, "a"):
            pass
    kernel.mount(path, at, flags=MS_BIND | MS_REC)
    if read_only:
        inherited = os.statvfs(at).f_flag & (MS_NODEV | MS_NOEXEC)
        kernel.mount("none", at, flags=MS_REMOUNT | MS_BIND | MS_RDONLY | MS_NOSUID | inherited)


def enter_submission(number: int, folder: str, megabytes: int) -> None:
    """In a child of the zygote, the first process of its own PID namespace: a folder, and a user without power."""
    kernel.unshare(kernel.CLONE_NEWNS)
    kernel.mount(
        "tmpfs", folder, "tmpfs", MS_NOSUID | MS_NODEV | MS_NOEXEC, f"mode=777,size={megabytes}m,nr_inodes=4096"
    )
    with suppress(OSError):
        kernel.mount("proc", "/proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC)
    if os.geteuid() == 0:
        user = FIRST_USER + number % 0x100000
        os.setgroups([])
        os.setresgid(user, user, user)
        os.setresuid(user, user, user)
    else:
        user, group = os.geteuid(), os.getegid()
        kernel.unshare(kernel.CLONE_NEWUSER)
        map_user(user, group)
