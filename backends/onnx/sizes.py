"""Named sizes in a running file: read from the shapes of the inputs, once, in the outermost graph."""

from collections.abc import Mapping, Sequence

from banach.backends.onnx.emit import Emitter, Ref
from banach.ir.diagnostic import Code, Diagnostic, SpecError
from banach.ir.dims import Dim, Monomial, Quotient, Size, names
from banach.ir.graph import Port
from banach.ir.quantised import Quantised
from banach.ir.tensor_type import TensorType

HIDDEN_SIZE = Code(
    "B612",
    "hidden-size",
    """A size has a name, but no input of the file shows its value.

A compiled file reads its sizes from the shapes of its inputs: `u: real[batch, 64]` shows `batch`. An axis
such as `2*n` shows `n` as well. Give the model an input with that axis, or write the size as a number.
""",
)

ONE = TensorType("int64", (1,))


class SizedEmitter(Emitter):
    """An emitter that knows where each named size can be read."""

    def __init__(
        self, inputs: Sequence[Port], taken: Sequence[str], quantised: Mapping[str, Quantised] | None = None
    ):
        super().__init__(taken, quantised)
        self.compact = False  # whether samples that have stopped are left out of what follows
        self._shown: dict[str, tuple[Port, int, int]] = {}
        self._counted: dict[str, Ref] = {}  # sizes that only a loop knows, by an array that is so long
        for port in inputs:
            for axis, size in enumerate(port.type.shape):
                self._show(port, axis, size)

    def shape(self, shape: Sequence[Size]) -> Ref:
        """A shape as an int64 vector."""
        if not any(isinstance(size, Dim) for size in shape):
            return super().shape(shape)
        parts = [self.size(size) for size in shape]
        if len(parts) == 1:
            return parts[0]
        return self.node("Concat", parts, TensorType("int64", (len(parts),)), free=True, axis=0)

    def size(self, size: Size) -> Ref:
        """A size as an int64 vector of one entry. SpecError: no input shows it."""
        if isinstance(size, int):
            return self.vector([size])
        for name in names(size):
            if name not in self._shown and name not in self._counted:
                known = ", ".join(sorted(self._shown)) or "none"
                message = f"no input shows the size `{name}`"
                raise SpecError([Diagnostic(HIDDEN_SIZE, message, fix=f"the inputs show: {known}")])
        total: Ref | None = None
        for monomial, coefficient in size.terms:
            term = self._monomial(monomial, coefficient)
            total = term if total is None else self._whole("Add", total, term)
        assert total is not None, "a Dim has terms"
        return total

    def count(self, name: str, array: Ref) -> None:
        """From here on, a size is how long an array is."""
        self._counted[name] = array

    def _show(self, port: Port, axis: int, size: Size) -> None:
        """A bare name is shown by an axis, and so is a multiple of one, where nothing plainer shows it."""
        if not isinstance(size, Dim) or len(size.terms) != 1:
            return
        ((monomial, coefficient),) = size.terms
        if len(monomial) == 1 and monomial[0][1] == 1 and isinstance(monomial[0][0], str):
            name = monomial[0][0]
            if name not in self._shown or coefficient < self._shown[name][2]:
                self._shown[name] = (port, axis, coefficient)

    def _monomial(self, monomial: Monomial, coefficient: int) -> Ref:
        factors = [self._atom(atom) for atom, power in monomial for _ in range(power)]
        if coefficient != 1 or not factors:
            factors.append(self.vector([coefficient]))
        product = factors[0]
        for factor in factors[1:]:
            product = self._whole("Mul", product, factor)
        return product

    def _atom(self, atom: str | Quotient) -> Ref:
        if isinstance(atom, Quotient):
            return self._floor_divide(self.size(atom.numerator), self.size(atom.denominator))
        if atom in self._counted:
            return self.node("Shape", [self._counted[atom]], ONE, free=True, start=0, end=1)
        port, axis, factor = self._shown[atom]
        shown = self.node("Shape", [Ref(port.type, port.name)], ONE, free=True, start=axis, end=axis + 1)
        return shown if factor == 1 else self._whole("Div", shown, self.vector([factor]))

    def _floor_divide(self, a: Ref, b: Ref) -> Ref:
        # Div cuts towards zero; a - a mod b is a multiple of b, so there the two agree.
        return self._whole("Div", self._whole("Sub", a, self._whole("Mod", a, b)), b)

    def _whole(self, op_type: str, a: Ref, b: Ref) -> Ref:
        return self.node(op_type, [a, b], ONE, free=True)
