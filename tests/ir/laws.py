"""The laws, as functions that raise AssertionError: test_laws.py runs them, test_mutants.py breaks them."""

from collections.abc import Callable, Sequence

import numpy as np
from law_graphs import Case, array_type, page_case, random

from banach.ir.evaluate import evaluate
from banach.ir.exact import Interval
from banach.ir.graph import Builder
from banach.ir.primitive import Known, Sample, page
from banach.ir.reverse import reverse

STEP = 1e-3  # of the five-point difference: its error is STEP⁴ from truncation, 1e-16/STEP from rounding
Arrays = list[np.ndarray]


def close(got: Sequence[np.ndarray], wanted: Sequence[np.ndarray], tolerance: float, what: str = "") -> None:
    """Equal, relative to the largest entry of what is wanted, or to 1/1000 if all are smaller."""
    for a, b in zip(got, wanted, strict=True):
        assert a.shape == b.shape, f"{what}: {a.shape} is not {b.shape}"
        allowed = tolerance * max(1e-3, np.abs(b).max(initial=0.0))
        assert np.all(np.abs(np.subtract(a, b, dtype=np.float64)) <= allowed), f"{what}: {a} is not {b}"


def inner(xs: Sequence[np.ndarray], ys: Sequence[np.ndarray]) -> float:
    return float(sum(np.sum(x * y) for x, y in zip(xs, ys, strict=True)))


def cotangents(case: Case, seed: int = 5) -> Arrays:
    """A random cotangent for every output that has a tangent."""
    source, outputs = random(seed), evaluate(case.graph, case.arguments)
    return [
        np.asarray(source.standard_normal(y.shape))
        for y, type in zip(outputs, case.graph.output_types)
        if type.is_float
    ]


def tangents(case: Case, seed: int = 6) -> Arrays:
    """A random tangent for every input that has one."""
    source = random(seed)
    return [np.asarray(source.standard_normal(case.arguments[i].shape)) for i in case.floats]


def reversed_case(case: Case, seed: int = 5) -> Case:
    """R[f] at the same point and a random cotangent."""
    return Case(reverse(case.graph), [*case.arguments, *cotangents(case, seed)])


def backward(case: Case, weights: Sequence[np.ndarray]) -> Arrays:
    return evaluate(reverse(case.graph), [*case.arguments, *weights])


def float_outputs(case: Case, arguments: Sequence[np.ndarray]) -> Arrays:
    found = evaluate(case.graph, arguments)
    return [y for y, type in zip(found, case.graph.output_types) if type.is_float]


def slope(f: Callable[[float], np.ndarray]) -> np.ndarray:
    """f'(0) by the central difference of fourth order."""
    return (8 * (f(STEP) - f(-STEP)) - (f(2 * STEP) - f(-2 * STEP))) / (12 * STEP)


def finite_difference(case: Case, weights: Sequence[np.ndarray]) -> Arrays:
    """The gradient of ⟨w, f⟩, entry by entry, from the oracle alone."""

    def weighed(i: int, entry: tuple[int, ...], t: float) -> np.ndarray:
        moved = list(case.arguments)
        moved[i] = np.array(moved[i])
        moved[i][entry] += t
        return np.asarray(inner(weights, float_outputs(case, moved)))

    found = []
    for i in case.floats:
        gradient = np.zeros(case.arguments[i].shape)
        for entry in np.ndindex(gradient.shape):
            gradient[entry] = slope(lambda t, i=i, entry=entry: weighed(i, entry, t))
        found.append(gradient)
    return found


# --- types and derivatives -------------------------------------------------------------------------------


def check_types(name: str, sample: Sample) -> None:
    """What `evaluate` gives has the dtype and shape that `types` says, before the oracle casts it."""
    operands = tuple(array_type(x) for x in sample.operands)
    (type,) = page(name).types(operands, (), **sample.attributes)
    assert array_type(np.asarray(page(name).evaluate(*sample.operands, **sample.attributes))) == type


def check_derivative(case: Case) -> None:
    """R[f] is the gradient of ⟨w, f⟩."""
    weights = cotangents(case)
    close(backward(case, weights), finite_difference(case, weights), 1e-6, "R against finite differences")


def check_second_derivative(case: Case) -> None:
    """R[R[f]] is the gradient of ⟨u, R[f]⟩."""
    check_derivative(reversed_case(case))


