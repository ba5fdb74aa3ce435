"""Parameters that follow a trainable one: V' = d V + (1 - d) W', after every step of a training that moves W.

A loss reads V as a constant, so V is a slowly moving target: a mean teacher, a momentum encoder, a target
network. What a model deploys may be V as well: the average of W over the last steps.
Sources: Polyak & Juditsky 1992; Tarvainen & Valpola 2017.
"""

from dataclasses import dataclass

from banach.compiler.elaboration.context import Context
from banach.compiler.elaboration.parameters import trainable
from banach.compiler.elaboration.problem import UNKNOWN_NAME, WRONG_KIND, refuse
from banach.compiler.elaboration.things import Environment, Number, describe
from banach.compiler.spec import Parameter
from banach.compiler.text.expression import parse
from banach.compiler.text.section import WRONG_FORM
from banach.compiler.text.source import Mapping, Node
from banach.ir.diagnostic import Diagnostic, SpecError, suggest
from banach.ir.span import Span


@dataclass(frozen=True, slots=True, eq=False)
class Follower:
    """A parameter that is drawn to another one."""

    of: str
    decay: float
    place: Span


@dataclass(frozen=True, slots=True)
class Leader:
    """The parameter that is followed: its definition is where the follower starts."""

    name: str
    node: Node
    decay: float


def leader(node: Node, known: Mapping | None, names: Environment, context: Context) -> Leader | None:
    """Whom a definition follows, if anybody. SpecError: nobody of that name is trainable."""
    if not isinstance(node, Mapping) or node.get("follows") is None:
        return None
    mistakes: list[Diagnostic] = []
    section = Parameter.read(node, mistakes)
    if section is None:
        raise SpecError(mistakes)
    told, decay = section.follows, section.decay
    assert told is not None
    if {item.text for item, _ in node} - {"follows", "decay"}:
        message = "a parameter that follows another starts where that does, and has no more keys"
        raise refuse(WRONG_FORM, message, told.span, fix="keep `follows` and `decay`")
    if decay is None:
        raise refuse(
            WRONG_FORM, "a parameter that follows another has a `decay`", told.span, fix="add `decay: 0.99`"
        )
    others = [key.text for key, other in known or () if trainable(other)]
    if told.text not in others:
        near = suggest(told.text, others)
        fix = f"write `{near}`" if near else f"trainable parameters are: {', '.join(others) or 'none'}"
        message = f"there is no trainable parameter `{told.text}` to follow"
        raise refuse(UNKNOWN_NAME, message, told.span, fix=fix)
    size = context.evaluate(parse(decay), names, context)
    if not isinstance(size, Number) or not 0 <= size.value < 1:
        shown = describe(size) if not isinstance(size, Number) else f"`{decay.text}`"
        fix = "0.99 keeps 99 hundredths of what was there"
        raise refuse(WRONG_KIND, f"a decay is a number from 0 to below 1, not {shown}", decay.span, fix=fix)
    assert known is not None
    return Leader(told.text, next(other for key, other in known if key.text == told.text), float(size.value))
