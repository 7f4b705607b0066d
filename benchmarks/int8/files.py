"""A network as a float32 and as an int8 file, each judged; the files are kept for the clock."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

import convsurgeon
from benchmarks.int8.row import Row, Which
from benchmarks.int8.subjects import Network, Subject
from convsurgeon.base.inputs import as_inputs
from convsurgeon.deployment.exporting.format import Format
from convsurgeon.deployment.exporting.formats import FORMATS
from convsurgeon.survey.counting import count

__all__ = ["PRECISIONS", "RUNTIMES", "Writer", "file_of", "format_of"]

# Formats by the names of what runs their files.
RUNTIMES = {"onnx": "ONNX Runtime", "openvino": "OpenVINO", "litert": "LiteRT"}
PRECISIONS = ("float32", "int8")


def format_of(name: str) -> Format:
    """The format of that name."""
    return next(kind for kind in FORMATS if kind.name == name)


def file_of(folder: Path, subject: str, which: Which, precision: str, kind: Format) -> Path:
    """Where a network's file is kept."""
    return folder / subject / f"{which.slug}-{precision}{kind.suffix}"


@dataclass(frozen=True)
class Writer:
    """Writes the files of one subject's networks; ``wanted`` [N, classes] are its original's outputs in PyTorch."""

    subject: Subject
    folder: Path
    wanted: Tensor

    @classmethod
    def of(cls, subject: Subject, folder: Path) -> Writer:
        """With the original's outputs, for which it runs once."""
        return cls(subject, folder, _outputs(subject.original, subject.judged))

    def rows(self, network: Network, formats: Sequence[str]) -> Iterator[tuple[Row, Row]]:
        """For each format the file in float32, which computes what the network does, and the one in int8."""
        model = network.make()
        in_float = _outputs(model, self.subject.judged)
        for kind in map(format_of, formats):
            path, in_int8 = (file_of(self.folder, self.subject.name, network.which, p, kind) for p in PRECISIONS)
            path.parent.mkdir(parents=True, exist_ok=True)
            convsurgeon.export(model, self._example, path, force=True)
            settings = convsurgeon.Int8(list(self.subject.calibration))
            done = convsurgeon.export(model, self._example, in_int8, force=True, int8=settings)
            batches = self.subject.judged if done.dynamic_batch else _one_by_one(self.subject.judged)
            reader = kind.read_int8(in_int8)
            found = torch.cat([reader(as_inputs(batch))[0] for batch in batches])
            yield (
                self._row(network, model, kind, path, PRECISIONS[0], in_float),
                self._row(network, model, kind, in_int8, PRECISIONS[1], found),
            )

    @property
    def _example(self) -> Tensor:
        return self.subject.calibration[0][:1]

    def _row(
        self, network: Network, model: nn.Module, kind: Format, path: Path, precision: str, outputs: Tensor
    ) -> Row:
        example, labels, classes = as_inputs(self._example), self.subject.labels, outputs.argmax(1)
        return Row(
            subject=self.subject.name,
            which=network.which,
            macs=100 * count(model, example).macs / count(self.subject.original, example).macs,
            format=kind.name,
            precision=precision,
            shape=tuple(self._example.shape),
            bytes=sum(path.with_suffix(suffix).stat().st_size for suffix in (kind.suffix, *kind.beside)),
            images=len(outputs),
            top1=None if labels is None else _percent(classes == labels),
            agreement=_percent(classes == self.wanted.argmax(1)),
        )


def _outputs(model: nn.Module, batches: Sequence[Tensor]) -> Tensor:
    with torch.no_grad():
        return torch.cat([model(batch) for batch in batches])


def _one_by_one(batches: Sequence[Tensor]) -> list[Tensor]:
    return [image for batch in batches for image in batch.split(1)]


def _percent(holds: Tensor) -> float:
    return round(100 * float(holds.float().mean()), 3)
