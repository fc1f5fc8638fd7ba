"""A student's process where there is no zygote: started anew, with what limits this system has."""

import os
import sys
from typing import Any

from autograder import inside, isolation, worker


def main(settings: dict[str, Any]) -> None:
    """Keep the pipe for ourselves, go under the layers, serve."""
    reading, writing = os.dup(0), os.dup(1)
    worker.leave_standard_streams()
    runner = worker.warm_up()
    sys.path[:] = [path for path in sys.path if path not in settings["course"]]
    inside.put_stand_in()
    layers, limits = isolation.Layers(**settings["layers"]), isolation.Limits(**settings["limits"])
    in_force = isolation.restrict(layers, limits, settings["folder"], os.getpid())
    runner.reseed()
    worker.Worker(worker.Stream(reading, writing), runner, in_force).serve()
