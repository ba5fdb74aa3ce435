"""Every solver of the library through torch.export and torch.compile: the same numbers and statuses."""

import warnings
from typing import Any

import numpy as np
import pytest

import banach
from banach.compiler import library

torch = pytest.importorskip("torch")

PAGES = [page for page in library.pages("solver") if page.section.example]
ALWAYS = {"fista", "anderson", "cg", "pdhg", "newton", "dopri5"}
CASES = [p if p.name in ALWAYS else pytest.param(p, marks=pytest.mark.slow) for p in PAGES]


def lowered(page: library.Page) -> tuple[Any, tuple[Any, ...]]:
    from banach.backends.fx.module import to_torch

    made = banach.loads(page.section.example.text).compile(to="fx")
    return made.module, tuple(to_torch(np.asarray(port.default.array)) for port in made.inputs)


def agree(found: Any, wanted: Any) -> None:
    assert len(found) == len(wanted)
    for one, other in zip(found, wanted, strict=True):
        one, other = torch.as_tensor(one), torch.as_tensor(other)
        assert one.dtype == other.dtype
        if one.is_floating_point():
            assert torch.allclose(one, other, rtol=1e-5, atol=1e-6, equal_nan=True)
        else:
            assert torch.equal(one, other)


@pytest.mark.parametrize("page", CASES, ids=lambda page: page.name)
def test_a_page_is_exported(page: library.Page) -> None:
    module, given = lowered(page)
    wanted = module(*given)
    program = torch.export.export(module, given)
    agree(program.module()(*given), wanted)
    limit = next((i for i, x in enumerate(given) if x.dtype == torch.int64 and not x.ndim), None)
    if limit is not None:  # the limits stay inputs of the program
        fewer = tuple(torch.tensor(2) if i == limit else x for i, x in enumerate(given))
        agree(program.module()(*fewer), module(*fewer))


@pytest.mark.parametrize("page", CASES, ids=lambda page: page.name)
def test_a_page_is_compiled(page: library.Page) -> None:
    module, given = lowered(page)
    wanted = module(*given)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        agree(torch.compile(module, backend="eager")(*given), wanted)
    torch.compiler.reset()
