"""Every number of docs/findings.md, computed again from the committed rows: table lines and phrases, by finding."""

import json
import math
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from studies.score_verdicts import ranges

ROOT = Path(__file__).resolve().parents[1]
WINDOWED = ("curved mixture", "two points", "anisotropic Gaussian", "sphere, d = 100", "rare bit", "heavy tail")


@cache
def rows(name: str) -> list[dict]:
    """The rows of a study."""
    return [json.loads(line) for line in (ROOT / f"figures/rows/{name}.jsonl").read_text(encoding="utf-8").splitlines()]


def chosen(name: str, **wanted) -> list[dict]:
    """The rows with these values."""
    return [row for row in rows(name) if all(row.get(key) == value for key, value in wanted.items())]


def value(name: str, **wanted) -> float:
    """The value of the one row with these values."""
    (row,) = chosen(name, **wanted)
    return row["value"]


def short(number: float) -> str:
    """Three digits, as the tables write numbers."""
    if number == 0:
        return "0"
    power = math.floor(math.log10(abs(float(f"{number:.2e}"))))
    if -3 <= power < 5:
        return f"{number:,.{max(0, 2 - power)}f}".replace("-", "−")
    mantissa, exponent = f"{number:.1e}".split("e")
    return f"{mantissa}e{int(exponent)}".replace("-", "−")


def line(*cells: object) -> str:
    """One line of a table."""
    return "| " + " | ".join(cell if isinstance(cell, str) else short(float(cell)) for cell in cells) + " |"  # type: ignore[arg-type]


def entropy() -> Iterator[str]:
    """S²/4 over the squared entropies."""
    for family, size, label in (
        ("nested scales", 1, "1 fair bit"),
        ("nested scales", 4, "4 fair bits at nested scales"),
        ("nested scales", 10, "10 fair bits at nested scales"),
        ("rare bits", 2, "rare bit, p = 1e−2"),
        ("rare bits", 4, "rare bit, p = 1e−4"),
        ("rare bits", 6, "rare bit, p = 1e−6"),
        ("rare bits", 12, "rare bit, p = 1e−12"),
        ("heavy tails", 2, "heavy tail, 2 atoms"),
        ("heavy tails", 8, "heavy tail, 8 atoms"),
        ("heavy tails", 32, "heavy tail, 32 atoms"),
    ):
        (law,) = chosen("entropy_scaling", quantity="law", family=family, size=size)
        yield line(
            label, law["entropy"], law["quarter"] / law["entropy"] ** 2, law["quarter"] / law["half_entropy"] ** 2
        )


def renyi() -> Iterator[str]:
    """The same along rare bits, over the root of log 1/p."""
    for size in (3, 6, 8, 10, 12):
        (law,) = chosen("entropy_scaling", quantity="law", family="rare bits", size=size)
        ratio, log = law["quarter"] / law["half_entropy"] ** 2, size * math.log(10.0)
        yield line(f"1e−{size}", log, ratio, ratio / math.sqrt(log))


def slopes() -> Iterator[str]:
    """Last local slopes of all rungs and the values at K = 512."""
    rungs = (("path", "reverse SDE"), ("chain", "reverse"), ("chain", "flow+noise"), ("marginal", "none"))
    for family in ("curved mixture", "sphere, d = 100"):
        for sampler in ("ddpm", "ei_sde", "jain_zhang", "heun"):
            cells = []
            for rung, reference in rungs:
                two = [
                    chosen(
                        "step_scaling",
                        quantity="kl",
                        family=family,
                        sampler=sampler,
                        rung=rung,
                        reference=reference,
                        steps=k,
                    )
                    for k in (256, 512)
                ]
                if all(two):
                    before, after = (pair[0]["value"] for pair in two)
                    cells.append(f"{math.log2(after / before):.2f}".replace("-", "−") + f" ({short(after)})")
                else:
                    cells.append("–")
            yield line(family, f"`{sampler}`", *cells)


