"""Rate-distortion plot: LPIPS and MS-SSIM over the rate on the wire, a column for each size, by matplotlib."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from model.errors import InputError
from model.evaluate.conventional import CODECS
from model.evaluate.rate_distortion import OWN, Point, by_system

_SYSTEMS = (OWN, *CODECS)
"""In the order of their colours, so that a system has one in all columns."""

_METRICS = {"lpips": "LPIPS (alex), lower is better", "ms_ssim": "MS-SSIM, higher is better"}


def require_matplotlib() -> None:
    """Raises InputError when matplotlib is not installed, before hours are spent on what is to be plotted."""
    try:
        import matplotlib  # noqa: F401
    except ImportError:
        raise InputError("--plot needs matplotlib: pip install -r requirements-evaluate.txt") from None


def plot(columns: Mapping[str, Sequence[Point]], path: Path, copy_lpips: Mapping[str, float | None]) -> None:
    """Write a PNG or SVG.

    columns     points by the title of their column
    copy_lpips  LPIPS of the repeated source image by title, drawn as a line at no rate at all
    """
    require_matplotlib()
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5.5 * len(columns), 8), layout="constrained")
    FigureCanvasAgg(figure)
    axes: Any = figure.subplots(2, len(columns), squeeze=False, sharex="col", sharey="row")
    for column, (title, points) in enumerate(columns.items()):
        for row, (metric, label) in enumerate(_METRICS.items()):
            ax = axes[row][column]
            for system, of_system in by_system(points).items():
                curve = sorted((p.kbps_wire, getattr(p, metric)) for p in of_system)
                width = 2.5 if system == OWN else 1.2
                colour = f"C{_SYSTEMS.index(system)}" if system in _SYSTEMS else None
                ax.plot(*zip(*curve, strict=True), marker="o", ms=4, lw=width, color=colour, label=system)
            if metric == "lpips" and (copy := copy_lpips.get(title)) is not None:
                ax.axhline(copy, ls=":", color="grey", label="source image repeated")
            ax.set_xscale("log")
            ax.grid(True, which="both", alpha=0.25)
            if column == 0:
                ax.set_ylabel(label)
            if row == 0:
                ax.set_title(title, fontsize=10)
            else:
                ax.set_xlabel("kbit/s on the wire at 25 frames a second, voice apart")
    axes[0][0].legend(fontsize=8)
    path.parent.mkdir(parents=True, exist_ok=True)
    # No date and no version: the same figures give the same file.
    figure.savefig(path, dpi=100, metadata={"Software": None} if path.suffix == ".png" else None)
