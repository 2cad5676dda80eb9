"""Names of classes, columns and files that rich would read as markup: they are printed to the letter."""

import numpy as np
import pytest

CLASSES = ("[/c]", "[red]x[/red]", "类别 :smile:")
FEATURES = ("[bold]a", "b[/b]")


@pytest.fixture
def trained(sheaf, folder):
    """A run, named run, of a table whose names are markup, all samples of which are diagnosed."""
    generator = np.random.default_rng(0)
    rows = [f"{x},{y},{CLASSES[i % 3]}" for i, (x, y) in enumerate(generator.normal(size=(60, 2)).tolist())]
    (folder / "data.csv").write_text(
        "\n".join([",".join([*FEATURES, "[y]"]), *rows]) + "\n", encoding="utf-8"
    )
    (folder / "given.yaml").write_text(
        "task: {kind: csv, path: data.csv, target: '[y]'}\n"
        "network: {hidden: [4]}\n"
        "training: {method: equilibrium, epochs: 5, log_every: 5}\n"
    )
    return sheaf("train", "given.yaml", "--output", "run")


@pytest.mark.filterwarnings("ignore:Glyph")
def test_names_are_no_markup(trained, sheaf):
    assert trained.code == 0
    outcome = sheaf("diagnose", "run", "--data", "train")
    assert outcome.code == 0
    worst = outcome.out.partition("Samples that carry most")[2]
    for name in CLASSES:
        assert name in outcome.out.partition("Discord by class")[2]
    assert sum(worst.count(name) for name in CLASSES) >= 10, "target and predicted of each of five samples"
    for command in ("report", "spectrum", "verify"):
        assert sheaf(command, "run").code == 0


def test_a_model_whose_name_is_markup_is_imported_under_it(sheaf, folder):
    np.savez(folder / "[red]net[_].npz", W1=np.ones((1, 2)), output="identity")
    outcome = sheaf("import", "[red]net[_].npz", "--output", "run")
    assert outcome.code == 0
    assert "[red]net[_].npz" in outcome.out
