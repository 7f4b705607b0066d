"""A cache that can't be read, believed or written never stops or bends a run."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import pytest

from convsurgeon.base.cache_file import CacheFile, _digest
from convsurgeon.runtimes.timer import Spread
from convsurgeon.transfer.damage_file import Estimate

FOUND = {"site": {"spec": Estimate(0.5, 10, 2, reliable=True)}}


def _open(folder: Path) -> CacheFile[Estimate]:
    return CacheFile(folder, "damage", ("key",), Estimate)


def _written(folder: Path) -> Path:
    _open(folder).add("site", FOUND["site"])
    (path,) = folder.glob("damage-*.json")
    return path


@pytest.mark.parametrize("text", ["", "{", "[]", "null", "{}", '{"key": null}', "[" * 100_000, "\udcff", None])
def test_what_is_no_cache_is_passed_over(text: str | None, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A damaged or foreign file is as good as none, with a note; an untouched one is believed without."""
    path = _written(tmp_path)
    if text is not None:
        path.write_bytes(text.encode(errors="surrogateescape"))
    assert _open(tmp_path).entries == ({} if text is not None else FOUND)
    assert ("is passed over" in caplog.text) == (text is not None)


@pytest.mark.parametrize("digest", ["old", "own"])
@pytest.mark.parametrize(
    ("name", "value"), [("error", float("nan")), ("error", "x"), ("samples", -1), ("held", None), ("error", 0.25)]
)
def test_nonsense_in_a_cache_is_passed_over(name: str, value: object, digest: str, tmp_path: Path) -> None:
    """An entry that was changed has another digest; nonsense is refused even with its own; sense is believed."""
    path = _written(tmp_path)
    content = json.loads(path.read_text())
    content["entries"]["site"]["spec"][name] = value
    if digest == "own":
        content["digest"] = _digest(content["entries"])
    path.write_text(json.dumps(content))
    assert bool(_open(tmp_path).entries) == (digest == "own" and value == 0.25)


def test_a_time_below_zero_is_passed_over(tmp_path: Path) -> None:
    """Times are checked as damage is."""
    file = CacheFile(tmp_path, "latency", ("key",), Spread)
    file.add("case", {"good": Spread.of([1])})
    assert CacheFile(tmp_path, "latency", ("key",), Spread).entries == file.entries
    file.add("case", {"bad": Spread.of([1]).model_copy(update={"median_ns": -1})})
    assert CacheFile(tmp_path, "latency", ("key",), Spread).entries == {}


@pytest.mark.parametrize("writable", [True, False])
def test_a_cache_that_cant_be_written_is_kept_in_memory(
    writable: bool, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """One note, and the run goes on with what it measured; a folder that can be made is written to in silence."""
    folder = tmp_path / "cache"
    if not writable:
        folder.write_text("a file")
    with caplog.at_level(logging.WARNING):
        file = _open(folder)
        file.add("site", FOUND["site"])
        file.add("other", FOUND["site"])
    assert file.entries["site"] == FOUND["site"]
    assert caplog.text.count("can't be written") == (not writable)