def logarithms() -> Iterator[str]:
    """B, the growth of K^p·KL/Λ^p with log 1/δ between the two last δ."""
    for family in ("two points", "null direction", "sphere", "curved mixture"):
        cells = []
        for sampler, rung, reference, order in (
            ("ddpm", "path", "reverse SDE", 1),
            ("ei_sde", "path", "reverse SDE", 1),
            ("jain_zhang", "chain", "flow+noise", 2),
            ("jain_zhang", "marginal", "none", 2),
        ):
            found = sorted(
                chosen(
                    "early_stopping", quantity="limit", family=family, sampler=sampler, rung=rung, reference=reference
                ),
                key=lambda row: row["length"],
            )[-2:]
            one, two = (row["value"] / row["length"] ** order for row in found)
            grown = round((two - one) / (found[1]["length"] - found[0]["length"]), 3)
            cells.append(f"{grown + 0.0:.3f}")
        yield line(family, *cells)


def starred() -> dict[str, float]:
    """K* to 0.01 nats on two points at two δ."""
    return {
        f"{rung} {delta:g}": value(
            "early_stopping",
            quantity="steps",
            family="two points",
            sampler="jain_zhang",
            rung=rung,
            reference=ref,
            delta=delta,
        )
        for rung, ref in (("chain", "flow+noise"), ("marginal", "none"))
        for delta in (1e-2, 1e-8)
    }


def noise() -> Iterator[str]:
    """Marginal KL at K = 256 without and with the noise step, and the slope without."""
    for family in (
        "curved mixture",
        "two points",
        "scale mixture, d = 3",
        "sphere, d = 3",
        "sphere, d = 30",
        "sphere, d = 300",
    ):
        at = {
            (over, steps): value(
                "noise_step", quantity="kl", family=family, oracle="exact", rung="marginal", overshoot=over, steps=steps
            )
            for over, steps in ((0.0, 128), (0.0, 256), (1.0, 256))
        }
        slope = f"{math.log2(at[0.0, 256] / at[0.0, 128]):.2f}".replace("-", "−")
        yield line(family, slope, at[0.0, 256], at[1.0, 256], at[0.0, 256] / at[1.0, 256])


def limits() -> Iterator[str]:
    """K·path KL on the best grid of 256 steps over S²/4 of the window, and on log snr."""
    for family in WINDOWED:
        quarter = value("schedules", quantity="quarter", family=family)
        best, log = (
            256 * value("schedules", quantity="kl", family=family, schedule=s, steps=256, sampler="ddpm", rung="path")
            for s in ("optimal", "log_snr")
        )
        yield line(family, quarter, f"{best / quarter:.4f}", log / quarter)


def squares() -> tuple[str, str, str, str]:
    """Least and greatest S²/4 over H² along nested scales, rounded outwards, their depth, and the longest heavy tail."""
    nested = chosen("entropy_scaling", quantity="law", family="nested scales")
    over = [row["quarter"] / row["entropy"] ** 2 for row in nested]
    heavy = chosen("entropy_scaling", quantity="law", family="heavy tails")
    low, high = math.floor(100 * min(over)) / 100, math.ceil(100 * max(over)) / 100
    deepest, longest = (max(int(row["size"]) for row in found) for found in (nested, heavy))
    return f"{low:.2f}", f"{high:.2f}", str(deepest), str(longest)


def adaptive() -> float:
    """The most that a network's own losses cost over the best grid for it, K ≥ 8."""
    at: dict[tuple, dict[str, float]] = {}
    for row in chosen("learned_score", quantity="schedule"):
        if row["steps"] >= 8 and "network" in row:
            at.setdefault((row["family"], row["dim"], row["steps"]), {})[row["schedule"]] = row["network"]
    return max(each["loss_adaptive"] / each["network_optimal"] for each in at.values()) - 1.0


def regret() -> Iterator[str]:
    """Marginal KL of ddim at K = 16 on three grids."""
    for family in ("curved mixture", "two points", "anisotropic Gaussian", "rare bit"):
        own, path, log = (
            value("schedules", quantity="kl", family=family, schedule=s, steps=16, sampler="ddim", rung="marginal")
            for s in ("marginal_optimal (ddim)", "optimal", "log_snr")
        )
        yield line(family, own, f"{path / own:.2f}", f"{log / own:.2f}")


