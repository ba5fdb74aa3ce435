"""The verifier finds every planted fault, those that onnx's checker and ONNX Runtime pass over included."""

from collections.abc import Callable

import numpy as np
import pytest
from onnx import GraphProto, ModelProto, NodeProto, TensorProto, ValueInfoProto, helper, numpy_helper

from banach.backends.onnx import lower as lowering
from banach.backends.onnx.check import faults, verify
from banach.ir.diagnostic import RunError
from banach.ir.graph import Builder
from banach.ir.tensor_type import TensorType

I64, BOOL, F32 = TensorProto.INT64, TensorProto.BOOL, TensorProto.FLOAT


def info(name: str, element: int, *shape: int | str) -> ValueInfoProto:
    return helper.make_tensor_value_info(name, element, shape)


def sound() -> ModelProto:
    """x <- x/2 while its norm is above 1, at most 9 times; and the sums of the rows of y, by a Scan."""
    nodes = [
        helper.make_node("Mul", ["s", "half"], ["s_new"]),
        helper.make_node("ReduceL2", ["s_new"], ["size"], keepdims=0),
        helper.make_node("Less", ["one", "size"], ["go_on"]),
    ]
    inputs = [info("i", I64), info("go", BOOL), info("s", F32, 3)]
    body = helper.make_graph(nodes, "body", inputs, [info("go_on", BOOL), info("s_new", F32, 3)])
    adds = [helper.make_node("Add", ["t", "row"], ["t_new"])]
    sums = helper.make_graph(adds, "sums", [info("t", F32, 3), info("row", F32, 3)], [info("t_new", F32, 3)])
    constants = {"half": np.float32(0.5), "one": np.float32(1), "most": np.int64(9), "true": np.bool_(True)}
    graph = helper.make_graph(
        [
            helper.make_node("Loop", ["most", "true", "x"], ["found"], name="solve", body=body),
            helper.make_node("Scan", ["x", "y"], ["total"], name="sum", body=sums, num_scan_inputs=1),
        ],
        "g",
        [info("x", F32, 3), info("y", F32, "n", 3)],
        [info("found", F32, 3), info("total", F32, 3)],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)


def loop(model: ModelProto) -> NodeProto:
    return model.graph.node[0]


def body(node: NodeProto) -> GraphProto:
    return next(a.g for a in node.attribute if a.name == "body")


def constant(model: ModelProto, name: str, value: np.ndarray) -> None:
    kept = [t for t in model.graph.initializer if t.name != name]
    del model.graph.initializer[:]
    model.graph.initializer.extend([*kept, numpy_helper.from_array(value, name)])


def retype(value: ValueInfoProto, other: ValueInfoProto) -> None:
    value.CopyFrom(other)


def carried_shape_drifts(model: ModelProto) -> None:
    inner = body(loop(model))
    inner.node[0].CopyFrom(helper.make_node("Concat", ["s", "s"], ["s_new"], axis=0))


def carried_shape_drifts_openly(model: ModelProto) -> None:
    carried_shape_drifts(model)
    retype(body(loop(model)).output[1], info("s_new", F32, 6))


def carried_dtype_drifts(model: ModelProto) -> None:
    body(loop(model)).node[0].CopyFrom(helper.make_node("Cast", ["s"], ["s_new"], to=TensorProto.DOUBLE))


def start_has_another_shape(model: ModelProto) -> None:
    retype(model.graph.input[0], info("x", F32, 4))


def condition_is_a_float(model: ModelProto) -> None:
    body(loop(model)).node[2].CopyFrom(helper.make_node("Sub", ["size", "one"], ["go_on"]))


def condition_is_a_vector(model: ModelProto) -> None:
    body(loop(model)).node[2].CopyFrom(helper.make_node("Less", ["one", "s_new"], ["go_on"]))


def condition_is_handed_on(model: ModelProto) -> None:
    retype(body(loop(model)).output[0], info("go", BOOL))


def no_trip_count(model: ModelProto) -> None:
    loop(model).input[0] = ""


def no_condition(model: ModelProto) -> None:
    loop(model).input[1] = ""


def trip_count_is_int32(model: ModelProto) -> None:
    constant(model, "most", np.asarray(9, np.int32))


def trip_count_is_a_vector(model: ModelProto) -> None:
    constant(model, "most", np.asarray([9, 9]))


def output_declared_with_another_shape(model: ModelProto) -> None:
    retype(model.graph.output[0], info("found", F32, 4))


