"""What a notebook calls: results show themselves in a line, and say what arrays, files and commands say."""

import doctest
import inspect
import pydoc
import subprocess
import sys
import warnings
from html.parser import HTMLParser
from importlib import import_module

import numpy as np
import pandas as pd
import pytest
import threadpoolctl

import sheafcli as sc
from sheafcli.cli.app import main
from sheafcli.errors import InputError
from sheafcli.threads import CHOSEN_BY

X = np.random.default_rng(0).uniform(-2.0, 2.0, size=(60, 2))
Y = np.sum(X**2, axis=1)
CLASSES = (Y > 2.5).astype(int)
NETWORK = sc.Network.he([2, 8, 1], seed=0)
CLASSIFIER = sc.Network.he([2, 8, 2], output="softmax", seed=0)
SHORT = sc.Implicit(steps=60)


@pytest.fixture(scope="module")
def fit():
    return sc.train(NETWORK, X, Y, SHORT, X_test=X[:20], y_test=Y[:20], log_every=20)


@pytest.fixture(scope="module")
def diagnosis(fit):
    return sc.diagnose(fit.network, X[:20], Y[:20], X_train=X, y_train=Y)


# How results show themselves ------------------------------------------------------------------


def test_every_result_is_a_line(fit, diagnosis):
    deep = sc.Network.he([64, *[32] * 50, 10], output="softmax")
    results = [
        *(NETWORK, CLASSIFIER, deep, sc.GraphNetwork(deep.graph, deep.output), deep.graph, fit, diagnosis),
        *(sc.extend(NETWORK, X, target=Y), sc.diffuse(NETWORK, X[:3]), sc.extend(NETWORK, X).cochain),
    ]
    for result in results:
        told = repr(result)
        assert len(told) <= 110
        assert "\n" not in told
        assert told.startswith(type(result).__name__ + "(")


def test_the_line_of_a_network_has_its_sizes():
    assert repr(NETWORK) == f"Network(2-8-1, identity output, {2 * 8 + 8 + 8 + 1} parameters)"


def test_a_comparison_is_a_sentence_or_a_table(fit):
    moved = sc.Network(
        [fit.network.weights[0] * 1.5, *fit.network.weights[1:]], fit.network.biases, "identity"
    )
    comparison = sc.diff(fit.network, moved, X)
    assert "\n" not in repr(comparison)
    assert "affine_1" in repr(comparison)
    assert len(str(comparison).splitlines()) == 2 + len(comparison.operations)
    parser = Tables()
    parser.feed(comparison._repr_html_())
    assert parser.rows == 1 + len(comparison.operations)


class Tables(HTMLParser):
    """Counts the rows of tables, and checks that every tag is closed in its turn."""

    def __init__(self):
        super().__init__()
        self.open, self.rows = [], 0

    def handle_starttag(self, tag, attrs):
        self.open.append(tag)
        self.rows += tag == "tr"

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def test_fits_and_diagnoses_are_tables_in_a_notebook(fit, diagnosis):
    for result in (fit, diagnosis):
        parser = Tables()
        parser.feed(result._repr_html_())
        assert parser.open == []
        assert parser.rows > 5
    assert ">none</td>" in diagnosis._repr_html_(), "the blame that no layer has"
    named = sc.diagnose(CLASSIFIER, X, CLASSES, classes=["<b>&", "other"])
    assert "<b>&" not in named._repr_html_()


def test_a_diagnosis_prints_what_the_command_does(diagnosis):
    told = str(diagnosis)
    assert told.startswith("Pinned discord of 20 samples (test)")
    assert max(map(len, told.splitlines())) <= 80
    assert "\x1b" not in told


def test_figures_show_themselves_and_hold_the_history(fit, diagnosis):
    figure = sc.plot(fit)
    assert figure._repr_png_().startswith(b"\x89PNG")
    train, test = figure.axes[0].lines
    assert train.get_xdata().tolist() == [record.step for record in fit.history]
    assert train.get_ydata().tolist() == [record.train_loss for record in fit.history]
    assert test.get_ydata().tolist() == [record.test_loss for record in fit.history]
    for kind in (None, "resistance", "neurons", "edges", "tension"):
        assert sc.plot(diagnosis, kind).axes


# What they say --------------------------------------------------------------------------------


