"""Small inputs of a report: a ledger, row files and figures of the forms that verify, the studies and figures.style write."""

import json
import zlib
from pathlib import Path
from typing import Any

MADE = {"command": "python -m studies.toy", "commit": "0123456789abcdef" * 2, "code": "feedfacecafe", "torch": "2.13.0"}
TIME = "2026-11-20T10:00:00Z"
HOSTILE = (
    '</script><script>window.broken=1</script><img src=x onerror="window.broken=1"> \' " ` ${window.broken=1} {{7*7}} '
    "<!-- --> ]]> &lt;b&gt; javascript:window.broken=1 \u202eRTL\u2028\u0007 |x|"
)


def row(value=1.0, low=0.9, high=1.1, *, status="supported", margin=0.5, **more):
    """A row of a verdict."""
    told = {"family": "two points", "window": "K = 8", "quantity": "KL ÷ bound", "method": "closed form"}
    numbers = {
        "value": value,
        "stderr": 0.01,
        "bias": 0.002,
        "low": low,
        "high": high,
        "status": status,
        "margin": margin,
    }
    return {**told, **numbers, **more}


def part(*rows, status=None, leaning=None):
    """A verdict with its rows."""
    leaning = leaning or rows[0]["status"]
    return {
        "status": status or leaning,
        "leaning": leaning,
        "margin": rows[0]["margin"],
        "evidence": "KL ÷ bound = 1",
        "rows": list(rows),
    }


def claim(name, status="supported", margin=0.5, **more):
    """A claim with a control that is refuted."""
    own = row(status="supported" if status == "open" else status, margin=margin)
    entry = {
        "id": name,
        "source": "arXiv 2601.21943, Theorem 1",
        "statement": f"what {name} says",
        "basis": "identity",
        "rung": "path",
        "reference": "reverse SDE",
        "families": ["two points", "sphere"],
        "window": "K = 8",
        "predicted": "equality",
        "tolerance": 0.1,
        "verdict": part(own, status=status),
        "control": {"what": "noise 10% too small", **part(row(2.0, status="refuted", margin=-9.0))},
        "contrast": None,
        "fault": None,
        "expected": status,
        "seconds": 0.1,
        "study": "step_scaling",
        "figures": ["figures/front/step_scaling.png"],
        "command": f"python -m verify {name}",
    }
    return {**entry, **more}


LONG = " = ".join([r"\frac{a + b}{c}"] * 40)
"""A formula wider than any page."""


def ledger():
    """Claims with every verdict."""
    several = part(row(margin=0.7), row(1.3, status="refuted", margin=-2.0), row(1.1, status="undecided", margin=0.0))
    found = [
        claim("alpha/equality", margin=0.9, formula=r"\mathrm{KL} = \tfrac12 \sum_k h_k \ell(\gamma_k) - \Delta I"),
        claim(
            "beta/rate", "refuted", -2.0, rung="marginal", reference="none needed", source="arXiv 2508.16306, Lemma A.4"
        ),
        claim(
            "gamma/question", "open", 0.1, rung="chain", reference="reverse chain", study=None, figures=[], formula=LONG
        ),
        claim("delta/several", "undecided", 0.0, source="derived here", formula=r"\frac{", families=["heavy tails"]),
        claim("epsilon/fault", margin=12345.0, fault="its control passes", expected="refuted"),
    ]
    found[1]["contrast"] = {"what": "the other step", **part(row(margin=0.3))}
    found[1]["verdict"] = {**several, "status": "refuted", "leaning": "refuted", "margin": -2.0}
    made = {
        **MADE,
        "command": "python -m verify --preset full",
        "python": "3.11",
        "numpy": "2.4",
        "scipy": "1.17",
        "machine": "Linux",
    }
    symbols = {r"\gamma": "signal-to-noise ratio, `snr`", r"\frac{": "no formula"}
    return {"preset": "full", "provenance": made, "symbols": symbols, "claims": found}


def atlas():
    """Three samplers on two schedules and two laws: order p falls like K^-2p on the marginal, like 1/K on the path."""
    rows = []
    for family in ("curved mixture", "sphere, d = 100"):
        for place, schedule in enumerate(("log_snr", "cosine")):
            base = {"study": "atlas", "family": family, "dim": 1, "schedule": schedule, "start": 0.01, "stop": 100.0}
            for order, sampler in ((1, "ddpm"), (1, "ddim"), (2, "heun")):
                if sampler == "heun" and schedule == "cosine":
                    continue
                steps = [4, 8, 16, 32, 64]
                value = [(1 + place) * k ** (-2.0 * order) for k in steps]
                told = {"sampler": sampler, "stochastic": sampler == "ddpm", "order": order, "quantity": "kl"}
                lists = {"steps": steps, "evaluations": [order * k for k in steps], "value": value}
                errors = {"stderr": [0.01 * v for v in value], "bias": [-0.02 * v for v in value]}
                rows.append(
                    {**base, **told, "rung": "marginal", "reference": "none", **lists, **errors, "method": "density"}
                )
                if sampler == "ddpm" and family == "curved mixture":
                    path = {"value": [3.0 / k for k in steps], "stderr": [0.0] * 5, "bias": [0.0] * 5}
                    rows.append(
                        {
                            **base,
                            **told,
                            "rung": "path",
                            "reference": "reverse SDE",
                            **lists,
                            **path,
                            "method": "Girsanov",
                        }
                    )
            why = {
                "quantity": "refused",
                "samplers": ["ddim", "heun"],
                "method": "path KL: singular to the reverse SDE's",
            }
            rows.append({**base, "rung": "path", "reference": "reverse SDE", **why})
    return rows


