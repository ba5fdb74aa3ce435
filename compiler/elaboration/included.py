"""Another spec as a map: `include(file=layer.yaml)` is read once, and worked out wherever it is applied.

Its inputs are the arguments, in order, and its outputs the result. What it defines is its own: its names, the
files beside it, what it assumes and what it requires. A solve z of a spec called layer is layer.z outside.
Trainable parameters keep their initial values.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from pathlib import Path
from typing import Any

from banach.compiler.elaboration import arithmetic, maps
from banach.compiler.elaboration.complexes import opened
from banach.compiler.elaboration.context import Context
from banach.compiler.elaboration.declarations import LANES, size, type_formula, type_of
from banach.compiler.elaboration.files import inside
from banach.compiler.elaboration.problem import (
    NOT_KNOWN_YET,
    RECURSIVE,
    UNKNOWN_NAME,
    WRONG_ARGUMENTS,
    WRONG_KIND,
    WRONG_SHAPE,
    refuse,
)
from banach.compiler.elaboration.scope import dtype_of
from banach.compiler.elaboration.sections import Sections
from banach.compiler.elaboration.things import Extent, Included, Map, Number, Several, Word
from banach.compiler.elaboration.words.word import Arguments, Keywords, word
from banach.compiler.spec import Spec, spec
from banach.compiler.text import source, syntax
from banach.compiler.text.expression import to_text
from banach.compiler.text.source import Scalar
from banach.ir.diagnostic import Diagnostic, SpecError, suggest
from banach.ir.dims import Assumptions, Size
from banach.ir.span import Span

WEIGHT = 100  # a spec takes as long to work out as so many maps


@dataclass(frozen=True, slots=True)
class Requirement:
    """What must be shown of a solve: its name, the word, and where they stand."""

    solve: str
    word: source.Node
    place: Span
    notes: tuple[tuple[Span, str], ...] = ()


def requirements(found: Spec) -> list[Requirement]:
    """What a spec itself requires."""
    return [Requirement(key.text, node, key.span) for key, node in found.head.require or ()]


@word("include(file=NAME, output=NAME)", 0, 0, "file", "output")
def _include(arguments: Arguments, keywords: Keywords, context: Context, span: Span) -> Map:
    """Another spec beside this one, as a map from its inputs to its outputs, or to the one that is named."""
    name, output = keywords.get("file"), keywords.get("output")
    if not isinstance(name, Word) or not isinstance(output, Word | None):
        fix = "write `include(file=layer.yaml)`, or `include(file=layer.yaml, output=z)`"
        raise refuse(WRONG_ARGUMENTS, "`include` takes the name of a file", span, fix=fix)
    path = inside(name.value, context.folder, span)
    if path in context.including:
        message = f"`{name.value}` includes itself"
        raise refuse(RECURSIVE, message, span, fix="feedback needs a `solve` or a `scan`")
    assert context.folder is not None, "a file that was found lies in a folder"
    found = spec(source.parse(source.read_text(path), str(context.folder / name.value)))
    outputs = [key.text for key, _ in found.head.outputs or ()]
    if not outputs or (output and output.value not in outputs):
        near = suggest(output.value, outputs) if output else None
        told = f"`{name.value}` has no output" + (f" `{output.value}`" if output else "")
        fix = f"write `output={near}`" if near else f"it has: {', '.join(outputs) or 'none'}"
        raise refuse(UNKNOWN_NAME, told, span, fix=fix)
    parameters = tuple(key.text for key, _ in found.head.inputs or ())
    inclusion = _Inclusion(found, path, output.value if output else None, span)
    return Included(found.name, parameters, inclusion.apply)


@dataclass(frozen=True, slots=True)
class _Inclusion:
    """A spec that is included; `kept` is what its parameters are, the same wherever it is applied."""

    spec: Spec
    path: Path
    output: str | None
    place: Span
    kept: dict[str, Any] = field(default_factory=dict)

    def apply(self, arguments: Sequence[Any], context: Context, span: Span | None) -> Any:
        """Its outputs for these inputs. SpecError: they do not fit, or what is wrong with the spec itself."""
        try:
            return self._outputs(arguments, context, span or self.place)
        except SpecError as wrong:
            raise SpecError(dict.fromkeys(map(self._from_outside, wrong.diagnostics))) from None

    def _from_outside(self, found: Diagnostic) -> Diagnostic:
        """A mistake in the included spec is told once, where it is included."""
        if found.span is None or found.span.file == self.place.file:
            return found
        return replace(found, span=self.place, notes=(*found.notes, (found.span, "it stands here")))

    def _outputs(self, arguments: Sequence[Any], context: Context, place: Span) -> Any:
        head = self.spec.head
        maps.count_application(context, place, weight=WEIGHT)
        self._check_precision(context.scope.precision, place)
        inputs = tuple(head.inputs or ())
        if len(arguments) != len(inputs):
            wanted = f"{len(inputs)} arguments ({', '.join(key.text for key, _ in inputs)})"
            raise refuse(WRONG_ARGUMENTS, f"`{self.spec.name}` takes {wanted}, not {len(arguments)}", place)
        inner = replace(context, folder=self.path.parent, including=(*context.including, self.path))
        inner = replace(inner, domain=None, argument=None)
        sections = Sections(self.spec, inner, {}, within=self.spec.name, kept=self.kept)
        sections.pages()
        _Sizes(sections, place).bind(inputs, arguments)
        sections.definitions()
        sections.assumptions()
        sections.iterations()
        results = [
            sections.attempt(lambda node=node: sections.output(node), None, node.span)
            for key, node in head.outputs or ()
            if self.output in (None, key.text)
        ]
        sections.check_names()
        sections.check()
        self._hand_over(sections, context)
        found = tuple(opened(*result) for result in results if result is not None)
        return found[0] if len(found) == 1 else Several(found)

    def _check_precision(self, precision: str, place: Span) -> None:
        own = dtype_of(self.spec.head.precision.text if self.spec.head.precision else "float32")
        if own != precision:
            message = f"`{self.spec.name}` is in {own}, and this spec in {precision}"
            raise refuse(WRONG_KIND, message, place, fix=f"write `precision: {own}`, or {precision} there")

    def _hand_over(self, sections: Sections, context: Context) -> None:
        """Claims, reports and requirements of the included spec become those of the one around it."""
        for claim in sections.claims:
            context.claims.append(claim)
            if claim.reported:
                for name, tensor in claim.reports().items():
                    context.scope.report(name, tensor.value)
        solved = {claim.recipe.name for claim in context.claims}
        for key, node in self.spec.head.require or ():
            name = f"{self.spec.name}.{key.text}"
            notes = ((key.span, "it is required here"),)
            if name in solved and not any(known.solve == name for known in context.required):
                context.required.append(Requirement(name, node, self.place, notes))


@dataclass(frozen=True, slots=True)
class _Sizes:
    """The sizes of an included spec: numbers, and names that the shapes of its arguments give a meaning."""

    sections: Sections
    place: Span
    open: dict[str, tuple[int, int]] = field(default_factory=dict)  # (least, multiple)

    def bind(self, inputs: Sequence[tuple[Scalar, source.Node]], arguments: Sequence[Any]) -> None:
        """Gives sizes and inputs their meaning."""
        sections = self.sections
        for key, node in sections.spec.head.sizes or ():
            sections.claim_name(key)
            found = sections.attempt(lambda key=key, node=node: size(key, node), key.text, key.span)
            if isinstance(found, int):
                sections.names.known[key.text] = Number(Fraction(found))
            elif found is not None:
                del sections.names.known[key.text]
                self.open[key.text] = found
        for (key, node), argument in zip(inputs, arguments, strict=True):
            sections.claim_name(key)
            sections.names.known[key.text] = self._input(key, node, argument)
        sections.check()
        unknown = [name for name in self.open if name not in sections.names.known and name != LANES]
        if unknown:
            message = f"no input of `{sections.spec.name}` tells its size `{unknown[0]}`"
            fix = f"give an input the type real[{unknown[0]}]"
            raise refuse(NOT_KNOWN_YET, message, self.place, fix=fix)

    def _input(self, key: Scalar, node: source.Node, argument: Any) -> Any:
        """The argument, if it is what the input is declared as."""
        sections, formula = self.sections, type_formula(node)
        if not arithmetic.is_tensor(argument):
            raise self._misfit(key, "a tensor", "another thing")
        given = arithmetic.type_of(argument, sections.context.scope)
        axes = formula.items if isinstance(formula, syntax.Index) else ()
        lanes = bool(axes) and isinstance(axes[0], syntax.Name) and axes[0].id == LANES
        if len(axes[lanes:]) != given.rank:
            raise self._misfit(key, to_text(formula), str(given))
        for axis, actual in zip(axes[lanes:], given.shape):
            if isinstance(axis, syntax.Name) and axis.id in self.open and axis.id not in sections.names.known:
                self._learn(key, axis.id, actual)
        wanted, _ = type_of(formula, sections.names, sections.context)
        if (wanted.dtype, wanted.shape) != (given.dtype, given.shape):
            raise self._misfit(key, str(wanted), str(given))
        return argument

    def _learn(self, key: Scalar, name: str, actual: Size) -> None:
        """A name's size, which must keep to what the included spec says of it."""
        least, multiple = self.open[name]
        contract = self.sections.context.scope.contract
        if not _keeps(contract, actual, least, multiple):
            raise self._misfit(key, f"{name} >= {least}, {multiple} | {name}", f"{name} = {actual}")
        known = Number(Fraction(actual)) if isinstance(actual, int) else Extent(actual)
        self.sections.names.known[name] = known

    def _misfit(self, key: Scalar, wanted: str, given: str) -> SpecError:
        message = f"`{self.sections.spec.name}` takes {wanted} as `{key.text}`, and is given {given}"
        notes = ((key.span, "the input is declared here"),)
        fix = "give it what it takes"
        return SpecError([Diagnostic(WRONG_SHAPE, message, self.place, fix=fix, notes=notes)])


def _keeps(contract: Assumptions, actual: Size, least: int, multiple: int) -> bool:
    """Whether a size is proved to be at least so large, and a multiple."""
    if isinstance(actual, int):
        return actual >= least and actual % multiple == 0
    whole = multiple == 1 or contract.holds(actual // multiple * multiple, "==", actual) is True
    return whole and contract.holds(least, "<=", actual) is True
