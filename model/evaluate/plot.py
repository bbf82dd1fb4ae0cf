"""Rate-distortion plot: LPIPS and PSNR over payload and over the rate on the wire, by matplotlib."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from model.errors import InputError
from model.evaluate.rate_distortion import FRAMES_PER_MESSAGE, Point

_TITLES = {"kbps": "payload", "kbps_wire": "on the wire, headers included"}


def require_matplotlib() -> None:
    """Raises InputError when matplotlib is not installed, before hours are spent on what is to be plotted."""
    try:
        import matplotlib  # noqa: F401
    except ImportError:
        raise InputError("--plot needs matplotlib: pip install -r requirements-evaluate.txt") from None


def plot(points: Sequence[Point], path: Path, copy_lpips: float | None = None) -> None:
    """Write a PNG or SVG. `copy_lpips`: LPIPS of the repeated source image, drawn as a line at no rate at all."""
    require_matplotlib()
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 8), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(2, 2, sharex="col", sharey="row")
    systems = list(dict.fromkeys(point.system for point in points))
    for column, (rate, title) in enumerate(_TITLES.items()):
        for row, (metric, label) in enumerate((("lpips", "LPIPS (alex), lower is better"), ("psnr", "PSNR in dB"))):
            ax = axes[row, column]
            for system in systems:
                curve = sorted((getattr(p, rate), getattr(p, metric)) for p in points if p.system == system)
                own = system == "visavis"
                ax.plot(*zip(*curve, strict=True), marker="o", ms=4, lw=2.5 if own else 1.2, label=system)
            if metric == "lpips" and copy_lpips is not None:
                ax.axhline(copy_lpips, ls=":", color="grey", label="source image repeated")
            ax.set_xscale("log")
            ax.grid(True, which="both", alpha=0.25)
            if column == 0:
                ax.set_ylabel(label)
            if row == 0:
                ax.set_title(title, fontsize=10)
            else:
                ax.set_xlabel("kbit/s at 25 frames a second")
    axes[0, 0].legend(fontsize=9)
    figure.suptitle(f"Same crops, 256x256; motion in messages of {FRAMES_PER_MESSAGE} frames", fontsize=11)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=120)
