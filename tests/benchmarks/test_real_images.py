"""Which photographs the benchmark shows, and what it says of the networks that read them."""

from __future__ import annotations

import io
from pathlib import Path

import numpy
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from benchmarks.real.images import efficientnet_lite, faces, mobilenet, photographs


def _picture(seed: int, size: tuple[int, int], mode: str = "RGB") -> bytes:
    noise = numpy.random.default_rng(seed).integers(0, 256, (8, 8, len(mode)), dtype=numpy.uint8)
    file = io.BytesIO()
    Image.fromarray(noise).resize(size, Image.Resampling.BICUBIC).save(file, "WEBP", quality=90)
    return file.getvalue()


def test_each_photograph_is_shown_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither drawings, which have transparent parts, nor thumbnails, nor another size of a photograph count."""
    monkeypatch.setattr(photographs, "FOLDER", tmp_path)
    monkeypatch.setattr(photographs, "ALBUMS", ("one", "two"))
    drawing, thumbnail = _picture(3, (200, 200), "RGBA"), _picture(4, (100, 200))
    (tmp_path / "one.rcc").write_bytes(b"qres" + _picture(1, (200, 300)) + drawing + b"RIFF" + thumbnail)
    (tmp_path / "two.rcc").write_bytes(_picture(1, (400, 600)) + b"\0" + _picture(2, (300, 200)))
    assert sorted(image.size for image in photographs.photographs()) == [(200, 300), (300, 200)]


def test_the_first_square_is_the_middle_and_the_others_are_inside() -> None:
    """A square outside of the image would bring black edges."""
    image = Image.new("RGB", (90, 60), (255, 255, 255))
    image.paste((255, 0, 0), (15, 0, 75, 60))
    found = photographs.crops([image, image], 30, each=4)
    assert found.shape == (8, 3, 30, 30)
    assert torch.equal(found[0], torch.tensor([255.0, 0, 0])[:, None, None].expand(3, 30, 30))
    assert (found[:, 0] == 255).all()
    assert not torch.equal(found[1], found[0])


def test_classes_are_compared_with_the_originals() -> None:
    """The first of the five classes counts as the same, all of them as near."""
    measures = efficientnet_lite._agreement_with(torch.tensor([0, 1, 2, 3]))
    outputs = torch.eye(8)[:4]
    assert measures([outputs[:3], outputs[3:]]) == {"same": 1.0, "near": 1.0}
    outputs = outputs.clone()
    outputs[0] = torch.tensor([4.0, 5, 0, 0, 0, 0, 0, 0])
    outputs[1] = torch.tensor([0, -1.0, 0, 0, 0, 0, 0, 0])
    assert measures([outputs]) == {"same": 0.5, "near": 0.75}


def test_a_part_is_recognised_where_its_own_middle_is_nearest() -> None:
    """Whatever the length of the features."""
    middles = torch.eye(4)
    assert mobilenet._recognised([middles, 9 * middles]) == {"recognised": 1.0}
    assert mobilenet._recognised([middles, middles[[0, 1, 3, 2]]]) == {"recognised": 0.5}


@pytest.mark.parametrize(
    ("found", "share", "right"),
    [
        ([[0, 0, 10, 10], [20, 0, 30, 10]], 1.0, 1.0),
        ([[0, 0, 10, 8]], 0.5, 1.0),
        ([[0, 0, 10, 4], [21, 0, 31, 10]], 0.5, 0.5),
        ([], 0.0, 0.0),
    ],
)
def test_boxes_are_the_same_where_half_of_both_is_shared(found: list[list[float]], share: float, right: float) -> None:
    """Intersection over union of 0.5 or more, in the same picture."""
    wanted = torch.tensor([[0.0, 0, 10, 10], [20, 0, 30, 10]])
    boxes = torch.tensor(found).view(-1, 4)
    assert faces._agreement([wanted, wanted[:0]], [boxes, boxes[:0]]) == {"found": share, "right": right}


def test_another_networks_answers_stand_in_for_a_stage() -> None:
    """While they do, and in their order; what the stage read before is what they answer."""
    net = nn.Linear(2, 1)
    inputs = torch.randn(3, 4, 2).unbind()
    with faces._reading(net) as read:
        for x in inputs:
            net(x)
    assert all(torch.equal(ours, theirs) for ours, theirs in zip(read, inputs, strict=True))
    answers: list[Tensor] = [torch.full((4, 1), float(number)) for number in range(3)]
    with faces._answering(net, answers):
        assert all(torch.equal(net(x), answer) for x, answer in zip(inputs, answers, strict=True))
    assert not torch.equal(net(inputs[0]), answers[0])
