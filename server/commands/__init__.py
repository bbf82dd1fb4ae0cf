"""One module per command of `python -m server`: `HELP`, `add_arguments(parser)` and `run(options) -> exit status`.

`event_loop.py` is what two of them share.
"""

from __future__ import annotations
