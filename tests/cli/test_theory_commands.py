"""`sheaf verify`, `spectrum` and `diffuse`, against the theory worked out here from the weights alone."""

import functools
import importlib
import io
import json

import numpy as np
import pandas as pd
import pytest

from sheafcli.config import load_config
from sheafcli.core.chain.network import Network
from sheafcli.runs import Experiment, RunDirectory

diffuse_command = importlib.import_module("sheafcli.cli.diffuse")

UNTRAINED = """\
name: untrained
seed: 5
task: {kind: TASK, n_train: 40, n_test: 12}
network: {hidden: HIDDEN}
training: {steps: 10, dt: 0.01}
"""


def untrained(task="paraboloid", hidden=(4, 3)):
    """Write a configuration and return its name."""
    with open("untrained.yaml", "w") as file:
        file.write(UNTRAINED.replace("TASK", task).replace("HIDDEN", str(list(hidden))))
    return "untrained.yaml"


def studied(run):
    """Return the weights and biases of a run, layer by layer, and its test inputs."""
    directory = RunDirectory.existing(run)
    with np.load(directory / "network.npz", allow_pickle=False) as arrays:
        n_layers = sum(name.startswith("W") for name in arrays)
        weights = [arrays[f"W{layer}"] for layer in range(1, n_layers + 1)]
        biases = [arrays[f"b{layer}"] for layer in range(1, n_layers + 1)]
    return weights, biases, Experiment.prepare(directory.config()).task.X_test


def squares(residual):
    return float(np.mean(np.sum(residual**2, axis=1)))


class TestVerify:
    THEOREMS = (
        "unitriangular",
        "|det delta_Omega| = 1",
        "positive definite",
        "harmonic extension",
        "one stationary point",
        "decays",
        "a pin",
    )

    def test_every_theorem_holds_on_a_trained_network(self, sheaf, any_run):
        outcome = sheaf("verify", any_run)
        assert (outcome.code, outcome.err) == (0, "")
        lines = outcome.out.splitlines()
        assert max(map(len, lines)) <= 80
        assert outcome.out.count("holds") == len(self.THEOREMS)
        assert "FAILS" not in outcome.out

    @pytest.mark.parametrize(
        ("task", "hidden"),
        [("paraboloid", (8, 6, 4)), ("circular", (6,)), ("blobs", (4, 3)), ("saddle", ())],
    )
    def test_every_theorem_holds_on_an_untrained_network(self, sheaf, folder, task, hidden):
        outcome = sheaf("verify", untrained(task, hidden), "--format", "json")
        assert outcome.code == 0
        rows = json.loads(outcome.out)
        assert len(rows) == len(self.THEOREMS)
        for row, theorem in zip(rows, self.THEOREMS, strict=True):
            assert theorem in row["theorem"]
            assert row["holds"] is True

    @pytest.mark.parametrize("alteration", ["shifted", "leaky", "wrong layer"])
    def test_an_altered_forward_pass_fails_by_name(self, sheaf, run, monkeypatch, alteration):
        def altered(network, X):
            stalks, a = [], np.asarray(X, dtype=np.float64)
            for layer, (W, b) in enumerate(zip(network.weights, network.biases, strict=True)):
                shift = 1e-6 if alteration == "shifted" and layer == network.depth else 0.0
                z = a @ W.T + (0.99 * b if alteration == "wrong layer" and layer == 0 else b) + shift
                stalks.append(z)
                a = np.maximum(z, (1e-3 if alteration == "leaky" else 0.0) * z)
            return stalks

        monkeypatch.setattr(Network, "pre_activations", altered)
        outcome = sheaf("verify", run)
        assert outcome.code == 1
        assert "FAILS" in outcome.out
        assert "does not hold on small" in outcome.err
        assert "harmonic extension = forward pass" in outcome.err

    def test_the_marks_are_words_without_colours_too(self, sheaf, run, monkeypatch):
        monkeypatch.setenv("NO_COLOR", "1")
        out = sheaf("verify", run).out
        assert "\x1b" not in out
        assert out.count(" holds\n") == len(self.THEOREMS)


