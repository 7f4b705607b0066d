"""Recovery: training by distillation, where the closed forms end. The verb is in ``verb``, the steps in ``loop``."""

from convsurgeon.recovery.companion import Extra, ParameterGroup, QuietExtra, State
from convsurgeon.recovery.history import History, HistoryRow, Score
from convsurgeon.recovery.settings import ImageSettings, RecoverSettings

__all__ = [
    "Extra",
    "History",
    "HistoryRow",
    "ImageSettings",
    "ParameterGroup",
    "QuietExtra",
    "RecoverSettings",
    "Score",
    "State",
]
