"""Parametrised lenses: a map with parameters forwards, and a map from what comes back to what goes back.

    forward: P × A → B          reverse: P × A × B' → P' × A'

A model is a lens by its reverse derivative, P', A' and B' being cotangents. An optimiser is a lens on the
parameters alone, a loss one whose way back starts from the number 1, a displacement turns a wanted value into
a cotangent. They compose, and so do learners: Fong, Spivak and Tuyéras, Backprop as Functor (2019), theorem
III.2; Cruttwell, Gavranović, Ghani, Wilson and Zanasi, Categorical foundations of gradient-based learning
(2022).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from banach.ir.graph import Builder, Graph, Value
from banach.ir.reverse import reverse
from banach.ir.simplify import simplify
from banach.ir.tensor_type import TensorType, TypeMismatch

Values = Sequence[Value]
Types = Sequence[TensorType]


@dataclass(frozen=True, slots=True)
class Lens:
    """`forward` takes P, then A; `reverse` takes P, A, B' and gives P', then A'.

    `parameters` counts the values of P, `back` those of P'.
    """

    forward: Graph
    reverse: Graph
    parameters: int
    back: int

    def get(self, build: Builder, p: Values, a: Values) -> tuple[Value, ...]:
        """Adds the way forwards to a graph."""
        return build.inline(self.forward, [*p, *a])

    def put(self, build: Builder, p: Values, a: Values, b: Values) -> tuple[list[Value], list[Value]]:
        """Adds the way back to a graph; gives P' and A'."""
        found = build.inline(self.reverse, [*p, *a, *b])
        return list(found[: self.back]), list(found[self.back :])

    @property
    def held(self) -> list[TensorType]:
        """The types of P."""
        return [port.type for port in self.forward.inputs[: self.parameters]]

    @property
    def domain(self) -> list[TensorType]:
        """The types of A."""
        return [port.type for port in self.forward.inputs[self.parameters :]]

    @property
    def returning(self) -> list[TensorType]:
        """The types of B'."""
        return [port.type for port in self.reverse.inputs[len(self.forward.inputs) :]]


def lens(graph: Graph, parameters: int) -> Lens:
    """A graph whose first inputs are parameters, with its reverse derivative: cotangents flow back."""
    floats = sum(port.type.is_float for port in graph.inputs[:parameters])
    return Lens(graph, reverse(graph), parameters, floats)


def identity(types: Types, back: Types | None = None) -> Lens:
    """a ↦ a, and b' ↦ b'; `back` are the types of what comes back, if not those of a."""
    build, away = Builder("identity"), Builder("identity")
    forward = build.finish({f"b.{i}": build.input(f"a.{i}", type) for i, type in enumerate(types)})
    for i, type in enumerate(types):
        away.input(f"a.{i}", type)
    arriving = [away.input(f"d.{i}", type) for i, type in enumerate(types if back is None else back)]
    return Lens(forward, away.finish({f"d.{i}": v for i, v in enumerate(arriving)}), 0, 0)


def compose(first: Lens, second: Lens) -> Lens:
    """First one, then the other: parameters of the first, then of the second. TypeMismatch: they do not fit.

    Forwards c = g(q, f(p, a)). Back, with b = f(p, a): (q', b') = g'(q, b, c') and (p', a') = f'(p, a, b').
    """
    _expect("gives", first.forward.output_types, second.domain)
    outward = _returned(second)
    _expect("is given back", outward, first.returning)
    build = Builder(f"{first.forward.name};{second.forward.name}")
    p, q, a = _inputs(build, p=first.held, q=second.held, a=first.domain)
    forward = build.finish(_named("c", second.get(build, q, first.get(build, p, a))))
    build = Builder(f"{first.reverse.name};{second.reverse.name}")
    p, q, a, c = _inputs(build, p=first.held, q=second.held, a=first.domain, d=second.returning)
    dq, db = second.put(build, q, first.get(build, p, a), c)
    dp, da = first.put(build, p, a, db)
    back = build.finish({**_named("p", [*dp, *dq]), **_named("a", da)})
    return Lens(forward, back, first.parameters + second.parameters, first.back + second.back)


def beside(first: Lens, second: Lens) -> Lens:
    """Both at once, on inputs side by side: the tensor product."""
    build = Builder(f"{first.forward.name}*{second.forward.name}")
    p, q, a, c = _inputs(build, p=first.held, q=second.held, a=first.domain, c=second.domain)
    forward = build.finish(_named("b", [*first.get(build, p, a), *second.get(build, q, c)]))
    build = Builder(f"{first.reverse.name}*{second.reverse.name}")
    types = {"p": first.held, "q": second.held, "a": first.domain, "c": second.domain}
    p, q, a, c, db, dd = _inputs(build, **types, b=first.returning, d=second.returning)
    (dp, da), (dq, dc) = first.put(build, p, a, db), second.put(build, q, c, dd)
    back = build.finish({**_named("p", [*dp, *dq]), **_named("a", [*da, *dc])})
    return Lens(forward, back, first.parameters + second.parameters, first.back + second.back)


