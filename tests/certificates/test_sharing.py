"""A bound that does not exist keeps no trace of how it was sought, which may be a tree of shared parts."""

import json

import banach

SPEC = """banach: 1
name: shared
sizes: {n: 2}
inputs: {u: "real[n]"}
operators:
  twice(x): exp(x) * x + x
  T(x): CHAIN
solve:
  x:
    state: {x: zeros(n)}
    next: {x: T(x) + u}
    stop: {residual: norm(x' - x) <= 1e-3, most: 3}
outputs: {x: x}
"""


def test_an_unbounded_map_has_short_evidence():
    chain = "x"
    for _ in range(24):  # a tree of 2^24 leaves, were it written out
        chain = f"twice({chain})"
    model = banach.loads(SPEC.replace("CHAIN", f"0.01 * {chain}"))
    certificate = model.check().certificates["x"]
    assert certificate.verdict == "unknown" and "[0, inf]" in certificate.missing
    assert len(json.dumps(certificate.evidence())) < 10_000
    assert model.compile(to="onnx").run(u=[0.0, 0.0])["x"].tolist() == [0, 0]
