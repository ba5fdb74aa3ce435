"""Room for deep models: of a hundred layers, each a map of the one before, one thousand calls are nested."""

import sys
import threading
from collections.abc import Callable
from functools import wraps
from typing import Any, ParamSpec, TypeVar

_CALLS = 100_000  # of Python, inside one another
_STACK = 512 << 20  # bytes of address space; what is not used is not taken

P = ParamSpec("P")
R = TypeVar("R")
_here = threading.local()


class _Deeper:
    """The interpreter's limit of calls is raised for as long as anyone is inside."""

    def __init__(self) -> None:
        self.lock, self.inside, self.limit = threading.Lock(), 0, 0

    def __enter__(self) -> None:
        with self.lock:
            self.inside += 1
            if self.inside == 1:
                self.limit = sys.getrecursionlimit()
                sys.setrecursionlimit(max(self.limit, _CALLS))

    def __exit__(self, *_: object) -> None:
        with self.lock:
            self.inside -= 1
            if not self.inside:
                sys.setrecursionlimit(self.limit)


_deeper = _Deeper()


def with_room(work: Callable[P, R]) -> Callable[P, R]:
    """The same work on a stack that is large enough for whatever the language allows to be nested."""

    @wraps(work)
    def roomy(*args: P.args, **kwargs: P.kwargs) -> R:
        if getattr(_here, "roomy", False):
            return work(*args, **kwargs)
        ended: list[tuple[Any, BaseException | None]] = []

        def run() -> None:
            _here.roomy = True
            try:
                ended.append((work(*args, **kwargs), None))
            except BaseException as error:
                ended.append((None, error))

        with _deeper:
            stack = threading.stack_size()
            try:
                threading.stack_size(_STACK)
                thread = threading.Thread(target=run, name="banach", daemon=True)
                thread.start()
            except (RuntimeError, ValueError):  # there is no such stack here
                run()
            else:
                thread.join()
            finally:
                threading.stack_size(stack)
                _here.roomy = False
        result, error = ended[0]
        if error is not None:
            raise error
        return result

    return roomy
