"""Runs an ONNX file with ONNX Runtime: an artifact from a model, or from a file of whatever origin."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from types import MappingProxyType, ModuleType
from typing import Any

import numpy as np
from onnx import AttributeProto, GraphProto, ModelProto, TensorProto, ValueInfoProto, numpy_helper

from banach.backends.base import Artifact
from banach.backends.onnx import contract, external
from banach.backends.onnx.emit import ELEMENTS
from banach.backends.onnx.seal import COMPLEX
from banach.ir import pairs, whole_file
from banach.ir.diagnostic import Code, Diagnostic, RunError
from banach.ir.dims import Size, named
from banach.ir.graph import Port
from banach.ir.span import Span
from banach.ir.tensor import Tensor
from banach.ir.tensor_type import TensorType

NO_RUNTIME = Code(
    "B613",
    "no-runtime",
    """ONNX Runtime is not installed. Checking and compiling do without it; running a file needs it.

`pip install "banach[cpu]"`, or `pip install "banach[gpu]"` for an NVIDIA GPU.
""",
)
NO_PROVIDER = Code(
    "B614",
    "no-provider",
    """The installed ONNX Runtime cannot compute where it was asked to.

A provider is a device's kernels: CPUExecutionProvider is always there; CUDAExecutionProvider comes with
`pip install "banach[gpu]"` and needs a driver and CUDA libraries that fit.
""",
)
REFUSED_FILE = Code(
    "B615",
    "refused-file",
    """ONNX Runtime does not accept the file: it needs an operator, or a dtype for one, that it has not.

A newer ONNX Runtime may have it. Files from `banach compile` use opset 20 and standard operators only;
float16 and bfloat16 have few kernels on a CPU.
""",
)
UNREADABLE_FILE = Code(
    "B711",
    "unreadable-model",
    """A file is no ONNX model that can be run here: it is missing, cut short, of another kind, or has parts
in other files than `NAME.onnx.data` beside it.

A model is one file up to 2 GB. Beyond, its weights are in one more of the same name, and both belong
together. Whatever else a model names is refused, because it could be any file of this machine.
""",
)
FAILED_RUN = Code(
    "B712",
    "failed-run",
    """ONNX Runtime gave up while running the model.

The usual causes are a place outside an axis, shapes that do not fit, or too little memory.
""",
)
TOO_LARGE = Code(
    "B713",
    "model-too-large",
    """An ONNX file holds at most 2 GB of anything but weights, which go into a file beside it, and one weight
holds at most 2 GB. Nothing has been written.