class TestSpectrum:
    @staticmethod
    def laplacian(weights, biases, x):
        """Write L_Omega from its blocks: coordinates z_1, a_1, z_2, ..., z_{k+1}."""
        names, a = [], x
        ends = {}
        for layer, (W, b) in enumerate(zip(weights, biases, strict=True), start=1):
            z = W @ a + b
            ends[f"z{layer}"] = (len(names), z >= 0)
            names += [f"z{layer}"] * len(z)
            if layer < len(weights):
                ends[f"a{layer}"] = (len(names), None)
                names += [f"a{layer}"] * len(z)
                a = np.maximum(z, 0)
        L = np.zeros((len(names), len(names)))
        for layer, W in enumerate(weights, start=1):
            n, z = len(W), ends[f"z{layer}"][0]
            L[z : z + n, z : z + n] = np.eye(n)
            if layer < len(weights):
                R, a = np.diag(ends[f"z{layer}"][1].astype(float)), ends[f"a{layer}"][0]
                after, V = ends[f"z{layer + 1}"][0], weights[layer]
                L[z : z + n, z : z + n] += R
                L[z : z + n, a : a + n] = L[a : a + n, z : z + n] = -R
                L[a : a + n, a : a + n] = np.eye(n) + V.T @ V
                L[after : after + len(V), a : a + n] = -V
                L[a : a + n, after : after + len(V)] = -V.T
        return L, np.array(names)

    def test_the_table_is_that_of_the_dense_laplacians(self, sheaf, any_run):
        outcome = sheaf("spectrum", any_run, "--limit", 7, "--figures")
        assert outcome.code == 0
        assert max(map(len, outcome.out.splitlines())) <= 80
        table = pd.read_csv(any_run / "spectrum.csv")
        weights, biases, X = studied(any_run)
        assert table["sample"].tolist() == list(range(7))
        for row, x in zip(table.to_dict("records"), X, strict=False):
            L, names = self.laplacian(weights, biases, x)
            values, vectors = np.linalg.eigh(L)
            expected = {"gap": values[0], "largest": values[-1], "condition": values[-1] / values[0]}
            for mode, column in (("fiedler", 0), ("top", -1)):
                for name in ("z1", "a1", "z2"):
                    expected[f"{mode}_{name}"] = np.sum(vectors[names == name, column] ** 2)
            assert {name: row[name] for name in expected} == pytest.approx(expected, rel=1e-8, abs=1e-12)
        assert (any_run / "figures" / "spectrum.png").read_bytes().startswith(b"\x89PNG")

    def test_the_summary_is_that_of_the_table(self, sheaf, run):
        out = sheaf("spectrum", run).out
        table = pd.read_csv(run / "spectrum.csv")
        (line,) = (line for line in out.splitlines() if line.startswith("median"))
        assert [float(word) for word in line.split()[1:]] == pytest.approx(
            table[["gap", "largest", "condition"]].median().tolist(), rel=1e-5
        )

    def test_of_a_configuration_nothing_is_written(self, sheaf, folder, read):
        config = untrained("blobs", (4, 3))
        before = read(folder)
        outcome = sheaf("spectrum", config, "--format", "csv")
        assert outcome.code == 0
        assert len(pd.read_csv(io.StringIO(outcome.out))) == 12
        assert read(folder) == before


