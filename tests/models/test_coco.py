"""Files of annotations in COCO's format."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from convsurgeon.base.errors import RecipeError, UnknownName
from convsurgeon.models.coco import Annotations

IMAGES = [{"id": 7, "file_name": "a.png", "height": 9, "width": 9}, {"id": 8, "file_name": "b.png"}]


def _row(box: list[float], image: int = 7, **more: Any) -> dict[str, Any]:
    return {"id": 1, "image_id": image, "category_id": 3, "bbox": box, "segmentation": [[0, 1]], **more}


def _read(folder: Path, rows: list[dict[str, Any]]) -> Annotations:
    path = folder / "instances.json"
    path.write_text(json.dumps({"images": IMAGES, "annotations": rows, "categories": []}))
    return Annotations.read(path)


def test_boxes_are_read_by_file(tmp_path: Path) -> None:
    """Left, top, width, height become corners; crowds and boxes without a pixel are left out; an image may be empty."""
    rows = [_row([1, 2, 3.5, 4]), _row([0, 0, 9, 9], iscrowd=1), _row([5, 5, 0.5, 4]), _row([0, 1, 2, 3], iscrowd=0)]
    found = _read(tmp_path, rows)
    assert found.of("a.png")["boxes"].tolist() == [[1, 2, 4.5, 6], [0, 1, 2, 4]]
    assert found.of("a.png")["labels"].tolist() == [3, 3]
    assert found.of("b.png")["boxes"].shape == (0, 4)


@pytest.mark.parametrize(
    ("change", "message"),
    [({}, None), ({"bbox": [1, 2, 3]}, "annotations.0.bbox.3"), ({"bbox": "1,2,3,4"}, "annotations.0.bbox")],
)
def test_what_is_no_box_is_named(change: dict[str, Any], message: str | None, tmp_path: Path) -> None:
    """The place of the mistake is said; the same row with four numbers is taken."""
    row = {**_row([1, 2, 3, 4]), **change}
    if message is None:
        _read(tmp_path, [row])
        return
    with pytest.raises(RecipeError, match=message):
        _read(tmp_path, [row])


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    """With what was expected there."""
    with pytest.raises(UnknownName, match=r"no file of annotations at .*; expected COCO's JSON"):
        Annotations.read(tmp_path / "instances.json")
