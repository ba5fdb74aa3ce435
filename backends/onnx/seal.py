"""The certificate travels: written into the model, and bound to its weights, its nodes and its defaults."""

import json
from collections.abc import Mapping, Sequence
from hashlib import sha256
from typing import Any

from onnx import ModelProto, helper, numpy_helper

from banach.backends.onnx.contract import SIZES
from banach.backends.onnx.sameness import structure

CERTIFICATE, TEXT, VERSION = "banach.certificate", "banach.spec", "banach.version"
COMPLEX = "banach.complex"  # the inputs and outputs that are complex numbers, in pairs of reals


def seal(model: ModelProto, certificates: Sequence[Mapping[str, Any]], facts: Mapping[str, str]) -> None:
    """Adds certificates and `facts` (the spec's text, the version, ..) to the model's metadata."""
    document = {"format": 1, "certificates": list(certificates), "fingerprint": fingerprint(model)}
    text = json.dumps(document, ensure_ascii=False, separators=(",", ":"), sort_keys=True)
    here = {entry.key: entry.value for entry in model.metadata_props}
    helper.set_model_props(model, dict(sorted({**here, **facts, CERTIFICATE: text}.items())))


def fingerprint(model: ModelProto) -> dict[str, Any]:
    """What the certificate is bound to: a hash for every weight, one for the rest, the contract on sizes."""
    weights = {}
    for tensor in model.graph.initializer:
        array = numpy_helper.to_array(tensor)
        head = f"{array.dtype}{array.shape}".encode()
        weights[tensor.name] = sha256(head + array.tobytes()).hexdigest()
    contract = next((entry.value for entry in model.metadata_props if entry.key == SIZES), "")
    return {"weights": weights, "structure": structure(model), "sizes": contract}
