"""The process that every submission is a fork of. It imports the libraries once, and knows nothing else.

It is started from nothing (no environment, no open file but one socket), warms up, gives up its view of the course, and
then forks a child for each message on the socket. A child gets the socket that came with the message, goes under the
layers of ``autograder.isolation``, and serves. When the judge goes away, so does the zygote, and with it every child.
"""

import array
import contextlib
import gc
import json
import os
import socket
import sys
import tempfile
import threading
from typing import Any, NoReturn

from autograder import inside, isolation, worker
from autograder.isolation import kernel, namespaces

ENVIRONMENT = {
    "PATH": "/usr/local/bin:/usr/bin:/bin",
    "LANG": "C.UTF-8",
    "MPLBACKEND": "agg",
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "PYTHONDONTWRITEBYTECODE": "1",
    "PYTHONHASHSEED": "0",  # a set's order is the same on every day
    "PYTHONUTF8": "1",
}
WORDS = 4096  # bytes of a message on the control socket


def main(control: socket.socket, settings: dict[str, Any]) -> None:
    """Become the zygote."""
    layers = isolation.Layers(**settings["layers"])
    limits = isolation.Limits(**settings["limits"])
    for name in ("HOME", "IPYTHONDIR"):
        os.environ[name] = settings[name]
    runner = worker.warm_up()
    native = threads()
    if layers.namespaces:
        try:
            namespaces.enter(settings["readable"], settings["hidden"], settings["folder"])
            if child := os.fork():
                control.close()
                os._exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) & 0xFF)
            namespaces.leave_old_root()
        except OSError as error:
            control.send(json.dumps({"failed": str(error)}).encode())
            os._exit(1)
        folder = namespaces.FOLDER
    else:
        folder = settings["folder"]
    for name in list(os.environ):
        if name not in ENVIRONMENT:
            del os.environ[name]
    os.environ |= {"HOME": folder, "TMPDIR": folder}
    tempfile.tempdir = None
    sys.path[:] = [path for path in sys.path if path not in settings["course"]]
    inside.put_stand_in()
    runner.reseed()  # every child starts from this state
    gc.collect()
    gc.freeze()  # the collector of a child leaves our pages alone, so they stay shared
    control.send(json.dumps({"threads": native}).encode())
    serve(control, runner, layers, limits, folder)


def threads() -> int:
    """Native threads of this process: a fork takes only one along, so there must be only one."""
    return len(os.listdir("/proc/self/task")) if kernel.LINUX else threading.active_count()


def serve(
    control: socket.socket, runner: worker.Runner, layers: isolation.Layers, limits: isolation.Limits, folder: str
) -> NoReturn:
    """Fork a child for each message, until the judge closes the socket."""
    own_processes = os.open("/proc/self/ns/pid", os.O_RDONLY | os.O_CLOEXEC) if layers.namespaces else -1
    number = 0
    while True:
        words, received, _, _ = control.recvmsg(WORDS, socket.CMSG_SPACE(4))
        reap()
        if not words:
            os._exit(0)  # and what still runs ends with us
        (connection,) = array.array("i", received[0][2])
        number += 1
        if layers.namespaces:
            kernel.unshare(kernel.CLONE_NEWPID)
        child = os.fork()
        if child == 0:
            control.close()
            if own_processes >= 0:
                os.close(own_processes)
            where = folder if layers.namespaces else json.loads(words)["folder"]
            be_a_submission(connection, runner, layers, limits, where, number)
        if layers.namespaces:
            kernel.setns(own_processes, kernel.CLONE_NEWPID)
        os.close(connection)
        handle = os.pidfd_open(child)
        socket.send_fds(control, [json.loads(words)["ticket"].encode()], [handle])
        os.close(handle)


def reap() -> None:
    """Children that have ended; their processor time is then counted as ours."""
    with contextlib.suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass


def be_a_submission(
    connection: int, runner: worker.Runner, layers: isolation.Layers, limits: isolation.Limits, folder: str, number: int
) -> NoReturn:
    """In the child: under the layers, then at the judge's service."""
    status = 1
    try:
        os.environ |= {"HOME": folder, "TMPDIR": folder}
        worker.leave_standard_streams()
        in_force = isolation.restrict(layers, limits, folder, number)
        worker.Worker(worker.Stream(connection, connection), runner, in_force).serve()
        status = 0
    finally:
        os._exit(status)  # no exit handler of a student's runs, and no buffer of the zygote's is written twice
