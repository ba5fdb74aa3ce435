"""What a function's page needs of its arguments, `needs: low <= high`: without it, no point has a value.

Judged where the page is given arguments that are known before the run. Of others nothing is said here: a
page's facts state what they rest on by themselves.
"""

import numpy as np

from banach.compiler import library
from banach.compiler.elaboration import arithmetic
from banach.compiler.elaboration.context import Context
from banach.compiler.elaboration.problem import refuse
from banach.compiler.elaboration.things import Environment, Number, Table
from banach.compiler.text import syntax
from banach.compiler.text.expression import parse, to_text
from banach.ir.diagnostic import Code
from banach.ir.span import Span

EMPTY_DOMAIN = Code(
    "B215",
    "empty-domain",
    """A page of the library was given arguments for which it stands for nothing: a box whose lower side lies
above its upper one, a ball with a negative radius. No point lies in such a set, so nothing that is required
to lie in it has a solution. The message shows the condition of the page, and `banach explain NAME` the page.

    wrong    g: box(1, 0)
    right    g: box(0, 1)
""",
)


def check(page: library.Page, names: Environment, context: Context, span: Span) -> None:
    """SpecError: what the page needs of its arguments fails for sure."""
    section = page.section
    if not isinstance(section, library.FunctionPage) or section.needs is None:
        return
    condition = parse(section.needs)
    read = {name: names.find(name) for name in sorted(syntax.names(condition))}
    given = {name: thing for name, thing in read.items() if thing is not None}
    if not all(map(arithmetic.is_known, given.values())):
        return
    if np.all(arithmetic.as_array(context.evaluate(condition, names, context))):
        return
    told = ", ".join(f"{name} = {_told(thing)}" for name, thing in given.items())
    message = f"no point lies in this `{page.name}`: it needs `{to_text(condition)}`, and {told}"
    why = f"{page.name}: {page.doc}"
    raise refuse(EMPTY_DOMAIN, message, span, why=why, fix=f"give it arguments with `{to_text(condition)}`")


def _told(thing: object) -> str:
    match thing:
        case Number(value):
            return f"{float(value):g}"
        case Table(array) if array.ndim == 1 and array.size <= 4:
            return f"[{', '.join(f'{x:g}' for x in array.ravel())}]"
        case Table(array):
            return f"a table [{', '.join(map(str, array.shape))}]"
    return str(thing)
