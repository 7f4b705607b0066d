"""What surgery refuses to open, each beside the twin that it accepts."""

from __future__ import annotations

import warnings
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from convsurgeon import convert, inspect
from convsurgeon.base.errors import (
    ConvsurgeonError,
    ModelLoadError,
    ModelRunError,
    UnknownName,
    UsageError,
    did_you_mean,
)
from tests.nets import IMAGE, Plain, Residual

X = torch.zeros(IMAGE)


class DistributedDataParallel(nn.Module):
    """Stands in for torch's wrapper, which needs a process group; it is known by its name."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module

    def forward(self, x: Tensor) -> Tensor:
        """Run the module inside."""
        return self.module(x)


def _scripted(network: nn.Module) -> nn.Module:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return torch.jit.script(network)


def _traced(network: nn.Module) -> nn.Module:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return torch.jit.trace(network.eval(), X)


def _exported(network: nn.Module) -> nn.Module:
    return torch.export.export(network.eval(), (X,)).module()


def _quantised(network: nn.Module) -> nn.Module:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return torch.ao.quantization.quantize_dynamic(network, {nn.Linear})


class _Inside(nn.Module):
    """Holds one ordinary convolution and something else."""

    def __init__(self, other: nn.Module) -> None:
        super().__init__()
        self.first, self.second, self.other = nn.Conv2d(3, 64, 3), nn.Conv2d(64, 64, 3), other

    def forward(self, x: Tensor) -> Tensor:
        """Only the ordinary ones run."""
        return self.second(self.first(x))


@pytest.mark.parametrize(
    ("wrap", "words"),
    [
        (DistributedDataParallel, "wrapped in DistributedDataParallel: convert model.module first"),
        (nn.DataParallel, "wrapped in DataParallel: convert model.module first"),
        (_scripted, "is a TorchScript module, which can't be edited: convert the Python model"),
        (_traced, "is a TorchScript module, which can't be edited"),
        (torch.compile, r"is compiled: convert model\._orig_mod first"),
        (_exported, r"can't be edited: pass the Python model it came from"),
        (_quantised, r"is quantised \(.*Linear\): convert the float model first"),
        (lambda network: _Inside(nn.LazyConv2d(8, 3)), r"uninitialised lazy layers: run it once .* \(at 'other'\)"),
        (lambda network: _Inside(_scripted(nn.Linear(2, 2))), r"TorchScript module.* \(at 'other'\)"),
    ],
    ids=["DDP", "DataParallel", "scripted", "traced", "compiled", "exported", "quantised", "lazy", "scripted inside"],
)
@pytest.mark.parametrize("verb", [inspect, convert])
def test_what_can_not_be_opened_is_refused_with_the_remedy(
    verb: Callable[..., object], wrap: Callable[[nn.Module], nn.Module], words: str
) -> None:
    """Wrapped, scripted, compiled, quantised and lazy models are refused, with what to do instead."""
    with pytest.raises(ModelLoadError, match=words):
        verb(wrap(Plain()), X)


@pytest.mark.parametrize(
    "network",
    [Plain(), DistributedDataParallel(Plain()).module, torch.compile(Plain())._orig_mod, _Inside(nn.Conv2d(3, 8, 3))],
    ids=["plain", "unwrapped", "not compiled", "initialised"],
)
def test_the_twins_are_accepted(network: nn.Module) -> None:
    """The model inside a wrapper, the original of a compiled one and an initialised layer are fine."""
    assert convert(network, X, method="compconv128", random_weights=True).plan.replaced


def test_a_lazy_layer_that_ran_once_is_accepted() -> None:
    """A lazy layer is an ordinary one after its first run."""
    network = nn.Sequential(nn.Conv2d(3, 64, 3), nn.LazyConv2d(64, 3))
    with pytest.raises(ModelLoadError, match="lazy"):
        inspect(network, X)
    network(X)
    assert [site.kind for site in inspect(network, X).sites] == ["Conv2d", "Conv2d"]


def test_a_float_model_prepared_for_quantisation_is_accepted() -> None:
    """torchvision's quantisable networks are float until they are converted: they are not refused."""
    from torchvision.models.quantization import mobilenet_v2

    with torch.device("meta"):
        network = mobilenet_v2(weights=None, quantize=False)
    assert len(inspect(network, torch.empty(1, 3, 64, 64)).sites) == 52


