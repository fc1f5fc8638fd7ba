"""What a cluster's worker is handed. It travels as code, so that one without the course can say so."""


def run(fingerprint: str, version: str, words: bytes) -> tuple[str, bytes]:
    """A sentence on what is wrong with this worker, or "" and what came of the submission."""
    try:
        from autograder.version import fingerprint as mine
        from autograder.version import version as my_version
    except ImportError as error:
        return f"lacks the course ({error}); install the same version of it there", b""
    if mine() != fingerprint:
        return f"has version {my_version()} of the course, and this machine has {version}; make them the same", b""
    from autograder.cluster import serve

    return serve(words)
