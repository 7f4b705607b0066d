"""Budgets in a project's own tests: ``assert_budget`` for a model at hand, a pytest fixture for configured entries.

Installing convsurgeon makes the fixture known to pytest. torch is imported when one of them is used, not before.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from torch import nn

__all__ = ["assert_budget", "convsurgeon_check"]


def assert_budget(
    model: nn.Module,
    example_inputs: Any,
    *,
    macs: str | int | None = None,
    flops: str | int | None = None,
    params: str | int | None = None,
    weights_size: str | int | None = None,
    activation_memory: str | int | None = None,
    latency: str | None = None,
) -> None:
    """Fail unless one forward of the model (eval mode, on a weightless copy) stays within the limits.

    Args:
        model: any module; it is left as it is.
        example_inputs: a tensor, a tuple of positional arguments or a dict of keyword arguments.
        macs: most MACs, e.g. ``"2.1G"``.
        flops: the same in FLOPs = 2 × MACs.
        params: most parameters, e.g. ``"26M"``.
        weights_size: most bytes of parameters and buffers, e.g. ``"100MB"``.
        activation_memory: most bytes of live activations, e.g. ``"50MiB"``.
        latency: longest median forward on this machine, e.g. ``"20ms"``; here it does fail the test.

    Raises:
        AssertionError: a limit is exceeded; the message names the layers responsible.
        UsageError: no limit, or one that can't be read.
        ModelError: the model can't be opened, or fails on the inputs.
    """
    __tracebackhide__ = True
    from convsurgeon.budgets.assertion import model_failure

    given = {
        "macs": macs,
        "flops": flops,
        "params": params,
        "weights_size": weights_size,
        "activation_memory": activation_memory,
        "latency": latency,
    }
    failure = model_failure(model, example_inputs, {key: value for key, value in given.items() if value is not None})
    if failure is not None:
        raise AssertionError(failure)


@pytest.fixture
def convsurgeon_check(request: pytest.FixtureRequest) -> Callable[..., None]:
    """``convsurgeon_check("resnet50")`` fails unless that entry of the project's budgets is within its limits.

    The budgets are those found from the test's own folder upwards; ``baseline="main"`` holds the entry against
    another git revision's lock.
    """

    def check_entry(name: str, *, baseline: str | None = None) -> None:
        __tracebackhide__ = True
        from convsurgeon.budgets.assertion import entry_failure, folder_config

        failure = entry_failure(name, folder_config(request.path.parent), baseline)
        if failure is not None:
            raise AssertionError(failure)

    return check_entry
