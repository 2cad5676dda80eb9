"""Every command and every option has a help text, and docs/commands.md holds them all."""

import subprocess
import sys
from pathlib import Path

import pytest
from command_help import BLOCK, COMMANDS, DOCUMENT, help_text, with_help_texts

DOCUMENT_TEXT = DOCUMENT.read_text(encoding="utf-8")


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_says_what_it_does_in_a_line(name):
    command = COMMANDS[name]
    first = (command.help or "").splitlines()[0]
    assert first
    assert first[0].isupper()
    assert first.endswith(".")
    assert first in help_text("")  # not cut short in the list of commands


@pytest.mark.parametrize("name", COMMANDS)
def test_every_argument_and_option_has_a_help_text(name):
    for parameter in COMMANDS[name].params:
        text = parameter.help
        assert text, f"sheaf {name}: {parameter.name} has no help"
        assert text.endswith("."), text


def test_the_documentation_shows_every_command_once():
    shown = [block[1].strip() for block in BLOCK.finditer(DOCUMENT_TEXT)]
    assert sorted(shown) == sorted(["", *COMMANDS])


@pytest.mark.parametrize("name", ["", *COMMANDS])
def test_the_documentation_holds_the_help_of_this_version(name):
    shown = {block[1].strip(): block[2] for block in BLOCK.finditer(DOCUMENT_TEXT)}
    assert shown.get(name) == help_text(name), "run python tests/cli/command_help.py"


def test_writing_the_help_texts_anew_changes_nothing_else():
    assert with_help_texts(DOCUMENT_TEXT) == DOCUMENT_TEXT
    spoilt = DOCUMENT_TEXT.replace("Show this message and exit.", "Leave.")
    assert spoilt != DOCUMENT_TEXT
    assert with_help_texts(spoilt) == DOCUMENT_TEXT


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_an_introduction_and_an_example(name):
    section = DOCUMENT_TEXT.split(f"\n## `sheaf {name}`\n")[1].split("\n## ")[0]
    introduction = section.split("<!--")[0]
    assert len(introduction.split()) > 15
    assert f"$ sheaf {name} " in section


def test_the_help_does_not_depend_on_the_terminal(monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setenv("FORCE_COLOR", "1")
    assert max(map(len, help_text("train").splitlines())) < 80
    assert "\x1b" not in help_text("train")


def test_the_console_script_prints_the_same_help(folder):
    script = Path(sys.executable).with_name("sheaf")
    command = [script, "train", "--help"]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env={"COLUMNS": "80"})
    assert done.stdout == help_text("train")


def test_sheaf_alone_shows_its_help(sheaf):
    outcome = sheaf()
    assert "Commands:" in outcome.out + outcome.err
