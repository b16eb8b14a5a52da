"""The studies with their questions, and the committed figures as data that a page can hold.

A figure is its SVG as it stands, or, where that is large, its PNG in 128 colours.  Both carry the command and the commit that
made them.  A figure belongs to the study whose name its own begins with.
"""

from __future__ import annotations

import base64
import html
import io
import re
from dataclasses import dataclass
from pathlib import Path

from figures.report.data import slug

LARGEST_SVG = 300_000
"""Bytes; a larger one is shown as its PNG."""

COLOURS = 128

ORIGIN = re.compile(r"<dc:description>([^<]*)</dc:description>")
VIEW = re.compile(r'viewBox="[-\d.]+ [-\d.]+ ([\d.]+) ([\d.]+)"')

QUESTIONS: dict[str, tuple[str, str, str]] = {
    "step_scaling": (
        "Steps",
        "How does each rung of the KL ladder fall with the number of steps, for every sampler, on one and the same table?",
        "Path, chain and marginal KL of each sampler against the number of steps; the numbers are slopes of the last pair.",
    ),
    "dimension_scaling": (
        "Dimension",
        "What does ambient dimension cost a sampler that freezes the denoiser, one that freezes the score, and one that "
        "takes the flow and then adds noise?",
        "KL against dimension at a fixed number of steps, one panel a family. Families with one core are identities.",
    ),
    "entropy_scaling": (
        "Entropy",
        "How does K times the path KL of ddpm grow with the entropy of the law, on the best grids and on those in use?",
        "The limit S²/4 of K·KL against entropy, what grids in use make of it, and two plain readings of the bound.",
    ),
    "early_stopping": (
        "Early stopping",
        "Which power of log(1/δ) does each rung pay as sampling stops nearer to the data?",
        "Steps and limits against log(1/δ), law by law and rung by rung.",
    ),
    "schedules": (
        "Schedules",
        "How far is each schedule in use from the best grid, and how good is a grid read off a noisy training loss?",
        "Where sixteen steps are put on log snr, and the path KL that follows as a multiple of the least.",
    ),
    "score_error": (
        "Score error",
        "What does an imperfect denoiser add to the KL, and which average of its error decides it?",
        "Rise of the path KL over three averages of the error; each point is one law, kind and size of error.",
    ),
    "learned_score": (
        "Learned scores",
        "What do the errors of trained networks cost, where the error is known exactly because the mmse is?",
        "A network's loss less the mmse of the law, by noise level; half its integral is what no number of steps removes.",
    ),
    "noise_step": (
        "Noise step",
        "What is the noise step of arXiv 2508.16306 for, at a fixed net step?",
        "Marginal, both chains and what an error adds, against the number of steps and against the size of the noise step.",
    ),
    "open_questions": (
        "Open questions",
        "Three questions that arXiv 2508.16306 leaves open: fewer steps than d/ε, no noise step, and practice.",
        "Steps against dimension, marginal KL with and without the noise step, and KL at equal denoiser evaluations.",
    ),
    "atlas": (
        "Atlas",
        "What does every sampler cost on every schedule, on every rung that is exact?",
        "Every sampler on every schedule; the explorer below draws any selection of the same rows.",
    ),
    "filmstrip": (
        "Filmstrip",
        "How do the particles of different samplers come to the law, level by level?",
        "Particles over the density of the noised law; the KL beside each sampler is exact, not read off the particles.",
    ),
}
"""Title, question and caption of each study, in the order of the page."""

ELSEWHERE = {
    "sampler_audit": "Marginal KL against denoiser evaluations for every audited configuration.",
    "benchmarks": "Ratios beside the numbers to reach, and how costs grow with size.",
}
"""Captions of the figures that have sections of their own."""


@dataclass(frozen=True)
class Figure:
    """A picture as a data address, with its size in pixels and what made it."""

    name: str
    anchor: str
    file: str
    address: str
    width: int
    height: int
    caption: str
    origin: str


def figures(folder: Path) -> dict[str, list[Figure]]:
    """The figures under `folder` by study, those of unknown names under their own."""
    known = sorted([*QUESTIONS, *ELSEWHERE], key=len, reverse=True)
    found: dict[str, list[Figure]] = {}
    for path in sorted(folder.glob("*.svg"), key=lambda path: path.stem):
        study = next((name for name in known if path.stem == name or path.stem.startswith(f"{name}_")), path.stem)
        caption = QUESTIONS[study][2] if study in QUESTIONS else ELSEWHERE.get(study, "")
        found.setdefault(study, []).append(_figure(path, caption if path.stem == study else ""))
    return found


def title(name: str) -> str:
    """Of a study, in words."""
    return QUESTIONS[name][0] if name in QUESTIONS else name.replace("_", " ").capitalize()


def _figure(path: Path, caption: str) -> Figure:
    picture = path.read_text("utf-8")
    told = ORIGIN.search(picture)
    view = VIEW.search(picture)
    width, height = (round(4 / 3 * float(side)) for side in view.groups()) if view else (960, 540)
    raster = path.with_suffix(".png")
    if len(picture) > LARGEST_SVG and raster.is_file():
        file, kind, content = raster.name, "image/png", _reduced(raster)
    else:
        file, kind, content = path.name, "image/svg+xml", path.read_bytes()
    address = f"data:{kind};base64,{base64.b64encode(content).decode()}"
    origin = html.unescape(told[1]) if told else ""
    return Figure(path.stem, f"figure-{slug(path.stem)}", file, address, width, height, caption, origin)


def _reduced(path: Path) -> bytes:
    """The PNG in a palette of few colours."""
    from PIL import Image

    with Image.open(path) as picture:
        reduced = picture.convert("RGB").quantize(COLOURS, dither=Image.Dither.NONE)
    file = io.BytesIO()
    reduced.save(file, "PNG", optimize=True)
    return file.getvalue()
