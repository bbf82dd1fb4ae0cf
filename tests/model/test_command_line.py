"""What both command lines promise: help of every command, one line and status 2 for errors, 130 for Ctrl-C."""

from __future__ import annotations

import argparse
import importlib
from collections.abc import Callable, Mapping

import pytest

import model.__main__
import server.__main__
from model.errors import InputError

LINES = [
    ("model", model.__main__.main, model.__main__.COMMANDS),
    ("server", server.__main__.main, server.__main__.COMMANDS),
]


@pytest.mark.parametrize(("package", "main", "commands"), LINES)
def test_help_lists_every_command_with_its_summary(
    package: str,
    main: Callable[[list[str]], int],
    commands: Mapping[str, str],
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(SystemExit) as status:
        main(["--help"])
    # Wrapped lines are joined again; they break at spaces and after hyphens.
    shown = " ".join(capsys.readouterr().out.split()).replace("- ", "-")
    assert status.value.code == 0
    for name, module in commands.items():
        assert module == f"{package}.commands.{name.replace('-', '_')}"
        assert f"{name} {importlib.import_module(module).HELP}" in shown


@pytest.mark.parametrize("error", [InputError("no such thing"), KeyboardInterrupt()])
def test_errors_are_one_line_and_a_status(
    error: BaseException, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import model.commands.info as command

    def fail(options: argparse.Namespace) -> int:
        raise error

    monkeypatch.setattr(command, "run", fail)
    status = model.__main__.main(["info", "x.vav"])
    said = capsys.readouterr()
    assert said.out == ""
    if isinstance(error, InputError):
        assert (status, said.err) == (2, "python -m model info: no such thing\n")
    else:
        assert (status, said.err) == (130, "interrupted\n")


def test_an_unknown_command_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as status:
        model.__main__.main(["nonsense"])
    assert status.value.code == 2
    assert "invalid choice" in capsys.readouterr().err
