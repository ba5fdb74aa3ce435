"""Options that several commands share, what their words mean, and what is said of others."""

import argparse
import re
from typing import Any

from banach.ir.diagnostic import Code, Diagnostic, suggest

USAGE = Code(
    "B150", "usage", "The command line is wrong. `banach --help` and `banach COMMAND --help` show its form.\n"
)
_CHOICE = re.compile(r"argument (\S+): invalid choice: '(.*)' \(choose from (.*)\)", re.DOTALL)


def mistaken(message: str, command: str) -> Diagnostic:
    """What argparse says of a command line, for people."""
    choice = _CHOICE.fullmatch(message)
    if choice is None:
        return Diagnostic(USAGE, message, fix=f"see `{command} --help`")
    known = [word.strip("' ") for word in choice[3].split(",")]
    near = suggest(choice[2], known)
    message = f"`{choice[1]}` does not take `{choice[2]}`"
    if choice[1] == "COMMAND":
        message = f"there is no command `{choice[2]}`"
    fix = f"write `{near}`" if near else f"write one of {', '.join(known)}"
    return Diagnostic(USAGE, message, fix=fix)


def passes(command: argparse.ArgumentParser) -> None:
    """What the optimisation passes may do."""
    regroup = "let passes regroup sums and products: fewer operations, other rounding"
    command.add_argument("--reassociate", action="store_true", help=regroup)
    spaced = "look at the residual every M steps only, or as often as pays: fewer checks, more steps"
    command.add_argument("--check-every", type=spacing, metavar="M|auto", help=spaced)
    closed = "replace an iteration by a closed form where its equation is affine with constant coefficients"
    command.add_argument("--direct", action="store_true", help=closed)
    command.set_defaults(target="portable", compact=False)


def weights(command: argparse.ArgumentParser) -> None:
    """Trained weights in place of the initial ones."""
    command.add_argument("--weights", metavar="FILE", help="trained weights, as `banach train` writes them")


def count(text: str) -> int:
    """A whole number from 1 on."""
    if not (text.isdecimal() and 1 <= int(text) < 2**62):
        raise argparse.ArgumentTypeError(f"a whole number from 1 on, not {text}")
    return int(text)


def spacing(text: str) -> Any:
    """A whole number from 1 on, or auto."""
    if text != "auto" and not (text.isdecimal() and int(text) >= 1):
        raise argparse.ArgumentTypeError(f"a whole number from 1 on, or auto, not {text}")
    return text if text == "auto" else int(text)


def library(command: argparse.ArgumentParser) -> None:
    """--library: pages beside those of the library."""
    command.add_argument("--library", metavar="FOLDER", help="with the pages of a folder of your own")
