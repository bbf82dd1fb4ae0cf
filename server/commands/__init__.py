"""One module per command of `python -m server`: `HELP`, `add_arguments(parser)` and `run(options) -> exit status`."""

from __future__ import annotations