def check_additive(case: Case, tolerance: float = 1e-12) -> None:
    """RD.2: R[f](a, ·) is additive, and R[f](a, 0) = 0."""
    one, two = cotangents(case, 5), cotangents(case, 7)
    both = backward(case, [a + b for a, b in zip(one, two)])
    close(both, [a + b for a, b in zip(backward(case, one), backward(case, two))], tolerance, "RD.2")
    for nothing in backward(case, [0 * w for w in one]):
        assert not np.any(nothing), f"RD.2: R[f](a, 0) = {nothing}"


def check_linear_in_cotangent(case: Case, tolerance: float = 1e-11) -> None:
    """RD.6: the second component of R[R[R f]] at (((a, b0), 0), (0, b1)) is R[f](a, b1)."""
    b0, b1 = cotangents(case, 5), cotangents(case, 7)
    zeros = [np.zeros(case.arguments[i].shape) for i in case.floats]
    third = reverse(reverse(reverse(case.graph)))
    found = evaluate(third, [*case.arguments, *b0, *zeros, *zeros, *b1])
    close(found[len(found) - len(zeros) :], backward(case, b1), tolerance, "RD.6")


def check_symmetric(case: Case, tolerance: float = 1e-10) -> None:
    """RD.7: ⟨H u, v⟩ = ⟨u, H v⟩, where H u is the a-component of R[R[f]] at ((a, b), u)."""
    second, u, v = reverse(reverse(case.graph)), tangents(case, 8), tangents(case, 9)
    given, count = [*case.arguments, *cotangents(case)], len(case.floats)
    hu, hv = (evaluate(second, [*given, *w])[:count] for w in (u, v))
    scale = max(1e-3, *(np.abs(h).max(initial=0.0) for h in (*hu, *hv))) if count else 1.0
    assert abs(inner(hu, v) - inner(u, hv)) <= tolerance * scale * 10, "RD.7"


# --- facts -------------------------------------------------------------------------------------------------


def box(array: np.ndarray) -> tuple[float, float]:
    """Ends within which a sample may be moved: it stays positive where the sample is."""
    low, high = float(array.min()), float(array.max())
    return (low / 2, high * 2) if low > 0 else (low - 1, high + 1)


def within(ends: tuple[float, float], shape: tuple[int, ...], source: np.random.Generator) -> np.ndarray:
    """A point of a box: anywhere, at a corner, or with equal entries."""
    low, high = ends
    kind = source.integers(4)
    if kind == 0:
        return np.asarray(source.choice([low, high], shape))
    if kind == 1:
        return np.full(shape, source.uniform(low, high))
    return np.asarray(source.uniform(low, high, shape))


def known(array: np.ndarray, fixed: bool) -> Known:
    """What is known of an operand that is this array, or that is any array in its box."""
    type = array_type(array)
    if array.dtype == bool:
        return Known(type)
    low, high = (float(array.min()), float(array.max())) if fixed or not type.is_float else box(array)
    if array.ndim < 2:
        return Known(type, Interval.between(low, high))
    frobenius = float(np.sqrt(array.size)) * max(abs(low), abs(high))
    exact = np.linalg.norm(array, 2) if array.ndim == 2 else frobenius
    norm = (
        Interval.between(exact * (1 - 1e-12), exact * (1 + 1e-12))
        if fixed
        else Interval.between(0, frobenius)
    )
    return Known(type, Interval.between(low, high), lambda: norm)


def moved(array: np.ndarray, fixed: bool, source: np.random.Generator) -> np.ndarray:
    """Another array of which the same is known."""
    if fixed or array.dtype.kind == "i":
        return array
    if array.dtype == bool:
        return source.random(array.shape) < 0.5
    return within(box(array), array.shape, source)


def check_range(name: str, sample: Sample, attacks: int = 200) -> None:
    """`range` holds every value that the operation takes on what is known."""
    source, operands = random(), [known(x, False) for x in sample.operands]
    low, high = page(name).range(operands, **sample.attributes).to_floats()
    for _ in range(attacks):
        given = [moved(x, False, source) for x in sample.operands]
        y = np.asarray(page(name).evaluate(*given, **sample.attributes), np.float64)
        y = y[~np.isnan(y)]  # a function may be undefined here and there; its samples are not
        slack = 1e-12 * max(1.0, np.abs(y).max(initial=0.0))
        assert np.all(y >= low - slack) and np.all(y <= high + slack), (
            f"{name}: {y} is not in [{low}, {high}]"
        )


