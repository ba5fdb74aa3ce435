"""Laws of every pass on the shelf, on the graphs of tests/ir, on random ones and on the models."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from law_graphs import Case, page_cases, region_cases, while_case
from laws import reversed_case
from random_graphs import random_case

from banach.compiler.optimisation import Options, count
from banach.compiler.optimise import PASSES, Optimised, explain, optimise, order
from banach.compiler.pipeline import load
from banach.ir.evaluate import evaluate
from banach.ir.graph import Graph
from banach.ir.reverse import reverse
from banach.ir.rewrite import Effect, Journal
from banach.ir.shelf import pages
from banach.ir.text import print_graph
from banach.ir.verify import verify

SPECS = Path(__file__).parents[2] / "specs/models"
FREE = Options(reassociate=True, check_every=3, direct=True)
ANOTHER_WAY = Effect.CHANGES_ITERATES | Effect.REPLACES_ITERATION
SEEDS = range(30)


def cases() -> dict[str, Case]:
    found = {**dict(page_cases()), **region_cases(), "while": while_case()}
    found |= {f"random-{seed}": random_case(seed) for seed in SEEDS}
    return found | {f"smooth-{seed}": random_case(seed, smooth=True) for seed in SEEDS}


CASES = cases()


def outputs(graph: Graph, case: Case) -> list[np.ndarray]:
    with np.errstate(all="ignore"):
        return evaluate(graph, case.arguments)


def assert_same(after: Graph, case: Case, exact: bool) -> None:
    for got, wanted in zip(outputs(after, case), outputs(case.graph, case), strict=True):
        if exact:
            np.testing.assert_array_equal(got, wanted)
        else:
            np.testing.assert_allclose(got, wanted, rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("name", CASES)
def test_every_pass_keeps_the_meaning_and_is_idempotent(name: str) -> None:
    case = CASES[name]
    for page in pages(PASSES).values():
        if page.effect & ANOTHER_WAY:
            continue
        after = page.run(case.graph, FREE, Journal())
        verify(after)
        assert after.output_types == case.graph.output_types
        assert [p.name for p in after.inputs] == [p.name for p in case.graph.inputs]
        assert_same(after, case, page.effect is Effect.EXACT)
        assert page.run(after, FREE, Journal()) == after, page.name


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("options", [Options(), Options(reassociate=True)], ids=["exact", "regrouped"])
def test_all_passes_together(name: str, options: Options) -> None:
    case = CASES[name]
    found = optimise(case.graph, options, checked=True)
    assert_same(found.graph, case, not options.reassociate)
    assert optimise(found.graph, options).graph == found.graph
    assert print_graph(optimise(case.graph, options).graph) == print_graph(found.graph)


@pytest.mark.parametrize("name", [name for name in CASES if name != "while" and "random" not in name])
def test_derivatives_are_those_of_the_original(name: str) -> None:
    case = CASES[name]
    back = reversed_case(case)
    for after in (
        reverse(optimise(case.graph, Options(reassociate=True)).graph),
        optimise(reverse(case.graph)).graph,
    ):
        for got, wanted in zip(outputs(after, back), outputs(back.graph, back), strict=True):
            np.testing.assert_allclose(got, wanted, rtol=1e-8, atol=1e-10)


def test_random_graphs_give_every_pass_something_to_do() -> None:
    found: dict[str, int] = {}
    for seed in SEEDS:
        for run in optimise(CASES[f"random-{seed}"].graph, FREE).journal:
            found[run.name] = found.get(run.name, 0) + bool(run.fired or run.shared)
    # No table of a random graph is large enough for `uniform`, which has its golden page.
    assert min(found.get(name, 0) for name in order() if name != "uniform") >= 5, found


# --- the models --------------------------------------------------------------------------------------------

MODELS = ("lasso", "deq", "deblur")


def arguments(name: str, graph: Graph) -> list[np.ndarray]:
    random = np.random.default_rng(3)
    shapes = {"x": (5, 64), "y": (256, 256)}
    return [
        random.standard_normal(shapes[p.name]) if p.default is None else p.default.array for p in graph.inputs
    ]


@pytest.fixture(scope="module")
def models() -> dict[str, object]:
    return {name: load(SPECS / f"{name}.yaml") for name in MODELS}


@pytest.mark.parametrize("name", MODELS)
def test_models_give_the_same_numbers(name: str, models: dict) -> None:
    graph = models[name].graph
    given = arguments(name, graph)
    wanted = evaluate(graph, given)
    for got, exact in zip(evaluate(models[name].optimised().graph, given), wanted, strict=True):
        np.testing.assert_array_equal(got, exact)
    regrouped = models[name].optimised(Options(reassociate=True)).graph
    for got, exact in zip(evaluate(regrouped, given), wanted, strict=True):
        if exact.dtype.kind == "f" and exact.ndim:
            np.testing.assert_allclose(got, exact, rtol=1e-4, atol=1e-5 * np.abs(exact).max())


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("options", [Options(), FREE], ids=["exact", "free"])
def test_certificates_hold_after_the_passes(name: str, options: Options, models: dict) -> None:
    from banach.backends.onnx.verifier import verify as check

    artifact = models[name].compile(options=options)
    found = check(artifact.model)
    assert found.ok, found.failed
    given = {p.name: a for p, a in zip(models[name].graph.inputs, arguments(name, models[name].graph))}
    status = artifact.run(given)
    assert all((v == 0).all() for k, v in status.items() if k.endswith(".status"))


def test_the_refuted_model_stays_refuted() -> None:
    report = load(SPECS / "too_fast.yaml").check()
    assert report.exit_code() == 3


def test_a_bound_of_steps_counts_those_after_the_last_check(models: dict) -> None:
    certificate = models["deq"].report.certificates["z"]
    found = models["deq"].optimised(Options(check_every=10))
    assert certificate.iterations % 10  # so that the next check comes after the bound
    assert found.bounded(certificate).iterations == -(-certificate.iterations // 10) * 10
    assert models["deq"].optimised().bounded(certificate) == certificate


def test_a_weight_of_a_certificate_is_not_lost_unasked() -> None:
    from law_graphs import closed, real

    from banach.ir.tensor import Tensor

    weight = Tensor(np.arange(6.0).reshape(2, 3))

    def body(x):
        twice = x.builder.constant(weight) * 2.0
        return {"y": x.builder.op("matvec", twice, x)}

    graph = closed("f", body, x=real(3))
    lost = optimise(graph, weights={weight.digest})
    assert "multiply" in [op.name for op in lost.graph.ops]
    assert [run.skipped for run in lost.journal if run.name == "simplification"] == [
        "it would lose 1 weights that a certificate speaks of"
    ]
    assert "multiply" not in [op.name for op in optimise(graph).graph.ops]
    turned = closed(
        "f",
        lambda x: {
            "y": x.builder.op(
                "matvec", x.builder.op("transpose", x.builder.constant(weight), permutation=(-1, -2)), x
            )
        },
        x=real(2),
    )
    assert "transpose" not in [op.name for op in optimise(turned, weights={weight.digest}).graph.ops]


# --- the stage ---------------------------------------------------------------------------------------------


def test_the_order_respects_every_page() -> None:
    names = order()
    assert sorted(names) == sorted(pages(PASSES))
    for name in names:
        assert all(names.index(other) < names.index(name) for other in pages(PASSES)[name].after)


def test_options_open_what_is_not_exact() -> None:
    skipped = {run.name for run in optimise(region_cases()["fix"].graph).journal if run.skipped}
    assert skipped == {name for name, page in pages(PASSES).items() if page.effect is not Effect.EXACT}
    assert not any(run.skipped for run in optimise(region_cases()["fix"].graph, FREE).journal)


def test_the_journal_tells_what_was_done_and_what_was_not() -> None:
    found: Optimised = optimise(region_cases()["fix-in-scan"].graph, FREE)
    text = explain(found.journal)
    assert "a check every 3 steps" in text
    assert all(run.after == count(found.graph) for run in found.journal[-1:])
    assert "not run: it changes rounding" in explain(optimise(found.graph).journal)


def test_the_same_bytes_under_every_hash_seed() -> None:
    code = (
        "import sys; sys.path[:0] = ['tests/optimisations', 'tests/ir']\n"
        "from random_graphs import random_case; from banach.compiler.optimise import optimise\n"
        "from banach.compiler.optimisation import Options; from banach.ir.text import print_graph\n"
        "for seed in range(12): print(print_graph(optimise(random_case(seed).graph, Options(True, 2)).graph))"
    )
    root = Path(__file__).parents[2]
    texts = {
        subprocess.run(
            [sys.executable, "-c", code],
            cwd=root,
            env={"PYTHONHASHSEED": seed, "PYTHONPATH": ":".join(sys.path)},
            capture_output=True,
            check=True,
        ).stdout
        for seed in ("0", "1", "77")
    }
    assert len(texts) == 1
    assert len(texts.pop()) > 1000