def reparametrise(model: Lens, by: Lens) -> Lens:
    """The model whose parameters are what another lens makes of its own: `by`: S → P, with P' back to S'.

    An optimiser is such a lens, S its state and the parameters: it turns their cotangent into new ones.
    """
    if by.parameters:
        raise TypeMismatch(f"{by.forward.name} has parameters of its own")
    _expect("gives", by.forward.output_types, model.held)
    build = Builder(model.forward.name)
    s, a = _inputs(build, s=by.domain, a=model.domain)
    forward = build.finish(_named("b", model.get(build, by.get(build, [], s), a)))
    build = Builder(model.reverse.name)
    s, a, db = _inputs(build, s=by.domain, a=model.domain, d=model.returning)
    dp, da = model.put(build, by.get(build, [], s), a, db)
    _, fresh = by.put(build, [], s, dp)
    back = build.finish({**_named("s", fresh), **_named("a", da)})
    return Lens(forward, back, len(by.domain), len(fresh))


# --- learners ----------------------------------------------------------------------------------------------


def displacement(types: Types) -> Lens:
    """b ↦ b forwards; back, a wanted value t becomes b - t, the gradient of ½‖b - t‖²."""
    return _between(types, "displacement", lambda b, t: b - t)


def replacement(types: Types) -> Lens:
    """a ↦ a forwards; back, a cotangent becomes the value a - da that is wanted instead: what `displacement`
    undoes."""
    return _between(types, "replacement", lambda a, da: a - da)


def learner(model: Lens, optimiser: Lens) -> Lens:
    """A model that learns from wanted values: (p, a, t) ↦ new parameters, and the input it would rather have.

    These compose as the models do: learner(f; g) = learner(f); learner(g), with the optimisers side by side.
    """
    inward, outward = replacement(model.domain), displacement(model.forward.output_types)
    return compose(compose(inward, reparametrise(model, optimiser)), outward)


def train(model: Lens, loss: Lens, optimiser: Lens) -> Graph:
    """One step: state and parameters, a batch and what is wanted of it ↦ new state and parameters, loss.

    The loss is a lens from (the model's outputs, what is wanted) to one number.
    """
    count = len(loss.domain) - len(model.forward.output_types)
    wanted = loss.domain[len(loss.domain) - count :]
    floats = [type for type in wanted if type.is_float]
    whole = compose(beside(reparametrise(model, optimiser), identity(wanted, floats)), loss)
    build = Builder(f"train.{model.forward.name}")
    s, a = _inputs(build, s=whole.held, batch=whole.domain)
    (number,) = whole.get(build, s, a)
    fresh, _ = whole.put(build, s, a, [build.scalar(1.0, number.type.dtype)])
    return simplify(build.finish({**_named("s", fresh), "loss": number}))


def mean_square(types: Types) -> Lens:
    """½‖b - t‖², summed over all entries and outputs: b, t ↦ a number."""
    build = Builder("square")
    b, t = _inputs(build, b=types, t=types)
    parts = []
    for x, y in zip(b, t):
        axes = tuple(range(-x.type.rank, 0))
        parts.append(build.op("sum", (x - y) * (x - y), axes=axes))
    total = parts[0]
    for part in parts[1:]:
        total = total + part
    return lens(build.finish({"loss": total * 0.5}), 0)


def _between(types: Types, name: str, rule: Callable[[Value, Value], Value]) -> Lens:
    """The identity forwards; back, a rule on the value that went and the one that comes."""
    build = Builder(name)
    (a,) = _inputs(build, a=types)
    forward = build.finish(_named("b", a))
    build = Builder(name)
    a, t = _inputs(build, a=types, t=types)
    return Lens(forward, build.finish(_named("d", [rule(x, y) for x, y in zip(a, t)])), 0, 0)


def _returned(lens: Lens) -> list[TensorType]:
    """The types of A'."""
    return list(lens.reverse.output_types[lens.back :])


def _expect(what: str, given: Types, wanted: Types) -> None:
    if list(given) != list(wanted):
        raise TypeMismatch(f"one lens {what} ({_list(given)}), and the other takes ({_list(wanted)})")


def _list(types: Types) -> str:
    return ", ".join(map(str, types))


def _inputs(build: Builder, **groups: Types) -> list[list[Value]]:
    return [
        [build.input(f"{name}.{i}", type) for i, type in enumerate(types)] for name, types in groups.items()
    ]


def _named(name: str, values: Values) -> dict[str, Value]:
    return {f"{name}.{i}": value for i, value in enumerate(values)}