def test_the_diagnosis_of_a_run_is_that_of_the_command(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.yaml").write_text(
        "task: {kind: paraboloid, n_train: 40, n_test: 20}\nnetwork: {hidden: [5]}\n"
        "training: {method: heat, steps: 200, dt: 0.02}\n"
    )
    for arguments in (
        ["train", "a.yaml", "--output", "run", "--quiet"],
        ["diagnose", "run", "--format", "csv"],
    ):
        monkeypatch.setattr(sys, "argv", ["sheaf", *arguments])
        with pytest.raises(SystemExit) as ended:
            main()
        assert not ended.value.code
    capsys.readouterr()
    diagnosis = sc.diagnose("run")
    files = {"edges": "diagnosis", "layers": "layers", "neurons": "neurons", "samples": "samples"}
    for name, file in files.items():
        written = pd.read_csv(f"run/{file}.csv")
        pd.testing.assert_frame_equal(getattr(diagnosis, name), written, check_dtype=False, rtol=1e-9)
    assert sc.plot("run").axes
    assert sc.plot("run", "discord").axes


def test_discord_by_edge_and_by_sample_has_the_same_sum(diagnosis):
    total = diagnosis.edges["discord"].sum()
    assert diagnosis.samples["discord"].mean() == pytest.approx(total)
    assert diagnosis.neurons["discord"].sum() == pytest.approx(total)


def test_a_method_may_be_named_and_classes_numbered():
    named = sc.train(CLASSIFIER, X, CLASSES, "backprop")
    chosen = sc.train(CLASSIFIER, X, np.eye(2)[CLASSES], sc.Backprop())
    assert named.history == chosen.history


def test_the_network_given_is_not_changed(fit):
    assert all((a == b).all() for a, b in zip(NETWORK.weights, sc.Network.he([2, 8, 1]).weights, strict=True))
    assert fit.history[0].train_loss == pytest.approx(np.mean((NETWORK.predict(X)[:, 0] - Y) ** 2))


def test_an_output_may_be_named():
    weights, biases = [np.eye(2)], [np.zeros(2)]
    p = sc.Network(weights, biases, "softmax").predict([[0.0, np.log(3.0)]])
    assert p[0].tolist() == pytest.approx([0.25, 0.75])
    with pytest.raises(ValueError, match="known: identity, sigmoid, softmax"):
        sc.Network(weights, biases, "tanh")


@pytest.mark.parametrize("suffix", [".npz", ".onnx"])
def test_what_is_saved_is_loaded(fit, tmp_path, suffix):
    if suffix == ".onnx":
        pytest.importorskip("onnx")
    path = tmp_path / f"model{suffix}"
    sc.save(fit, path)
    assert (sc.load(path).predict(X) == fit.network.predict(X)).all()


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: sc.train(NETWORK, X, Y, "heat"), r"sc\.Heat\(time=60\)"),
        (lambda: sc.train(NETWORK, X, Y, "sgd"), "there are implicit, equilibrium, backprop and heat"),
        (lambda: sc.train(NETWORK, X, ["a"] * 60), "number the classes"),
        (lambda: sc.train(CLASSIFIER, X, CLASSES + 1), "class"),
        (lambda: sc.diagnose(NETWORK, X), "true targets"),
        (lambda: sc.diagnose(NETWORK, X, Y, X_train=X), "X_train and y_train"),
        (lambda: sc.diagnose("somewhere", X, Y), r"sc\.load\(run\)"),
        (lambda: sc.diagnose("nowhere"), "no such directory"),
        (lambda: sc.plot(NETWORK), "got Network"),
        (lambda: sc.plot("nowhere"), "no such directory"),
        (lambda: sc.save(NETWORK, "model.txt"), "unknown suffix"),
        (lambda: sc.save(NETWORK, "nowhere/model.npz"), "cannot be written"),
    ],
)
def test_what_cannot_be_done_is_said(call, words):
    with pytest.raises((ValueError, TypeError, InputError), match=words):
        call()


# The package ----------------------------------------------------------------------------------


def test_dir_shows_the_interface_alone():
    assert dir(sc) == sorted(sc.__all__)
    assert sc.__version__
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        sc.nothing  # noqa: B018


@pytest.mark.parametrize(
    "name", ["train", "diagnose", "diff", "diffuse", "discord", "extend", "plot", "save"]
)
def test_help_tells_every_parameter(name):
    told = pydoc.render_doc(getattr(sc, name), renderer=pydoc.plaintext)
    signature = inspect.signature(getattr(sc, name))
    assert all(parameter in told.split("Parameters", 1)[1] for parameter in signature.parameters)


@pytest.mark.parametrize("name", sc.__all__)
def test_help_has_an_example_that_is_true(name):
    member = inspect.unwrap(getattr(sc, name))
    assert "Examples\n" in inspect.getdoc(member)
    module = import_module(member.__module__)
    (test,) = doctest.DocTestFinder(recurse=False).find(member, module=module, globs={})
    assert any(example.source.strip() for example in test.examples)
    with warnings.catch_warnings():
        assert doctest.DocTestRunner().run(test).failed == 0


