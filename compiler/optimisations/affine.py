"""Equations x = J x + d with a constant J: how they are recognised, and solved at compile time.

J is read off the reverse derivative of the equation, which for an affine map is dy ↦ Jᵀ dy and reads neither
x nor the data. What is found is a guess until `agrees` has held it against the oracle.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from banach.compiler.optimisation import entries
from banach.compiler.optimisations.products import is_circulant
from banach.ir.evaluate import evaluate
from banach.ir.graph import Builder, Graph, Op, Value, prune
from banach.ir.primitive import page
from banach.ir.reverse import NoDerivative, reverse
from banach.ir.simplify import LARGEST, simplify
from banach.ir.tensor_type import TensorType, TypeMismatch, numpy_dtype

SMALL = 64  # unknowns: up to here the matrix is found by trying every unit vector, and inverted
TERMS = 16  # of a sum of Kronecker products
CONDITION = 1e12  # above, the inverse says little
SYMMETRIC = 1e-12  # relative: products of matrices are rounded
DIAGONAL = 1e-10  # relative: what may be left beside a diagonal that eigenvectors have made
PROBES = 3

Matrix = np.ndarray | None  # None: the identity


class NotDirect(Exception):
    """There is no closed form, or none that is beyond doubt; the message says why."""


@dataclass(frozen=True, slots=True)
class Term:
    """X ↦ s L X R, or X ↦ s L Xᵀ R; of a vector, x ↦ s L x."""

    left: Matrix
    right: Matrix
    scale: float = 1.0
    turned: bool = False


@dataclass(frozen=True, slots=True)
class Solved:
    """d ↦ x, the solution of M x = d with M = I - J; how it was found; and x ↦ M x in float64."""

    graph: Graph
    kind: str
    apply: Callable[[np.ndarray], np.ndarray]


def solve(equation: Graph) -> Solved:
    """The closed form of x = equation(x, c). NotDirect: its message says why there is none."""
    type = equation.inputs[0].type
    count = entries(type)
    if count is None:
        raise NotDirect("a size is known by name only")
    if type.space != "euclidean" or type.dtype != "float64":
        # In float32 too few digits are left to tell a closed form from one that is nearly right.
        raise NotDirect(f"the unknown is {type}, and closed forms are verified in float64")
    slope = _slope(equation)
    if type.rank == 2:
        try:
            return _by_sides(_terms(slope, type), type)
        except NotDirect:
            if count > SMALL:
                raise
    if count <= SMALL:
        return _by_inverse(_by_unit_vectors(slope, type, count), type)
    if type.rank != 1:
        raise NotDirect(f"the unknown is {type}: of {count} entries only vectors and matrices are tried")
    return _of_vector(_terms(slope, type), type)


# --- recognising --------------------------------------------------------------------------------------------


def _slope(equation: Graph) -> Graph:
    """dy ↦ Jᵀ dy as a graph of one input."""
    try:
        back = simplify(reverse(equation))
    except NoDerivative as refusal:
        raise NotDirect(f"the equation has no derivative: {refusal}") from None
    back = prune(replace(back, outputs=back.outputs[:1], output_names=back.output_names[:1]))
    read = {v for op in back.ops for v in op.operands} | set(back.outputs)
    seed = len(equation.inputs)
    other = next((port.name for i, port in enumerate(back.inputs) if i in read and i != seed), None)
    if other is not None:
        raise NotDirect(f"its slope depends on {other}: it is not affine with constant coefficients")
    build = Builder(back.name)
    dy = build.input("dy", back.inputs[seed].type)
    return prune(build.finish({"dx": build.inline(back, [dy] * len(back.inputs))[0]}))


def _by_unit_vectors(slope: Graph, type: TensorType, count: int) -> np.ndarray:
    """J: row i is Jᵀ e_i."""
    unit = np.eye(count).reshape((count, *type.shape))  # type: ignore[arg-type]
    return np.stack([evaluate(slope, [e])[0].astype(np.float64).ravel() for e in unit])


def _terms(slope: Graph, type: TensorType) -> list[Term]:
    """J as a sum of Kronecker products: the transposes of those that dy goes through."""
    constants = {v: tensor.array.astype(np.float64) for v, tensor in slope.constants().items()}
    known: dict[int, list[Term]] = {0: [Term(None, None)]}
    for op in slope.ops:
        if op.name == "constant":
            continue
        found = _step(op, known, constants, type.rank)
        if len(found) > TERMS:
            raise NotDirect(f"it is a sum of more than {TERMS} products")
        known[op.first] = found
    terms = known.get(slope.outputs[0])
    if terms is None or any(term.turned for term in terms):
        raise NotDirect("it transposes its unknown")
    return [Term(_turned(term.left), _turned(term.right), term.scale) for term in terms]


def _step(op: Op, known: dict[int, list[Term]], constants: dict[int, np.ndarray], rank: int) -> list[Term]:
    """What an operation makes of sums of products. NotDirect: it is none that keeps that form."""
    moving = [known.get(v) for v in op.operands]
    first = moving[0] if moving else None
    if op.name in ("add", "subtract") and None not in moving:
        sign = 1.0 if op.name == "add" else -1.0
        return [*(moving[0] or ()), *_scaled(moving[1] or [], sign)]
    if op.name == "negate" and first is not None:
        return _scaled(first, -1.0)
    if op.name in ("multiply", "divide") and sum(m is not None for m in moving) == 1:
        place = 0 if moving[0] is not None else 1
        held, terms = constants.get(op.operands[1 - place]), moving[place] or []
        if held is not None and (op.name == "multiply" or place == 0):
            factor = held if op.name == "multiply" else 1 / held
            if factor.size == 1:
                return _scaled(terms, float(factor.reshape(())))
            if rank == 1 and factor.ndim == 1:
                return [replace(t, left=_times(np.diag(factor), t.left)) for t in terms]
    if op.name in ("matvec", "matmul") and sum(m is not None for m in moving) == 1:
        place = 0 if moving[0] is not None else 1
        held, terms = constants.get(op.operands[1 - place]), moving[place] or []
        if held is not None and held.ndim == 2 and (rank == 2 or op.name == "matvec"):
            if op.name == "matmul" and place == 0:
                return [replace(t, right=_times(t.right, held)) for t in terms]
            if op.name == "matvec" and place == 1 and rank == 2:
                return [replace(t, right=_times(t.right, held.T)) for t in terms]
            if place == 1:
                return [replace(t, left=_times(held, t.left)) for t in terms]
    if op.name == "transpose" and first is not None and op.attribute("permutation") == (-1, -2):
        return [Term(_turned(t.right), _turned(t.left), t.scale, not t.turned) for t in first]
    if op.name == "broadcast" and op.operands[0] in constants and not np.any(constants[op.operands[0]]):
        return []
    raise NotDirect(f"{op.name} is not a product with a constant matrix or number")


def _times(a: Matrix, b: Matrix) -> Matrix:
    return b if a is None else a if b is None else a @ b


def _turned(a: Matrix) -> Matrix:
    return None if a is None else np.ascontiguousarray(a.T)


def _scaled(terms: Sequence[Term], factor: float) -> list[Term]:
    return [replace(term, scale=factor * term.scale) for term in terms]


# --- solving ------------------------------------------------------------------------------------------------


def _by_sides(terms: list[Term], type: TensorType) -> Solved:
    """M X = Σ Lᵢ X Rᵢ with symmetric Lᵢ that commute, and Rᵢ too: Lᵢ = Q Λᵢ Qᵀ, Rᵢ = P Μᵢ Pᵀ, so that

    X = Q ((Qᵀ d P) / Σ λᵢ μᵢᵀ) Pᵀ.  A Kronecker sum A X + X B is L = (A, I), R = (I, B).
    """
    rows, columns = (int(n) for n in type.shape)  # type: ignore[arg-type]
    whole = [Term(None, None), *_scaled(terms, -1.0)]
    lefts = [t.scale * _square(t.left, rows) for t in whole]
    rights = [_square(t.right, columns) for t in whole]
    for n in (rows, columns):
        if n * n * numpy_dtype(type.dtype).itemsize > LARGEST:
            raise NotDirect(f"{n}² eigenvectors are more than {LARGEST} bytes")
    q, left = _basis(lefts)
    p, right = _basis(rights)
    gains = _reciprocal(np.einsum("ka,kb->ab", np.array(left), np.array(right)))

    def body(build: Builder, d: Value) -> Value:
        turned = build.op("matmul", build.op("matmul", _held(build, q.T, d), d), _held(build, p, d))
        weighed = build.op("multiply", turned, _held(build, gains, d))
        return build.op("matmul", build.op("matmul", _held(build, q, d), weighed), _held(build, p.T, d))

    def apply(x: np.ndarray) -> np.ndarray:
        return sum((a @ x @ b for a, b in zip(lefts, rights)), np.zeros(x.shape))

    return Solved(_closed(type, body), "eigenvectors of both sides", apply)


def _of_vector(terms: list[Term], type: TensorType) -> Solved:
    """M x = d by the symbol of a circulant, whose inverse is one; else by M = Q Λ Qᵀ."""
    n = int(type.shape[0])  # type: ignore[arg-type]
    if n * n * numpy_dtype(type.dtype).itemsize > LARGEST:
        raise NotDirect(f"{n}² eigenvectors are more than {LARGEST} bytes")
    matrix = np.eye(n) - sum((t.scale * _square(t.left, n) for t in terms), np.zeros((n, n)))
    if is_circulant(matrix):
        symbol = np.fft.fft(matrix[:, 0])
        column, places = np.fft.ifft(_reciprocal(symbol)).real, np.arange(n)
        inverse = column[(places[:, None] - places) % n]
        return _product(inverse, matrix, type, "symbol of a circulant")
    q, (values,) = _basis([matrix])
    gains = _reciprocal(values)

    def body(build: Builder, d: Value) -> Value:
        weighed = build.op("multiply", build.op("matvec", _held(build, q.T, d), d), _held(build, gains, d))
        return build.op("matvec", _held(build, q, d), weighed)

    return Solved(_closed(type, body), "eigenvectors", lambda x: matrix @ x)


def _by_inverse(slope: np.ndarray, type: TensorType) -> Solved:
    matrix = np.eye(len(slope)) - slope
    condition = np.linalg.cond(matrix)
    if not condition < CONDITION:
        raise NotDirect(f"its condition number is {condition:.1e}: it is close to singular")
    return _product(np.linalg.inv(matrix), matrix, type, "inverse matrix")


def _product(inverse: np.ndarray, matrix: np.ndarray, type: TensorType, kind: str) -> Solved:
    n = len(inverse)

    def body(build: Builder, d: Value) -> Value:
        flat = d if type.rank == 1 else build.op("reshape", d, shape=(n,))
        x = build.op("matvec", _held(build, inverse, d), flat)
        return x if type.rank == 1 else build.op("reshape", x, shape=type.shape)

    return Solved(_closed(type, body), kind, lambda x: (matrix @ x.ravel()).reshape(x.shape))


def _square(matrix: Matrix, n: int) -> np.ndarray:
    if matrix is None:
        return np.eye(n)
    if matrix.shape != (n, n):
        raise NotDirect(f"a factor is {list(matrix.shape)}, not square")
    return matrix


def _basis(matrices: list[np.ndarray]) -> tuple[np.ndarray, list[np.ndarray]]:
    """Eigenvectors that symmetric matrices have in common, and the eigenvalues of each.

    Those of a general combination: where it has an eigenvalue twice, so has (almost surely) each of them.
    """
    weights = np.random.default_rng(0).uniform(0.5, 1.5, len(matrices))
    mixed = np.zeros(matrices[0].shape)
    for weight, matrix in zip(weights, matrices):
        size = np.linalg.norm(matrix)
        if np.linalg.norm(matrix - matrix.T) > SYMMETRIC * size:
            raise NotDirect("a factor is not symmetric")
        mixed += weight * (matrix + matrix.T) / (2 * size or 1)
    q = np.linalg.eigh(mixed)[1]
    values = []
    for matrix in matrices:
        seen = q.T @ matrix @ q
        own = np.diag(seen)
        if np.linalg.norm(seen - np.diag(own)) > DIAGONAL * np.linalg.norm(matrix):
            raise NotDirect("its factors do not commute")
        values.append(own)
    return q, values


def _reciprocal(values: np.ndarray) -> np.ndarray:
    least, most = np.abs(values).min(), np.abs(values).max()
    if not least * CONDITION > most:
        raise NotDirect(f"its eigenvalues lie between {least:.1e} and {most:.1e}: it is close to singular")
    return 1 / values


def _held(build: Builder, array: np.ndarray, like: Value) -> Value:
    return build.constant(np.asarray(array, numpy_dtype(like.type.dtype)))


def _closed(type: TensorType, body: Callable[[Builder, Value], Value]) -> Graph:
    build = Builder("direct")
    return build.finish({"x": body(build, build.input("d", type))})


# --- the right side -----------------------------------------------------------------------------------------


def offset(equation: Graph) -> Graph:
    """c ↦ d = equation(0, c), without what is zero."""
    build = Builder(f"{equation.name}.offset")
    types = equation.types()
    known: list[Value | None] = [None, *(build.input(p.name, p.type) for p in equation.inputs[1:])]
    for op in equation.ops:
        given = [known[v] for v in op.operands]
        groups = page(op.name).linear_groups(len(given)) if given and not op.regions else ()
        if any(all(given[i] is None for i in group) for group in groups):
            known += [None] * len(op.types)
        elif op.name in ("add", "subtract") and None in given:
            only = given[0] if given[1] is None else given[1]
            assert only is not None  # sums of zeros are zero: that is a linear group
            kept = only if op.name == "add" or given[1] is None else -only
            known.append(
                kept if kept.type == op.types[0] else build.op("broadcast", kept, shape=op.types[0].shape)
            )
        else:
            whole = [build.zeros(types[v]) if x is None else x for v, x in zip(op.operands, given)]
            known.extend(build.copy(op, whole))
    found = known[equation.outputs[0]]
    return build.finish({"d": build.zeros(equation.inputs[0].type) if found is None else found})


def gap(equation: Graph) -> Graph:
    """x, c ↦ x - equation(x, c); of x - y and x + y it is y and -y, without a rounding of x."""
    build = Builder(f"{equation.name}.gap")
    given = [build.input(p.name, p.type) for p in equation.inputs]
    last = next((op for op in equation.ops if op.first == equation.outputs[0]), None)
    if last is not None and last.name == "subtract" and last.operands[0] == 0:
        inner = replace(equation, outputs=last.operands[1:])
        return prune(build.finish({"gap": build.inline(inner, given)[0]}))
    if last is not None and last.name == "add" and 0 in last.operands:
        inner = replace(equation, outputs=(last.operands[1 - last.operands.index(0)],))
        return prune(build.finish({"gap": -build.inline(inner, given)[0]}))
    return build.finish({"gap": given[0] - build.inline(equation, given)[0]})


# --- doubt --------------------------------------------------------------------------------------------------


def agrees(equation: Graph, found: Solved) -> None:
    """Holds a closed form against the oracle, at random points and data. NotDirect: it is not that."""
    dtype = numpy_dtype(equation.inputs[0].type.dtype)
    loose = float(np.sqrt(np.finfo(dtype).eps))  # of x: conditions are amplified
    close = 1e4 * float(np.finfo(dtype).eps)
    right, wrong = offset(equation), gap(equation)
    for seed in range(PROBES):
        x, *data = draw(equation, seed)
        d = oracle(right, data)[0].astype(np.float64)
        wanted = oracle(wrong, [x, *data])[0].astype(np.float64)
        size = np.linalg.norm(found.apply(x.astype(np.float64))) + np.linalg.norm(d)
        if not np.linalg.norm(found.apply(x.astype(np.float64)) - d - wanted) <= close * (
            size + np.linalg.norm(x)
        ):
            raise NotDirect("what was recognised is not what the equation computes")
        x = oracle(found.graph, [d.astype(dtype)])[0].astype(np.float64)
        if not np.linalg.norm(found.apply(x) - d) <= loose * np.linalg.norm(d):
            raise NotDirect(f"its closed form in {dtype} leaves more than {loose:.0e} of the right side")


def draw(graph: Graph, seed: int) -> list[np.ndarray]:
    """Random arguments."""
    random = np.random.default_rng(seed)
    found = []
    for port in graph.inputs:
        if entries(port.type) is None:
            raise NotDirect("a size is known by name only")
        array = random.standard_normal(port.type.shape)  # type: ignore[arg-type]
        found.append(array.astype(numpy_dtype(port.type.dtype)))
    return found


def oracle(graph: Graph, arguments: Sequence[np.ndarray]) -> list[np.ndarray]:
    try:
        return evaluate(graph, arguments)
    except TypeMismatch as refusal:
        raise NotDirect(f"it cannot be tried: {refusal}") from None
