"""A file by its address, checked, and gone on with where a broken download stopped.

Nothing in the course needs this: every data set ships or is generated. It is for a real data set that you bring. Take
the address and the SHA-256 checksum from whoever publishes the file: we give none, because none was verified.

    CoNLL-2003       tagged.read_conll       its text is Reuters': for research, on request from NIST
    Tatoeba pairs    translation.load_file   CC BY 2.0 FR: name its authors (tatoeba.org, manythings.org/anki)
    MovieLens 100K   histories.load_file     research only, not to be passed on (grouplens.org/datasets/movielens)
"""

import hashlib
import os
import sys
from collections.abc import Callable
from http.client import HTTPException
from pathlib import Path
from ssl import SSLError
from urllib.error import HTTPError, URLError
from urllib.parse import urlsplit
from urllib.request import Request, urlopen

BLOCK = 1 << 16


class DownloadError(OSError):
    """A download that did not come to its end; the message is one sentence for the reader."""


def report(done: int, total: int | None) -> None:
    """How far it is, on one line that rewrites itself."""
    share = f" of {total / 1e6:.1f}" if total else ""
    sys.stderr.write(f"\r{done / 1e6:.1f}{share} MB" + "\n" * (done == total))
    sys.stderr.flush()


def fetch(
    url: str,
    sha256: str,
    path: str | Path,
    progress: Callable[[int, int | None], None] = report,
    timeout: float = 30.0,
    attempts: int = 3,
) -> Path:
    """The file at ``url`` as ``path``, once its SHA-256 is ``sha256``; a file that is there and right is left alone.

    Bytes gather in ``path`` + ".part", which a later call goes on with; ``path`` appears complete, by a rename.
    """
    path, sha256 = Path(path), sha256.lower()
    if urlsplit(url).scheme not in ("http", "https"):
        raise ValueError(f"expected an address that starts with http:// or https://, got {url!r}")
    if len(sha256) != 64 or not set(sha256) <= set("0123456789abcdef"):
        raise ValueError(f"a SHA-256 checksum has 64 hexadecimal digits, got {sha256!r}")
    if path.exists() and _digest(path) == sha256:
        return path
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(path.name + ".part")
    for attempt in range(1, attempts + 1):
        try:
            _go_on(url, part, progress, timeout)
            break
        except HTTPError as error:
            raise DownloadError(f"{url} answered {error.code} ({error.reason}): is the address right?") from None
        except (URLError, ConnectionError, TimeoutError, SSLError, HTTPException) as error:
            if attempt == attempts:
                have = part.stat().st_size if part.exists() else 0
                reason = getattr(error, "reason", None) or error
                raise DownloadError(
                    f"{url} could not be fetched ({reason}): check the network and run it again, "
                    f"{have:,} bytes are kept to go on from"
                ) from None
    got = _digest(part)
    if got != sha256:
        part.unlink()
        raise DownloadError(
            f"{url} has SHA-256 {got[:12]}…, expected {sha256[:12]}…: "
            "the file is not the one that was checked, and was deleted"
        )
    os.replace(part, path)
    return path


def _go_on(url: str, part: Path, progress: Callable[[int, int | None], None], timeout: float) -> None:
    """Append to ``part`` what it lacks; start over where the server cannot continue."""
    have = part.stat().st_size if part.exists() else 0
    request = Request(url, headers={"Range": f"bytes={have}-"} if have else {})
    try:
        answer = urlopen(request, timeout=timeout)
    except HTTPError as error:
        if error.code == 416 and have:  # nothing is left to send: the checksum will tell whether it is right
            return
        raise
    with answer:
        if answer.status != 206:
            have = 0
        length = answer.headers.get("Content-Length")
        total = have + int(length) if length else None
        with open(part, "ab" if have else "wb") as file:
            while block := answer.read(BLOCK):
                file.write(block)
                have += len(block)
                progress(have, total)
    if total is not None and have < total:
        raise ConnectionError(f"the connection broke after {have:,} of {total:,} bytes")


def _digest(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
