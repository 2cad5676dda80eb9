"""The paper's training exhibits against published figures, closed forms and planted answers."""

import importlib
import json
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from sheafcli.config.document import parse
from sheafcli.core.chain.network import Network
from sheafcli.errors import InputError

ROOT = Path(__file__).parents[2]
YAML = ROOT / "experiments" / "paper"
PUBLISHED = json.loads((ROOT / "tests" / "golden" / "published.json").read_text())
sys.path.insert(0, str(ROOT / "benchmarks" / "paper"))
best_beta, beta, depth_time, discord_stages, pinned_discord, spectral_evolution, training, training_runs = (
    importlib.import_module(name)
    for name in (
        *("best_beta", "beta", "depth_time", "discord_stages", "pinned_discord", "spectral_evolution"),
        *("training", "training_runs"),
    )
)
EXHIBITS = (beta, depth_time, discord_stages, pinned_discord, spectral_evolution, training)


def sweep_file(stem):
    return parse((YAML / f"{stem}.yaml").read_text()).value


# The files say what is published


@pytest.mark.parametrize("stem", ["training", "training_auto", "training_sgd", "training_starts"])
def test_each_published_row_is_a_column_of_the_sweep(stem):
    columns = sweep_file(stem)["zip"]
    rows = PUBLISHED["training_results"]
    assert {len(values) for values in columns.values()} == {len(rows)}
    for place, row in enumerate(rows):
        column = {key: values[place] for key, values in columns.items()}
        regression = row["task"] in ("paraboloid", "saddle")
        widths = "_".join(map(str, row["arch"]))
        assert column["task.path"].endswith(f"tasks_{row['task']}.npz")
        assert column["network.hidden"] == row["arch"][1:-1]
        if stem != "training_starts":
            assert column["network.start"].endswith(f"he_{widths}_seed42.npz")
        if stem in ("training", "training_auto"):
            kept = f"../../tests/golden/stalks_{row['task']}_{widths}.npz"
            assert column["training.stalks"] == (kept if regression else "forward")
        if stem == "training":
            assert (column["training.steps"], column["training.dt"]) == (row["steps"], row["dt"])
            assert column["training.reset_every"] == (None if regression else 1000)
        elif stem == "training_sgd":
            assert column["training.epochs"] == row["steps"]
            assert column["training.learning_rate"] == (0.005 if regression else 0.01)
        else:
            assert column["training.time"] == pytest.approx(row["steps"] * row["dt"])
            assert column["training.reset_time"] == (None if regression else pytest.approx(1000 * row["dt"]))


def test_the_sweep_over_beta_has_the_published_betas():
    published = PUBLISHED["beta_scaling"]
    found = sweep_file("beta")
    assert found["cross"]["training.beta"] == [float(beta) for beta in published["test_loss_three_seeds"]]
    training_section = found["base"]["training"]
    assert (training_section["steps"], training_section["dt"]) == (published["steps"], published["dt"])


def test_quick_mode_shortens_sweeps_that_exist():
    for module in EXHIBITS:
        for stem, overrides in module.QUICK.items():
            assert (YAML / f"{stem}.yaml").exists()
            assert all("=" in override for override in overrides)


# Reading runs


def make_run(folder, status="finished"):
    folder.mkdir(parents=True)
    (folder / "config.yaml").write_text("")
    (folder / "manifest.json").write_text(json.dumps({"status": status, "final": {"test_loss": 0.5}}))


def test_runs_are_read_in_the_order_of_their_numbers(tmp_path):
    for number in ("1000", "999", "002"):
        make_run(tmp_path / "some" / number)
    (tmp_path / "some" / "sweep.csv").write_text("")
    found = training_runs.sweep(tmp_path, "some")
    assert [run.directory.path.name for run in found] == ["002", "999", "1000"]
    assert found[0].final("test_loss") == 0.5


def test_a_diverged_run_has_an_infinite_loss(tmp_path):
    make_run(tmp_path / "some" / "001", "diverged")
    assert training_runs.sweep(tmp_path, "some")[0].final("test_loss") == np.inf


def test_a_sweep_that_has_not_ended_is_refused(tmp_path):
    with pytest.raises(
        InputError, match=r"no runs; make them with `sheaf sweep experiments/paper/some\.yaml`"
    ):
        training_runs.sweep(tmp_path, "some")
    make_run(tmp_path / "some" / "001", "running")
    with pytest.raises(InputError, match="has not ended"):
        training_runs.sweep(tmp_path, "some")


# Training


def fake_run(time, loss, name="paraboloid [2, 30, 1]"):
    figures = {"time": time, "train_loss": loss, "test_loss": loss}
    return SimpleNamespace(name=name, final=figures.__getitem__)


