"""Where the regions of the theorems end: a value inside, on and outside of each inequality.

diag(2, 1) has the norm 2 exactly, so f has L = 4 and mu = 1, and ends can be tried as such.
"""

from dataclasses import dataclass

HELD = {
    "A": "[[2, 0], [0, 1]]",
    "Q": "[[4, 0], [0, 1]]",
    "b": "[1, 1]",
    "f": "least_squares(A, b)",
    "flat": "least_squares([[2, 0], [0, 0]], b)",
    "g": "l1(0.1)",
    "near": "sq_l2(b)",
    "turn": "[[0, -1], [1, 0]]",
    "F": "affine_map(turn, b)",
    "T(x)": "turn @ x + b",
    "half(x)": "0.5 * x",
    "reward": "[[1, 0], [2, -1]]",
    "chance": "[[[0.5, 0.5], [0, 1]], [[1, 0], [0.25, 0.75]]]",
}
# What a theorem is tried on, where each of its hypotheses holds: the method, and what differs from above.
TRIED: dict[str, dict[str, str]] = {
    "admm": {"method": "admm(near, g)"},
    "alternating-proximal": {"method": "alternating_proximal(near, g)"},
    "anderson-safeguarded": {"method": "anderson(half)"},
    "backtracking": {"method": "backtracking(f)"},
    "banach": {"method": "picard(half)"},
    "barzilai-borwein-quadratic": {"method": "barzilai_borwein(f)"},
    "bellman": {"method": "value_iteration(reward, chance)"},
    "chambolle-dossal": {"method": "chambolle_dossal(f, g)"},
    "chambolle-pock": {"method": "pdhg(g, near, A)", "tau": "0.5", "sigma": "0.5"},
    "chebyshev": {"method": "chebyshev(Q, b)", "low": "0.5", "high": "5"},
    "condat-vu": {"method": "condat_vu(near, g, g, A)", "tau": "0.1", "sigma": "0.5"},
    "conjugate-gradients": {"method": "cg(Q, b)"},
    "conjugate-gradients-least-squares": {"method": "cgls(A, b)"},
    "conjugate-residuals": {"method": "conjugate_residual(Q, b)"},
    "coordinate-descent": {"method": "coordinate_descent(A, b, {weight})", "weight": "0.5"},
    "davis-yin": {"method": "davis_yin(g, g, f)"},
    "douglas-rachford": {"method": "douglas_rachford(near, g)"},
    "extragradient": {"method": "extragradient(F)", "step": "0.8"},
    "extragradient-last-iterate": {"method": "extragradient(F)", "step": "0.5"},
    "fast-extragradient": {"method": "fast_extragradient(F)"},
    "fista": {"method": "fista(f, g)"},
    "forward-backward": {"method": "proximal_gradient(flat, g)"},
    "forward-backward-forward": {"method": "tseng(F, g)"},
    "forward-backward-strongly-convex": {"method": "proximal_gradient(f, g)"},
    "forward-backward-strongly-monotone": {"method": "forward_backward(F, g)", "turn": "[[3, -4], [4, 3]]"},
    "forward-reflected-backward": {"method": "forward_reflected_backward(F, g)"},
    "frank-wolfe": {"method": "frank_wolfe(f, {total})", "total": "1"},
    "gauss-seidel-dominant": {"method": "gauss_seidel(Q, b)"},
    "gmres-positive": {"method": "gmres(Q, b)"},
    "golden-ratio": {"method": "golden_ratio(F, g)"},
    "gradient-descent-convex": {"method": "gradient_descent(flat)"},
    "gradient-descent-strongly-convex": {"method": "gradient_descent(f)"},
    "halpern": {"method": "halpern(T)"},
    "heavy-ball-quadratic": {"method": "heavy_ball(f)"},
    "jacobi": {"method": "jacobi(Q, b)"},
    "kaczmarz": {"method": "kaczmarz(A, b)"},
    "krasnoselskii-mann": {"method": "krasnoselskii_mann(T)"},
    "landweber": {"method": "landweber(B, b)", "B": "[[2, 0], [0, 0]]"},
    "landweber-full-rank": {"method": "landweber(A, b)"},
    "lbfgs-safeguarded": {"method": "lbfgs(f)"},
    "learned-proximal-gradient": {"method": "learned_prox(f, psi)", "psi": "huber(1)", "strength": "0.25"},
    "linearized-admm": {"method": "linearized_admm(near, g, A)", "sigma": "1", "tau": "0.1"},
    "minres": {"method": "minres(Q, b)"},
    "mirror-descent": {"method": "mirror_descent(f)", "start": "[1, 1]"},
    "nesterov-strongly-convex": {"method": "nesterov(f)"},
    "optimistic-gradient": {"method": "optimistic_gradient(F)"},
    "ostrowski-reich": {"method": "gauss_seidel(S, b)", "S": "[[1, 2], [2, 5]]"},
    "ostrowski-reich-relaxed": {"method": "sor(S, b)", "S": "[[1, 2], [2, 5]]"},
    "peaceman-rachford": {"method": "peaceman_rachford(near, g)"},
    "plug-and-play-contraction": {"method": "plug_and_play(f, half)"},
    "plug-and-play-nonexpansive": {"method": "plug_and_play(flat, T)", "relaxation": "0.5"},
    "preconditioned-conjugate-gradients": {
        "method": "preconditioned_cg(Q, b, M)",
        "M": "matrix([[1, 0], [0, 2]])",
    },
    "proximal-point": {"method": "proximal_point(g)"},
    "proximal-point-strongly-convex": {"method": "proximal_point(near)"},
    "restarted-fista": {"method": "restarted_fista(f, g)"},
    "richardson": {"method": "richardson(Q, b)"},
    "sinkhorn": {"method": "sinkhorn(K, rows, columns)", "K": "[[1, 2], [3, 1]]", "start": "[1, 1]"}
    | {"rows": "[1, 2]", "columns": "[2, 1]"},
    "newman": {"method": "bradley_terry(K)", "K": "[[0, 2], [1, 0]]", "start": "[1, 1]"},
    "zermelo": {"method": "zermelo(K)", "K": "[[0, 2], [1, 0]]", "start": "[1, 1]"},
    "sirt": {"method": "sirt(A, b)"},
    "ssor": {"method": "ssor(S, b)", "S": "[[1, 2], [2, 5]]"},
    "triple-momentum": {"method": "triple_momentum(f)"},
    "two-grid": {"method": "two_grid(Q, P, b)", "P": "[[1], [1]]"},
    "viscosity": {"method": "viscosity(T, half)"},
}
NO_POINT = None  # no value lies there, or all do


