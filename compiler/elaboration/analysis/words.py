"""The words of a page's conditions and steps that the analysis of maps answers."""

from collections.abc import Callable
from typing import Any

from banach.compiler.elaboration.analysis import constants, monotonicity, tables

WORDS: dict[str, Callable[..., Any]] = {
    "lipschitz": constants.lipschitz,
    "norm": constants.lipschitz,
    "smallest_singular": constants.smallest_singular,
    "symmetric": constants.symmetric,
    "spectrum": constants.spectrum,
    "reach": constants.reach,
    "rounding": constants.rounding,
    "linear": constants.linear,
    "unstretched": constants.unstretched,
    "like_unknown": constants.like_unknown,
    "is_zero": tables.is_zero,
    "largest_entry": tables.largest_entry,
    "entries_of": tables.entries_of,
    "sum_of_sizes": tables.sum_of_sizes,
    "dominance": tables.dominance,
    "row_sums": tables.row_sums,
    "largest_norm": tables.largest_norm,
    "tight": tables.tight,
    "strongly_connected": tables.strongly_connected,
    "monotone": monotonicity.monotone,
    "monotonicity": monotonicity.monotonicity,
}
