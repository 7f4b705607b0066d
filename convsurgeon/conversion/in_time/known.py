"""Times that earlier runs left on disk: where all of them are there, slow swaps are vetoed without timing anything."""

from __future__ import annotations

from pathlib import Path

import torch

from convsurgeon.base.batch_axis import batch_of
from convsurgeon.base.copies import duplicate
from convsurgeon.base.inputs import Inputs
from convsurgeon.conversion.in_time.latency_file import LatencyFile, entry_key
from convsurgeon.conversion.in_time.layer_calls import layer_calls
from convsurgeon.conversion.in_time.layer_times import LayerTimes, wanted_specs
from convsurgeon.conversion.in_time.timekeeper import Timekeeper
from convsurgeon.planning.latencies import Latencies
from convsurgeon.planning.options import Choices

__all__ = ["known_latencies"]


def known_latencies(
    model: torch.nn.Module,
    inputs: Inputs,
    choices: tuple[Choices, ...],
    keeper: Timekeeper,
    directory: Path,
) -> Latencies | None:
    """The times of every option of every site, if the file has them all; None otherwise."""
    place = keeper.place(model)
    file = LatencyFile(directory, place)
    if not file.entries or any(parameter.is_meta for parameter in model.parameters()):
        return None
    cases = layer_calls(duplicate(model).eval(), inputs, (choice.site for choice in choices if choice.options))
    wanted = wanted_specs(choices, cases)
    if any(
        entry_key(spec) not in file.entries.get(case.key(), {})
        for case, (_, specs) in wanted.items()
        for spec in (None, *specs)
    ):
        return None
    return Latencies(place, batch_of(inputs), LayerTimes(cases, file.entries).of)