class TestDiffuse:
    def test_the_trace_is_the_heat_equation_by_forward_euler(self, sheaf, run):
        samples, steps, dt = 3, 60, 0.02
        outcome = sheaf(
            "diffuse", run, "--integrator", "euler", "--dt", dt, "--steps", steps, "--samples", samples
        )
        assert outcome.code == 1
        assert "samples 0, 1, 2 did not come to rest in 60 steps" in outcome.err
        trace = pd.read_csv(run / "diffusion.csv")
        crossings = pd.read_csv(run / "crossings.csv")
        (W1, W2), (b1, b2), X = studied(run)
        X = X[:samples]
        rng = np.random.default_rng(0)
        z1, a1, z2 = (rng.standard_normal((samples, n)) for n in (5, 5, 1))
        rest1 = X @ W1.T + b1
        rest = np.hstack([rest1, np.maximum(rest1, 0), np.maximum(rest1, 0) @ W2.T + b2])
        met = []
        for step in range(steps + 1):
            r1, s1, r2 = X @ W1.T + b1 - z1, np.maximum(z1, 0) - a1, a1 @ W2.T + b2 - z2
            row = trace.iloc[step]
            discord = [squares(r1), squares(s1), squares(r2)]
            expected = {
                "step": step,
                "time": step * dt,
                "energy": 0.5 * sum(discord),
                "distance": np.linalg.norm(np.hstack([z1, a1, z2]) - rest, axis=1).max(),
                "discord_affine_1": discord[0],
                "discord_activation_1": discord[1],
                "discord_affine_2": discord[2],
                "output_0": z2[0, 0],
                "z1[0]": z1[0, 0],
                "z1[1]": z1[0, 1],
            }
            assert {name: row[name] for name in expected} == pytest.approx(expected, rel=1e-9)
            active = z1 >= 0
            z1, a1, z2 = (
                z1 + dt * (r1 - active * s1),
                a1 + dt * (s1 - r2 @ W2),
                z2 + dt * r2,
            )
            for sample, neuron in np.argwhere((z1 >= 0) != active):
                met.append((step + 1, sample, 1, neuron, int(z1[sample, neuron] >= 0)))
        met = [crossing for crossing in met if crossing[0] <= steps]
        assert len(trace) == steps + 1
        assert met, "the test should see a crossing"
        columns = crossings[["step", "sample", "layer", "neuron", "active"]]
        assert [tuple(row) for row in columns.to_numpy()] == met
        np.testing.assert_allclose(crossings["time"], crossings["step"] * dt, rtol=1e-12)

    @pytest.mark.parametrize("integrator", ["euler", "chebyshev", "bdf", "radau"])
    def test_every_integrator_ends_at_the_forward_pass(self, sheaf, run, integrator):
        outcome = sheaf("diffuse", run, "--integrator", integrator, "--output", "out", "--format", "json")
        assert outcome.code == 0
        (W1, W2), (b1, b2), X = studied(run)
        forward = np.maximum(X[:1] @ W1.T + b1, 0) @ W2.T + b2
        last = json.loads(outcome.out)[-1]
        assert last["output_0"] == pytest.approx(forward.item(), abs=1e-6)
        assert last["distance"] < 1e-6

    def test_a_run_by_equilibrium_is_diffused_as_any_other(self, sheaf, balanced_run):
        outcome = sheaf("diffuse", balanced_run, "--output", "out", "--format", "json")
        assert (outcome.code, outcome.err) == (0, "")
        (W1, W2), (b1, b2), X = studied(balanced_run)
        forward = np.maximum(X[:1] @ W1.T + b1, 0) @ W2.T + b2
        last = json.loads(outcome.out)[-1]
        assert last["output_0"] == pytest.approx(forward.item(), abs=1e-6)
        assert last["distance"] < 1e-6

    @pytest.mark.parametrize("task", ["saddle", "circular", "blobs"])
    def test_the_measured_rate_is_not_below_its_bound(self, sheaf, folder, task):
        outcome = sheaf("diffuse", untrained(task), "--samples", 2, "--output", "out")
        assert outcome.code == 0, outcome
        (line,) = (line for line in outcome.out.splitlines() if line.startswith("measured / bound"))
        assert float(line.split()[-1]) >= 0.95
        figures = {path.name for path in (folder / "out" / "figures").iterdir()}
        assert figures == {"diffusion_energy.png", "diffusion_output.png", "diffusion_phase.png"}
        assert max(map(len, outcome.out.splitlines())) <= 80

    def test_pins_hold_and_pull(self, sheaf, run):
        pins = ("--pin", "z1[1]=0.5", "--soft-pin", "a1[0]=3@2.5")
        out = sheaf("diffuse", run, *pins, "--start", "zeros", "--format", "csv").out
        trace = pd.read_csv(io.StringIO(out))
        assert trace["z1[1]"].iloc[1:].eq(0.5).all()
        assert trace["energy"].iloc[-1] > 1e-3
        assert trace["distance"].iloc[-1] < 1e-6

    def test_a_pinned_output_is_the_target(self, sheaf, run):
        out = sheaf("diffuse", run, "--output-pin", "--format", "csv").out
        target = Experiment.prepare(load_config(run / "config.yaml")).task.y_test[0, 0]
        trace = pd.read_csv(io.StringIO(out))
        assert trace["output_0"].iloc[-1] == target


