"""How many calibration images the layers' unknowns call for."""

from __future__ import annotations

import math

from convsurgeon.families.regression.problems import unknowns_of
from convsurgeon.families.regression.samples import HELD_EVERY
from convsurgeon.survey.sites import Survey
from convsurgeon.transfer.calibration import HELD_BACK_EVERY

__all__ = ["images_needed"]

FEWEST_IMAGES = 64
MOST_IMAGES = 2048
# With fewer, a least-squares fit follows the samples' noise, and late layers show no error where there is some.
SAMPLES_PER_UNKNOWN = 2


def images_needed(survey: Survey, batch: int) -> int:
    """Images that give every layer that may be replaced two samples per unknown, between 64 and 2,048.

    ``batch`` counts the images of the inputs that the survey saw. Some images are held back to judge fits on.
    """
    fitted = (1 - 1 / HELD_BACK_EVERY) * (1 - 1 / HELD_EVERY)
    wanted = [
        SAMPLES_PER_UNKNOWN * unknowns_of(site.shape) / (max(1, site.positions) / batch * fitted)
        for site in survey.sites
        if site.obstacle is None
    ]
    return min(MOST_IMAGES, max(FEWEST_IMAGES, math.ceil(max(wanted, default=0))))
