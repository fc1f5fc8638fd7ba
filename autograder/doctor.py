"""Does the isolation hold on this machine? Not what the system claims: a submission of ours tries to get out."""

import json
import os
import socket
from dataclasses import dataclass

from autograder import host, isolation
from autograder.isolation import Layers
from autograder.sandbox import Sandbox

ATTEMPT = """
import os, socket
def attempt(act):
    try:
        return bool(act())
    except BaseException:
        return False
def listens():
    with socket.socket() as s:
        s.settimeout(1)
        return s.connect_ex(("127.0.0.1", {port})) == 0
def starts():
    import ctypes  # not os.fork, which we refuse with a sentence: this is about the system's word
    child = ctypes.CDLL(None).fork()
    if child == 0:
        os._exit(0)
    return child > 0
import json
print(json.dumps({{
    "reads the course": attempt(lambda: open({course!r}).read(1)),
    "reads your home": attempt(lambda: any(os.listdir(f) if os.path.isdir(f) else open(f).read(1) for f in {home!r})),
    "reaches the network": attempt(listens),
    "starts a process": attempt(starts),
    "sees your processes": attempt(lambda: open("/proc/{pid}/cmdline").read()),
    "takes all memory": attempt(lambda: len(bytearray(8 << 30))),
}}))
"""


A_FILE_OF_OURS = os.path.join(isolation.COURSE, "autograder", "doctor.py")  # .venv beside it may be seen


@dataclass(frozen=True)
class Health:
    """What isolation is in force, and what a submission could do all the same."""

    layers: Layers
    kind: str
    escapes: list[str]

    @property
    def isolated(self) -> bool:
        return self.layers.complete and not self.escapes


def _private_files() -> list[str]:
    """A few things in the home folder that nobody needs to run Python."""
    home, needed = os.path.expanduser("~"), isolation.readable_paths()
    names = [os.path.join(home, name) for name in os.listdir(home)] if os.path.isdir(home) else []
    return [name for name in names if not any(path.startswith(name) for path in needed)][:50]


def examine(where: host.Host | None = None) -> Health:
    """Run a submission that tries everything, and report what it managed."""
    where = where or host.shared()
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
        source = ATTEMPT.format(port=port, course=A_FILE_OF_OURS, home=_private_files(), pid=os.getpid())
        with Sandbox([source], chapter=0, where=where) as sandbox:
            text = sandbox.run()[0]["text"]
            layers = sandbox.layers
    try:
        managed: dict[str, bool] = json.loads(text)
    except ValueError:
        managed = {"does what cannot be told: its report was not readable": True}
    return Health(layers, type(where).__name__, [name for name, done in managed.items() if done])
