"""The torch modules on a GPU: the numbers of the CPU, how often the host waits, time against torch by hand.

`python benchmarks/gpu.py` says so where there is none. Whether the host waits is asked of torch itself
(torch.cuda.set_sync_debug_mode); a solve may wait once for every look at its residual, and once at its end.
"""

import warnings
from collections.abc import Callable

import deblur
import deq
import numpy as np
import tv
from race import FAST, Contender, Run, fx, options, race

STEPS = 100


def models() -> dict[str, tuple[Callable, dict, str, Callable | None]]:
    """What is run: the module, its inputs, the output that is compared, and the same by hand on a device."""
    import banach

    random = np.random.default_rng(0)
    y = random.random((deblur.N, deblur.N)).astype(np.float32)
    text = tv.SPEC.read_text().replace("{n: 64}", f"{{n: {tv.N}}}").replace("float64", "float32")
    w, c = deq.weights(symmetric=False)
    counted = {"tolerance": np.float32(0), "max_iterations": np.asarray(STEPS)}

    def given(name: str, **inputs: np.ndarray) -> dict:
        return inputs | {f"{name}.{option}": value for option, value in counted.items()}

    return {
        "FISTA deblurring": (
            lambda: banach.load(deblur.SPEC).compile(to="fx", options=FAST),
            given("x", y=y),
            "x",
            lambda: deblur.torch_run(y, transform=False, device="cuda"),
        ),
        "TV, primal-dual": (
            lambda: banach.loads(text).compile(to="fx", options=FAST),
            given("u", noisy=y),
            "u",
            lambda: tv.torch_run(y, device="cuda"),
        ),
        "fixed point, Picard": (
            lambda: deq.compiled(w, "picard", "fx"),
            {"c": c},
            "z",
            lambda: deq.torch_picard(w, c, every=5, device="cuda"),
        ),
        "fixed point, Anderson": (lambda: deq.compiled(w, "anderson", "fx"), {"c": c}, "z", None),
    }


def waits(run: Run) -> int:
    """How often the host waits for the device during a run."""
    import torch

    torch.cuda.set_sync_debug_mode("warn")
    try:
        with warnings.catch_warnings(record=True) as told:
            warnings.simplefilter("always")
            run()
    finally:
        torch.cuda.set_sync_debug_mode("default")
    return sum("synchroniz" in str(warning.message) for warning in told)


def main() -> None:
    asked = options(__doc__)
    import torch

    if not torch.cuda.is_available():
        print("no GPU is here")
        return
    print(torch.cuda.get_device_name(), "torch", torch.__version__)
    for title, (compiled, inputs, output, by_hand) in models().items():
        on_cpu, on_gpu = fx(compiled(), **inputs), fx(compiled(), "cuda", **inputs)
        there, here = on_gpu(), on_cpu()
        counts = [int(found[f"{output}.iterations"]) for found in (here, there)]
        off = float((there[output].cpu() - here[output]).norm() / here[output].norm())
        told = f"iterations {counts[0]} on the CPU, {counts[1]} on the GPU; {off:.0e} apart"
        print(f"{title}: {told}; the host waits {waits(on_gpu)} times")

        def finished(run: Run) -> Run:
            def whole():
                run()
                torch.cuda.synchronize()

            return whole

        field = [Contender("banach, fx, GPU", finished(on_gpu)), Contender("banach, fx, CPU", on_cpu)]
        if by_hand is not None:
            field.insert(0, Contender("torch by hand, GPU", finished(by_hand())))
        race(f"{title}, whole runs", field, asked.seconds)


if __name__ == "__main__":
    main()
