"""Pages of words in Debian's free fonts: sizes, colours, slopes, shades and noise vary, all drawn with a seed."""

from __future__ import annotations

import math
import random
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

__all__ = ["Page", "Word", "draw_pages"]

HEIGHT, WIDTH, EDGE = 384, 512, 24
SIZES = range(15, 33)
SLOPE = 2.5  # degrees, at most
FONTS = Path("/usr/share/fonts/truetype")  # where fonts-dejavu-core and fonts-liberation put them
FACES = (
    "dejavu/DejaVuSans.ttf",
    "dejavu/DejaVuSans-Bold.ttf",
    "dejavu/DejaVuSerif.ttf",
    "dejavu/DejaVuSansMono.ttf",
    "liberation/LiberationSans-Regular.ttf",
    "liberation/LiberationSans-Bold.ttf",
    "liberation/LiberationSerif-Regular.ttf",
    "liberation/LiberationSerif-Italic.ttf",
    "liberation/LiberationMono-Regular.ttf",
)
VOCABULARY = """
    about above across after again against almost along already also always among animal another answer around asked
    away back became because before began behind being below better between both bottle bread bridge bring brought
    building carry caught centre certain change chapter children city clear close coast colour common country course
    cross dark deep different direction door down during early earth east enough evening every example eyes family
    far father fence field figure find fire first fish floor flower follow food foot form found free friend full
    garden gave given glass gold government grass great green ground group grow half hand harbour head hear heavy
    high hill history horse hour house hundred ice idea important inch inside island just keep kind king knew land
    language large last later laugh learn leave left letter light line list listen little long machine made many map
    mark matter measure might mile minute money month moon morning mother mountain music name near never night north
    notice number object ocean often open order other paper part people picture piece plain plan plant point pound
    power problem product public pull question quick quiet rain reach ready remember rest river road rock round rule
    sail same school science second sentence several shape ship short should shown side silver simple since sleep
    slow small snow something song south space special stand star start state station stone stood story street
    strong summer surface table taken talk teach thought thousand through today together toward town travel tree
    true under until usual valley village voice wait walk wall warm watch water weather week west wheel where which
    white whole wind window winter without wonder wood work world write year yellow young
"""


@dataclass(frozen=True)
class Word:
    """A text and the corners [4, 2] (x, y) around its ink, clockwise from the upper left one."""

    text: str
    corners: np.ndarray


@dataclass(frozen=True)
class Page:
    """Pixels [H, W, 3], uint8, and the words on them."""

    pixels: np.ndarray
    words: tuple[Word, ...]


def draw_pages(count: int, seed: int) -> list[Page]:
    """Pages of 384 × 512 pixels with some twenty words each; other seeds give other pages."""
    return [_draw(random.Random(1000 * seed + number)) for number in range(count)]


def _draw(chance: random.Random) -> Page:
    ink = Image.new("L", (WIDTH, HEIGHT))
    words = _write(ImageDraw.Draw(ink), chance)
    slope = chance.uniform(-SLOPE, SLOPE)
    covered = np.asarray(ink.rotate(slope, Image.Resampling.BICUBIC), dtype=np.float32)[:, :, None] / 255
    ground, text = _colours(chance)
    noise = np.random.default_rng(chance.getrandbits(32)).normal(0, chance.uniform(0, 12), covered.shape)
    pixels = ground * (1 - covered) + text * covered + noise
    return Page(
        pixels.round().clip(0, 255).astype(np.uint8),
        tuple(Word(word.text, _turned(word.corners, slope)) for word in words),
    )


def _write(canvas: ImageDraw.ImageDraw, chance: random.Random) -> list[Word]:
    """Lines of words in one face and size each, until the page is full."""
    words, top = [], float(EDGE)
    while True:
        size = chance.choice(SIZES)
        if top + 1.3 * size > HEIGHT - EDGE:
            return words
        font = ImageFont.truetype(str(FONTS / chance.choice(FACES)), size)
        left = EDGE + chance.uniform(0, 60)
        while True:
            text = _spelt(chance)
            x0, y0, x1, y1 = canvas.textbbox((left, top), text, font=font)
            if x1 > WIDTH - EDGE:
                break
            canvas.text((left, top), text, fill=255, font=font)
            words.append(Word(text, np.array([(x0, y0), (x1, y0), (x1, y1), (x0, y1)], dtype=np.float32)))
            left = x1 + chance.uniform(0.6, 2.5) * size
        top += chance.uniform(1.5, 2.6) * size


def _spelt(chance: random.Random) -> str:
    """A word as it is, with a capital, in capitals, or a number."""
    word = chance.choice(VOCABULARY.split())
    return chance.choices((word, word.capitalize(), word.upper(), str(chance.randrange(100, 100_000))), (6, 2, 1, 1))[0]


def _colours(chance: random.Random) -> tuple[np.ndarray, np.ndarray]:
    """A ground [H, W, 3] that shades from one colour to another, and a colour [3] far darker or far lighter."""
    light, dark = ([chance.uniform(low, low + 75) for _ in range(3)] for low in (180, 0))
    ground, text = (light, dark) if chance.random() < 0.75 else (dark, light)
    along = np.linspace(0, chance.uniform(-30, 30), WIDTH)[None, :, None]
    down = np.linspace(0, chance.uniform(-30, 30), HEIGHT)[:, None, None]
    return np.array(ground) + along + down, np.array(text)


def _turned(corners: np.ndarray, degrees: float) -> np.ndarray:
    """Where ``Image.rotate`` takes the corners [4, 2]: against the clock around the page's centre."""
    cos, sin = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    centre = np.array([WIDTH / 2, HEIGHT / 2])
    return ((corners - centre) @ np.array([[cos, -sin], [sin, cos]]) + centre).astype(np.float32)
