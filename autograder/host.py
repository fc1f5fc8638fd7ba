"""The judge's end of a student's process: how one is started, asked and ended, on every operating system."""

import atexit
import contextlib
import json
import os
import select
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import asdict, replace
from typing import Any, Protocol

from autograder import isolation
from autograder.isolation import Layers, Limits, kernel

STARTUP_SECONDS = 120.0
PYTHON = [sys.executable, "-P", "-s", "-c"]
# Both get everything over the pipe: a command line and an environment can be read by those who come after.
ZYGOTE = """
import json, socket, sys
control = socket.socket(fileno=int(sys.argv[1]))
settings = json.loads(control.recv(1 << 20))
sys.path[:0] = settings["course"]
from autograder.zygote import main
main(control, settings)
"""
FRESH = """
import json, os, sys
line = b""
while not line.endswith(b"\\n"):
    line += os.read(0, 1)  # and not a byte of what follows
settings = json.loads(line)
sys.path[:0] = settings["course"]
from autograder.fresh import main
main(settings)
"""


class Gone(Exception):
    """The process has ended. ``late`` if it was ended because its time was up."""

    def __init__(self, late: bool = False):
        super().__init__()
        self.late = late


class Child(Protocol):
    """A process that runs one submission."""

    def send(self, data: bytes, deadline: float) -> None: ...
    def receive(self, n: int, deadline: float) -> bytes: ...
    def close(self) -> None: ...


class Host(Protocol):
    """Starts children."""

    layers: Layers

    def start(self) -> Child: ...
    def close(self) -> None: ...


def _settings(layers: Layers, limits: Limits) -> dict[str, Any]:
    return {"course": [isolation.COURSE], "layers": asdict(layers), "limits": asdict(limits)}


class Forked:
    """A child of the zygote's."""

    def __init__(self, connection: socket.socket, process: int, folder: isolation.PrivateFolder | None):
        self.connection, self.process, self.folder = connection, process, folder

    def send(self, data: bytes, deadline: float) -> None:
        try:
            self.connection.settimeout(max(deadline - time.monotonic(), 0.001))
            self.connection.sendall(data)
        except TimeoutError:
            raise Gone(late=True) from None
        except OSError:
            raise Gone from None

    def receive(self, n: int, deadline: float) -> bytes:
        data = bytearray()
        while len(data) < n:
            left = deadline - time.monotonic()
            try:
                if left <= 0:
                    raise TimeoutError
                self.connection.settimeout(left)
                part = self.connection.recv(min(n - len(data), 1 << 20))
            except TimeoutError:
                raise Gone(late=True) from None
            except OSError:
                raise Gone from None
            if not part:
                raise Gone
            data += part
        return bytes(data)

    def close(self) -> None:
        """End the process, and with it all that it started."""
        self.connection.close()
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(self.process, signal.SIGKILL)
        if self.folder:
            select.select([self.process], [], [], 10)
            self.folder.cleanup()
        os.close(self.process)


class Zygote:
    """Forks a submission from a warm process, under the layers that this system has. Linux only."""

    def __init__(self, layers: Layers, limits: Limits):
        self.layers, self.limits = layers, limits
        self._turn, name = tempfile.mkstemp()  # its lock: the judge's forks share us, and one of them may be killed
        os.unlink(name)
        self._asked = 0
        self._owner = os.getpid()
        self._folder = isolation.PrivateFolder()
        self._control, self._process = self._launch()

    def _launch(self) -> tuple[socket.socket, subprocess.Popen[bytes]]:
        from autograder.zygote import ENVIRONMENT

        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)
        with theirs:
            process = subprocess.Popen(
                [*PYTHON, ZYGOTE, str(theirs.fileno())],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                env=ENVIRONMENT,
                cwd="/",
                pass_fds=[theirs.fileno()],
                start_new_session=True,  # Ctrl-C is for the judge, which then ends us
            )
        settings = _settings(self.layers, self.limits) | {
            "readable": isolation.readable_paths(),
            "hidden": isolation.hidden_paths(),
            "folder": self._folder.name,
            "HOME": os.path.expanduser("~"),
            "IPYTHONDIR": os.path.join(self._folder.name, "ipython"),
        }
        ours.send(json.dumps(settings).encode())
        ours.settimeout(STARTUP_SECONDS)
        try:
            answer = json.loads(ours.recv(4096) or b'{"failed": "it ended while it started"}')
        except TimeoutError:
            answer = {"failed": "it did not start in time"}
        if "failed" in answer:
            process.kill()
            process.wait()
            ours.close()
            raise OSError(answer["failed"])
        if answer["threads"] != 1:
            raise OSError(f"the zygote has {answer['threads']} threads, and only one would survive a fork")
        return ours, process

    def start(self) -> Forked:
        folder = None if self.layers.namespaces else isolation.PrivateFolder()
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        self._asked += 1
        ticket = f"{os.getpid()}.{self._asked}"
        words = json.dumps({"folder": folder.name if folder else "", "ticket": ticket}).encode()
        with self._alone(), theirs:
            try:
                socket.send_fds(self._control, [words], [theirs.fileno()])
                process = self._answer(ticket)
            except (OSError, ValueError):
                ours.close()
                raise Gone from None
        return Forked(ours, process, folder)

    @contextlib.contextmanager
    def _alone(self) -> Iterator[None]:
        """One process at a time. The system gives the lock back when its holder is killed, unlike a semaphore."""
        import fcntl

        fcntl.lockf(self._turn, fcntl.LOCK_EX)
        try:
            yield
        finally:
            fcntl.lockf(self._turn, fcntl.LOCK_UN)

    def _answer(self, ticket: str) -> int:
        """Our child's handle. What comes before it was for one who was killed while waiting for it."""
        while True:
            said, (process,), _, _ = socket.recv_fds(self._control, 64, 1)
            if said == ticket.encode():
                return process
            os.close(process)

    @property
    def alive(self) -> bool:
        return self._owner != os.getpid() or self._process.poll() is None

    def close(self) -> None:
        self._control.close()
        os.close(self._turn)
        if self._owner != os.getpid():
            return
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._folder.cleanup()


