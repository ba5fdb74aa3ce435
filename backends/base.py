"""What every backend makes: an artifact that takes and gives numpy arrays by name."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence

import numpy as np

from banach.backends.admission import admit
from banach.ir.dims import Assumptions
from banach.ir.graph import Port
from banach.ir.pairs import ALL_REAL, Pairs, join


class Artifact(ABC):
    """A compiled model. `inputs` are the ports of its graph, `outputs` its names in order.

    `contract` is what their sizes must keep to; None: nothing is known of it. `pairs` names what is complex
    to whoever runs the model, and pairs of reals in its graph.
    """

    inputs: Sequence[Port]
    outputs: Sequence[str]
    contract: Assumptions | None = None
    pairs: Pairs = ALL_REAL

    @abstractmethod
    def evaluate(self, arguments: Sequence[np.ndarray]) -> Sequence[np.ndarray]:
        """The outputs of the graph for one argument per input, in order."""

    def run(self, inputs: Mapping[str, object] | None = None, /, **named: object) -> dict[str, np.ndarray]:
        """The outputs by name, for inputs by name: `run(A=A, b=b)`, or `run({"x.tolerance": 1e-4})`.

        RunError: the inputs do not fit, with all that is wrong of them.
        """
        arguments = admit(self.inputs, {**(inputs or {}), **named}, self.contract, self.pairs)
        found = dict(zip(self.outputs, self.evaluate(arguments), strict=True))
        return {name: join(array) if name in self.pairs.outputs else array for name, array in found.items()}
