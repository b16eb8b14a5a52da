"""Benchmarks: ratios beside the numbers to reach, and how costs grow, from what `make bench` measured.

    python -m figures.benchmarks results/benchmarks.json

turns the timings of pytest-benchmark into rows (results/benchmarks/rows.jsonl), prints them as a table and draws them.
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from figures import style
from figures.load import load

COMMITTED = Path(__file__).resolve().parent / "rows" / "benchmarks.jsonl"
COMMAND = "make bench"
SIZES = {"steps K": {"K"}, "dimension d": {"d"}, "points, atoms, nodes": {"points", "N", "nodes"}}
"""Panels of growth, and what their sizes are called in rows."""
REACHED = {"color": "#0072B2", "marker": "o", "markersize": 3.0}
PASSED = {"color": "#D55E00", "marker": "X", "markersize": 5.0}


def rows(document: dict[str, Any]) -> list[dict[str, Any]]:
    """One row a benchmark: its ratio with limit and rival, or its seconds at rising sizes with the exponent."""
    out = []
    made = {
        "command": COMMAND,
        "commit": document["commit_info"]["id"],
        "time": document["datetime"],
        "machine": document["machine_info"]["cpu"]["brand_raw"],
    }
    for item in document["benchmarks"]:
        told = item["extra_info"]
        quantity = "growth" if "exponent" in told else "ratio" if "ratio" in told else "time"
        group = item["fullname"].split("[")[0].removeprefix("tests/bench/")
        row = {"quantity": quantity, "name": item["name"], "group": group, "best": item["stats"]["min"], **told}
        out.append({"key": item["fullname"], "row": 0, "of": 1, "study": "benchmarks", **row, "provenance": made})
    return out


def draw(path: Path = COMMITTED, keys: set[str] | None = None) -> list[Path]:
    """Above, ratios and the limits that they are held to; below, seconds against size, a panel for each kind of size."""
    table = load(path, keys)
    grown = pd.DataFrame(table[table["quantity"] == "growth"])
    kinds = [size for size, names in SIZES.items() if len(grown) and grown.against.isin(names).any()]
    figure, lines = style.rows_of(style.WIDTH, 7.4, [1, max(len(kinds), 1)])
    _ratios(lines[0][0], pd.DataFrame(table[table["quantity"] == "ratio"]))
    for axis, size in zip(lines[1], kinds, strict=False):
        _growth(axis, pd.DataFrame(grown[grown.against.isin(SIZES[size])]), size)
    for axis in lines[1][len(kinds) :]:
        axis.set_visible(False)
    made = table.iloc[0]["provenance"]
    words = f"{made['machine']}, {made['time'][:10]}; numbers at the ends: exponents of the last two sizes"
    figure.suptitle(words, fontsize=7, x=0.01, ha="left")
    folder = style.FRONT if path == COMMITTED else style.RENDERED
    return style.save(figure, folder, "benchmarks", made["command"], made["commit"])


def _ratios(axis: Any, table: pd.DataFrame) -> None:
    """A line for each rival: every size's ratio to it, and the number to reach."""
    table = table.assign(
        label=[
            f"{_short(group).split(' against ')[0]} ÷ {against}"
            for group, against in zip(table.group, table.against, strict=True)
        ]
    )
    table = pd.DataFrame(table[table["limit"].notna()])
    groups = list(dict.fromkeys(table["label"]))[::-1]
    for height, label in enumerate(groups):
        own = table[table["label"] == label]
        axis.plot([own.ratio.min(), own.ratio.max()], [height, height], color="0.75", linewidth=1.0, zorder=1)
        for reached, looks in ((own.ratio <= own.limit, REACHED), (own.ratio > own.limit, PASSED)):
            axis.plot(own.ratio[reached], [height] * int(reached.sum()), linestyle="none", **looks)
        for limit in own.limit.unique():
            axis.plot([limit, limit], [height - 0.35, height + 0.35], color="#000000", linewidth=1.2)
    axis.set_yticks(range(len(groups)), groups, fontsize=6.5)
    axis.set_ylim(-0.6, len(groups) - 0.4)
    axis.set_xscale("log")
    axis.xaxis.set_major_formatter("{x:g}")
    axis.set_xlabel("time over that of the other, by size; bar: the limit, a cross beyond it")
    axis.set_title("ratios, each measured side by side")


def _growth(axis: Any, table: pd.DataFrame, size: str) -> None:
    """Seconds against size, the exponent of the last two sizes at each line's end."""
    axis.set(xscale="log", yscale="log", xlabel=size, ylabel="CPU seconds", title=f"against {size}")
    ends, several = [], len(set(table.against)) > 1
    for index, row in enumerate(table.to_dict("records")):
        look = style.cycle(index)
        axis.plot(row["sizes"], row["seconds"], **look)
        variant = row["name"].partition("[")[2].rstrip("]")
        name = re.sub(r" (against|and) (steps|dimension|nodes)$", "", _short(row["group"]))
        name += f" ({variant})" if variant.isidentifier() else ""
        name += f", {row['against']}" if several else ""
        text = f"{name} {row['last_exponent']:.1f}"
        ends.append((row["sizes"][-1], row["seconds"][-1], text, look["color"]))
    low, high = axis.get_ylim()
    axis.set_ylim(low, high * (high / low) ** 0.1)  # labels are spread upwards
    style.labels_at_ends(axis, ends, 6.0)


def _short(group: str) -> str:
    return group.split("::")[-1].removeprefix("test_").replace("_", " ")


def main(arguments: list[str]) -> None:
    """From the JSON of pytest-benchmark to rows, a table and the figure."""
    if len(arguments) != 1 or not Path(arguments[0]).is_file():
        sys.exit("usage: python -m figures.benchmarks results/benchmarks.json   (make bench writes it)")
    found = rows(json.loads(Path(arguments[0]).read_text("utf-8")))
    path = Path(arguments[0]).with_suffix("") / "rows.jsonl"
    path.parent.mkdir(exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in found), "utf-8")
    for row in found:
        if row["quantity"] == "ratio":
            limit = row["limit"]
            mark = " " if limit is None else "x" if row["ratio"] > limit else "="
            np_limit = np.nan if limit is None else limit
            print(
                f"{mark} {row['ratio']:9.3f}  limit {np_limit:6.3f}  {row['name']}: {row['sizes']}, against {row['against']}"
            )
        elif row["quantity"] == "growth":
            print(
                f"  exponent {row['exponent']:.2f}, last {row['last_exponent']:.2f}  {row['name']} against {row['against']}"
            )
    print(*draw(path), sep="\n")


if __name__ == "__main__":
    main(sys.argv[1:])