@dataclass(frozen=True)
class Edge:
    """One hypothesis of a theorem; `holds` says whether the end itself belongs to the region."""

    theorem: str
    hypothesis: str
    varied: str  # an option, the start, or a definition
    inside: str
    on: str | None
    outside: str | None
    holds: bool


EDGES: list[Edge] = []


def edge(
    theorems: str,
    hypothesis: str,
    varied: str,
    inside: str,
    on: str | None,
    outside: str | None,
    holds: bool = False,
) -> None:
    EDGES.extend(Edge(name, hypothesis, varied, inside, on, outside, holds) for name in theorems.split())


edge(
    "admm alternating-proximal barzilai-borwein-quadratic chambolle-dossal davis-yin douglas-rachford"
    " extragradient-last-iterate fast-extragradient fista forward-backward forward-backward-forward"
    " forward-backward-strongly-convex forward-reflected-backward golden-ratio gradient-descent-convex"
    " gradient-descent-strongly-convex heavy-ball-quadratic landweber landweber-full-rank lbfgs-safeguarded"
    " mirror-descent nesterov-strongly-convex optimistic-gradient peaceman-rachford"
    " plug-and-play-contraction plug-and-play-nonexpansive proximal-point proximal-point-strongly-convex"
    " richardson two-grid",
    "step > 0",
    "step",
    "1e-3",
    "0",
    "-1e-3",
)
edge("newman zermelo", "entries_of(start) > 0", "start", "[1, 1e-3]", "[1, 0]", "[1, -1e-3]")
LEARNED = "learned-proximal-gradient"
edge(LEARNED, "step > 0", "step", "1e-3", "0", "-1e-3")
edge(LEARNED, "strength > 0", "strength", "1e-3", "0", "-1e-3")
edge(LEARNED, "strength < 1", "strength", "0.999", "1", "1.001")
edge(LEARNED, "displacement(psi) < inf", "psi", "huber(1)", NO_POINT, "ridge(1)")
edge(LEARNED, "lipschitz(grad(psi)) < inf", "psi", "huber(1)", NO_POINT, "entropy(1)")
# With ∇Ψ of slope 1.25: (1 + 0.8)/4.
edge(LEARNED, "step < (1 + 1 / slope) / lipschitz(grad(f))", "step", "0.449", "0.45", "0.451")
edge("restarted-fista", "step > 0", "step", "0.25", "0", "-0.25")
edge("extragradient", "step > 0", "step", "0.8", "0", "-0.8")

