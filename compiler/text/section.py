"""Sections of a text: mappings with fixed keys, read by pydantic models, with mistakes at their places."""

from typing import Any, ClassVar, Self

from pydantic import BaseModel, ConfigDict, ValidationError

from banach.compiler.text.source import Mapping, Node, Scalar, Sequence
from banach.ir.diagnostic import Code, Diagnostic, suggest
from banach.ir.span import Span

UNKNOWN_KEY = Code(
    "B131",
    "unknown-key",
    """A section holds a key that means nothing there. It is refused, since a misspelt option that is passed
over in silence runs to a wrong answer.

    wrong    stop: {residual: 1e-6, max_iter: 100}
    right    stop: {residual: 1e-6, most: 100}
""",
)
MISSING_KEY = Code("B132", "missing-key", "A section lacks a key that it cannot do without.\n")
WRONG_FORM = Code(
    "B133",
    "wrong-form",
    """A key holds a mapping where one value is wanted, a value where a mapping is wanted, and so on.

    wrong    sizes: 10
    right    sizes: {n: 10}
""",
)

# What other programs call it -> what it is called here.
ALIASES = {
    **dict.fromkeys(("stepsize", "step_size", "tau", "gamma", "lr", "eta", "learning_rate"), "step"),
    **dict.fromkeys(
        ("max_iters", "max_iter", "maxiter", "niter", "maxit", "n_iter", "max_iterations"), "most"
    ),
    **dict.fromkeys(("rtol", "atol", "tol", "tolerance", "eps", "thres_conv", "f_tol"), "residual"),
    **dict.fromkeys(("solver", "algorithm", "kind", "type"), "method"),
    **dict.fromkeys(("init", "x0", "initial", "initial_guess"), "start"),
    **dict.fromkeys(("omega", "damping"), "relaxation"),
    **dict.fromkeys(("m", "history_size", "lookback"), "memory"),
}

_FORMS = {"Scalar": "one value", "Mapping": "a mapping", "Sequence": "a list"}
_SHAPES = {"one value": "...", "a mapping": "{name: ...}", "a list": "[...]"}
_EXAMPLES = {
    "banach": "1",
    "precision": "float64",
    "sizes": "{n: 10}",
    "outputs": "{x: x}",
    "residual": "1e-6",
    "most": "1000",
    "stop": "{residual: ..., most: 1000}",
    "state": "{x: zeros(n)}",
    "next": "{x: ...}",
}


class Section(BaseModel):
    """A mapping with fixed keys. Fields hold nodes, so that every value keeps its place."""

    model_config = ConfigDict(extra="forbid", arbitrary_types_allowed=True, frozen=True)
    title: ClassVar[str] = "section"

    @classmethod
    def read(cls, node: Node, mistakes: list[Diagnostic]) -> Self | None:
        """The section, or None after adding what is wrong with it to `mistakes`."""
        if not isinstance(node, Mapping):
            message = f"{a(cls.title)} is a mapping, not {form(node)}"
            fix = f"keys of {a(cls.title)}: {cls.keys()}"
            mistakes.append(Diagnostic(WRONG_FORM, message, node.span, fix=fix))
            return None
        try:
            return cls.model_validate({key.text: value for key, value in node})
        except ValidationError as refusal:
            errors = refusal.errors(include_url=False)
            # A key that is there under another name is not missing too.
            meant = {_meant(error["loc"][0], cls) for error in errors if error["type"] == "extra_forbidden"}
            told = [e for e in errors if e["type"] != "missing" or e["loc"][0] not in meant]
            mistakes.extend(cls._explain(error, node) for error in told)
            return None

    @classmethod
    def keys(cls) -> str:
        return ", ".join(_spelling(cls, name) for name in cls.model_fields)

    @classmethod
    def _explain(cls, error: Any, node: Mapping) -> Diagnostic:
        name = str(error["loc"][0])
        if error["type"] == "missing":
            fix = f"add `{name}: {_EXAMPLES.get(name, '...')}`"
            return Diagnostic(MISSING_KEY, f"this {cls.title} has no `{name}`", _head(node), fix=fix)
        key = next(k for k, _ in node if k.text == name)
        if error["type"] == "extra_forbidden":
            return unknown_key(key, cls.title, [_spelling(cls, field) for field in cls.model_fields])
        value = node.get(name)
        wanted = _FORMS.get(str(error.get("ctx", {}).get("class_name", "")), "something else")
        message = f"`{name}` takes {wanted}, not {form(value)}"
        return Diagnostic(
            WRONG_FORM,
            message,
            value.span if value else key.span,
            fix=f"write `{name}: {_EXAMPLES.get(name) or _SHAPES.get(wanted, '...')}`",
        )


def _meant(name: object, cls: type[Section]) -> str | None:
    known = [_spelling(cls, field) for field in cls.model_fields]
    alias = ALIASES.get(str(name))
    return alias if alias in known else suggest(str(name), known)


def unknown_key(key: Scalar, title: str, known: list[str]) -> Diagnostic:
    """A key that means nothing, with what was probably meant."""
    alias = ALIASES.get(key.text)
    if alias in ("most", "residual") and alias not in known and "stop" in known:
        fix = f"write `stop: {{{alias}: ...}}`, with `residual` and `most`"
        label = f"here it is called `{alias}`, under `stop`"
        return Diagnostic(UNKNOWN_KEY, f"{a(title)} has no key `{key.text}`", key.span, label=label, fix=fix)
    near = alias if alias in known else suggest(key.text, known)
    label = (
        f"here it is called `{near}`"
        if alias and near == alias
        else f"did you mean `{near}`?"
        if near
        else ""
    )
    fix = f"write `{near}`" if near else f"keys of {a(title)}: {', '.join(known)}"
    return Diagnostic(UNKNOWN_KEY, f"{a(title)} has no key `{key.text}`", key.span, label=label, fix=fix)


def form(node: Node | None) -> str:
    """What a node is, in words."""
    if isinstance(node, Mapping):
        return "a mapping"
    if isinstance(node, Sequence):
        return "a list"
    return "one value" if node is not None and node.text else "nothing"


def a(title: str) -> str:
    """The title with its article."""
    return f"{'an' if title[0] in 'aeiou' else 'a'} {title}"


def shown(node: Node) -> str:
    """What a node is, in the user's own word where it is one."""
    return f"`{node.text}`" if isinstance(node, Scalar) and node.text else form(node)


def _spelling(cls: type[Section], name: str) -> str:
    return cls.model_fields[name].alias or name


def _head(node: Mapping) -> Span:
    return node.items[0][0].span if node.items else node.span
