"""One module per command of `python -m model`: HELP, add_arguments(parser) and run(options) -> exit status.

Commands print and parse; they hold no mathematics.
"""
