"""What the benchmarks of one network begin with: the network and its conversion as the command line names them."""

from __future__ import annotations

import argparse
from dataclasses import dataclass

import torch
from torch import Tensor, nn

import convsurgeon
from convsurgeon.models.loading import load_model

__all__ = ["Subject", "parser_for"]


def parser_for(description: str | None, threads: int = 1) -> argparse.ArgumentParser:
    """The arguments that say what to convert and how to run it."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("method")
    parser.add_argument("--target")
    parser.add_argument("--only", action="append", default=[])
    parser.add_argument("--precision", help="default: what the runtime takes by itself")
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--threads", type=int, default=threads)
    return parser


@dataclass(frozen=True)
class Subject:
    """A network with random weights, and noise [N, C, H, W] for it."""

    original: nn.Module
    images: Tensor
    given: argparse.Namespace

    @classmethod
    def of(cls, given: argparse.Namespace) -> Subject:
        """With as many threads as were asked for from here on."""
        torch.set_num_threads(given.threads)
        loaded = load_model(given.model, weights="none", input_shape=None, device="cpu")
        images = torch.randn(given.batch, *loaded.example_inputs.shapes()[0][1:])
        return cls(loaded.model.eval(), images, given)

    def converted(self) -> nn.Module:
        """By the method that was asked for, with random weights."""
        rules = convsurgeon.Rules(only=tuple(self.given.only)) if self.given.only else None
        done = convsurgeon.convert(
            self.original,
            self.images[:1],
            method=self.given.method,
            target=self.given.target,
            rules=rules,
            random_weights=True,
        )
        return done.model.eval()