class Fresh:
    """A new process for each submission: where there is no fork, or none that is safe (Windows, macOS)."""

    def __init__(self, layers: Layers, limits: Limits):
        self.layers, self.limits = layers, limits

    def start(self) -> "Piped":
        return Piped(_settings(self.layers, self.limits))

    def close(self) -> None:
        """There is nothing between two submissions."""


class Piped:
    """A process of its own, over its standard streams."""

    def __init__(self, settings: dict[str, Any]):
        from autograder.zygote import ENVIRONMENT

        self.folder = isolation.PrivateFolder()
        kept = {key: os.environ[key] for key in ("SYSTEMROOT", "PATH") if key in os.environ}
        home = {"HOME": self.folder.name, "TMPDIR": self.folder.name, "TEMP": self.folder.name}
        self.process = subprocess.Popen(
            [*PYTHON, FRESH],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            cwd=self.folder.name,
            env=ENVIRONMENT | kept | home,
        )
        words = json.dumps(settings | {"folder": self.folder.name}) + "\n"
        self.send(words.encode(), time.monotonic() + STARTUP_SECONDS)

    @contextlib.contextmanager
    def _until(self, deadline: float) -> Any:
        """The process is killed when time is up: a pipe has no time limit of its own on every system."""
        expired = threading.Event()

        def kill() -> None:
            expired.set()
            self.process.kill()

        timer = threading.Timer(max(deadline - time.monotonic(), 0.001), kill)
        timer.start()
        try:
            yield
        except (EOFError, OSError, ValueError):
            raise Gone(late=expired.is_set()) from None
        finally:
            timer.cancel()

    def send(self, data: bytes, deadline: float) -> None:
        assert self.process.stdin is not None
        with self._until(deadline):
            self.process.stdin.write(data)
            self.process.stdin.flush()

    def receive(self, n: int, deadline: float) -> bytes:
        assert self.process.stdout is not None
        with self._until(deadline):
            data = self.process.stdout.read(n)
            if len(data) < n:
                raise EOFError
            return data

    def close(self) -> None:
        self.process.kill()
        for stream in (self.process.stdin, self.process.stdout):
            if stream:
                with contextlib.suppress(OSError):
                    stream.close()
        self.process.wait()
        self.folder.cleanup()


_shared: Host | None = None


def shared() -> Host:
    """The host of this process and its forks, with the strongest layers that hold here; started when first wanted."""
    global _shared
    if _shared is None or (isinstance(_shared, Zygote) and not _shared.alive):
        _shared = strongest()
        atexit.register(_close, os.getpid(), _shared)
    return _shared


def restarted() -> Host:
    """A new host, for one that does not answer any more."""
    global _shared
    if _shared is not None:
        _shared.close()
    _shared = None
    return shared()


def end() -> None:
    """End the shared host, for a process that goes on for hours; the next question starts another."""
    global _shared
    if _shared is not None:
        atexit.unregister(_close)
        _shared.close()
    _shared = None


def _close(owner: int, host: Host) -> None:
    if owner == os.getpid():
        host.close()


def strongest(layers: Layers | None = None, limits: Limits | None = None) -> Host:
    """A host under these layers, or under those that can be had."""
    layers, limits = layers or isolation.possible(), limits or Limits()
    isolation.sweep()
    if not kernel.LINUX:
        return Fresh(layers, limits)
    try:
        return Zygote(layers, limits)
    except OSError:
        if not layers.namespaces:
            return Fresh(layers, limits)
    try:
        return Zygote(replace(layers, namespaces=False), limits)
    except OSError:
        return Fresh(replace(layers, namespaces=False), limits)