def check_gain(name: str, sample: Sample, attacks: int = 200) -> None:
    """`gain` is never exceeded, whatever the other operands are, and its lower end is reached."""
    for index, operand in enumerate(sample.operands):
        if operand.dtype.kind != "f" or page_case(name, sample).graph.output_types[0].dtype == "bool":
            continue
        for fixed in (False, True):
            facts = [known(x, fixed and i != index) for i, x in enumerate(sample.operands)]
            low, high = page(name).gain(index, facts, **sample.attributes).to_floats()
            if low == 0 and high == np.inf:
                continue  # nothing is claimed
            ratios = list(_ratios(name, sample, index, fixed, attacks))
            assert max(ratios) <= high * (1 + 1e-8), (
                f"{name}: {max(ratios)} exceeds the gain {high} in {index}"
            )
            assert max(ratios) >= low * (1 - 1e-6), (
                f"{name}: the gain in {index} is {max(ratios)}, not even {low}"
            )


def _ratios(name: str, sample: Sample, index: int, fixed: bool, attacks: int) -> list[float]:
    source, ends, found = random(), box(sample.operands[index]), []
    for attack in range(attacks):
        given = [moved(x, fixed, source) for x in sample.operands]
        x = within(ends, given[index].shape, source)

        def f(x: np.ndarray, given: Arrays = given) -> np.ndarray:
            there = [x if i == index else y for i, y in enumerate(given)]
            return np.asarray(page(name).evaluate(*there, **sample.attributes), np.float64)

        if attack % 10 == 0:  # along the direction in which f grows most
            other = x + 1e-4 * _steepest(f, x)
        else:
            other = within(ends, x.shape, source)
        other = np.clip(other, *ends)
        apart = np.linalg.norm(np.ravel(other - x))
        if apart > 1e-6:
            found.append(float(np.linalg.norm(np.ravel(f(other) - f(x))) / apart))
    defined = [ratio for ratio in found if not np.isnan(ratio)]
    assert len(defined) > attacks // 20, f"{name} is undefined nearly everywhere around its sample"
    return defined


def _steepest(f: Callable[[np.ndarray], np.ndarray], x: np.ndarray) -> np.ndarray:
    """The first right singular vector of f's Jacobian."""
    columns = []
    for entry in np.ndindex(x.shape):
        bump = np.zeros(x.shape)
        bump[entry] = 1e-6
        columns.append(np.ravel(f(x + bump) - f(x - bump)) / 2e-6)
    jacobian = np.nan_to_num(np.stack(columns, axis=1))
    return np.linalg.svd(jacobian, full_matrices=False)[2][0].reshape(x.shape)


def check_linear(name: str, sample: Sample) -> None:
    """f(αx + βy) = αf(x) + βf(y), in each group of operands in which a page calls itself linear."""
    for group in page(name).linear_groups(len(sample.operands)):
        _check_group(name, sample, group)


def _check_group(name: str, sample: Sample, group: Sequence[int]) -> None:
    source = random()

    def other() -> Arrays:
        moves = [i in group and x.dtype.kind == "f" for i, x in enumerate(sample.operands)]
        return [source.standard_normal(x.shape) if m else x for x, m in zip(sample.operands, moves)]

    def f(operands: Arrays) -> np.ndarray:
        return np.asarray(page(name).evaluate(*operands, **sample.attributes))

    x, y = other(), other()
    mixed = [a if a is b else 2.0 * a - 0.3 * b for a, b in zip(x, y)]
    close([f(mixed)], [2.0 * f(x) - 0.3 * f(y)], 1e-12, f"{name} is linear")


def check_linearity_is_told(name: str, samples: Sequence[Sample]) -> None:
    """A page that is linear in one operand, the others held, at all of its samples, says so."""
    first = samples[0]
    if np.asarray(page(name).evaluate(*first.operands, **first.attributes)).dtype.kind != "f":
        return
    floats = [i for i, x in enumerate(first.operands) if x.dtype.kind == "f"]
    told = {i for group in page(name).linear_groups(len(first.operands)) for i in group}
    for i in set(floats) - told:
        try:
            for sample in samples:
                _check_group(name, sample, (i,))
        except AssertionError:
            continue
        raise AssertionError(f"{name} is linear in its operand {i}, and does not say so")


def check_decompose(name: str, sample: Sample) -> None:
    """A page's decomposition means what its `evaluate` does, also far from the origin."""
    decompose = getattr(page(name), "decompose", None)
    if decompose is None:
        return
    for scale in (1.0, 1e-3, 30.0, 800.0):
        operands = [scale * x if x.dtype.kind == "f" else x for x in sample.operands]
        build = Builder(name)
        given = [build.input(f"x{i}", array_type(x)) for i, x in enumerate(operands)]
        graph = build.finish({"y": decompose(build, *given, **sample.attributes)})
        close(evaluate(graph, operands), [page(name).evaluate(*operands, **sample.attributes)], 1e-12, name)
