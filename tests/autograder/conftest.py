"""One zygote for all tests of a run."""

import sys

import pytest

from autograder import host

LINUX = sys.platform == "linux"


@pytest.fixture(scope="session")
def where() -> host.Host:
    """The host of this run, with the strongest isolation that this system has."""
    return host.shared()