@pytest.mark.parametrize("thing", [None, "resnet50", Plain, X])
def test_what_is_no_module_is_refused(thing: object) -> None:
    """Anything but a module is refused by its type."""
    with pytest.raises(ModelLoadError, match=f"the model is a {type(thing).__name__}; expected a torch.nn.Module"):
        convert(thing, X)  # type: ignore[arg-type]


@pytest.mark.parametrize("shape", [(1, 4, 16, 16), (16,), (1, 3, 16), (2, 1, 3, 16, 16)])
def test_a_wrong_input_shape_is_refused(shape: tuple[int, ...]) -> None:
    """Inputs that the model does not take: their shape, the model's own words, and the option to set."""
    with pytest.raises(ModelRunError, match=r"the model fails on inputs \[.*--input N,C,H,W"):
        convert(Residual(), torch.zeros(shape))
    assert convert(Residual(), torch.zeros(3, 3, 8, 8), method="compconv128", random_weights=True)


class _Fails(nn.Module):
    """Raises what it is told to."""

    def __init__(self, error: BaseException | None) -> None:
        super().__init__()
        self.conv, self.last, self.error = nn.Conv2d(3, 64, 3), nn.Conv2d(64, 64, 3), error

    def forward(self, x: Tensor) -> Tensor:
        """Fail between two convolutions."""
        x = self.conv(x)
        if self.error is not None:
            raise self.error
        return self.last(x)


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (ValueError("not today\nsecond line"), "not today. Pass inputs"),
        (KeyError("boxes"), "'boxes'"),
        (RuntimeError(), "RuntimeError"),
        (NotImplementedError("no kernel"), "no kernel"),
        (AssertionError(), "AssertionError"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, BaseException) else None,
)
def test_a_forward_that_fails_is_one_clear_message(error: Exception, words: str) -> None:
    """Whatever a forward raises becomes one line with its own words; the same model that runs is accepted."""
    with pytest.raises(ModelRunError, match=words) as caught:
        inspect(_Fails(error), X)
    assert "\n" not in str(caught.value)
    assert inspect(_Fails(None), X).sites


def test_inputs_without_values_are_refused() -> None:
    """Inputs on the meta device can't feed a real model; on a meta model they are fine."""
    with pytest.raises(UsageError, match="on the meta device and have no values"):
        inspect(Plain(), X.to("meta"))
    assert inspect(Plain().to("meta"), X.to("meta")).sites
    assert inspect(Plain().to("meta"), X).sites


def test_every_refusal_is_a_convsurgeon_error() -> None:
    """One except clause catches every refusal."""
    for attempt in (
        lambda: convert(Residual(), X, method="nope"),
        lambda: convert(Residual(), X, target="macs=nope"),
        lambda: convert(Residual(), "nope"),
        lambda: convert(nn.DataParallel(Residual()), X),
        lambda: convert(Residual(), torch.zeros(3)),
        lambda: convert(Residual(), X, recipe="nope.toml"),
    ):
        with pytest.raises(ConvsurgeonError):
            attempt()


def test_did_you_mean_names_the_nearest() -> None:
    """Near names come first; where none is near there is no suggestion."""
    assert did_you_mean("resnet5", ["resnet50", "vgg16", "alexnet"]).startswith(" Did you mean resnet50")
    assert did_you_mean("zzz", ["resnet50"]) == ""
    assert issubclass(UnknownName, UsageError)
