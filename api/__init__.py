"""Banach: a compiler for iterative models.

    import banach

    model = banach.load("lasso.yaml")
    report = model.check()                       # report.certificates["x"].verdict
    artifact = model.compile("lasso.onnx")
    result = artifact.run()                      # result["coefficients"], result["x.iterations"]

`SpecError` and `RunError` are raised, with diagnostics, for what a person can mend.
"""

from banach.compiler.pipeline import Derivative, Model, load, loads
from banach.compiler.report import Report
from banach.ir.diagnostic import RunError, SpecError

__all__ = ["Derivative", "Model", "Report", "RunError", "SpecError", "load", "loads"]