`banach compile --to fx` has no such bound; float32 weights take half of what float64 do.
""",
)

DTYPES: Mapping[int, str] = {element: dtype for dtype, element in ELEMENTS.items()}
CPU = "CPUExecutionProvider"


class OnnxArtifact(Artifact):
    """A model that ONNX Runtime runs, on the CPU unless `providers` says otherwise.

    `places` are those of the inputs in the spec, where it is at hand. The session is opened by the first run,
    or at once where providers are named. RunError: the model has inputs that are no tensors or a contract
    that is none (B711), there is no runtime (B613) or provider (B614), or it refuses the model (B615).
    """

    def __init__(
        self,
        model: ModelProto,
        providers: Sequence[str] = (),
        places: Mapping[str, Span | None] = MappingProxyType({}),
    ):
        self.model = model
        self.metadata: Mapping[str, str] = {entry.key: entry.value for entry in model.metadata_props}
        try:
            self.contract = contract.read(self.metadata)
            told = self.metadata.get(COMPLEX)
            self.pairs = pairs.read(told) if told is not None else pairs.ALL_REAL
        except (contract.BadContract, ValueError) as refusal:
            raise RunError(Diagnostic(UNREADABLE_FILE, f"the model cannot be read: {refusal}")) from None
        ports = _ports(model.graph, ours=self.contract is not None)
        self.inputs = [replace(port, place=places.get(port.name)) for port in ports]
        self.outputs = tuple(value.name for value in model.graph.output)
        self._providers = tuple(providers)
        if providers:
            self._session  # noqa: B018  a missing provider is found before the first run

    def evaluate(self, arguments: Sequence[np.ndarray]) -> Sequence[np.ndarray]:
        """The outputs for one argument per input, in order. RunError B712: the run failed."""
        session = self._session
        feed = {port.name: np.asarray(a) for port, a in zip(self.inputs, arguments, strict=True)}
        try:
            return session.run(list(self.outputs), feed)
        except Exception as failure:
            fix = "see that places lie inside their axes, and that sizes fit each other and the memory"
            raise RunError(Diagnostic(FAILED_RUN, f"the run failed: {_reason(failure)}", fix=fix)) from None

    @cached_property
    def _session(self) -> Any:
        runtime = _runtime()
        wanted = list(self._providers or (CPU,))
        here = runtime.get_available_providers()
        missing = [name for name in wanted if name not in here]
        if missing:
            raise _absent(missing[0], here)
        options = runtime.SessionOptions()
        options.log_severity_level = 4  # its messages reach the user through our diagnostics
        try:
            content = self._content(runtime, options)
            session = runtime.InferenceSession(content, options, providers=wanted)
        except Exception as failure:
            message = f"ONNX Runtime {runtime.__version__} refuses the model: {_reason(failure)}"
            raise RunError(Diagnostic(REFUSED_FILE, message)) from None
        # ONNX Runtime falls back to the CPU without a word where a provider does not start.
        fallen = [name for name in wanted if name not in session.get_providers()]
        if fallen:
            raise _absent(fallen[0], session.get_providers())
        return session

    def _content(self, runtime: ModuleType, options: Any) -> bytes:
        """The model as one message; weights that do not fit into one are handed over as they are."""
        if external.weight(self.model) <= external.LARGEST:
            return self.model.SerializeToString()
        arrays = {tensor.name: numpy_helper.to_array(tensor) for tensor in external.large(self.model)}
        values = [runtime.OrtValue.ortvalue_from_numpy(array) for array in arrays.values()]
        options.add_external_initializers(list(arrays), values)
        self._held = arrays, values  # the session reads them where they are
        return external.light(self.model, "in memory").SerializeToString()


def load(path: str | Path, providers: Sequence[str] = ()) -> OnnxArtifact:
    """The model in a file, and its weights. RunError B711: it is none, is cut short, or names other files."""
    path = Path(path)
    try:
        if not path.is_file():
            raise _unreadable(path, "is no file" if path.exists() else "is not there")
        if path.stat().st_size > external.LARGEST:
            raise _unreadable(path, f"is larger than {external.LARGEST} bytes")
        content = path.read_bytes()
    except OSError as failure:
        raise _unreadable(path, f"cannot be read: {failure.strerror}") from None
    try:
        model = ModelProto.FromString(content)
    except Exception:
        raise _unreadable(path, "is no ONNX model, or is cut short") from None
    if not (model.ir_version and model.opset_import and model.graph.output):
        raise _unreadable(path, "is no ONNX model, or is cut short")
    try:
        external.join(model, path)
    except (external.BadData, OSError) as wrong:
        raise _unreadable(path, str(wrong)) from None
    if any(external.is_external(tensor) for tensor in _tensors(model)):
        raise _unreadable(path, "keeps constants in other files")
    return OnnxArtifact(model, providers)


def save(model: ModelProto, path: str | Path) -> None:
    """Writes a model; weights beyond 2 GB into a file beside it.

    RunError: a part of it is too large (B713), or it cannot be written (B705).
    """
    path = Path(path)
    files: dict[Path, bytes] = {}
    largest = max((len(tensor.raw_data) for tensor in model.graph.initializer), default=0)
    if external.weight(model) > external.LARGEST >= largest:
        files[external.beside(path)] = external.data(model)
        model = external.light(model, external.beside(path).name)
    try:
        content = model.SerializeToString(deterministic=True)
    except Exception:  # protobuf has no exception of its own for a message that is too large
        content = b""
    if not 0 < len(content) <= external.LARGEST:
        fix = "compile it with --to fx, or make it smaller"
        raise RunError(Diagnostic(TOO_LARGE, f"a part of it has more than {external.LARGEST} bytes", fix=fix))
    whole_file.write({**files, path: content})


def _runtime() -> ModuleType:
    try:
        import onnxruntime  # optional: an extra of the package
    except ImportError:
        raise RunError(
            Diagnostic(NO_RUNTIME, "ONNX Runtime is not installed", fix='pip install "banach[cpu]"')
        ) from None
    return onnxruntime


def _absent(name: str, here: Sequence[str]) -> RunError:
    fix = 'pip install "banach[gpu]"' if name.startswith("CUDA") else f"use {CPU}"
    return RunError(Diagnostic(NO_PROVIDER, f"there is no {name}; there is {', '.join(here)}", fix=fix))


def _unreadable(path: Path, what: str) -> RunError:
    return RunError(
        Diagnostic(UNREADABLE_FILE, f"{path} {what}", fix="give a file that `banach compile` wrote")
    )


def _reason(failure: Exception) -> str:
    """The last and most particular part of what ONNX Runtime says, on one line."""
    text = " ".join(str(failure).split())
    return text.rsplit("Status Message: ", 1)[-1].split("] : ")[-1][:300] or type(failure).__name__


def _ports(graph: GraphProto, ours: bool) -> list[Port]:
    defaults = {tensor.name: tensor for tensor in graph.initializer}
    ports = []
    for value in graph.input:
        tensor = defaults.get(value.name)
        try:
            default = None if tensor is None else Tensor(numpy_helper.to_array(tensor))
        except (ValueError, TypeError):
            message = f"the default of the input `{value.name}` is not the array that it says it is"
            raise RunError(Diagnostic(UNREADABLE_FILE, message)) from None
        ports.append(Port(value.name, _type(value, ours), default))
    return ports


def _type(value: ValueInfoProto, ours: bool) -> TensorType:
    tensor = value.type.tensor_type
    if tensor.elem_type not in DTYPES or not tensor.HasField("shape"):
        message = f"the input `{value.name}` is no tensor of known rank in {', '.join(ELEMENTS)}"
        raise RunError(Diagnostic(UNREADABLE_FILE, message))
    shape: list[Size] = []
    for axis, dim in enumerate(tensor.shape.dim):
        if dim.HasField("dim_value"):
            shape.append(dim.dim_value)
            continue
        # In a file of ours `2*n` is a size; elsewhere such an axis takes what the operations take.
        known = contract.axis(dim.dim_param) if ours else None
        plain = dim.dim_param.isidentifier()
        shape.append(known or named(dim.dim_param if plain else f"axis_{axis}_of_{value.name}"))
    return TensorType(DTYPES[tensor.elem_type], tuple(shape))


def _tensors(model: ModelProto) -> Iterator[TensorProto]:
    """Every tensor of a model, those in attributes, inner graphs and functions included."""
    pending: list[Any] = [model.graph, *model.functions]
    while pending:
        holder = pending.pop()
        if isinstance(holder, GraphProto):
            yield from holder.initializer
            for sparse in holder.sparse_initializer:
                yield from (sparse.values, sparse.indices)
        for node in holder.node:
            for attribute in node.attribute:
                yield from _own(attribute)
                pending.extend([attribute.g, *attribute.graphs])


def _own(attribute: AttributeProto) -> Iterator[TensorProto]:
    yield from (attribute.t, *attribute.tensors)
    for sparse in (attribute.sparse_tensor, *attribute.sparse_tensors):
        yield from (sparse.values, sparse.indices)
