"""Weight files by URL: torch hub's cache first, then the network, which is given seconds, not minutes."""

from __future__ import annotations

import hashlib
import http.client
import os
import queue
import re
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import urlparse

import torch

from convsurgeon.base.drafts import drafting
from convsurgeon.base.errors import ModelLoadError, WeightsUnavailable, first_line

__all__ = ["OFFLINE_VARIABLE", "WeightsFile", "fetch", "is_offline", "open_url"]

OFFLINE_VARIABLE = "CONVSURGEON_OFFLINE"
OPEN_TIMEOUT_S = 5.0
STALL_TIMEOUT_S = 15.0
_CHUNK_BYTES = 1 << 20
_HASH_IN_NAME = re.compile(r"-([a-f0-9]{8,})\.")


@dataclass(frozen=True)
class WeightsFile:
    """A verified file on this machine; ``how`` is "from the cache" or "downloaded"."""

    path: Path
    how: str


def is_offline() -> bool:
    """Whether ``CONVSURGEON_OFFLINE`` forbids the network."""
    return os.environ.get(OFFLINE_VARIABLE, "0") not in ("", "0")


def fetch(url: str) -> WeightsFile:
    """Return the file behind ``url``, from torch hub's ``checkpoints`` folder or downloaded into it.

    The sha256 prefix in the file's name (torch hub's ``name-<sha256>.pth``) is verified either way.

    Raises:
        WeightsUnavailable: not cached, and the network is off, dead, refusing or stalling.
        ModelLoadError: the cached file is corrupt.
    """
    path = Path(torch.hub.get_dir()).expanduser() / "checkpoints" / PurePosixPath(urlparse(url).path).name
    if path.is_file():
        _verify_cached(path)
        return WeightsFile(path, "from the cache")
    if is_offline():
        raise WeightsUnavailable(f"{path.name} is not in the cache and {OFFLINE_VARIABLE} is set")
    with open_url(url) as response:
        _download(response, path, url)
    return WeightsFile(path, f"downloaded from {_host(url)}")


@contextmanager
def open_url(url: str, method: str = "GET") -> Iterator[Any]:
    """Open ``url`` within ``OPEN_TIMEOUT_S`` seconds, name resolution included; yields the response.

    A thread does the opening because no socket timeout covers the resolver, which may take minutes.

    Raises:
        WeightsUnavailable: no answer in time, or an answer other than success; its cause is kept.
    """
    answers: queue.SimpleQueue[Any] = queue.SimpleQueue()
    request = urllib.request.Request(url, method=method, headers={"User-Agent": "convsurgeon"})

    def work() -> None:
        try:
            answers.put(urllib.request.urlopen(request, timeout=STALL_TIMEOUT_S))
        except (OSError, http.client.HTTPException, ValueError) as error:
            answers.put(error)

    threading.Thread(target=work, daemon=True, name="convsurgeon-open-url").start()
    try:
        answer = answers.get(timeout=OPEN_TIMEOUT_S)
    except queue.Empty:
        raise WeightsUnavailable(f"{_host(url)} did not answer within {OPEN_TIMEOUT_S:g} s") from None
    if isinstance(answer, Exception):
        raise WeightsUnavailable(f"{_host(url)} can't be reached: {_words(answer)}") from answer
    with answer:
        yield answer


def _verify_cached(path: Path) -> None:
    expected = _HASH_IN_NAME.search(path.name)
    if expected is None:
        return
    try:
        with path.open("rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise ModelLoadError(f"the cached weights {path} can't be read: {_words(error)}.") from error
    if not found.startswith(expected[1]):
        raise ModelLoadError(
            f"the cached weights {path} are corrupt: their sha256 starts with {found[: len(expected[1])]}, "
            f"their name says {expected[1]}. Delete the file; it is then downloaded anew."
        )


def _download(response: Any, path: Path, url: str) -> None:
    """Write the response next to ``path`` and move it there only when it is whole and verified."""
    digest = hashlib.sha256()
    try:
        with drafting(path.parent) as draft:
            with (draft / path.name).open("xb") as file:
                while chunk := response.read(_CHUNK_BYTES):
                    file.write(chunk)
                    digest.update(chunk)
            expected = _HASH_IN_NAME.search(path.name)
            if expected is not None and not digest.hexdigest().startswith(expected[1]):
                raise WeightsUnavailable(f"what {_host(url)} sent for {path.name} has the wrong sha256")
    except (OSError, http.client.HTTPException) as error:
        raise WeightsUnavailable(f"the download of {path.name} broke off: {_words(error)}") from error


def _host(url: str) -> str:
    return urlparse(url).netloc or url


def _words(error: BaseException) -> str:
    if isinstance(error, urllib.error.HTTPError):
        return f"it answers {error.code} {error.reason}"
    reason = getattr(error, "reason", None) or error
    return first_line(reason) if isinstance(reason, BaseException) else str(reason)
