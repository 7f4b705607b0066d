"""Inputs that nothing was fitted on, each once, whatever folder or loader they come from."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from convsurgeon.base.errors import UsageError
from convsurgeon.base.inputs import Inputs, as_inputs
from convsurgeon.conversion.data import Data
from convsurgeon.conversion.patient import Patient
from convsurgeon.transfer.calibration import Calibration, images_in, listed_apart, rows_of

__all__ = ["Unseen", "UnseenBatch"]


@dataclass(frozen=True)
class UnseenBatch:
    """Inputs, a digest of each of them, and their labels [N] where there are some."""

    inputs: Inputs
    keys: tuple[bytes, ...]
    labels: Tensor | None = None


class Unseen:
    """What a network may be judged on: labelled batches first, then what calibration holds back, then further ones.

    Inputs are told apart by a digest of their values. One that the fits see is left out, and so is a second copy, which
    would make a bound tighter than it is.
    """

    def __init__(self, patient: Patient, data: Data) -> None:
        """Read what the fits see.

        Raises:
            UsageError: no calibration inputs; see ``Calibration.of``.
        """
        if data.calibration is None:
            raise UsageError("networks are compared after a fit; pass calibration inputs (--calibrate DIR).")
        self._model, self._data = patient.model, data
        self._calibration = Calibration.of(data.calibration, patient.inputs)
        fitting = self._calibration.fitting(self._model)
        self._fitted = frozenset(key for inputs in fitting for key in _keys(inputs))

    @property
    def fitted_on(self) -> bytes:
        """A digest of the inputs that are left out."""
        return hashlib.sha256(b"".join(sorted(self._fitted))).digest()

    def __iter__(self) -> Iterator[UnseenBatch]:
        met = set(self._fitted)
        for inputs, labels in self._all():
            keys = _keys(inputs)
            rows = []
            for row, key in enumerate(keys):
                if key not in met:
                    met.add(key)
                    rows.append(row)
            if len(rows) == len(keys):
                yield UnseenBatch(inputs, keys, labels)
            elif rows:
                wanted = torch.tensor(rows)
                kept = None if labels is None else labels[wanted.to(labels.device)]
                yield UnseenBatch(rows_of(inputs, wanted), tuple(keys[row] for row in rows), kept)

    def _all(self) -> Iterator[tuple[Inputs, Tensor | None]]:
        for number, (images, labels) in enumerate(self._data.evaluation or (), 1):
            inputs = as_inputs(images).like(self._model)
            inputs.refuse_unfinite(f"evaluation batch {number}", "nothing can be judged")
            yield inputs, labels
        yield from ((inputs, None) for inputs in self._calibration.held_back(self._model))
        for number, element in enumerate(() if self._data.judging is None else self._data.judging(), 1):
            inputs = self._calibration.elements.read(element).like(self._model)
            inputs.refuse_unfinite(f"batch {number} to judge on", "nothing can be judged")
            yield inputs, None


def _keys(inputs: Inputs) -> tuple[bytes, ...]:
    """A digest of each input; one of all where they can't be told apart."""
    return tuple(key for part in listed_apart(inputs) for key in _batch_keys(part))


def _batch_keys(inputs: Inputs) -> Iterator[bytes]:
    count = images_in(inputs)
    rows = [tensor.detach().cpu().contiguous() for tensor in inputs.tensors()]
    digests = [hashlib.blake2b(digest_size=16) for _ in range(count)]
    for tensor in rows:
        for digest, row in zip(digests, tensor if count > 1 else [tensor], strict=True):
            digest.update(f"{row.dtype}{tuple(row.shape)}".encode())
            digest.update(row.reshape(-1).view(torch.uint8).numpy().data if row.numel() else b"")
    yield from (digest.digest() for digest in digests)