# --- steps of smooth functions, with L = 4 ----------------------------------------------------------------
edge(
    "chambolle-dossal fista nesterov-strongly-convex gradient-descent-convex mirror-descent restarted-fista",
    "step <= 1 / lipschitz(grad(f))",
    "step",
    "0.249",
    "0.25",
    "0.2501",
    True,
)
edge(
    "forward-backward forward-backward-strongly-convex gradient-descent-strongly-convex lbfgs-safeguarded",
    "step < 2 / lipschitz(grad(f))",
    "step",
    "0.499",
    "0.5",
    "0.5001",
)
edge("davis-yin", "step < 2 / lipschitz(grad(h))", "step", "0.499", "0.5", "0.5001")
edge("landweber landweber-full-rank", "step < 2 / lipschitz(A) ** 2", "step", "0.499", "0.5", "0.5001")
edge("richardson two-grid", "step < 2 / upper(spectrum(A))", "step", "0.499", "0.5", "0.5001")
edge("plug-and-play-nonexpansive", "step <= 2 / lipschitz(grad(f))", "step", "0.499", "0.5", "0.5001", True)
edge(
    "barzilai-borwein-quadratic forward-backward-strongly-convex gradient-descent-strongly-convex"
    " heavy-ball-quadratic lbfgs-safeguarded restarted-fista",
    "strong_convexity(f) > 0",
    "f",
    "quadratic([[4, 0], [0, 0.25]], b)",
    "quadratic([[4, 0], [0, 0]], b)",
    "quadratic([[4, 0], [0, -0.25]], b)",
)
BOUNDED = "lipschitz(grad(f)) < inf"
edge("backtracking frank-wolfe", BOUNDED, "f", "huber(1)", NO_POINT, "entropy(1)")
edge(
    "peaceman-rachford",
    BOUNDED,
    "near",
    "moreau_envelope(elastic_net(0.1, 1), 1)",
    NO_POINT,
    "elastic_net(0.1, 1)",
)
edge(
    "peaceman-rachford",
    "strong_convexity(f) > 0",
    "near",
    "moreau_envelope(elastic_net(0.1, 0.01), 1)",
    "moreau_envelope(elastic_net(0.1, 0), 1)",
    "moreau_envelope(elastic_net(0.1, -0.01), 1)",
)
edge(
    "proximal-point-strongly-convex",
    "strong_convexity(g) > 0",
    "near",
    "elastic_net(0.1, 0.01)",
    "elastic_net(0.1, 0)",
    "elastic_net(0.1, -0.01)",
)
edge("backtracking", "first > 0", "first", "1e-3", "0", "-1e-3")
edge("backtracking", "shrink > 0", "shrink", "1e-3", "0", "-1e-3")
edge("backtracking", "shrink < 1", "shrink", "0.999", "1", "1.001")
edge("backtracking", "theta > 0", "theta", "1e-3", "0", "-1e-3")
edge("backtracking", "theta <= 0.5", "theta", "0.499", "0.5", "0.501", True)
edge("chambolle-dossal", "a >= 3", "a", "3.001", "3", "2.999", True)
edge("heavy-ball-quadratic", "momentum >= 0", "momentum", "1e-3", "0", "-1e-3", True)
edge("heavy-ball-quadratic", "momentum < 1", "momentum", "0.999", "1", "1.001")
STEEP = "step < 2 * (1 + momentum) / lipschitz(grad(f))"
edge("heavy-ball-quadratic", STEEP, "step", "0.749", "0.75", "0.7501")
edge("nesterov-strongly-convex triple-momentum", "mu > 0", "mu", "1e-3", "0", "-1e-3")
OF_MU = "mu <= strong_convexity(f)"
edge("nesterov-strongly-convex triple-momentum", OF_MU, "mu", "0.999", "1", "1.001", True)
edge("triple-momentum", "smooth >= lipschitz(grad(f))", "smooth", "4.001", "4", "3.999", True)
edge("triple-momentum", "mu < smooth", "smooth", "4", NO_POINT, "1")
edge("restarted-fista", "every >= 1", "every", "30", NO_POINT, "0")
ROUND = "4 < step * strong_convexity(f) * (every + 1) ** 2"
edge("restarted-fista", ROUND, "every", "4", "3", "2")
edge("anderson-safeguarded lbfgs-safeguarded", "accept >= 0", "accept", "1e-3", "0", "-1e-3", True)
edge("anderson-safeguarded lbfgs-safeguarded", "accept < 1", "accept", "0.999", "1", "1.001")
edge("anderson-safeguarded lbfgs-safeguarded", "slack >= 1", "slack", "1.001", "1", "0.999", True)
edge("frank-wolfe", "total > 0", "total", "1e-3", "0", "-1e-3")
edge("mirror-descent", "entries_of(start) > 0", "start", "[1, 1e-3]", "[1, 0]", "[1, -1e-3]")

