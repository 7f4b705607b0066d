"""The demonstration's network and digits as somebody's own files: a factory, weights, and folders of images."""

from __future__ import annotations

from pathlib import Path

from safetensors.torch import save_file
from torchvision.transforms.functional import to_pil_image

from convsurgeon.base.errors import OutputExists
from convsurgeon.base.files import write_folder
from convsurgeon.demo.data import digits
from convsurgeon.demo.net import trained

__all__ = ["write_sample"]

FACTORY = '''"""A network of one's own: the function that builds it, and what it is called with."""

import torch

from convsurgeon.demo.net import DigitNet


def build():
    return DigitNet()


build.example_inputs = torch.zeros(1, 1, 8, 8)
'''


def write_sample(directory: Path) -> Path:
    """Write ``net.py``, ``net.safetensors``, ``images/`` (1,437, without labels) and ``labelled/`` (360 by class).

    Raises:
        OutputExists: the folder is there already.
    """
    if directory.exists():
        raise OutputExists(f"'{directory}' exists already; choose another -o DIR.")
    return write_folder(directory, _write, force=False, own=())


def _write(folder: Path) -> None:
    (folder / "net.py").write_text(FACTORY, encoding="utf-8")
    save_file(trained().state_dict(), folder / "net.safetensors")
    train, test = digits()
    for name, split in (("images", train), ("labelled", test)):
        for number, (image, label) in enumerate(zip(split.images, split.labels, strict=True)):
            place = folder / name / (str(int(label)) if name == "labelled" else "")
            place.mkdir(parents=True, exist_ok=True)
            to_pil_image(image).save(place / f"{number:04}.png")
