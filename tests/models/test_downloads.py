"""Torch hub's cache and the network, which is loopback only here."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from convsurgeon.base.errors import ModelLoadError, WeightsUnavailable
from convsurgeon.models import downloads
from convsurgeon.models.downloads import fetch, open_url
from tests.models.loopback import Handler, closed_address, serving, silence

CONTENT = b"the weights" * 1000
NAME = f"net-{hashlib.sha256(CONTENT).hexdigest()[:8]}.pth"


@pytest.fixture(autouse=True)
def _empty_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    monkeypatch.setenv("no_proxy", "*")
    monkeypatch.delenv("CONVSURGEON_OFFLINE", raising=False)


def _send(content: bytes) -> Callable[[Handler], None]:
    def answer(handler: Handler) -> None:
        handler.send_response(200)
        handler.send_header("Content-Length", str(len(CONTENT)))
        handler.end_headers()
        handler.wfile.write(content)

    return answer


def _checkpoints() -> Path:
    return Path(torch.hub.get_dir()) / "checkpoints"


def _cache(content: bytes, name: str = NAME) -> Path:
    _checkpoints().mkdir(parents=True, exist_ok=True)
    path = _checkpoints() / name
    path.write_bytes(content)
    return path


def test_a_download_lands_verified_in_the_cache() -> None:
    """A file that is not cached is downloaded whole into torch hub's cache, and nothing is left beside it."""
    with serving(_send(CONTENT)) as address:
        file = fetch(f"{address}/{NAME}")
    assert file.path.read_bytes() == CONTENT
    assert [path.name for path in _checkpoints().iterdir()] == [NAME]
    assert file.how == f"downloaded from {address.removeprefix('http://')}"


def test_a_cached_file_needs_no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """A cached file whose hash agrees is used even when the network is switched off."""
    path = _cache(CONTENT)
    monkeypatch.setenv("CONVSURGEON_OFFLINE", "1")
    file = fetch(f"{closed_address()}/{NAME}")
    assert (file.path, file.how) == (path, "from the cache")


def test_a_corrupt_cached_file_is_an_error_naming_it() -> None:
    """A cached file whose sha256 disagrees with its name is refused by its path, not passed over."""
    path = _cache(CONTENT + b"!")
    with pytest.raises(ModelLoadError, match=r"corrupt.*Delete the file") as caught:
        fetch(f"{closed_address()}/{NAME}")
    assert str(path) in str(caught.value)
    assert not isinstance(caught.value, WeightsUnavailable)


def test_a_name_without_a_hash_is_taken_as_it_is() -> None:
    """A cached file whose name states no hash can't be verified and is used."""
    path = _cache(b"anything", "net.pth")
    assert fetch(f"{closed_address()}/net.pth").path == path


@pytest.mark.parametrize("value", ["1", "yes"])
def test_offline_asks_nobody(value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """CONVSURGEON_OFFLINE keeps a missing file from being asked for."""
    asked: list[str] = []
    monkeypatch.setenv("CONVSURGEON_OFFLINE", value)
    with (
        serving(lambda handler: asked.append(handler.path)) as address,
        pytest.raises(WeightsUnavailable, match=f"{NAME} is not in the cache and CONVSURGEON_OFFLINE is set"),
    ):
        fetch(f"{address}/{NAME}")
    assert asked == []


@pytest.mark.parametrize("value", ["0", ""])
def test_offline_can_be_unset(value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """CONVSURGEON_OFFLINE=0 and an empty one leave the network on."""
    monkeypatch.setenv("CONVSURGEON_OFFLINE", value)
    with serving(_send(CONTENT)) as address:
        assert fetch(f"{address}/{NAME}").path.is_file()


def test_a_server_that_never_answers_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that accepts and stays silent counts as a dead network once the opening time is over."""
    monkeypatch.setattr(downloads, "OPEN_TIMEOUT_S", 0.2)
    with (
        silence() as address,
        pytest.raises(WeightsUnavailable, match=r"did not answer within 0\.2 s"),
    ):
        fetch(f"{address}/{NAME}")


def test_a_resolver_that_hangs_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """A name server that hangs, which no socket timeout covers, counts as a dead network too."""
    monkeypatch.setattr(downloads, "OPEN_TIMEOUT_S", 0.2)
    release = threading.Event()

    def hang(*_: object, **__: object) -> None:
        release.wait(30)
        raise OSError("released")

    monkeypatch.setattr("socket.getaddrinfo", hang)
    try:
        with pytest.raises(WeightsUnavailable, match=r"nowhere\.invalid did not answer within 0\.2 s"):
            fetch(f"http://nowhere.invalid/{NAME}")
    finally:
        release.set()


def test_a_closed_port_is_unavailable() -> None:
    """A refused connection is reported with the host and the system's words."""
    with pytest.raises(WeightsUnavailable, match=r"127\.0\.0\.1:\d+ can't be reached: .*refused"):
        fetch(f"{closed_address()}/{NAME}")


def test_an_http_error_is_unavailable() -> None:
    """A server that answers 404 is quoted with its status."""
    with (
        serving(lambda handler: handler.send_error(404)) as address,
        pytest.raises(WeightsUnavailable, match="it answers 404 Not Found"),
        open_url(f"{address}/x"),
    ):
        pass


@pytest.mark.parametrize("content", [CONTENT[:-1] + b"?", CONTENT[:100]], ids=["altered", "cut short"])
def test_a_bad_download_leaves_nothing(content: bytes) -> None:
    """A download that is altered or cut short is refused, and the cache stays empty."""
    with (
        serving(_send(content)) as address,
        pytest.raises(WeightsUnavailable, match=r"wrong sha256|broke off"),
    ):
        fetch(f"{address}/{NAME}")
    assert not _checkpoints().exists()


def test_a_download_that_stalls_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """A body that stops coming ends the download after the stall time, and leaves nothing."""
    monkeypatch.setattr(downloads, "STALL_TIMEOUT_S", 0.2)
    with (
        silence(after=_send(CONTENT[:100])) as address,
        pytest.raises(WeightsUnavailable, match=r"broke off: .*timed out"),
    ):
        fetch(f"{address}/{NAME}")
    assert not _checkpoints().exists()
