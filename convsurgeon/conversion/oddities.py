"""What a fit refuses calibration inputs for, or says of them, where nothing is fitted yet: for plans and searches."""

from __future__ import annotations

from collections import deque

from convsurgeon.conversion.damage import calibration_of
from convsurgeon.conversion.data import Data
from convsurgeon.conversion.patient import Patient
from convsurgeon.transfer.variety import Variety

__all__ = ["oddities"]


def oddities(patient: Patient, data: Data) -> tuple[str, ...]:
    """One pass over the calibration inputs; nothing is said where there are none, or where random weights need none.

    Raises:
        UsageError: they are of the wrong kind, or not finite, or without anything to tell apart.
    """
    calibration = None if patient.untrained else calibration_of(patient, data)
    if calibration is None:
        return ()
    variety = Variety()
    deque(variety.watch(calibration.fitting(patient.model)), maxlen=0)
    variety.refuse_none()
    return tuple(note for note in (calibration.note, variety.note()) if note)
