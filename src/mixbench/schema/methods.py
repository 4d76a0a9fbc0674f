"""The methods of the papers as choices in the three groups augment, regularizer and opt. Imports nothing heavy."""

from __future__ import annotations

from dataclasses import dataclass

TWO_NAMES = (
    "Two papers, one name. augment=gmix is GMix, Gaussian Mixup (Park et al. 2022), a way to mix images."
    " The G-Mix of Li & Tang is Mixup under SAM: augment=mixup opt=sam."
)


@dataclass(frozen=True)
class Method:
    """One published method.

    `name` is also the name of its card, docs/methods/<name>.md, and of its own option where it has one. `about` and
    `note` say what the option's schema does not. `values` are the paper's values where they are not the defaults.
    """

    name: str
    title: str
    paper: str
    augment: str = "none"
    regularizer: str = "none"
    opt: str = "sgd"
    formula: tuple[str, ...] = ()
    values: str = ""
    about: str = ""
    note: str = ""

    @property
    def command(self) -> str:
        """The command line that trains with it."""
        chosen = f"augment={self.augment} regularizer={self.regularizer} opt={self.opt}"
        return f"mixbench train {chosen} {self.values}".rstrip()


METHODS = (
    Method(
        name="erm",
        title="Vanilla (ERM)",
        paper="Vapnik 1998",
        formula=("L(w) = mean_i CE(f_w(x_i), y_i)",),
        about="Empirical risk minimization: no mixing, no extra loss, plain SGD.",
    ),
    Method(
        name="mixup",
        title="Mixup",
        paper="Zhang et al. 2018",
        augment="mixup",
        formula=("x = lam x_i + (1 - lam) x_j", "y = lam y_i + (1 - lam) y_j,   lam ~ Beta(alpha, alpha)"),
    ),
    Method(
        name="cutmix",
        title="CutMix",
        paper="Yun et al. 2019",
        augment="cutmix",
        formula=(
            "x = M x_i + (1 - M) x_j,   M = 0 in a random box of area 1 - lam, else 1",
            "y = mean(M) y_i + (1 - mean(M)) y_j",
        ),
    ),
    Method(
        name="mixup_cutmix",
        title="Mixup & CutMix",
        paper="Park et al. 2022",
        augment="mixup_cutmix",
        formula=("Mixup with probability mixup_prob, otherwise CutMix; each with its own alpha",),
    ),
    Method(
        name="hmix",
        title="HMix",
        paper="Park et al. 2022",
        augment="hmix",
        formula=(
            "x = M x_i + (1 - M) x_j,   y = lam y_i + (1 - lam) y_j",
            "M = 0 in a box of area (1 - lam) r, clipped to A;   M = lam / (1 - A) outside",
        ),
    ),
    Method(
        name="gmix",
        title="GMix",
        paper="Park et al. 2022",
        augment="gmix",
        formula=(
            "k_s(i) = exp(-pi |i - p|^2 / (s H W)),   p a random pixel",
            "M = k_lam if lam < 1/2, else 1 - k_(1 - lam)",
            "x = M x_i + (1 - M) x_j,   y = mean(M) y_i + (1 - mean(M)) y_j",
        ),
        note=TWO_NAMES,
    ),
    Method(
        name="puzzlemix",
        title="PuzzleMix",
        paper="Kim et al. 2020",
        augment="puzzlemix",
        formula=(
            "M = argmin of hidden saliency + roughness + prior(lam), over masks of blocks",
            "x = M T(x_i) + (1 - M) T(x_j),   T moves blocks to where M shows them",
            "y = mean(M) y_i + (1 - mean(M)) y_j",
        ),
    ),
    Method(
        name="manifold_mixup",
        title="Manifold Mixup",
        paper="Verma et al. 2019",
        augment="manifold_mixup",
        formula=(
            "h_l = lam h_l(x_i) + (1 - lam) h_l(x_j),   l = input, stage1 or stage2",
            "y = lam y_i + (1 - lam) y_j,   lam ~ Beta(alpha, alpha)",
        ),
    ),
    Method(
        name="mixupe",
        title="MixupE",
        paper="Zou et al. 2023",
        augment="mixup",
        regularizer="mixupe",
        formula=(
            "L = c (L_mix + eta R),   c = |L_mix| / |L_mix + eta R|, held constant",
            "R = E[1 - lam] mean_i |(y_i - softmax f(x_i)) . f(x_i)|,   x_i not mixed",
        ),
        note="With augment=none it is the paper's ERM + additional loss (table 7).",
    ),
    Method(
        name="mixupe",
        title="ERM + additional loss",
        paper="Zou et al. 2023",
        regularizer="mixupe",
    ),
    Method(
        name="sam",
        title="SAM",
        paper="Foret et al. 2021",
        opt="sam",
        formula=("delta = rho g(w) / |g(w)|,   w <- w - lr g(w + delta),   g = gradient of L",),
    ),
    Method(
        name="asam",
        title="ASAM",
        paper="Kwon et al. 2021",
        opt="asam",
        formula=("delta = rho T^2 g / |T g|,   T = |w| + eta;   w <- w - lr g(w + delta)",),
    ),
    Method(
        name="gsam",
        title="GSAM",
        paper="Zhuang et al. 2022",
        opt="gsam",
        formula=(
            "g, g_p = gradients at w and at w + delta (see sam)",
            "w <- w - lr (g_p - alpha (g - (<g, g_p> / |g_p|^2) g_p))",
        ),
    ),
    Method(
        name="looksam",
        title="LookSAM",
        paper="Liu et al. 2022",
        opt="looksam",
        formula=(
            "every k-th step:    w <- w - lr g_s,   g_s = gradient at w + delta (see sam)",
            "                    g_v = g_s - (<g_s, g> / |g|^2) g",
            "the steps between:  w <- w - lr (g + alpha (|g| / |g_v|) g_v)",
        ),
    ),
    Method(
        name="gmix-li-tang",
        title="G-Mix",
        paper="Li & Tang 2025",
        augment="mixup",
        opt="sam",
        formula=("min_w max_(|delta| <= rho) L(w + delta),   L on Mixup batches",),
        values="opt.rho=0.5",
        about="G-Mix: Mixup under sharpness-aware minimization, both passes on the same mixed batch.",
        note=TWO_NAMES,
    ),
    Method(
        name="bgmix",
        title="BG-Mix",
        paper="Li & Tang 2025",
        augment="mixup",
        opt="bgmix",
        formula=(
            "s_i = L_i(w + delta) - L_i(w);   B+ = the gamma B examples of largest s_i",
            "w <- w - lr gradient of mean_(B+) L_i(w + delta)",
        ),
    ),
    Method(
        name="dgmix",
        title="DG-Mix",
        paper="Li & Tang 2025",
        augment="mixup",
        opt="dgmix",
        formula=(
            "g+, g- = gradients at w + delta of the mean losses of B+ (see bgmix), B-",
            "w <- w - lr (g+ + g- - (<g-, g+> / |g+|^2) g+)",
        ),
    ),
)


def known_as(augment: str, regularizer: str, opt: str) -> str:
    """Title and paper of the method that these three options make, such as "G-Mix (Li & Tang 2025)"; else empty."""
    chosen = augment, regularizer, opt
    found = [m for m in METHODS if (m.augment, m.regularizer, m.opt) == chosen]
    return f"{found[0].title} ({found[0].paper})" if found else ""
