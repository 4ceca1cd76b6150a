"""Measures every strategy on simulated judges: which candidate it picks, with how many comparisons, and how sure it is.

    python examples/benchmark_strategies.py [--problems T] [--sizes 4,10,16,100] [--only NAME] [--json FILE]
        [--plot FILE]

1 to N / 2 - 1 of the N candidates are right. `right`: the pick is a right one; `best`: it is the very best; `p(best)`:
what the strategy said of that, on average; `error` and `worst`: the expected calibration error of that, and of its
worst part, in ten parts of equal count; `every`: the same of the P(best) of every candidate, not the pick's alone;
`sure`: P(best) is 0.9 or more (of the strategy that stops there: those that it stopped); `of sure best`: of these picks
the very best. The problems are the same for all strategies. The plot (SVG or PNG) takes matplotlib.
"""

import json
from pathlib import Path
from typing import Any

import click
import numpy as np
from tqdm import tqdm

import strategies
from strategies import Active, Strategy, by_name
from strategies.base import FloatArray
from strategies.simulate import JUDGES, SimulatedProblem, play

COLUMNS = ("right", "best", "p(best)", "error", "worst", "every", "every worst", "sure", "of sure best")
SURE = 0.9


def contenders(n: int) -> dict[str, Strategy]:
    """Makes the strategies that are compared, by their names in the table."""
    compared: dict[str, Strategy] = {
        name: by_name(name) for name in strategies.NAMES if name not in ("pointwise", "active")
    }
    compared["round-robin, random order"] = by_name("round-robin", order="random")
    for times in (2, 4):
        compared[f"active, {times}N"] = by_name("active", budget=times * n)
    compared[f"active, P(best) {SURE}"] = by_name("active", confidence=SURE)
    return compared


def measure(strategy: Strategy, n: int, judge: str, problems: int) -> dict[str, Any]:
    """Measures one strategy on one judge: a row of the table."""
    right, best, stated, asked = np.zeros((4, problems))
    every, is_best = np.zeros((2, problems, n))
    for k in range(problems):
        problem = SimulatedProblem.draw(n, JUDGES[judge], k)
        standing, comparisons = play(strategy, problem.table, np.random.default_rng(k))
        pick = standing.order[0]
        right[k], best[k] = problem.right[pick], pick == problem.quality.argmax()
        stated[k], asked[k] = standing.p_best[pick], len(comparisons)
        every[k], is_best[k, problem.quality.argmax()] = standing.p_best, 1
    error, worst = calibration(stated, best)
    means = {"comparisons": asked, "right": right, "best": best, "p(best)": stated}
    row = {name: float(values.mean()) for name, values in means.items()}
    row |= {"error": error, "worst": worst}
    row["every"], row["every worst"] = calibration(every.ravel(), is_best.ravel())
    sure = stated >= SURE
    if isinstance(strategy, Active) and strategy.confidence:
        sure &= asked < n * (n - 1)
    row |= {"sure": float(sure.mean()), "of sure best": float(best[sure].mean()) if sure.any() else float("nan")}
    return {name: round(value, 4) for name, value in row.items()}


def calibration(stated: FloatArray, true: FloatArray) -> tuple[float, float]:
    """Computes how far stated probabilities [M] differ from outcomes [M], in ten parts of equal size: mean, worst."""
    parts = np.array_split(np.argsort(stated, kind="stable"), 10)
    off = np.array([abs(stated[part].mean() - true[part].mean()) for part in parts])
    return float(off @ [len(part) for part in parts] / len(stated)), float(off.max())


def plot(rows: list[dict[str, Any]], file: Path) -> None:
    """Plots quality against comparisons, one panel for each judge and N."""
    import matplotlib.pyplot as plt
    from matplotlib.lines import Line2D

    panels = sorted({(row["judge"], row["n"]) for row in rows})
    sizes = sorted({n for _, n in panels})
    names = sorted({judge for judge, _ in panels})
    shown = list(dict.fromkeys(row["strategy"] for row in rows))
    figure, axes = plt.subplots(len(names), len(sizes), figsize=(5 * len(sizes), 4 * len(names)), squeeze=False)
    for judge, n in panels:
        panel = axes[names.index(judge), sizes.index(n)]
        panel.set(title=f"{judge} judge, N = {n}", xscale="log", xlabel="comparisons", ylabel="the pick is right")
        for row in rows:
            if (row["judge"], row["n"]) == (judge, n):
                place = shown.index(row["strategy"])
                panel.plot(row["comparisons"], row["right"], "os^DvPX"[place % 7], color=f"C{place % 10}", alpha=0.8)
    marks = [
        Line2D([], [], marker="os^DvPX"[k % 7], color=f"C{k % 10}", linestyle="", label=name)
        for k, name in enumerate(shown)
    ]
    figure.tight_layout(rect=(0, 0, 1, 1 - 0.9 / figure.get_figheight()))
    figure.legend(handles=marks, loc="upper center", ncols=6)
    figure.savefig(file)


@click.command(help=__doc__)
@click.option("--problems", default=1000, show_default=True)
@click.option("--sizes", default="4,10,16", show_default=True)
@click.option("--judges", default=",".join(JUDGES), show_default=True)
@click.option("--only", multiple=True, metavar="NAME", help="Measure this strategy; may be repeated. [default: all]")
@click.option("--json", "json_file", type=click.Path(path_type=Path))
@click.option("--plot", "plot_file", type=click.Path(path_type=Path))
def main(
    problems: int, sizes: str, judges: str, only: tuple[str, ...], json_file: Path | None, plot_file: Path | None
) -> None:
    rows: list[dict[str, Any]] = []
    for n in map(int, sizes.split(",")):
        for judge in judges.split(","):
            click.echo(f"\n{judge} judge, N = {n}, {problems} problems")
            click.echo(f"{'strategy':27}comparisons" + "".join(f"{name:>{len(name) + 2}}" for name in COLUMNS))
            for name, strategy in tqdm(contenders(n).items(), leave=False):
                if only and name not in only:
                    continue
                row = measure(strategy, n, judge, problems)
                numbers = "".join(f"{100 * row[name]:{len(name) + 2}.1f}" for name in COLUMNS)
                click.echo(f"{name:27}{row['comparisons']:11.1f}{numbers}")
                rows.append({"n": n, "judge": judge, "strategy": name, "problems": problems, **row})
    if json_file:
        json_file.write_text(json.dumps(rows, indent=1) + "\n")
    if plot_file:
        plot(rows, plot_file)


if __name__ == "__main__":
    main()
