"""Partitions of input and output channels into equal groups that keep as much energy inside as possible."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

__all__ = ["Partition", "partitions"]

Matrix = npt.NDArray[np.float64]
Indices = npt.NDArray[np.int64]

RANDOM_STARTS = 4
MOST_ROUNDS = 50


@dataclass(frozen=True)
class Partition:
    """``inputs`` [G, C_in/G] and ``outputs`` [G, C_out/G]: the channels of each group, ascending."""

    inputs: Indices
    outputs: Indices

    def kept(self, energy: Matrix) -> float:
        """The energy inside the groups."""
        return float(sum(energy[np.ix_(o, i)].sum() for i, o in zip(self.inputs, self.outputs, strict=True)))


def partitions(energy: Matrix, most: int, seed: int) -> dict[int, Partition]:
    """``energy`` [C_out, C_in] in 1, 2, 4, … and ``most`` groups (a power of two), each the halves of the one before.

    Each halving alternates: with the outputs' halves fixed, the inputs that gain most by one half go there, and the
    other way round; it starts at the second singular vectors and at a few random halves, and the best end counts.
    """
    random = np.random.default_rng(seed)
    parts = [(np.arange(energy.shape[0]), np.arange(energy.shape[1]))]
    found = {1: _partition(parts)}
    while len(parts) < most:
        parts = [half for part in parts for half in _halve(energy, part, random)]
        found[len(parts)] = _partition(parts)
    return found


def _partition(parts: Sequence[tuple[Indices, Indices]]) -> Partition:
    return Partition(
        inputs=np.stack([np.sort(inputs) for _, inputs in parts]),
        outputs=np.stack([np.sort(outputs) for outputs, _ in parts]),
    )


def _halve(
    energy: Matrix, part: tuple[Indices, Indices], random: np.random.Generator
) -> tuple[tuple[Indices, Indices], tuple[Indices, Indices]]:
    outputs, inputs = part
    inside = energy[np.ix_(outputs, inputs)]
    starts = [_singular_start(inside), *(random.standard_normal(len(inputs)) for _ in range(RANDOM_STARTS))]
    ends = [_alternate(inside, start) for start in starts]
    left_out, left_in = max(ends, key=lambda end: _kept(inside, *end))
    return (outputs[left_out], inputs[left_in]), (outputs[~left_out], inputs[~left_in])


def _singular_start(inside: Matrix) -> npt.NDArray[np.float64]:
    """Scores of the inputs: the strongest contrast left once every row and column has its share."""
    rows, columns = inside.sum(1, keepdims=True), inside.sum(0, keepdims=True)
    total = max(float(inside.sum()), 1e-300)
    contrast = (inside - rows * columns / total) / np.sqrt(np.maximum(rows * columns / total, 1e-300))
    # The singular vector on the shorter side gives the other one.
    if contrast.shape[0] < contrast.shape[1]:
        other: npt.NDArray[np.float64] = np.linalg.eigh(contrast @ contrast.T)[1][:, -1] @ contrast
        return other
    scores: npt.NDArray[np.float64] = np.linalg.eigh(contrast.T @ contrast)[1][:, -1]
    return scores


def _alternate(inside: Matrix, scores: npt.NDArray[np.float64]) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.bool_]]:
    left_in = _upper_half(scores)
    left_out = np.zeros(len(inside), dtype=bool)
    for _ in range(MOST_ROUNDS):
        chosen = _upper_half(inside @ np.where(left_in, 1.0, -1.0))
        if (chosen == left_out).all():
            break
        left_out = chosen
        left_in = _upper_half(np.where(left_out, 1.0, -1.0) @ inside)
    return left_out, left_in


def _upper_half(scores: npt.NDArray[np.float64]) -> npt.NDArray[np.bool_]:
    mask = np.zeros(len(scores), dtype=bool)
    mask[np.argsort(-scores, kind="stable")[: len(scores) // 2]] = True
    return mask


def _kept(inside: Matrix, left_out: npt.NDArray[np.bool_], left_in: npt.NDArray[np.bool_]) -> float:
    return float(inside[np.ix_(left_out, left_in)].sum() + inside[np.ix_(~left_out, ~left_in)].sum())