def output_declared_with_another_rank(model: ModelProto) -> None:
    retype(model.graph.output[0], info("found", F32, 3, 1))


def output_declared_without_a_shape(model: ModelProto) -> None:
    model.graph.output[0].type.tensor_type.ClearField("shape")


def output_declared_with_another_dtype(model: ModelProto) -> None:
    retype(model.graph.output[0], info("found", TensorProto.DOUBLE, 3))


def stacked_output(model: ModelProto) -> None:
    inner = body(loop(model))
    inner.output.append(info("size", F32))
    loop(model).output.append("sizes")


def wrong_arity(model: ModelProto) -> None:
    body(loop(model)).input.append(info("extra", F32, 3))


def inner_type_error(model: ModelProto) -> None:
    constant(model, "half", np.asarray(0.5, np.float64))


def inner_name_shadows(model: ModelProto) -> None:
    inner = body(loop(model))
    inner.node[0].output[0] = "x"
    inner.node[1].input[0] = "x"
    retype(inner.output[1], info("x", F32, 3))


def name_in_two_bodies(model: ModelProto) -> None:
    inner = body(model.graph.node[1])
    inner.node[0].output[0] = "size"
    retype(inner.output[0], info("size", F32, 3))


def undefined_name(model: ModelProto) -> None:
    body(loop(model)).node[0].input[1] = "nowhere"


def inner_initializer(model: ModelProto) -> None:
    inner = body(loop(model))
    inner.initializer.append(numpy_helper.from_array(np.asarray(0.5, np.float32), "own"))
    inner.node[0].input[1] = "own"


def custom_domain(model: ModelProto) -> None:
    model.opset_import.append(helper.make_opsetid("com.microsoft", 1))


def backwards_scan(model: ModelProto) -> None:
    model.graph.node[1].attribute.append(helper.make_attribute("scan_input_directions", [1]))


def unread_scan_input(model: ModelProto) -> None:
    body(model.graph.node[1]).node[0].input[1] = "t"


PLANTED: list[tuple[Callable[[ModelProto], None], str]] = [
    (carried_shape_drifts, "6"),
    (carried_shape_drifts_openly, "6"),
    (carried_dtype_drifts, ""),
    (start_has_another_shape, "4"),
    (condition_is_a_float, "float"),
    (condition_is_a_vector, r"go_on.*\[3\]"),
    (condition_is_handed_on, "no node of the body computes its condition"),
    (no_trip_count, "without a trip count"),
    (no_condition, "without an explicit condition"),
    (trip_count_is_int32, ""),
    (trip_count_is_a_vector, r"most has axes: int64\[2\]"),
    (output_declared_with_another_shape, ""),
    (output_declared_with_another_rank, ""),
    (output_declared_without_a_shape, "found"),
    (output_declared_with_another_dtype, ""),
    (stacked_output, "stacks outputs"),
    (wrong_arity, "takes 4 values and is given 3"),
    (inner_type_error, ""),
    (inner_name_shadows, "x is given twice"),
    (name_in_two_bodies, "size is given twice"),
    (undefined_name, "nowhere"),
    (inner_initializer, "body has initializers"),
    (custom_domain, "com.microsoft"),
    (backwards_scan, "runs backwards"),
    (unread_scan_input, "does not read row"),
]


def test_a_sound_model_passes() -> None:
    assert faults(sound()) == []
    verify(sound())


@pytest.mark.parametrize(("plant", "words"), PLANTED, ids=[plant.__name__ for plant, _ in PLANTED])
def test_a_planted_fault_is_found(plant: Callable[[ModelProto], None], words: str) -> None:
    model = sound()
    plant(model)
    with pytest.raises(RunError, match=rf"(?s)B911.*{words}"):
        verify(model)


def test_a_large_weight_does_not_hide_a_fault() -> None:
    model = sound()
    constant(model, "half", np.full((1000,), 0.5, np.float32))
    assert faults(model)


def test_lower_verifies_what_it_wrote(monkeypatch: pytest.MonkeyPatch) -> None:
    build = Builder("g")
    x = build.input("x", TensorType("float32", (3,)))
    graph = build.finish({"y": build.op("sum", x, axes=(-1,))})
    faulty = {**lowering.plain.RULES, "sum": lambda emit, type, x, axes: emit.node("Relu", [x], type)}
    monkeypatch.setattr(lowering.plain, "RULES", faulty)
    with pytest.raises(RunError, match="B911"):
        lowering.lower(graph)