@pytest.mark.parametrize(
    ("made", "told"),
    [
        (lambda: sc.Backprop(optimizer="adam"), "Backprop()"),
        (lambda: sc.Equilibrium(epochs=3, gamma=1.0), "Equilibrium(epochs=3, gamma=1.0)"),
        (lambda: sc.Implicit(kappa=1), "Implicit(kappa=1)"),
        (lambda: sc.StopWhen(seconds=2.0), "StopWhen(seconds=2.0)"),
        (
            lambda: sc.Heat(time=3, stalks={"z1": np.zeros((50, 8))}),
            "Heat(time=3, stalks={'z1': array of shape (50, 8)})",
        ),
        (
            lambda: sc.Pin("z1", 3, np.arange(500.0)),
            "Pin(stalk='z1', coordinate=3, value=array of shape (500,))",
        ),
    ],
)
def test_options_show_what_was_chosen_on_one_line(made, told):
    assert repr(made()) == told


class TestWords:
    """Where an object is asked for, a word or a text that says the same."""

    def test_pins(self):
        network, X = sc.Network.he([2, 6, 1]), np.random.default_rng(0).normal(size=(4, 2))
        pins = [sc.Pin("z1", 3, 0.5), sc.Pin("a1", 0, -1.0, stiffness=2.0)]
        for one, other in (
            (sc.extend(network, X, pins=pins), sc.extend(network, X, pins=["z1[3]=0.5", "a1[0]=-1@2"])),
            *[
                tuple(
                    sc.diffuse(network, X, start="zeros", steps=50, pins=given, integrator="euler")
                    for given in (pins, ["z1[3]=0.5", pins[1]])
                )
            ],
        ):
            assert np.array_equal(one.cochain.data, other.cochain.data)

    def test_optimizers(self):
        assert sc.Equilibrium(optimizer="momentum") == sc.Equilibrium(optimizer=sc.Momentum(0.01))

    def test_integrators(self):
        network, X = sc.Network.he([2, 6, 1]), np.ones((1, 2))
        flows = [sc.diffuse(network, X, integrator=given) for given in ("chebyshev", sc.Chebyshev())]
        assert np.array_equal(flows[0].cochain.data, flows[1].cochain.data)

    @pytest.mark.parametrize(
        ("made", "error", "words"),
        [
            (lambda n, X: sc.extend(n, X, pins="z1[3]=0.5"), TypeError, r"give \['z1\[3\]=0.5'\]"),
            (lambda n, X: sc.extend(n, X, pins=["z1=0.5"]), ValueError, "write it as STALK.*got 'z1=0.5'"),
            (lambda n, X: sc.extend(n, X, pins=["z9[0]=1"]), ValueError, "there are z1, a1, z2"),
            (lambda n, X: sc.Backprop(optimizer="adm"), ValueError, "there are adam, sgd, momentum"),
            (lambda n, X: sc.Backprop(optimizer=0.1), TypeError, "such as Adam.*got float"),
            (lambda n, X: sc.diffuse(n, X, integrator="rk4"), ValueError, "euler, chebyshev, implicit"),
            (lambda n, X: sc.train(n, X, X[:, :1], "adam"), ValueError, "implicit, equilibrium, backprop"),
        ],
    )
    def test_wrong_ones_are_told_what_there_is(self, made, error, words):
        with pytest.raises(error, match=words):
            made(sc.Network.he([2, 6, 1]), np.ones((3, 2)))


class Watching:
    """A training method that looks at the threads and gives up."""

    def start(self, network, X, y, seed=0):
        self.threads = {
            found["num_threads"] for found in threadpoolctl.threadpool_info() if found["user_api"] == "blas"
        }
        raise InterruptedError


def test_one_blas_thread_is_used_unless_the_user_chooses(monkeypatch):
    for name in CHOSEN_BY:
        monkeypatch.delenv(name, raising=False)
    watching = Watching()
    with threadpoolctl.threadpool_limits(2, user_api="blas"):
        with pytest.raises(InterruptedError):
            sc.train(NETWORK, X, Y, watching)
        assert watching.threads == {1}
        monkeypatch.setenv("OMP_NUM_THREADS", "2")
        with pytest.raises(InterruptedError):
            sc.train(NETWORK, X, Y, watching)
        assert watching.threads == {2}


def test_the_package_is_imported_by_use():
    code = "import sys, sheafcli; print(*{'numpy', 'scipy', 'pandas', 'matplotlib'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""
