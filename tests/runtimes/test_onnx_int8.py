"""Layers of an ONNX graph by the modules that they were exported from."""

from __future__ import annotations

import pytest

from convsurgeon.runtimes.onnx_conversion import onnx_missing
from convsurgeon.runtimes.onnx_int8 import _layer

pytestmark = pytest.mark.skipif(onnx_missing() is not None, reason=str(onnx_missing()))


@pytest.mark.parametrize(
    ("kind", "weight", "name", "scopes", "layer"),
    [
        ("Conv", "stem.0.weight", "node_conv2d", None, "stem.0"),
        ("MatMul", "val_3", "node_linear", "['', 'head', 'linear']", "head"),
        ("MatMul", "onnx::MatMul_12", "/block/block.0/fc/MatMul", None, "block.0.fc"),
        ("Add", "stem.0.weight", "/stem/stem.0/Add", None, None),
        ("Conv", "other", "node", None, None),
    ],
)
def test_a_node_with_weights_tells_its_layer(
    kind: str, weight: str, name: str, scopes: str | None, layer: str | None
) -> None:
    """By its weights' name, by its scopes, or by its own name; what has no weights is no layer."""
    from onnx import helper

    node = helper.make_node(kind, ["x", weight], ["y"], name=name)
    if scopes is not None:
        entry = node.metadata_props.add()
        entry.key, entry.value = "pkg.torch.onnx.name_scopes", scopes
    assert _layer(node) == layer
