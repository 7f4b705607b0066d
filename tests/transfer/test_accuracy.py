"""Top-1 accuracy."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from convsurgeon import UsageError, top1_accuracy


def test_accuracy_is_the_share_of_right_first_classes() -> None:
    """Three of four right is 0.75, over all batches together."""
    outputs = torch.eye(3)[[0, 1, 2, 2]]
    labels = torch.tensor([0, 1, 2, 0])
    found = top1_accuracy(nn.Identity(), [(outputs[:3], labels[:3]), (outputs[3:], labels[3:])])
    assert (found.images, found.top1) == (4, 0.75)


def test_the_model_keeps_its_mode_and_statistics() -> None:
    """Evaluation runs in eval mode and leaves a training model as it was."""
    model = nn.Sequential(nn.BatchNorm1d(3), nn.Dropout())
    model[1].eval()
    before = model[0].running_mean.clone()
    top1_accuracy(model, [(torch.randn(8, 3), torch.zeros(8, dtype=torch.long))])
    assert (model.training, model[0].training, model[1].training) == (True, True, False)
    assert torch.equal(model[0].running_mean, before)


def test_only_classifiers_have_accuracy() -> None:
    """Outputs that are not [N, classes] are refused, and so is having nothing to evaluate on."""
    with pytest.raises(UsageError, match=r"one output tensor \[N, classes\]"):
        top1_accuracy(nn.Identity(), [(torch.randn(2, 3, 4), torch.zeros(2))])
    with pytest.raises(UsageError, match="no readable image"):
        top1_accuracy(nn.Identity(), [])
