"""The notebook lines of README.md run as they stand, and the package exports what they use, and no more."""

import re
from pathlib import Path

import numpy as np

import sheafcli

README = Path(__file__).resolve().parents[2] / "README.md"


def test_the_notebook_lines_run():
    lines = re.search(r"```python\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)[1]
    X = np.random.default_rng(0).uniform(-2.0, 2.0, size=(40, 2))
    names = {"X": X, "y": np.sum(X**2, axis=1)}
    exec(lines, names)
    assert names["fit"].history[-1].train_loss < 0.5 * np.var(names["y"])
    assert names["flow"].converged.all()
    assert names["settled"].converged.all()
    assert (names["settled"].cochain.z[1][:, 3] == 0.5).all()
    assert list(names["table"]["edge"]) == ["affine_1", "activation_1", "affine_2"]


def test_the_public_names_exist_and_are_described():
    for name in sheafcli.__all__:
        assert getattr(sheafcli, name).__doc__, name