class TestBadInput:
    @pytest.mark.parametrize(
        ("arguments", "words"),
        [
            (["--pin", "z9[0]=1"], "no free stalk 'z9'; there are z1, a1, z2"),
            (["--soft-pin", "z3[0]=1@1"], "no free stalk 'z3'; there are z1, a1, z2"),
            (["--pin", "a0[0]=1"], "the input a0 is always pinned"),
            (["--pin", "x[0]=1"], "the input a0 is always pinned"),
            (["--pin", "z1[5]=1"], "stalk z1 has coordinates 0 to 4, got 5"),
            (["--pin", "z1[1]=1", "--pin", "z1[1]=2"], "z1[1] is pinned twice, to 1.0 and 2.0"),
            (["--pin", "z1[1]=1", "--soft-pin", "z1[1]=2@1"], "z1[1] is pinned twice"),
            (["--output-pin", "--pin", "z2[0]=1"], "--output-pin holds all of z2 already"),
            (["--pin", "z1[1]=nan"], "must have a finite value, got nan"),
            (["--pin", "z1[1]=inf"], "must have a finite value, got inf"),
            (["--pin", "z1[1]=one"], "--pin z1[1]=one"),
            (["--pin", "z1[-1]=1"], "write it as STALK[COORDINATE]=VALUE"),
            (["--pin", "z1=1"], "write it as STALK[COORDINATE]=VALUE"),
            (["--pin", "z1[1]=1@2"], "write it as STALK[COORDINATE]=VALUE"),
            (["--soft-pin", "z1[1]=1"], "write it as STALK[COORDINATE]=VALUE@STIFFNESS"),
            (["--soft-pin", "z1[1]=1@0"], "needs a stiffness from 1e-70 to 1e+70, got 0.0"),
            (["--soft-pin", "z1[1]=1@-2"], "needs a stiffness from 1e-70 to 1e+70, got -2.0"),
            (["--soft-pin", "z1[1]=1@nan"], "needs a stiffness from 1e-70 to 1e+70, got nan"),
            (["--dt", "0.1"], "--dt belongs to --integrator euler"),
            (["--integrator", "euler", "--dt", "0"], "--dt must be above 0"),
            (["--tolerance", "nan"], "--tolerance must be above 0"),
            (["--integrator", "bdf", "--samples", "2"], "takes a single sample"),
        ],
    )
    def test_a_wrong_pin_or_option_is_refused(self, refused, run, arguments, words):
        refused("diffuse", run, *arguments, words=words)

    @pytest.mark.parametrize("command", ["verify", "spectrum", "diffuse"])
    def test_what_is_no_run_is_refused(self, refused, folder, command):
        refused(command, "nowhere", words="nowhere")

    def test_what_does_not_come_to_rest_is_named(self, sheaf, run):
        outcome = sheaf("diffuse", run, "--steps", 3, "--samples", 2)
        assert outcome.code == 1
        assert "error: samples 0, 1 did not come to rest in 3 steps" in outcome.err
        assert "0 of 2" in outcome.out

    def test_a_step_too_large_diverges_and_writes_nothing(self, sheaf, run, folder, read):
        before = read(folder)
        outcome = sheaf("diffuse", run, "--integrator", "euler", "--dt", 50)
        assert outcome.code == 1
        assert "diverged" in outcome.err
        assert "--dt" in outcome.err
        assert read(folder) == before

    def test_an_equilibrium_that_is_not_found_is_said(self, sheaf, run, folder, read, monkeypatch):
        gives_up = functools.partial(diffuse_command.extend, max_iterations=0)
        monkeypatch.setattr(diffuse_command, "extend", gives_up)
        before = read(folder)
        outcome = sheaf("diffuse", run, "--samples", 2, "--pin", "z1[0]=9")
        assert outcome.code == 1
        assert "the equilibrium of samples 0, 1 was not found" in outcome.err
        assert read(folder) == before