# --- splittings -------------------------------------------------------------------------------------------
RELAXED = "douglas-rachford kaczmarz sirt ostrowski-reich-relaxed ssor"
edge(RELAXED, "relaxation > 0", "relaxation", "1e-3", "0", "-1e-3")
edge(RELAXED, "relaxation < 2", "relaxation", "1.999", "2", "2.001")
edge("chambolle-pock condat-vu linearized-admm", "sigma > 0", "sigma", "1e-3", "0", "-1e-3")
edge("chambolle-pock condat-vu linearized-admm", "tau > 0", "tau", "1e-3", "0", "-1e-3")
edge("chambolle-pock", "tau * sigma * lipschitz(K) ** 2 <= 1", "tau", "0.499", "0.5", "0.5001", True)
VU = "1 / tau - sigma * lipschitz(K) ** 2 > lipschitz(grad(f)) / 2"
edge("condat-vu", VU, "tau", "0.399", "0.4", "0.4001")
edge("linearized-admm", "tau * sigma * lipschitz(K) ** 2 < 1", "tau", "0.249", "0.25", "0.2501")

# --- monotone maps, with L = 1 ----------------------------------------------------------------------------
LAST = "2 * (step * lipschitz(F)) ** 2 <= 1"  # no rational step lies on the end
edge("extragradient-last-iterate", LAST, "step", "0.7071", NO_POINT, "0.7072")
edge("extragradient forward-backward-forward", "step < 1 / lipschitz(F)", "step", "0.999", "1", "1.001")
edge("fast-extragradient", "step <= 1 / lipschitz(F)", "step", "0.999", "1", "1.001", True)
HALF = "step < 1 / (2 * lipschitz(F))"
edge("forward-reflected-backward optimistic-gradient", HALF, "step", "0.499", "0.5", "0.5001")
STRONG = "forward-backward-strongly-monotone"  # with μ = 3 and L = 5
edge(STRONG, "step * lipschitz(F) ** 2 < 2 * monotonicity(F)", "step", "0.2399", "0.24", "0.2401")
edge(STRONG, "step > 0", "step", "1e-3", "0", "-1e-3")
edge(
    STRONG,
    "monotonicity(F) > 0",
    "turn",
    "[[1e-3, -1], [1, 1e-3]]",
    "[[0, -1], [1, 0]]",
    "[[-1e-3, -1], [1, -1e-3]]",
)
GOLDEN = "2 * step * lipschitz(F) <= 1.618"  # 0.809 itself is stored above it
edge("golden-ratio", GOLDEN, "step", "0.8089", "0.809", "0.8091")