def planted_row(loss, sgd_loss):
    """A row published as 4.0, 2.0 (sheaf) and 1.0, 0.5 (SGD) at steps 0 and 1,000 of 0.01."""
    row = {"dt": 0.01}
    row["sheaf_curve_step_train_test"] = [[0, 4.0, 4.0], [1000, 2.0, 2.0]]
    row["sgd_curve_epoch_train_test"] = [[0, 1.0, 1.0], [1000, 0.5, 0.5]]
    heat = fake_run(10.0 - 1e-12, loss)
    starts = [fake_run(10.0, other) for other in (3.0, 1.0, 2.0)]
    return training.Trained(row, heat, heat, fake_run(1000, sgd_loss), starts)


@pytest.mark.parametrize("method", ["heat", "auto"])
@pytest.mark.parametrize(("loss", "holds"), [(2.019, True), (1.981, True), (2.021, False), (1.979, False)])
def test_a_loss_holds_within_a_percent_of_the_curve_at_its_time(method, loss, holds):
    (row,) = training.agreement_rows([planted_row(loss, 0.5)], method)
    assert row.holds is holds
    assert row.published == "2.000000 / 2.000000"


def test_a_row_says_how_far_other_starts_spread():
    (row,) = training.agreement_rows([planted_row(2.0, 0.5)], "heat")
    assert row.ours.endswith("; train from 3 other starts: 1 to 3")


def test_losses_where_nothing_is_published_are_refused():
    row = planted_row(2.0, 0.5)
    with pytest.raises(ValueError, match=r"nothing is published at step 500, only at \[0, 1000\]"):
        row.published_loss("sheaf", 500, "train")


@pytest.mark.parametrize(("sgd_loss", "holds"), [(0.5, True), (2.5, False)])
def test_sheaf_training_is_competitive_as_soon_as_one_loss_is_lower(sgd_loss, holds):
    trained = [planted_row(2.0, 0.5), planted_row(2.0, sgd_loss)]
    assert training.competition_row(trained).holds is holds


# Beta


@pytest.mark.parametrize("at", [0.003, 0.0041, 0.0055])
def test_the_least_point_of_a_parabola_is_found_between_the_points(at):
    x = np.geomspace(1e-4, 0.1, 13)
    y = 0.07 * np.exp(0.3 * (np.log(x) - np.log(at)) ** 2)
    assert best_beta.least_point(x, y) == pytest.approx(at, rel=1e-12)


def test_a_least_point_at_an_end_is_refused():
    with pytest.raises(ValueError, match="at x = 1, an end: widen x"):
        best_beta.least_point([1.0, 2.0, 3.0], [1.0, 2.0, 3.0])


def planted_law(monkeypatch, exponent, product=1.3):
    """Runs whose log test loss is a parabola around beta = product / 100 (n / 100)^exponent."""

    def run(n, beta, seed):
        best = product / 100 * (n / 100) ** exponent * np.exp(0.05 * (seed - 1))
        loss = 0.1 * np.exp(0.2 * np.log(beta / best) ** 2)
        data, config = (
            SimpleNamespace(n_train=n),
            SimpleNamespace(training=SimpleNamespace(beta=beta), seed=seed),
        )
        return SimpleNamespace(data=data, config=config, final=lambda key: loss)

    betas = np.geomspace(1e-4, 0.1, 13)
    runs = [run(n, beta, seed) for n in (100, 300, 1000) for beta in betas for seed in range(3)]
    monkeypatch.setattr(best_beta, "sweep", lambda folder, stem: runs)
    return best_beta.best_product(Path())


@pytest.mark.parametrize("exponent", [-1.0, -0.5])
def test_a_planted_law_is_recovered_with_its_products(monkeypatch, exponent):
    law = planted_law(monkeypatch, exponent)
    assert law.line.slope == pytest.approx(exponent, abs=1e-9)
    low, high = law.slope_interval
    # Of deviations -0.05, 0, 0.05 at each of three n: t (0.975, 7 degrees) = 2.3646.
    log_n = np.log(law.n_train)
    error = np.sqrt(6 * 0.05**2 / 7 / np.sum((log_n - log_n.mean()) ** 2))
    assert (high - low) / 2 == pytest.approx(2.3646 * error, rel=1e-4)
    assert np.median(law.products[100]) == pytest.approx(1.3)
    near, slope = best_beta.law_rows(law)
    assert slope.holds is (exponent == -1.0)
    assert near.holds is (exponent == -1.0)


@pytest.mark.parametrize(("ours", "holds"), [(1.19, True), (1.21, False), (0.79, False), (0.81, True)])
def test_medians_hold_within_a_fifth_or_within_the_published_spread(ours, holds):
    tight = np.array([1.0, 1.0, 1.0])
    found = {0.1: np.full(3, ours)}
    assert beta.agreement_row({0.1: tight}, found, "paper's dt").holds is holds
    wide = np.array([0.5, 1.0, 1.5])
    assert beta.agreement_row({0.1: wide}, found, "paper's dt").holds


@pytest.mark.parametrize(("best", "holds"), [(0.01, True), (0.1, False)])
def test_the_best_beta_must_be_near_one_over_the_samples(best, holds):
    losses = {value: np.full(3, 1.0 if value == best else 2.0) for value in (0.001, 0.01, 0.1)}
    assert beta.best_row(losses, losses, 100, "paper's dt").holds is holds


