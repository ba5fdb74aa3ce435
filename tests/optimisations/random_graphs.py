"""Random graphs with all that passes look for: repeats, constants, sums, products, loops, branches, calls."""

import numpy as np
from law_graphs import INT, Case, closed, fn, real

from banach.ir.graph import Builder, Graph, Value

SIZE = 4
UNARY = ("negate", "sin", "tanh", "square", "abs", "negate")
BINARY = ("add", "subtract", "multiply", "add", "subtract")


class _Grower:
    """Grows a graph by drawing operations; vectors of 4, so that everything fits everywhere."""

    def __init__(self, seed: int, build: Builder, values: list[Value], depth: int = 0, smooth: bool = False):
        self.random = np.random.default_rng(seed)
        self.build, self.values, self.depth, self.smooth = build, values, depth, smooth

    def pick(self) -> Value:
        return self.values[self.random.integers(len(self.values))]

    def grow(self, count: int) -> None:
        for _ in range(count):
            kinds = [self.unary, self.binary, self.binary, self.product, self.number, self.shape]
            kinds += [self.projection, self.undone]
            if self.depth < 2:
                kinds += [self.call, self.cond, self.scan]
                kinds += [] if self.smooth else [self.fix, self.repeat, self.affine]
            made = kinds[self.random.integers(len(kinds))]()
            # Keep entries of moderate size, so that rounding stays comparable.
            self.values.append(fn("tanh", made) if self.random.random() < 0.3 else made)

    def unary(self) -> Value:
        return fn("tanh", fn(UNARY[self.random.integers(len(UNARY))], self.pick()))

    def binary(self) -> Value:
        return self.build.op(BINARY[self.random.integers(len(BINARY))], self.pick(), self.pick()) * 0.5

    def matrix(self) -> Value:
        entries = self.random.standard_normal((SIZE, SIZE))
        return self.build.constant(0.6 * entries / np.linalg.norm(entries, 2))

    def product(self) -> Value:
        x = self.build.op("matvec", self.matrix(), self.pick())
        kind = self.random.integers(4)
        if kind == 0:
            return x
        if kind == 1:
            return self.build.op("matvec", self.matrix(), x) * 0.7
        shift = self.build.constant(self.random.standard_normal(SIZE)) if kind == 2 else self.pick()
        return self.build.op("matvec", self.matrix(), x - shift) * 0.3

    def number(self) -> Value:
        x, kind = self.pick(), self.random.integers(6)
        c = self.build.constant(np.asarray(self.random.standard_normal()))
        return [x + 0.0, x * 1.0, x + c + 2.0, x + self.pick() + x, fn("negate", -x), x - (-self.pick())][
            kind
        ]

    def shape(self) -> Value:
        x = self.build.op("reshape", self.pick(), shape=(2, 2))
        turned = self.build.op("transpose", x, permutation=(-1, -2))
        return self.build.op("reshape", turned if self.random.random() < 0.5 else x, shape=(SIZE,))

    def projection(self) -> Value:
        kind, x = self.random.integers(3), self.pick()
        if kind < 2:
            name = ("relu", "abs")[kind]
            return fn(name, fn(name, x))
        high = float(self.random.integers(1, 3))  # sometimes two boxes
        return self.build.op("clip", self.build.op("clip", x, low=-1.0, high=1.0), low=-1.0, high=high)

    def undone(self) -> Value:
        op, x, kind = self.build.op, self.pick(), self.random.integers(5)
        if kind == 0:
            return op("dct_inverse", op("dct", x))
        if kind == 1:
            return op("dct", op("dct_inverse", x))
        if kind == 2:
            pairs = op("dft", op("reshape", x, shape=(2, 2)), modes=int(self.random.integers(1, 3)))
            return op("reshape", op("dft_adjoint", pairs, size=2), shape=(SIZE,))
        if kind == 3:
            weights = [self.build.constant(self.random.uniform(0.5, 1.5, SIZE)) for _ in range(2)]
            return weights[0] * (x * weights[1])
        return op("project_ball", op("project_ball", x, radius := self.build.scalar(0.5, "float64")), radius)

    def region(self, name: str, states: int, outputs: int, captures: int, **extra: Value) -> Graph:
        """A region of vectors; its first outputs are contractions of its first inputs."""
        build = Builder(name)
        if "k" in extra:
            build.input("k", INT)
        given = [build.input(f"s{i}", real(SIZE)) for i in range(states + captures)]
        inner = _Grower(int(self.random.integers(1 << 30)), build, list(given), self.depth + 1, self.smooth)
        inner.grow(int(self.random.integers(1, 5)))
        made = [0.2 * fn("tanh", inner.pick()) for _ in range(outputs)]
        return build.finish({f"y{i}": v for i, v in enumerate(made)})

    def emit(self, name: str, operands: list[Value], regions: list[Graph], **attributes: object) -> Value:
        found = [v for v in self.build.emit(name, operands, attributes, regions) if v.type == real(SIZE)]
        return found[self.random.integers(len(found))]

    def call(self) -> Value:
        return self.emit("call", [self.pick(), self.pick()], [self.region("map", 0, 2, 2)])

    def cond(self) -> Value:
        regions = [self.region("yes", 0, 2, 2), self.region("no", 0, 2, 2)]
        if self.random.random() < 0.5:
            chosen = self.build.scalar(bool(self.random.random() < 0.5), "bool")
        else:
            total = self.build.op("sum", self.pick(), axes=(-1,))
            chosen = self.build.op("less", total, self.build.scalar(0.0, "float64"))
        return self.emit("cond", [chosen, self.pick(), self.pick()], regions)

    def scan(self) -> Value:
        rows = self.build.op("reshape", self.pick(), shape=(1, SIZE))
        sequence = self.build.op("broadcast", rows, shape=(3, SIZE))
        step = self.region("step", 3, 3, 2)  # two states, one sequence, two captures; one stacked output
        given = [self.pick(), self.pick(), sequence, self.pick(), self.pick()]
        backwards = bool(self.random.random() < 0.5)
        return self.emit("scan", given, [step], states=2, sequences=1, length=3, reverse=backwards)

    def repeat(self) -> Value:
        def below(s: Value, c: Value, d: Value) -> dict[str, Value]:
            total = s.builder.op("sum", s * s + d * d, axes=(-1,))
            return {"go": s.builder.op("less", s.builder.scalar(0.5, "float64"), total)}

        condition = closed("below", below, s=real(SIZE), c=real(SIZE), d=real(SIZE))
        most = self.build.scalar(4, "int64")
        given = [most, self.pick(), self.pick(), self.pick()]
        return self.emit("while", given, [condition, self.region("step", 1, 1, 2)], states=1)

    def fix(self) -> Value:
        step = self.region("step", 3, 3, 2, k=self.pick())

        def distance(*all: Value) -> dict[str, Value]:
            gap = all[0].builder.op("norm", all[3] - all[0], axes=(-1,))
            return {
                "size": gap,
                "scale": all[0].builder.op("norm", all[6] + all[7] * all[6], axes=(-1,)) + 1.0,
            }

        residual = closed("residual", distance, **{f"x{i}": real(SIZE) for i in range(8)})
        equation = self.region("equation", 1, 1, 2)
        given = [self.build.scalar(1e-3, "float64"), self.build.scalar(9, "int64")]
        given += [self.pick() for _ in range(5)]
        shape = {"states": 3, "solution": 1, "lanes": False, "every": int(self.random.integers(1, 3))}
        return self.emit("fix", given, [step, residual, equation], **shape)

    def affine(self) -> Value:
        """x = A x + c, with ‖A‖ = 0.3."""
        entries = 0.5 * self.build.constant_of(self.matrix()).array  # type: ignore[union-attr]

        def step(x: Value, c: Value) -> dict[str, Value]:
            return {"x": x.builder.op("matvec", x.builder.constant(entries), x) + c}

        def moved(old: Value, x: Value, c: Value) -> dict[str, Value]:
            norm = x.builder.op("norm", x - old, axes=(-1,))
            return {"size": norm, "scale": x.builder.scalar(1.0, "float64")}

        vectors = {"x": real(SIZE), "c": real(SIZE)}
        regions = [
            closed("step", lambda k, x, c: step(x, c), k=INT, **vectors),
            closed("moved", moved, old=real(SIZE), **vectors),
            closed("equation", step, **vectors),
        ]
        given = [self.build.scalar(1e-3, "float64"), self.build.scalar(9, "int64"), self.pick(), self.pick()]
        found = self.build.emit(
            "fix", given, {"states": 1, "solution": 1, "lanes": False, "every": 1}, regions
        )
        return found[0]


def random_case(seed: int, count: int = 18, smooth: bool = False) -> Case:
    """`smooth`: without `while` and `fix`, which need not have a derivative."""
    build = Builder(f"random{seed}")
    inputs = [build.input(name, real(SIZE)) for name in "xyz"]
    grower = _Grower(seed, build, list(inputs), smooth=smooth)
    grower.grow(count)
    outputs = {f"o{i}": grower.pick() for i in range(2)} | {"last": grower.values[-1]}
    draw = np.random.default_rng(seed + 1000)
    return Case(build.finish(outputs), [draw.standard_normal(SIZE) for _ in inputs])
