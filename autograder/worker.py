"""The student's side of the pipe: runs a notebook's cells and calls its functions. Started by ``autograder.sandbox``.

It never holds a check, a seed or a gradebook. What the student prints goes to buffers of ours; the pipe to the judge
is moved away from the standard streams before a student's line runs.
"""

import copy
import os
import sys
from collections.abc import Callable
from typing import Any, BinaryIO

from autograder import wire
from autograder.expect import same
from autograder.limits import TimeUp, time_limit
from autograder.student import Here, StudentError, explain

MAX_TEXT = 100_000  # characters of a cell's output that are kept


def serve(pipe_in: BinaryIO, pipe_out: BinaryIO) -> None:
    """Answer requests until the judge closes the pipe."""
    namespace: dict[str, Any] = {"__name__": "__main__"}
    runner = make_runner(namespace)

    def read(n: int) -> bytes:
        data = pipe_in.read(n)
        if len(data) < n:
            raise EOFError
        return data

    while True:
        try:
            request = wire.decode(read)
        except EOFError:
            return
        if request["do"] == "run":
            reply = {"cells": [runner(source, request["seconds"]) for source in request["cells"]]}
        else:
            reply = answer(namespace, request)
        try:
            frame = wire.encode(reply)
        except wire.WireError as error:
            message = f"Your `{request.get('name', 'notebook')}` returned what cannot be graded: {error}."
            frame = wire.encode({"error": ["reply", message, ""]})
        pipe_out.write(frame)
        pipe_out.flush()


def answer(namespace: dict[str, Any], request: dict[str, Any]) -> dict[str, Any]:
    """Call a function of the student's. Arguments that it edited go back, so the judge sees the edit as well."""
    args, kwargs = request["args"], request["kwargs"]
    before = copy.deepcopy(args)
    backend = Here(namespace, request["forbidden"], request["seconds"])
    try:
        value = backend.call(request["name"], args, kwargs)
    except StudentError as error:
        return {"error": [error.kind, str(error), error.raised]}
    edited = {i: after for i, (was, after) in enumerate(zip(before, args, strict=True)) if not same(was, after)}
    return {"value": value, "edited": edited}


def make_runner(namespace: dict[str, Any]) -> Callable[[str, float], dict[str, Any]]:
    """Something that runs one cell and says what came of it: IPython's shell, for its magics and rich output."""
    from IPython.core.interactiveshell import InteractiveShell
    from IPython.utils.capture import capture_output
    from traitlets.config import Config

    shell = InteractiveShell.instance(config=Config({"HistoryManager": {"enabled": False}}), user_ns=namespace)

    def run(source: str, seconds: float) -> dict[str, Any]:
        failure, outputs = "", []
        with capture_output() as captured:
            try:
                with time_limit(seconds):
                    result = shell.run_cell(source, store_history=False, silent=False)
                error = result.error_before_exec or result.error_in_exec
                if error is not None:
                    failure = str(explain(error, "cell")) if isinstance(error, Exception) else type(error).__name__
            except TimeUp:
                failure = f"This cell was still running after {seconds:.0f} s and was stopped."
        for output in captured.outputs:
            data = {key: value for key, value in output.data.items() if key in ("text/plain", "image/png")}
            outputs.append({key: value[:5_000_000] for key, value in data.items() if isinstance(value, str)})
        text = (captured.stdout + captured.stderr)[:MAX_TEXT]
        return {"text": text, "outputs": outputs, "failure": failure}

    return run


def main() -> None:
    """Keep the pipe for ourselves, and give the student empty input and buffered output."""
    pipe_in, pipe_out = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    nowhere = os.open(os.devnull, os.O_RDWR)
    for standard in (0, 1, 2):
        os.dup2(nowhere, standard)
    sys.stdin = open(os.devnull)  # noqa: SIM115  # it lives as long as the process
    serve(pipe_in, pipe_out)


if __name__ == "__main__":
    main()
