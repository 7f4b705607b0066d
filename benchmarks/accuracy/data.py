"""Fashion-MNIST (Xiao, Rasul, Vollgraf 2017, arXiv 1708.07747) as tensors, read from its idx files."""

from __future__ import annotations

import gzip
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

PACKAGE = "dataset-fashion-mnist"
DEFAULT_DIR = Path("/usr/share/datasets/fashion-mnist")  # where the Debian package puts the files
CLASSES = 10
MEAN, STD = 0.2860, 0.3530  # of the 60,000 training images, pixels scaled to 0..1
BACKGROUND = -MEAN / STD  # a black pixel after normalisation

_IDX_UINT8 = 0x08  # the idx format's code for unsigned bytes


@dataclass(frozen=True)
class Split:
    """Images as float32 [N, 1, 28, 28], normalised with MEAN and STD, and their labels as int64 [N]."""

    images: Tensor
    labels: Tensor

    def __len__(self) -> int:
        return len(self.labels)


def load_train(directory: Path = DEFAULT_DIR) -> Split:
    """The 60,000 training images. Raises FileNotFoundError or ValueError as `load_split` does."""
    return load_split(directory, "train", 60_000)


def load_test(directory: Path = DEFAULT_DIR) -> Split:
    """The 10,000 test images. Raises FileNotFoundError or ValueError as `load_split` does."""
    return load_split(directory, "t10k", 10_000)


def load_split(directory: Path, prefix: str, count: int) -> Split:
    """Read one split.

    Raises FileNotFoundError when a file is missing, ValueError when one is not what its name says.
    """
    images = read_idx(find_file(directory, f"{prefix}-images-idx3-ubyte"), (count, 28, 28))
    labels = read_idx(find_file(directory, f"{prefix}-labels-idx1-ubyte"), (count,))
    return Split(normalise(images), labels.long())


def normalise(pixels: Tensor) -> Tensor:
    """uint8 [N, 28, 28] → float32 [N, 1, 28, 28] with about zero mean and unit variance."""
    return pixels.unsqueeze(1).float().div_(255).sub_(MEAN).div_(STD)


def find_file(directory: Path, name: str) -> Path:
    """The file called `name` in `directory`, gzipped or not. Raises FileNotFoundError if there is neither."""
    for path in (directory / f"{name}.gz", directory / name):
        if path.is_file():
            return path
    raise FileNotFoundError(
        f"no {name}.gz or {name} in {directory}: install the Debian package {PACKAGE} "
        f"(apt-get install {PACKAGE}), or name the folder that holds Fashion-MNIST's idx files with --data"
    )


def read_idx(path: Path, shape: tuple[int, ...]) -> Tensor:
    """Read an idx file of unsigned bytes as a uint8 tensor of the given shape.

    The format: two zero bytes, a type code, the number of dimensions, each dimension as a big-endian
    32-bit number, then the data. Raises ValueError when header or length differ from `shape`.
    """
    raw = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    expected = bytes((0, 0, _IDX_UINT8, len(shape))) + b"".join(n.to_bytes(4, "big") for n in shape)
    header, body = raw[: len(expected)], raw[len(expected) :]
    if header != expected or len(body) != np.prod(shape):
        raise ValueError(
            f"{path} is not the idx file expected: header {header.hex()} and {len(body)} data bytes, "
            f"where {list(shape)} unsigned bytes have header {expected.hex()}; install {PACKAGE} again"
        )
    return torch.from_numpy(np.frombuffer(body, dtype=np.uint8).reshape(shape).copy())