def averages() -> Iterator[str]:
    """Least and greatest ratio of the rise of path KL to each average of the error, at the fewest and most steps."""
    words = {
        "snr_weighted": "½ Σ h E‖m̂ − m‖² in snr",
        "ou_weighted": "Σ Δ E‖ŝ − s‖² in OU time",
        "mean_weighted": "mean over steps, times T − δ",
    }
    found = ranges(rows("score_error"))
    for name, label in words.items():
        for sampler in ("ddpm", "ei_sde"):
            mine = [each for each in found if (each.sampler, each.average) == (sampler, name)]
            ends = [min(mine, key=lambda each: each.steps), max(mine, key=lambda each: each.steps)]
            yield line(label, f"`{sampler}`", *(f"{short(each.least)} … {short(each.greatest)}" for each in ends))


def lowered() -> tuple[int, int, dict]:
    """How many errors lower ei_sde's path KL, of how many; the one that lowers it most in proportion."""
    kept = [
        row
        for row in rows("score_error")
        if row["sampler"] == "ei_sde" and row["steps"] and row["oracle"] != "exact" and row["square"] > 1e-9
    ]
    low = [
        row
        for row in kept
        if row["square"] + row["cross"] + 4 * math.hypot(row["square_stderr"], row["cross_stderr"]) < 0
    ]
    return len(low), len(kept), min(low, key=lambda row: (row["square"] + row["cross"]) / row["discretisation"])


def dimension() -> Iterator[str]:
    """Rungs at K = 64 against dimension."""
    for family, dims in (("digits in R^D", (64, 1000, 10000)), ("sphere, radius 2√d", (3, 100, 10000))):
        for dim in dims:
            cells = []
            for sampler, rung, ref in (
                ("ddpm", "path", "reverse SDE"),
                ("ei_sde", "path", "reverse SDE"),
                ("ddpm", "marginal", "none"),
                ("ei_sde", "marginal", "none"),
                ("jain_zhang", "marginal", "none"),
            ):
                found = chosen(
                    "dimension_scaling",
                    quantity="kl",
                    family=family,
                    dim=dim,
                    sampler=sampler,
                    rung=rung,
                    reference=ref,
                    steps=64,
                )
                cells.append(short(found[0]["value"]) if found else "–")
            yield line(family, f"{dim:,}", *cells)


def below() -> Iterator[str]:
    """Every audited configuration below its declared order."""
    for row in chosen("sampler_audit", quantity="verdict", verdict="below declared order"):
        measured = re.search(r"measured (\S+), interval (\S+) to (\S+) \((.*?)\);", row["method"])
        assert measured, row["method"]
        order, low, high, law = (word.replace("-", "−") for word in measured.groups())
        yield line(row["library"], f"`{row['label']}`", f"{row['declared']:g}", order, f"{low} to {high}", law)


def failures() -> dict[str, int]:
    """Counts over the option space."""
    kinds: dict[str, int] = {}
    failed = chosen("sampler_audit", quantity="failure")
    for row in failed:
        kinds[row["kind"]] = kinds.get(row["kind"], 0) + 1
    swept = chosen("sampler_audit", quantity="swept")
    return {"failures": len(failed), "classes": len({r["sampler"] for r in failed}), "swept": len(swept), **kinds}


def floors() -> Iterator[str]:
    """Floors of networks, before and after training, and the steps at which discretisation falls to them."""
    for row in chosen("learned_score", quantity="floor"):
        group = {"family": row["family"], "dim": row["dim"]}
        linear = value("learned_score", quantity="linear_floor", **group)
        reach = [
            value("learned_score", quantity="reach", sampler=sampler, schedule=schedule, **group)
            for sampler, schedule in (("ddpm", "optimal"), ("ddpm", "log_snr"), ("ei_sde", "log_snr"))
        ]
        yield line(row["family"], f"{row['dim']:,}", linear, row["value"], *(f"{steps:,.0f}" for steps in reach))