def audit():
    """Two configurations, one of them below its declared order; a failure, what was swept, what is not testable."""
    rows = []
    for library, label, declared, orders, verdict in (
        ("azula", "Euler()", 1, (1.01, 0.99), "conforms"),
        ("diffusers", "Heun(order=2)", 2, (1.98, 1.2), "below declared order"),
    ):
        base = {"library": library, "version": "1.0", "sampler": label, "part": "order", "label": label}
        base |= {"declared": declared, "source": f"docstring of {label}"}
        for law, value in zip(("line", "Gaussian"), orders, strict=True):
            for grid, loss in (("eased", 0.0), ("uniform", 0.1)):
                found = {"quantity": "order", "law": law, "grid": grid, "value": value - loss}
                rows.append({**base, **found, "low": value - 0.03, "high": value + 0.03})
        rows += [{**base, "quantity": "kl", "evaluations": n, "value": 1.0 / n**2} for n in (8, 16, 32, 64)]
        rows.append({**base, "quantity": "verdict", "verdict": verdict, "method": f"declared {declared}"})
    told = {"library": "diffusers", "version": "1.0", "sampler": "Heun"}
    rows.append({**told, "part": "sweep", "quantity": "swept", "tried": 30, "planned": 36})
    failure = {
        "options": {"clip": True},
        "steps": 7,
        "kind": "exception",
        "count": 2,
        "runs": 36,
        "method": "IndexError: 7",
    }
    rows.append(
        {**told, "part": "sweep", "quantity": "failure", **failure, "reproduction": "import diffusers\nprint(7)\n"}
    )
    rows.append(
        {**told, "part": "listing", "quantity": "untestable", "sampler": "Tokens", "method": "its states are tokens"}
    )
    return rows


def benchmarks():
    """A ratio within its limit, one over it, a growth and a time."""
    return [
        {
            "quantity": "ratio",
            "name": "test_a_denoiser[1]",
            "ratio": 1.1,
            "limit": 1.5,
            "against": "its products",
            "sizes": "d 64",
        },
        {"quantity": "ratio", "name": "test_start", "ratio": 2.5, "limit": 1.0, "against": "2 s", "sizes": "help"},
        {"quantity": "growth", "name": "test_path", "last_exponent": 1.14, "against": "K", "sizes": [256, 1024]},
        {"quantity": "time", "name": "test_time", "best": 1.7e-4},
    ]


def write(folder: Path, document=None, **files) -> Path:
    """Row files and the ledger under `folder`/rows, figures under `folder`/front; the folder."""
    rows = folder / "rows"
    rows.mkdir(parents=True)
    study = [{"quantity": "kl", "value": 1.0}] * 3
    files = {"atlas": atlas(), "sampler_audit": audit(), "benchmarks": benchmarks(), "step_scaling": study, **files}
    for name, found in files.items():
        lines = (
            {
                "key": f"{name}{i}",
                "row": 0,
                "of": 1,
                **each,
                "provenance": {**MADE, "time": TIME, **each.get("provenance", {})},
            }
            for i, each in enumerate(found)
        )
        (rows / f"{name}.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines), "utf-8")
    (rows / "ledger.json").write_text(json.dumps(document or ledger()), "utf-8")
    _pictures(folder / "front")
    return folder


def _pictures(front: Path) -> None:
    """A small SVG, and one so large that its PNG is shown."""
    front.mkdir()
    origin = "<metadata><dc:description>python -m studies.step_scaling @ 0123456789ab</dc:description></metadata>"
    head = '<svg xmlns="http://www.w3.org/2000/svg" xmlns:dc="http://purl.org/dc/elements/1.1/" viewBox="0 0 72 36">'
    small = f'{head}{origin}<path d="M0 0H72V36z" fill="#0072B2"/></svg>'
    (front / "step_scaling.svg").write_text(small, "utf-8")
    (front / "sampler_audit.svg").write_text(small, "utf-8")
    (front / "schedules.svg").write_text(small.replace("</svg>", f"<!--{'x' * 400_000}--></svg>"), "utf-8")
    (front / "schedules.png").write_bytes(png(8, 4))


def png(width: int, height: int) -> bytes:
    """A red picture."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return len(content).to_bytes(4, "big") + kind + content + zlib.crc32(kind + content).to_bytes(4, "big")

    head = width.to_bytes(4, "big") + height.to_bytes(4, "big") + b"\x08\x02\x00\x00\x00"
    lines = (b"\0" + b"\xd5\x20\x10" * width) * height
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(lines)) + chunk(b"IEND", b"")


def poisoned(value: Any, text: str = HOSTILE, keep=("status", "leaning")) -> Any:
    """The same object with `text` at the end of every string but those that are none of the writer's choosing."""
    if isinstance(value, dict):
        return {key: inner if key in keep else poisoned(inner, text, keep) for key, inner in value.items()}
    if isinstance(value, list):
        return [poisoned(inner, text, keep) for inner in value]
    return value + text if isinstance(value, str) else value
