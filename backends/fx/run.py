"""A model in torch that takes and gives numpy arrays. torch is imported when one is made, not before."""

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, final

import numpy as np

from banach.backends.base import Artifact
from banach.ir import whole_file
from banach.ir.diagnostic import Code, Diagnostic, RunError
from banach.ir.dims import Assumptions
from banach.ir.graph import Graph, Port

if TYPE_CHECKING:
    import torch

    from banach.backends.fx.module import Lowered

NO_TORCH = Code(
    "B601",
    "no-torch",
    """The torch.fx backend needs torch, which is not installed.

`pip install "banach[torch]"` installs it; `check`, and compiling to ONNX, work without.
""",
)
OTHER_WEIGHTS = Code(
    "B606",
    "other-weights",
    """A folder holds the weights of another model: a name is missing, is not known, or has another shape.""",
)


NO_DEVICE = Code(
    "B609",
    "no-device",
    """PyTorch was asked to compute on a GPU, and finds none.

`banach doctor` tells what is there.
""",
)


def artifact(
    graph: Graph,
    trainable: Mapping[str, np.ndarray | None] | None = None,
    sizes: Mapping[str, int] | None = None,
) -> "FxArtifact":
    """The graph as a runnable model; see `lower` for the arguments. RunError (B601): torch is missing.

    SpecError (B602, B603, B604): the graph cannot be lowered.
    """
    try:
        from banach.backends.fx.lower import lower  # torch takes seconds to import
    except ModuleNotFoundError as missing:
        if missing.name not in ("torch", "safetensors"):
            raise
        fault = f"the fx backend needs {missing.name}, which is not installed"
        raise RunError(Diagnostic(NO_TORCH, fault, fix='pip install "banach[torch]"')) from None
    held = set(trainable or {})
    ports = tuple(port for port in graph.inputs if port.name not in held)
    return FxArtifact(ports, graph.output_names, lower(graph, trainable, sizes), graph.contract)


def moved(artifact: "FxArtifact", device: str) -> "FxArtifact":
    """The artifact with its module on a device. RunError (B609): there is none."""
    import torch

    if device.startswith("cuda") and not torch.cuda.is_available():
        fault = f"torch {torch.__version__} finds no GPU"
        fix = "leave --device out, or install a torch with CUDA, and a driver for it"
        raise RunError(Diagnostic(NO_DEVICE, fault, fix=fix))
    artifact.module.to(device)
    return artifact


@final
class FxArtifact(Artifact):
    """A lowered graph. `module` is the torch module, for training, `.to(device)` and torch.compile."""

    def __init__(
        self,
        inputs: Sequence[Port],
        outputs: Sequence[str],
        module: "Lowered",
        contract: Assumptions | None = None,
    ):
        self.inputs, self.outputs, self.module = tuple(inputs), tuple(outputs), module
        self.contract = contract

    def evaluate(self, arguments: Sequence[np.ndarray]) -> list[np.ndarray]:
        """The outputs for one array per input, worked out where the module lives."""
        import torch

        from banach.backends.fx.module import to_numpy, to_torch

        device = _device(self.module)
        # Integers without axes are counts, which the host reads: they stay there.
        given = [
            to_torch(array).to(device if array.ndim or array.dtype.kind != "i" else "cpu")
            for array in arguments
        ]
        with torch.no_grad():
            return [to_numpy(tensor) for tensor in self.module(*given)]

    def save(self, folder: str | Path) -> None:
        """Writes weights.safetensors, code.py (to be read) and model.json. RunError (B705): none can be."""
        from safetensors.torch import save

        target = Path(folder)
        weights = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in _weights(self.module)}
        ports = [
            {"name": port.name, "type": str(port.type), "optional": port.default is not None}
            for port in self.inputs
        ]
        description: dict[str, Any] = {"inputs": ports, "outputs": list(self.outputs)}
        if self.pairs:  # pairs of reals for the module, complex numbers for whoever calls `run`
            description["complex"] = {
                "inputs": sorted(self.pairs.inputs),
                "outputs": sorted(self.pairs.outputs),
            }
        files = {
            "weights.safetensors": save(weights),
            "code.py": code(self.module).encode(),
            "model.json": json.dumps(description, indent=2, ensure_ascii=False).encode() + b"\n",
        }
        whole_file.write({target / name: content for name, content in files.items()}, target)

    def restore(self, folder: str | Path) -> None:
        """Takes the weights that `save` wrote for the same model. RunError (B606): they are another's."""
        from safetensors.torch import load

        found = load((Path(folder) / "weights.safetensors").read_bytes())
        try:
            self.module.load_state_dict(found)
        except RuntimeError as mismatch:
            fix = "compile the spec that the folder was saved from"
            raise RunError(
                Diagnostic(OTHER_WEIGHTS, str(mismatch).splitlines()[-1].strip(), fix=fix)
            ) from None


def code(module: "Lowered") -> str:
    """The code of a module and of every region in it, outermost first."""
    from torch.fx import GraphModule

    parts = ["# What the model does, to be read. Written by banach; nothing runs this file.", "import torch"]
    for path, part in module.named_modules():
        if isinstance(part, GraphModule):
            title = path or type(module).__name__
            parts.append(f"# {title}\n{part.code.strip()}")
    return "\n\n\n".join(parts) + "\n"


def _weights(module: "torch.nn.Module") -> Iterator[tuple[str, Any]]:
    yield from sorted(module.state_dict().items())


def _device(module: "torch.nn.Module") -> Any:
    for tensors in (module.parameters(), module.buffers()):
        for tensor in tensors:
            return tensor.device
    return "cpu"
