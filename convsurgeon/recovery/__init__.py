"""Recovery: training by distillation, where the closed forms end. The verb is in ``verb``, the steps in ``loop``."""

from convsurgeon.recovery.callback import Callback, ParameterGroup, QuietCallback, State
from convsurgeon.recovery.history import History, HistoryRow, Score
from convsurgeon.recovery.settings import ImageSettings, RecoverSettings

__all__ = [
    "Callback",
    "History",
    "HistoryRow",
    "ImageSettings",
    "ParameterGroup",
    "QuietCallback",
    "RecoverSettings",
    "Score",
    "State",
]