# --- maps -------------------------------------------------------------------------------------------------
STRETCH = ("0.999 * (turn @ x)", "turn @ x", "1.001 * (turn @ x)")
edge("anderson-safeguarded banach", "lipschitz(T) < 1", "half(x)", *STRETCH)
edge("viscosity", "lipschitz(F) < 1", "half(x)", *STRETCH)
edge("halpern krasnoselskii-mann viscosity", "lipschitz(T) <= 1", "T(x)", *STRETCH, True)
edge("plug-and-play-nonexpansive", "lipschitz(D) <= 1", "T(x)", STRETCH[1], STRETCH[1], STRETCH[2], True)
MANN = "krasnoselskii-mann plug-and-play-nonexpansive"
edge(f"{MANN} plug-and-play-contraction", "relaxation > 0", "relaxation", "1e-3", "0", "-1e-3")
edge(MANN, "relaxation < 1", "relaxation", "0.999", "1", "1.001")
edge("plug-and-play-contraction", "relaxation <= 1", "relaxation", "0.999", "1", "1.001", True)
FORWARD = "lipschitz(D) * forward < 1"  # with the step 1/4, the factor of the gradient step is 3/4
edge("plug-and-play-contraction", FORWARD, "half(x)", "1.333 * x", NO_POINT, "1.334 * x")
edge("bellman", "abs(discount) * row_sums(chance) < 1", "discount", "-0.999", "-1", "-1.001")

# --- linear equations -------------------------------------------------------------------------------------
DEFINITE = ("[[1, 2], [2, 4.01]]", "[[1, 2], [2, 4]]", "[[1, 2], [2, 3.99]]")
SPD = "conjugate-gradients conjugate-residuals preconditioned-conjugate-gradients richardson two-grid"
edge(SPD, "spectrum(A) > 0", "Q", *DEFINITE)
edge("ostrowski-reich ostrowski-reich-relaxed ssor", "spectrum(A) > 0", "S", *DEFINITE)
edge("preconditioned-conjugate-gradients", "spectrum(M) > 0", "M", *(f"matrix({m})" for m in DEFINITE))
FULL = "smallest_singular(A) > 0"
OF_RANK = ("[[1, 2], [2, 4.01]]", "[[1, 2], [2, 4]]", NO_POINT)
edge("conjugate-gradients-least-squares coordinate-descent landweber-full-rank", FULL, "A", *OF_RANK)
edge("minres", FULL, "Q", *OF_RANK)
edge("kaczmarz", "smallest_singular(transpose(A)) > 0", "A", *OF_RANK)
edge("two-grid", "smallest_singular(P) > 0", "P", "[[1e-3], [0]]", "[[0], [0]]", NO_POINT)
edge("coordinate-descent", "weight >= 0", "weight", "1e-3", "0", "-1e-3", True)
DOMINANT = ("[[1, 0.999], [0.5, 1]]", "[[1, 1], [0.5, 1]]", "[[1, 1.001], [0.5, 1]]")
edge("gauss-seidel-dominant jacobi", "dominance(A) < 1", "Q", *DOMINANT)
TURNING = ("[[1e-3, -1], [1, 1e-3]]", "[[0, -1], [1, 0]]", "[[-1e-3, -1], [1, -1e-3]]")
edge("gmres-positive", "monotonicity(A) > 0", "Q", *TURNING)
edge("chebyshev", "low > 0", "low", "1e-3", "0", "-1e-3")
# Certificates round a spectrum outwards, to 2^-30 of its size: its very end is not proved.
edge("chebyshev", "low <= lower(spectrum(A))", "low", "0.999", "1", "1.001")
edge("chebyshev", "high >= upper(spectrum(A))", "high", "4.001", "4", "3.999")
edge("chebyshev", "low < high", "high", "5", NO_POINT, "0.4")
for name in ("K", "rows", "columns", "start"):
    row = "[1, {}]" if name != "K" else "[[1, {}], [3, 1]]"
    edge("sinkhorn", f"entries_of({name}) > 0", name, *(row.format(x) for x in ("1e-3", "0", "-1e-3")))
