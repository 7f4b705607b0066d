"""Every default of recovery, with its reason in docs/recover.md; the command line reads its defaults from here."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from convsurgeon.base.records import Record

__all__ = ["Augment", "ImageSettings", "Precision", "RecoverSettings"]

Precision = Literal["auto", "fp32", "bf16", "fp16"]
Augment = Literal["none", "crop", "crop-flip"]


class RecoverSettings(Record):
    """How a converted network is trained back towards its original.

    Length: ``steps`` optimiser steps if given, else ``epochs`` passes over the data. ``lr_new`` is the peak learning
    rate of the replaced convolutions, ``lr_old`` of everything else; both rise over the first ``warmup`` share of
    the steps and fall to zero along a cosine. ``weight_decay`` acts on weights, not on biases and norms; ``clip``
    bounds the norm of the gradient (None: no bound).

    Loss: ``output_weight`` × the distance of the outputs + ``feature_weight`` × the mean relative error at the
    replaced sites + ``label_weight`` × the cross-entropy, where the data has labels. ``outputs`` says what the
    outputs are: logits (compared at ``temperature``) or values (relative squared error); auto takes one tensor
    [N, K] for logits.

    ``norms``: batch norms use the batch's statistics and follow it ("batch"), keep what they have ("frozen"), or
    follow for the first ``settle_share`` of the steps and then keep what they found ("settle").
    ``evaluate_every`` and ``checkpoint_every`` count steps; None evaluates after every epoch. ``keep`` says which
    weights the result has: those of the best evaluation, or the last ones.
    """

    epochs: int = Field(default=10, ge=1)
    steps: int | None = Field(default=None, ge=1)
    optimizer: Literal["adamw", "sgd"] = "adamw"
    lr_new: float = Field(default=2e-3, gt=0)
    lr_old: float = Field(default=5e-4, ge=0)
    weight_decay: float = Field(default=1e-4, ge=0)
    warmup: float = Field(default=0.1, ge=0, lt=1)
    clip: float | None = Field(default=5.0, gt=0)
    outputs: Literal["auto", "logits", "values"] = "auto"
    temperature: float = Field(default=4.0, gt=0)
    output_weight: float = Field(default=1.0, ge=0)
    feature_weight: float = Field(default=1.0, ge=0)
    label_weight: float = Field(default=0.0, ge=0)
    norms: Literal["settle", "batch", "frozen"] = "settle"
    settle_share: float = Field(default=0.5, ge=0, le=1)
    precision: Precision = "auto"
    evaluate_every: int | None = Field(default=None, ge=1)
    checkpoint_every: int = Field(default=500, ge=1)
    keep: Literal["best", "last"] = "best"
    seed: int = Field(default=0, ge=0)


class ImageSettings(Record):
    """How a folder of images becomes training batches.

    ``batch`` counts the images of one step over all processes. ``augment``: a random part of each image, also
    mirrored ("crop-flip"), goes through the model's own preprocessing; ``smallest_crop`` is the least share of the
    area. ``held_out``: the share of images kept back to judge the result on where no others are given, at most
    ``held_out_limit``. ``workers``: processes that read images.
    """

    batch: int = Field(default=64, ge=1)
    augment: Augment = "crop-flip"
    smallest_crop: float = Field(default=0.5, gt=0, le=1)
    held_out: float = Field(default=0.1, ge=0, lt=1)
    held_out_limit: int = Field(default=2000, ge=0)
    workers: int = Field(default=0, ge=0)
    seed: int = Field(default=0, ge=0)
