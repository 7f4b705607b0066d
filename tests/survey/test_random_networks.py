"""Networks drawn at random from all that ties, carries and shifts streams: the oracle holds for each."""

from __future__ import annotations

import random

import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from tests.survey.narrowing import sound


class _Drawn(nn.Module):
    """Steps that append a map [N, C, 6, 6] each; a classifier reads the last two.

    A step is a letter, the maps it reads and the layers it runs: plain data, so that a copy runs its own layers.
    """

    def __init__(self, seed: int, steps: int) -> None:
        super().__init__()
        self.chance = random.Random(seed)
        self.layers = nn.ModuleList()
        self.steps: list[tuple[str, list[int], list[int]]] = []
        self.widths = [3]
        for kind in ["c", "c", *self.chance.choices("ccnagj", k=steps)]:
            self._draw(kind)
        self.head = nn.Sequential(nn.Flatten(), nn.Linear(36 * sum(self.widths[-2:]), 5), nn.SiLU(), nn.Linear(5, 2))

    def _draw(self, kind: str) -> None:
        at = self.chance.randrange(len(self.widths))
        width = self.widths[at]
        alike = [place for place, other in enumerate(self.widths) if other == width or kind == "j"]
        reads = [at, self.chance.choice(alike)] if kind in "aj" else [at]
        new: tuple[nn.Module, ...] = ()
        if kind == "c":
            new = (nn.Conv2d(width, self.chance.choice((4, 6)), self.chance.choice((1, 3)), padding="same"),)
        elif kind == "n":
            filters = nn.Conv2d(width, width, 3, padding=1, groups=width)
            new = (self.chance.choice((nn.BatchNorm2d(width), nn.PReLU(width), filters, nn.SiLU())),)
        elif kind == "g":
            new = (nn.Conv2d(width, 4, 1), nn.Conv2d(4, width, 1))
        self.steps.append((kind, reads, list(range(len(self.layers), len(self.layers) + len(new)))))
        self.layers.extend(new)
        width = new[0].out_channels if kind == "c" else width  # type: ignore[union-attr, assignment]
        self.widths.append(sum(self.widths[place] for place in reads) if kind == "j" else width)

    def forward(self, image: Tensor) -> Tensor:
        maps = [image]
        for kind, reads, runs in self.steps:
            x, y = maps[reads[0]], maps[reads[-1]]
            if kind == "a":
                maps.append(x + y)
            elif kind == "j":
                maps.append(torch.cat([x, y], 1))
            else:
                found = x.mean((2, 3), keepdim=True) if kind == "g" else x
                for layer in runs:
                    found = self.layers[layer](found)
                maps.append(x * found.sigmoid() if kind == "g" else found)
        return self.head(torch.cat(maps[-2:], 1))


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 2**32), st.integers(1, 12))
def test_open_streams_are_sound(seed: int, steps: int) -> None:
    """Cut or unheard, channels make the same difference; the classifier's own stream is always open."""
    found = sound(_Drawn(seed, steps), (2, 3, 6, 6))
    assert found["head.1"].closed is None
