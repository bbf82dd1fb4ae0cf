"""The command `visavis`: every command of both packages under one name, and the entry point that installs it."""

from __future__ import annotations

import argparse
import importlib
import tomllib
from pathlib import Path

import pytest

import model.__main__
import server.__main__
from model.errors import InputError
from server.command import COMMANDS, main

PROJECT = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text())


def test_every_command_of_both_packages_is_there() -> None:
    everything = {*model.__main__.COMMANDS.values(), *server.__main__.COMMANDS.values()}
    assert set(COMMANDS.values()) == everything
    assert len(COMMANDS) == len(everything)


def test_names_are_the_packages_own_but_for_one_benchmark() -> None:
    own = {**server.__main__.COMMANDS, **model.__main__.COMMANDS}
    renamed = {name: module for name, module in COMMANDS.items() if own.get(name) != module}
    assert renamed == {"bench-call": "server.commands.bench"}


def test_help_lists_every_command_with_its_summary(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as status:
        main(["--help"])
    # Wrapped lines are joined again; they break at spaces and after hyphens.
    shown = " ".join(capsys.readouterr().out.split()).replace("- ", "-")
    assert status.value.code == 0
    assert shown.startswith("usage: visavis ")
    for name, module in COMMANDS.items():
        assert f"{name} {importlib.import_module(module).HELP}" in shown


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as status:
        main([name, "--help"])
    assert status.value.code == 0
    assert f"usage: visavis {name} " in capsys.readouterr().out


def test_an_error_names_the_command_that_was_typed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(options: argparse.Namespace) -> int:
        raise InputError("no such thing")

    monkeypatch.setattr(importlib.import_module("server.commands.bench"), "run", fail)
    assert main(["bench-call"]) == 2
    assert capsys.readouterr().err == "visavis bench-call: no such thing\n"


def test_the_project_installs_it() -> None:
    assert PROJECT["project"]["scripts"] == {"visavis": "server.command:main"}
    assert {"model*", "server*"} == set(PROJECT["tool"]["setuptools"]["packages"]["find"]["include"])
