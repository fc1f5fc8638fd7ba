"""A throw-away PostgreSQL server: its own folder, its own socket, nobody else's data."""

import contextlib
import os
import pwd
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

from course.environment import find

MADE = ("-U", "ada", "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync", "--no-instructions")


class Unavailable(Exception):
    """No server can be started here. The message is why."""


@contextlib.contextmanager
def postgresql() -> Iterator[str]:
    """The URL of a server that runs until the block ends. It listens on a socket in its folder, on no port."""
    programs = {name: find(name) for name in ("initdb", "pg_ctl")}
    if missing := [name for name, path in programs.items() if not path]:
        raise Unavailable(f"{' and '.join(missing)} not found; on Debian: apt-get install postgresql")
    as_whom = _nobody() if os.geteuid() == 0 else {}  # PostgreSQL does not run as root
    with tempfile.TemporaryDirectory(prefix="attnlab-pg-", dir="/tmp") as folder:  # a socket's path has to be short
        if as_whom:
            os.chown(folder, as_whom["user"], as_whom["group"])
        data = Path(folder) / "data"

        def run(*words: object) -> None:
            command = [str(word) for word in words]
            options = {"cwd": folder, "env": {"PATH": os.defpath, "LC_ALL": "C", "HOME": folder}, **as_whom}
            done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, **options)
            if done.returncode:
                raise Unavailable(
                    f"{words[0]} ended with status {done.returncode}: {Path(log.name).read_text()[-500:]}"
                )

        with open(Path(folder) / "log", "ab") as log:
            run(programs["initdb"], "-D", data, *MADE)
            options = f"-k {folder} -c listen_addresses='' -c fsync=off -c max_connections=40"
            run(programs["pg_ctl"], "-D", data, "-o", options, "-l", Path(folder) / "server.log", "-w", "start")
            try:
                yield f"postgresql://ada@/postgres?host={quote(folder, safe='')}"
            finally:
                run(programs["pg_ctl"], "-D", data, "-m", "immediate", "-w", "stop")


def _nobody() -> dict[str, int]:
    for name in ("postgres", "nobody"):
        with contextlib.suppress(KeyError):
            person = pwd.getpwnam(name)
            return {"user": person.pw_uid, "group": person.pw_gid}
    raise Unavailable("this is root, and there is no user postgres or nobody to run the server as")
