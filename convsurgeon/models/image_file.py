"""Image files as 8-bit RGB: scaled by what their numbers mean, or left out with the reason."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

__all__ = ["ENDINGS", "UnusableImage", "open_rgb"]

# Decoders that run other programs (Ghostscript for PostScript) or draw what is no picture are never asked.
_KINDS = Image.registered_extensions()
_FORMATS = tuple(sorted(set(_KINDS.values()) & set(Image.OPEN) - {"EPS", "WMF", "MPEG", "HDF5"}))
ENDINGS = frozenset(ending for ending, kind in _KINDS.items() if kind in _FORMATS)
# A small compressed file may hold a picture that takes gigabytes and a minute to read.
MOST_PIXELS = 64_000_000
_SIXTEEN_BITS = 65_535
_BYTE = 255


class UnusableImage(ValueError):
    """A picture that can't be taken as it is; the message says why."""


def open_rgb(path: Path) -> Image.Image:
    """A picture in RGB, its brightest possible value at 255.

    PIL itself clips what has more than 8 bits, so that 16-bit pictures would come out white and those of floats black.

    Raises:
        UnusableImage: too many pixels, or numbers of unknown range.
        OSError, ValueError, SyntaxError: what PIL raises for files that it can't read.
    """
    with Image.open(path, formats=_FORMATS) as image:
        if image.width * image.height > MOST_PIXELS:
            raise UnusableImage(f"{image.width}×{image.height} pixels; expected {MOST_PIXELS:,} at most")
        if image.mode.startswith(("I", "F")):
            return _scaled(image).convert("RGB")
        return image.convert("RGB")


def _scaled(image: Image.Image) -> Image.Image:
    """A grey picture of 16-bit numbers, or of floats between 0 and 1, in 8 bits."""
    values = np.asarray(image, dtype=np.float64)
    low, high = float(values.min()), float(values.max())
    whole = image.mode.startswith("I")
    if not (low >= 0 and high <= (_SIXTEEN_BITS if whole else 1)):
        expected = f"whole numbers from 0 to {_SIXTEEN_BITS:,}" if whole else "floats from 0 to 1"
        raise UnusableImage(f"values from {low:g} to {high:g} in mode {image.mode}; expected {expected}")
    full = _SIXTEEN_BITS if whole else 1.0
    return Image.fromarray(np.round(values / full * _BYTE).astype(np.uint8))
