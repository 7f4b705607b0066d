"""Every default of recovery, with its reason in docs/recover.md; the command line reads its defaults from here."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from convsurgeon.base.records import Record

__all__ = ["Augment", "ImageSettings", "Precision", "RecoverSettings"]

# Of rates, weights, bounds and temperatures: the product of two is still a number in float32.
_LARGEST = 1e18

Precision = Literal["auto", "fp32", "bf16", "fp16"]
Augment = Literal["none", "crop", "crop-flip"]


class RecoverSettings(Record):
    """How a converted network is trained back towards its original.

    Learning rates rise over the ``warmup`` share of the steps and fall to zero along a cosine.

    Loss: ``output_weight`` × the distance of the outputs + ``feature_weight`` × the mean relative error at the
    replaced sites + ``label_weight`` × the cross-entropy, where the data has labels, or a detector's own losses, where
    it has boxes. Logits are compared at ``temperature``, values by their relative squared error; heads are what a
    detector computes before it chooses boxes.

    None: no bound on the gradient (``clip``), an evaluation after every epoch (``evaluate_every``).
    """

    epochs: int = Field(default=10, ge=1, description="Passes over the data.")
    steps: int | None = Field(default=None, ge=1, description="Optimiser steps, instead of epochs.")
    optimizer: Literal["adamw", "sgd"] = Field(default="adamw", description="The optimiser.")
    lr_new: float = Field(default=2e-3, gt=0, le=_LARGEST, description="Peak learning rate of the replaced layers.")
    lr_old: float = Field(
        default=5e-4, ge=0, le=_LARGEST, description="Peak learning rate of all other layers; 0 leaves them alone."
    )
    weight_decay: float = Field(
        default=1e-4, ge=0, le=_LARGEST, description="Weight decay, on weights but not on biases and norms."
    )
    warmup: float = Field(default=0.1, ge=0, lt=1, description="Share of the steps in which the rates rise.")
    clip: float | None = Field(default=5.0, gt=0, le=_LARGEST, description="Bound on the gradient's norm.")
    outputs: Literal["auto", "logits", "values", "heads"] = Field(
        default="auto",
        description="What the outputs are; auto takes one tensor [N, K] for logits, and of a network that takes a list "
        "of images the heads: what it computes before it chooses boxes.",
    )
    temperature: float = Field(default=4.0, gt=0, le=_LARGEST, description="Temperature at which logits are compared.")
    output_weight: float = Field(default=1.0, ge=0, le=_LARGEST, description="Weight of the distance of the outputs.")
    feature_weight: float = Field(
        default=1.0, ge=0, le=_LARGEST, description="Weight of the relative error at the replaced layers."
    )
    label_weight: float = Field(
        default=0.0, ge=0, le=_LARGEST, description="Weight of the cross-entropy, where class folders give labels."
    )
    norms: Literal["settle", "batch", "frozen"] = Field(
        default="settle",
        description="Batch norms follow the batches, keep their statistics, or first the one and then the other.",
    )
    settle_share: float = Field(
        default=0.5, ge=0, le=1, description="Share of the steps in which settling batch norms follow the batches."
    )
    precision: Precision = Field(default="auto", description="auto: half precision where a GPU has it, else fp32.")
    evaluate_every: int | None = Field(default=None, ge=1, description="Steps between evaluations.")
    checkpoint_every: int = Field(default=500, ge=1, description="Steps between checkpoints.")
    keep: Literal["best", "last"] = Field(default="best", description="Which weights the result has.")
    seed: int = Field(default=0, ge=0, description="Seed of order, augmentation and held-out images.")


class ImageSettings(Record):
    """How a folder of images becomes training batches; parts of images go through the model's own preprocessing."""

    batch: int = Field(default=64, ge=1, description="Images of one step, over all processes.")
    augment: Augment = Field(default="crop-flip", description="Random parts of the images, mirrored or not.")
    smallest_crop: float = Field(
        default=0.5, gt=0, le=1, description="Least share of an image's area in a random part."
    )
    held_out: float = Field(
        default=0.1, ge=0, lt=1, description="Share of --data kept back to judge the result on; 0 with --evaluate."
    )
    held_out_limit: int = Field(default=2000, ge=0, description="Images kept back at most.")
    workers: int = Field(default=0, ge=0, description="Processes that read images.")
    seed: int = Field(default=0, ge=0)
