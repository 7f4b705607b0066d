"""Partitions of input and output channels into equal groups that keep as much energy inside as possible."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

__all__ = ["Partition", "partitions"]

Matrix = npt.NDArray[np.float64]
Indices = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]

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
    outputs, inputs = np.arange(energy.shape[0])[None], np.arange(energy.shape[1])[None]
    found = {1: Partition(inputs, outputs)}
    while len(inputs) < most:
        outputs, inputs = _halved(energy, outputs, inputs, random)
        found[len(inputs)] = Partition(np.sort(inputs), np.sort(outputs))
    return found


def _halved(energy: Matrix, outputs: Indices, inputs: Indices, random: np.random.Generator) -> tuple[Indices, Indices]:
    """All parts, outputs [P, m] and inputs [P, n], cut in two: [2P, m/2] and [2P, n/2]."""
    inside = energy[outputs[:, :, None], inputs[:, None, :]]
    drawn = random.standard_normal((len(inputs), RANDOM_STARTS, inputs.shape[1]))
    starts = np.concatenate([_singular_starts(inside)[:, None], drawn], axis=1)
    left_out, left_in = _alternate(inside, starts)
    agreement = np.einsum("psm,psm->ps", _signs(left_out), _signs(left_in) @ inside.transpose(0, 2, 1))
    best = np.arange(len(inputs)), agreement.argmax(1)
    return _cut(outputs, left_out[best]), _cut(inputs, left_in[best])


def _cut(members: Indices, left: Mask) -> Indices:
    """Every part's left half, then its right one."""
    halves = np.stack([members[left].reshape(len(members), -1), members[~left].reshape(len(members), -1)], axis=1)
    return halves.reshape(2 * len(members), -1)


def _singular_starts(inside: Matrix) -> Matrix:
    """Scores of the inputs [P, n]: the strongest contrast left once every row and column has its share."""
    rows, columns = inside.sum(2, keepdims=True), inside.sum(1, keepdims=True)
    total = np.maximum(inside.sum((1, 2), keepdims=True), 1e-300)
    expected = rows * columns / total
    contrast = (inside - expected) / np.sqrt(np.maximum(expected, 1e-300))
    flipped = contrast.transpose(0, 2, 1)
    # The singular vector on the shorter side gives the other one.
    if contrast.shape[1] < contrast.shape[2]:
        other: Matrix = (np.linalg.eigh(contrast @ flipped)[1][:, None, :, -1] @ contrast)[:, 0]
        return other
    scores: Matrix = np.linalg.eigh(flipped @ contrast)[1][:, :, -1]
    return scores


def _alternate(inside: Matrix, scores: Matrix) -> tuple[Mask, Mask]:
    """The halves [P, S, m] of the outputs and [P, S, n] of the inputs that S starts of every part end at."""
    left_in = _upper_half(scores)
    left_out = np.zeros((*scores.shape[:2], inside.shape[1]), dtype=bool)
    for _ in range(MOST_ROUNDS):
        chosen = _upper_half(_signs(left_in) @ inside.transpose(0, 2, 1))
        if (chosen == left_out).all():
            break
        left_out = chosen
        left_in = _upper_half(_signs(left_out) @ inside)
    return left_out, left_in


def _signs(left: Mask) -> Matrix:
    return np.where(left, 1.0, -1.0)


def _upper_half(scores: Matrix) -> Mask:
    mask = np.zeros(scores.shape, dtype=bool)
    upper = np.argsort(-scores, axis=-1, kind="stable")[..., : scores.shape[-1] // 2]
    np.put_along_axis(mask, upper, True, axis=-1)
    return mask
