"""From corners on a page to texts, as EasyOCR does it: cut out, straighten, 64 pixels high, greedy CTC."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

__all__ = ["Reader", "load_recogniser", "weights_of"]

HEIGHT = 64
MARGIN = 0.1  # of a word's height, EasyOCR's add_margin
BATCH = 8


def weights_of(name: str) -> dict[str, Tensor]:
    """One of EasyOCR's weight files, without the prefix that training in parallel left."""
    from easyocr_en_models import model_dir

    found = torch.load(Path(model_dir()) / name, map_location="cpu", weights_only=True)
    return {key.removeprefix("module."): tensor for key, tensor in found.items()}


def load_recogniser() -> nn.Module:
    """EasyOCR's English recogniser of the second generation, in eval mode: grey [N, 1, 64, W] → [N, W / 4 − 1, 97]."""
    from easyocr.model.vgg_model import Model

    characters = _characters()
    model = Model(input_channel=1, output_channel=256, hidden_size=256, num_class=len(characters) + 1)
    model.load_state_dict(weights_of("english_g2.pth"))
    return model.eval()


def _characters() -> str:
    from easyocr.config import recognition_models

    return str(recognition_models["gen2"]["english_g2"]["characters"])


class Reader:
    """Cuts words out of grey pages, and spells a recogniser's outputs."""

    def __init__(self) -> None:
        from easyocr.utils import CTCLabelConverter

        self._converter = CTCLabelConverter(_characters())

    def cut(self, pixels: np.ndarray, words: Sequence[np.ndarray]) -> list[np.ndarray]:
        """Grey images, 64 pixels high, of corners [4, 2] on a page [H, W, 3]."""
        import cv2
        from easyocr.utils import compute_ratio_and_resize, four_point_transform

        grey = cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY)
        found = []
        for corners in words:
            word = four_point_transform(grey, _widened(corners))
            found.append(compute_ratio_and_resize(word, word.shape[1], word.shape[0], HEIGHT)[0])
        return found

    def batches(self, images: Sequence[np.ndarray]) -> tuple[list[tuple[Tensor, Tensor]], list[int]]:
        """The recogniser's inputs, images of like width together, and which image each row of them is."""
        from easyocr.recognition import AlignCollate
        from PIL import Image

        by_width = defaultdict(list)
        for number, image in enumerate(images):
            by_width[HEIGHT * math.ceil(image.shape[1] / HEIGHT)].append(number)
        inputs, order = [], []
        for width, members in sorted(by_width.items()):
            collate = AlignCollate(imgH=HEIGHT, imgW=width, keep_ratio_with_pad=True)
            for start in range(0, len(members), BATCH):
                part = members[start : start + BATCH]
                # Its second argument is what an attention decoder would read; this recogniser has none.
                x = collate([Image.fromarray(images[number]) for number in part])
                inputs.append((x, torch.zeros(len(part), 1, dtype=torch.long)))
                order += part
        return inputs, order

    def spell(self, outputs: Sequence[Tensor], order: Sequence[int]) -> list[str]:
        """Texts of the images, from outputs [N, T, 97] on their batches."""
        texts = [""] * len(order)
        found = (line for output in outputs for line in output.argmax(2).numpy())
        for number, line in zip(order, found, strict=True):
            texts[number] = self._converter.decode_greedy(line, [len(line)])[0]
        return texts


def _widened(corners: np.ndarray) -> np.ndarray:
    """Corners [4, 2] a margin further out, along the word's own directions."""
    along, down = corners[1] - corners[0], corners[3] - corners[0]
    length, height = np.linalg.norm(along), np.linalg.norm(down)
    margin = MARGIN * min(length, height)
    along, down = along / max(length, 1e-6) * margin, down / max(height, 1e-6) * margin
    return (corners + np.array([-along - down, along - down, along + down, down - along])).astype(np.float32)