# Depth against time


@pytest.mark.parametrize(
    ("time", "dt", "steps"), [(0.5, 0.01, 100), (5, 0.005, 1000), (25, 0.01, 2000), (50, 0.005, 10_000)]
)
def test_times_are_whole_epochs_of_a_thousand_steps(time, dt, steps):
    assert depth_time.steps_of(time, dt) == steps


def test_depth_rows_hold_only_near_the_published_losses():
    known = PUBLISHED["depth_by_time"]["test_loss"]["1H"]
    ours = np.array(known)
    assert depth_time.reproduced_row("1H", known, ours).holds
    assert not depth_time.reproduced_row("1H", known, ours * [1, 1, 1, 1, 1, 1, 1.02]).holds
    assert depth_time.within_row("3H", known, ours * np.array([[1.1], [1.15]])).holds
    assert not depth_time.within_row("3H", known, ours * np.array([[1.25], [1.3]])).holds


def test_each_further_layer_must_be_slower():
    known = PUBLISHED["depth_by_time"]
    order = {"1H": 1.0, "2H": 2.0, "3H": 3.0}
    losses = {depth: np.full((3, len(known["T"])), loss) for depth, loss in order.items()}
    assert depth_time.depth_row(known, losses).holds
    assert not depth_time.depth_row(known, losses | {"3H": losses["2H"]}).holds


# Pinned discord


def test_the_reference_network_has_its_discord_and_another_has_not(monkeypatch):
    assert pinned_discord.golden_row().holds
    network = pinned_discord.golden_network()
    W1, W2 = network.weights
    moved = Network((W1, 1.0001 * W2), network.biases, network.output)
    monkeypatch.setattr(pinned_discord, "golden_network", lambda: moved)
    assert not pinned_discord.golden_row().holds


def diagnosis(scale):
    """Three samples whose discord on each edge is scale x (1, 2, 3)."""
    columns = {f"discord_{name}": scale * np.array([1.0, 2.0, 3.0]) for name in pinned_discord.EDGES.values()}
    return SimpleNamespace(samples=pd.DataFrame(columns))


@pytest.mark.parametrize(("scale", "holds"), [(1.0, True), (1.019, True), (1.021, False)])
def test_edges_hold_within_two_percent_in_mean_and_deviation(scale, holds):
    known = {edge: [2.0, 1.0] for edge in pinned_discord.EDGES} | {"total": 6.0}
    rows = list(pinned_discord.agreement_rows(diagnosis(scale), known))
    assert [row.holds for row in rows] == [holds] * 4


@pytest.mark.parametrize(("scale", "holds"), [(1.0, True), (0.99, True), (1.0001, False), (0.97, False)])
def test_an_equilibrium_must_be_just_below_a_flow_that_has_not_converged(scale, holds):
    assert pinned_discord.minimum_row(diagnosis(scale), {"total": 6.0}).holds is holds


# Spectrum and stages


def course(condition, gap, largest):
    return pd.DataFrame({"condition_median": condition, "gap_median": gap, "largest_median": largest})


def test_both_ends_of_the_spectrum_must_move():
    def holds(*columns):
        return [row.holds for row in spectral_evolution.growth_rows("sheaf", [2, 30, 1], course(*columns))]

    assert holds([10, 99, 40], [0.2, 0.1, 0.1], [2, 3, 4]) == [True, True]
    assert holds([10, 99, 9], [0.2, 0.1, 0.3], [2, 3, 4]) == [False, False]
    assert holds([10, 99, 40], [0.2, 0.1, 0.1], [2, 3, 1]) == [True, False]


def logged(values, stalks="random"):
    """A run with one edge, its discord logged at steps 0, 100, 500 and 1,000."""
    table = pd.DataFrame({"step": [0, 100, 500, 1000], "edge": "affine_1", "discord": values})
    config = SimpleNamespace(training=SimpleNamespace(stalks=stalks))
    return SimpleNamespace(name="some", config=config, table=lambda name: table)


def test_stages_are_the_start_a_tenth_and_the_end():
    table = discord_stages.stage_table(logged([8.0, 4.0, 2.0, 1.0]))
    assert table.to_dict("index") == {"affine_1": {"start": 8.0, "10%": 4.0, "end": 1.0}}


def test_a_stage_that_was_not_measured_is_refused():
    run = logged([8.0, 4.0, 2.0, 1.0])
    short = run.table("discord.csv").query("step != 100")
    run.table = lambda name: short
    with pytest.raises(ValueError, match="no discord was measured at step 100"):
        discord_stages.stage_table(run)


@pytest.mark.parametrize("stalks", ["random", "forward"])
@pytest.mark.parametrize(("end", "holds"), [(1.0, True), (9.0, False)])
def test_discord_must_fall(stalks, end, holds):
    run = logged([8.0, 4.0, 2.0, end], stalks)
    assert discord_stages.falling_row(run, discord_stages.stage_table(run)).holds is holds
