"""Sweeps: against combinations counted by hand, and each run against its configuration loaded on its own."""

import itertools
import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from sheafcli.config import Sweep, dump_config, load_config, load_sweep
from sheafcli.config.document import parse, write_value
from sheafcli.errors import InputError

BASE = """\
name: the base
seed: 5
task: {kind: paraboloid, n_train: 20, n_test: 10}
network: {hidden: [4]}
training: {steps: 60, dt: 0.02, log_every: 20}
"""
INLINE = """\
base:
  task: {kind: paraboloid}
  network: {hidden: [4]}
"""
"""Three lines, so that what a test appends starts on line 4."""


@pytest.fixture
def sweep_of(tmp_path):
    """Load the text of a sweep, in a folder with base.yaml, as sweeps/many.yaml."""
    (tmp_path / "base.yaml").write_text(BASE.replace("name: the base\n", ""))
    (tmp_path / "sweeps").mkdir()

    def sweep_of(text: str, *overrides: str) -> Sweep:
        path = tmp_path / "sweeps" / "many.yaml"
        path.write_text(text)
        return load_sweep(path, overrides)

    return sweep_of


@pytest.fixture
def problems_of(sweep_of, tmp_path):
    """Return the lines of the error of a sweep or of its runs, without the folder."""

    def problems_of(text: str, *overrides: str) -> list[str]:
        with pytest.raises(InputError) as caught:
            sweep_of(text, *overrides).runs()
        return str(caught.value).replace(f"{tmp_path}/sweeps/", "").replace(f"{tmp_path}/", "").splitlines()

    return problems_of


# What a good file means ---------------------------------------------------------------------


def test_runs_are_all_combinations_the_last_changing_fastest(sweep_of):
    sweep = sweep_of("""\
base: ../base.yaml
cross:
  training.beta: [0.001, 0.01]
  task.n_train: {from: 20, to: 40, count: 3}
zip:
  network.hidden: [[3], [4, 5]]
  training.dt: [0.1, 0.2]
seeds: [7, 3]
""")
    runs = sweep.runs()
    by_hand = [
        {"training.beta": beta, "task.n_train": n, "network.hidden": hidden, "training.dt": dt, "seed": seed}
        for beta in (0.001, 0.01)
        for n in (20, 30, 40)
        for hidden, dt in (([3], 0.1), ([4, 5], 0.2))
        for seed in (7, 3)
    ]
    assert [run.parameters for run in runs] == by_hand
    assert sweep.count == len(runs) == 24
    assert sweep.keys == tuple(by_hand[0])
    assert [run.number for run in runs] == [f"{i:03d}" for i in range(1, 25)]
    assert [run.config.name for run in runs] == [f"many-{i:03d}" for i in range(1, 25)]
    for run, own in zip(runs, by_hand, strict=True):
        config = run.config
        assert (config.training.beta, config.task.n_train) == (own["training.beta"], own["task.n_train"])
        assert (list(config.network.hidden), config.training.dt) == (
            own["network.hidden"],
            own["training.dt"],
        )
        assert (config.seed, config.training.steps) == (own["seed"], 60)


VALUES = {
    "seed": st.integers(0, 9),
    "training.beta": st.floats(1e-4, 1.0) | st.just("auto"),
    "training.alpha": st.floats(0.1, 2.0),
    "task.n_train": st.integers(1, 50),
    "network.hidden": st.lists(st.integers(1, 9), max_size=3),
    "network.output": st.sampled_from([None, "identity"]),
    "diagnostics.spectrum": st.booleans(),
    "training": st.sampled_from([{"method": "backprop", "epochs": 3}, {"steps": 7, "dt": 0.5}]),
    "baseline": st.sampled_from([None, {}, {"epochs": 9, "stop_when": {"seconds": 2.5}}]),
}


@st.composite
def axes(draw):
    """Draw what is crossed, what is zipped and seeds: keys with values, none inside of another."""
    inside = draw(st.booleans())
    dropped = {"training"} if inside else {"training.beta", "training.alpha"}
    keys = draw(
        st.lists(st.sampled_from(sorted(VALUES.keys() - dropped)), min_size=1, unique=True, max_size=5)
    )
    cut = draw(st.integers(0, len(keys)))
    length = draw(st.integers(1, 3))
    crossed = {
        key: draw(st.lists(VALUES[key], min_size=1, max_size=3, unique_by=write_value)) for key in keys[:cut]
    }
    zipped = {key: draw(st.lists(VALUES[key], min_size=length, max_size=length)) for key in keys[cut:]}
    assume(not zipped or len(set(map(write_value, zip(*zipped.values(), strict=True)))) == length)
    distinct = st.lists(st.integers(0, 9), min_size=1, max_size=3, unique=True)
    seeds = draw(st.none() | st.integers(1, 3) | distinct)
    return crossed, zipped, None if "seed" in keys else seeds


@settings(max_examples=50)
@given(axes())
def test_every_run_is_the_base_with_its_parameters_set(tmp_path_factory, drawn):
    crossed, zipped, seeds = drawn
    folder = tmp_path_factory.mktemp("sweep")
    (folder / "base.yaml").write_text(BASE.replace("the base", "base"))
    sections = {"cross": crossed, "zip": zipped, "seeds": seeds}
    given_ = {name: section for name, section in sections.items() if section}
    text = "".join(f"{name}: {write_value(section)}\n" for name, section in given_.items())
    (folder / "drawn.yaml").write_text(f"base: base.yaml\n{text}")
    sweep = load_sweep(folder / "drawn.yaml")
    runs = sweep.runs()

    lists = [[{key: value} for value in values] for key, values in crossed.items()]
    if zipped:
        rows = zip(*zipped.values(), strict=True)
        lists.append([dict(zip(zipped, row, strict=True)) for row in rows])
    if seeds is not None:
        lists.append([{"seed": s} for s in (range(seeds) if isinstance(seeds, int) else seeds)])
    combinations = list(itertools.product(*lists))
    assert sweep.count == len(runs) == len(combinations)
    for run, parts in zip(runs, combinations, strict=True):
        own = {key: value for part in parts for key, value in part.items()}
        assert run.parameters == own
        overrides = [f"{key}={write_value(value)}" for key, value in own.items()]
        alone = load_config(folder / "base.yaml", [*overrides, f"name={run.config.name}"])
        assert dump_config(run.config) == dump_config(alone)


def test_a_base_in_the_file_itself_a_name_and_a_number_of_seeds(sweep_of):
    runs = sweep_of(f"name: ours\n{INLINE}seeds: 3\n").runs()
    assert [run.config.seed for run in runs] == [0, 1, 2]
    assert [run.config.name for run in runs] == ["ours-001", "ours-002", "ours-003"]


def test_a_thousand_runs_have_numbers_of_one_length(sweep_of):
    runs = sweep_of(INLINE + "seeds: 1000\n").runs()
    assert [run.number for run in runs] == [f"{i:04d}" for i in range(1, 1001)]


def test_a_range_gives_its_values(sweep_of):
    text = "base: ../base.yaml\ncross: {training.beta: {from: 1.0e-5, to: 0.1, count: 11, scale: log}}\n"
    found = [run.config.training.beta for run in sweep_of(text).runs()]
    assert found == np.geomspace(1e-5, 0.1, 11).tolist()


def test_paths_are_relative_to_the_file_that_gives_them(tmp_path, sweep_of, monkeypatch):
    for folder in ("", "sweeps", "sweeps/here", "elsewhere"):
        (tmp_path / folder).mkdir(exist_ok=True)
        (tmp_path / folder / "start.npz").touch()
        (tmp_path / folder / "data.csv").touch()
    base = "task: {kind: csv, path: data.csv, target: y}\nnetwork: {hidden: [4], start: start.npz}\n"
    (tmp_path / "of_files.yaml").write_text(base)
    (tmp_path / "elsewhere").mkdir(exist_ok=True)
    monkeypatch.chdir(tmp_path / "elsewhere")

    def starts(text: str, *overrides: str) -> list[object]:
        return [run.config.network.start for run in sweep_of(text, *overrides).runs()]

    file = "base: ../of_files.yaml\n"
    assert starts(file + "seeds: 1\n") == [tmp_path / "start.npz"]
    varied = file + "zip: {network.start: [he, start.npz, here/start.npz]}\n"
    assert starts(varied) == ["he", tmp_path / "sweeps/start.npz", tmp_path / "sweeps/here/start.npz"]
    assert starts(varied, "network.start=start.npz") == [tmp_path / "elsewhere/start.npz"]
    section = file + "cross: {network: [{hidden: [3], start: here/start.npz}]}\n"
    assert starts(section) == [tmp_path / "sweeps/here/start.npz"]
    assert starts(section, "network.start=start.npz") == [tmp_path / "elsewhere/start.npz"]
    inline = "base: {task: {kind: csv, path: ../data.csv, target: y}, network: {hidden: []}}\n"
    assert [run.config.task.path for run in sweep_of(inline + "seeds: 1\n").runs()] == [tmp_path / "data.csv"]
    # What is shown is what was given; where the file lies is in the configuration.
    assert [run.parameters["network.start"] for run in sweep_of(varied).runs()][1:] == [
        "start.npz",
        "here/start.npz",
    ]


VARIED = """\
base: ../base.yaml
cross:
  training.beta: [0.001, 0.01]
zip:
  network.hidden: [[3], [4]]
  training.dt: [0.1, 0.2]
seeds: [1, 2]
"""


class TestOverrides:
    """Keys set in every run."""

    def test_a_key_that_does_not_vary(self, sweep_of):
        runs = sweep_of(VARIED, "training.steps=9").runs()
        assert len(runs) == 8
        assert {run.config.training.steps for run in runs} == {9}
        assert [run.parameters for run in runs] == [run.parameters for run in sweep_of(VARIED).runs()]

    def test_a_varied_key_does_not_vary_any_more(self, sweep_of):
        sweep = sweep_of(VARIED, "training.beta=0.5", "seed=9")
        runs = sweep.runs()
        assert sweep.keys == ("network.hidden", "training.dt")
        assert [(r.config.training.beta, r.config.seed, r.config.training.dt) for r in runs] == [
            (0.5, 9, 0.1),
            (0.5, 9, 0.2),
        ]

    def test_of_what_is_zipped_the_others_vary_still(self, sweep_of):
        sweep = sweep_of(VARIED, "training.dt=0.3")
        assert sweep.keys == ("training.beta", "network.hidden", "seed")
        assert {(r.config.network.hidden, r.config.training.dt) for r in sweep.runs()} == {
            ((3,), 0.3),
            ((4,), 0.3),
        }

    def test_a_key_inside_of_a_section_that_varies(self, sweep_of):
        text = "base: ../base.yaml\ncross: {training: [{dt: 0.1, steps: 5}, {method: backprop, epochs: 3}]}\n"
        sweep = sweep_of(text, "training.log_every=2", "training.steps=4")
        first, _ = sweep_of(text, "training.log_every=2").runs()
        assert sweep.keys == ("training",)
        assert (first.config.training.dt, first.config.training.log_every) == (0.1, 2)
        # The second has epochs already.
        with pytest.raises(InputError, match="give one of the two"):
            sweep.runs()

    def test_all_that_varied_leaves_one_run(self, sweep_of):
        sweep = sweep_of("base: ../base.yaml\nseeds: 3\n", "seed=8")
        (run,) = sweep.runs()
        assert (sweep.count, run.number, run.parameters, run.config.seed) == (1, "001", {}, 8)

    @pytest.mark.parametrize(
        ("override", "words"),
        [
            ("training.betta=1", "--set training.betta=1: training.betta: unknown key; did you mean beta?"),
            ("seed=-1", "--set seed=-1: seed: given -1; must be"),
            ("training.beta", "--set training.beta: must be KEY=VALUE"),
            ("name=x", "--set name=x: a sweep names its runs; choose its directory with --output"),
            ("task.path=no.csv", "--set task.path=no.csv: task.path: "),
        ],
    )
    def test_a_wrong_one_is_named(self, problems_of, override, words):
        assert problems_of(VARIED, override)[0].startswith(words)


def test_equal_texts_are_equal_sweeps_and_what_runs_derive_from_changes_them(sweep_of, tmp_path):
    text = sweep_of(VARIED).text
    assert sweep_of("# the same\n" + VARIED).text == text
    assert parse(text).problems == []
    others = [
        VARIED.replace("0.001", "0.002"),
        VARIED.replace("[1, 2]", "2"),
        VARIED.replace("training.beta", "training.alpha"),
        "name: other\n" + VARIED,
    ]
    assert all(sweep_of(other).text != text for other in others)
    assert sweep_of(VARIED, "training.steps=9").text != text
    (tmp_path / "base.yaml").write_text(BASE.replace("[4]", "[5]"))
    assert sweep_of(VARIED).text != text


def test_a_sweep_of_far_too_many_runs_is_counted_without_making_them(sweep_of):
    sweep = sweep_of(INLINE + "cross: {training.beta: {from: 1, to: 2, count: 10000}}\nseeds: 10000\n")
    assert sweep.count == 10**8


# What is refused ----------------------------------------------------------------------------

REFUSED = [
    ("seeds: 3\n", "many.yaml:1: base: missing"),
    (INLINE, "many.yaml:1: nothing varies; give cross, zip, seeds or folds"),
    ("base: nowhere.yaml\nseeds: 1\n", "many.yaml:1: base: no file"),
    ('base: "no\\0where.yaml"\nseeds: 1\n', "many.yaml:1: base: no file"),
    ("base: 5\nseeds: 1\n", "many.yaml:1: base: given 5; must be the path of a configuration"),
    ("base: null\nseeds: 1\n", "many.yaml:1: base: given null; must be the path"),
    (INLINE + "seeds: 1\nseed: 3\n", "many.yaml:5: seed: unknown key; did you mean seeds?"),
    (INLINE + "seeds: 3\nfoo: 1\n", "many.yaml:5: foo: unknown key; known here: name, base, cross"),
    (INLINE + "seeds: 3\nseeds: 4\n", "many.yaml:5: seeds: given twice, first on line 4"),
    (INLINE + "seeds: 3\nname: a/b\n", "many.yaml:5: name: given a/b; must be text of at most 90"),
    (INLINE + f"seeds: 3\nname: {'x' * 91}\n", "many.yaml:5: name: given xxx"),
    (INLINE + "seeds: 0\n", "many.yaml:4: seeds: given 0; must be a list of seeds, or how many"),
    (INLINE + "seeds: 100001\n", "many.yaml:4: seeds: given 100001; must be"),
    (INLINE + "seeds: []\n", "many.yaml:4: seeds: given []; must be"),
    (INLINE + "seeds: true\n", "many.yaml:4: seeds: given true; must be"),
    (INLINE + "seeds: 1.5\n", "many.yaml:4: seeds: given 1.5; must be"),
    (INLINE + "seeds: [1,\n  -2]\n", "many.yaml:5: seed: given -2; must be an integer from 0"),
    (INLINE + "cross: 3\n", "many.yaml:4: cross: given 3; must be keys with values"),
    (INLINE + "cross: {}\n", "many.yaml:4: cross: given {}; must be keys with values"),
    (INLINE + "zip: [1, 2]\n", "many.yaml:4: zip: given [1, 2]; must be keys with values"),
    (INLINE + "cross:\n  seed: 3\n", "many.yaml:5: cross.seed: given 3; must be a list of values"),
    (INLINE + "cross:\n  seed: []\n", "many.yaml:5: cross.seed: given []; must be a list of values"),
    (INLINE + "cross:\n  seed:\n    from: 1\n", "many.yaml:6: cross.seed: to must be a number"),
    (INLINE + "cross:\n  name: [a, b]\n", "many.yaml:5: cross.name: a sweep names its runs; leave it out"),
    (INLINE + "cross:\n  training..dt: [1]\n", "many.yaml:5: cross.training..dt: must be a key"),
    (
        INLINE + "cross:\n  training.betta: [1, 2]\n",
        "many.yaml:5: training.betta: unknown key; did you mean beta?",
    ),
    (INLINE + "zip:\n  trainin.beta: [1, 2]\n", "many.yaml:5: trainin: unknown key; did you mean training?"),
    (INLINE + "cross:\n  training.dt: [0.1,\n    -1]\n", "many.yaml:6: training.dt: given -1; must be"),
    (
        INLINE + "cross:\n  seed: {from: -1, to: 1, count: 3}\n",
        "many.yaml:5: seed: given -1; must be an integer",
    ),
    (INLINE + "cross:\n  task.kind.x: [1]\n", "many.yaml:5: task.kind.x: task.kind is not a section"),
    (INLINE + "cross:\n  network.start:\n    - no.npz\n", "many.yaml:6: network.start: no file"),
    (
        INLINE + "zip:\n  seed: [1, 2]\n  training.dt: [0.1, 0.2, 0.3]\n",
        "many.yaml:6: zip.training.dt: has 3 values, and seed has 2; "
        "what is zipped must have as many values each",
    ),
    (
        INLINE + "cross:\n  seed: [1]\nseeds: 2\n",
        "many.yaml:5: cross.seed: varies twice; keep one of the two",
    ),
    (
        INLINE + "cross:\n  training.dt: [1]\nzip:\n  training.dt: [2]\n",
        "many.yaml:7: zip.training.dt: varies twice; keep one of the two",
    ),
    (
        INLINE + "cross:\n  training: [{dt: 1}]\nzip:\n  training.dt: [2]\n",
        "many.yaml:7: zip.training.dt: varies inside of training, which varies too; keep one of the two",
    ),
    ("", "many.yaml:1: is empty; a sweep gives `base`, and what varies"),
    ("base: [\n", "many.yaml:2: not YAML"),
]


@pytest.mark.parametrize(("text", "words"), REFUSED, ids=[words for _, words in REFUSED])
def test_what_is_wrong_is_named_with_its_line(problems_of, text, words):
    (line,) = problems_of(text)
    assert line.startswith(words)


@pytest.mark.parametrize(
    ("base", "words"),
    [
        (BASE.replace("seed", "sede"), "base.yaml:2: sede: unknown key; did you mean seed?"),
        (BASE.replace("60", "-60"), "base.yaml:5: training.steps: given -60; must be"),
        (
            BASE.replace("kind: paraboloid", "kind: csv, path: no.csv, target: y"),
            "base.yaml:3: task.path: no",
        ),
        (BASE + "seed: 6\n", "base.yaml:6: seed: given twice, first on line 2"),
        ("- 1\n", "base.yaml:1: given - 1; must be keys with values"),
        ("a: [\n", "base.yaml:2: not YAML"),
        ("", "base.yaml:1: is empty; a configuration gives"),
    ],
)
def test_what_is_wrong_in_the_base_is_named_with_its_file_and_line(problems_of, tmp_path, base, words):
    problems_of("base: 1\n")  # makes the folder
    (tmp_path / "base.yaml").write_text(base)
    lines = problems_of("base: ../base.yaml\ncross:\n  training.beta: [0.1, 0.2]\nseeds: 5\n")
    assert [line for line in lines if line.replace("sweeps/../", "").replace("../", "").startswith(words)]
    assert len(lines) == len(set(lines)), "each thing once, however many runs have it"


@pytest.mark.parametrize(
    ("varied", "words"),
    [
        (
            "cross:\n  training.beta: [1e-3, 0.01,\n    0.001]\n",
            "many.yaml:6: training.beta: given 0.001; the same value as 1e-3 on line 5: each run",
        ),
        (
            "cross: {training.dt: [1, 2, 1.0]}\n",
            "many.yaml:4: training.dt: given 1.0; the same value as 1 on",
        ),
        ("seeds: [3,\n  3]\n", "many.yaml:5: seed: given 3; it stands there before on line 4: each run"),
        ("seeds: [10, 1_0]\n", "many.yaml:4: seed: given 1_0; the same value as 10 on line 4"),
        ("cross: {seed: [0, -0]}\n", "many.yaml:4: seed: given -0; the same value as 0 on line 4"),
        (
            "cross: {task.n_train: {from: 5, to: 5, count: 3}}\n",
            "many.yaml:4: task.n_train: given 5; it stands",
        ),
        (
            "cross:\n  training: [{method: heat, dt: 1},\n    {steps: 100000, dt: 1.0}]\n",
            "many.yaml:6: training: given {steps: 100000, dt: 1.0}; the same value as {method: heat, dt: 1}",
        ),
        (
            "zip:\n  training.dt: [1, 2, 1.0]\n  training.alpha: [3, 3,\n    3]\n",
            "many.yaml:5: training.dt: given 1.0; the same value as 1 on line 5",
        ),
        (
            "cross: {training.dt: [1, 1.0, 2], task.n_train: [5, 6, 7]}\nseeds: 4\n",
            "many.yaml:4: training.dt: given 1.0; the same value as 1 on line 4",
        ),
    ],
)
def test_a_value_given_twice_is_one_problem(problems_of, varied, words):
    (line,) = problems_of(INLINE + varied)
    assert line.startswith(words)
    assert line.endswith("each run of a sweep is done once, keep one of the two")


def test_values_that_are_told_apart_are_no_repetition(sweep_of):
    zipped = "zip: {training.dt: [1, 1, 2], training.alpha: [3, 4, 3]}\n"
    assert len(sweep_of(INLINE + zipped).runs()) == 3
    # The nearest double to 0.1 and its neighbour are two values.
    assert len(sweep_of(INLINE + "cross: {training.dt: [0.1, 0.10000000000000002]}\n").runs()) == 2


def test_values_that_an_override_makes_the_same(problems_of):
    varied = "cross: {training: [{dt: 0.1}, {dt: 0.2}]}\n"
    (line,) = problems_of(INLINE + varied, "training.dt=0.3")
    assert line.startswith("many.yaml:4: training: given {dt: 0.2}; the same value as {dt: 0.1} on line 4")


def test_all_that_is_wrong_is_listed_in_the_order_of_the_file(problems_of):
    lines = problems_of("""\
base: 3
seeds: 0
cross:
  name: [1]
""")
    assert [line.split(":")[1] for line in lines] == ["1", "2", "4"]


def test_a_base_that_lacks_a_file_may_vary_it(sweep_of, problems_of, tmp_path):
    (tmp_path / "sweeps" / "there.csv").touch()
    text = INLINE.replace("kind: paraboloid", "kind: csv, path: no.csv, target: y")
    (run,) = sweep_of(text + "cross: {task.path: [there.csv]}\n").runs()
    assert run.config.task.path == tmp_path / "sweeps/there.csv"
    (line,) = problems_of(text + "seeds: 2\n")
    assert line.startswith("many.yaml:2: task.path: no file")


def test_a_file_that_is_none(tmp_path):
    with pytest.raises(InputError, match="cannot be read: No such file or directory"):
        load_sweep(tmp_path / "none.yaml")
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(InputError, match="is not a regular file"):
        load_sweep(tmp_path / "pipe")


def test_the_folder_of_a_sweep_may_be_left(tmp_path, sweep_of, monkeypatch):
    sweep_of(VARIED)
    monkeypatch.chdir(tmp_path / "sweeps")
    assert [run.config.seed for run in load_sweep(Path("many.yaml")).runs()] == [1, 2] * 4


def test_a_sweep_is_no_configuration(tmp_path):
    path = tmp_path / "sweep.yaml"
    path.write_text(INLINE + "seeds: 3\n")
    with pytest.raises(InputError, match="this is a sweep, not a configuration; `sheaf sweep`"):
        load_config(path)


# Folds --------------------------------------------------------------------------------------

FOLDED = """\
base:
  task: {kind: csv, path: t.csv, target: y}
  network: {hidden: [3]}
"""


@pytest.fixture
def table(sweep_of, tmp_path):
    (tmp_path / "sweeps" / "t.csv").write_text("x,y\n" + "".join(f"{i % 7},{i}.5\n" for i in range(23)))


def test_folds_test_on_every_row_once_for_every_seed_and_value(sweep_of, table):
    sweep = sweep_of(f"{FOLDED}cross: {{network.hidden: [[3], [4]]}}\nseeds: 2\nfolds: 5\n")
    runs = sweep.runs()
    assert len(runs) == 2 * 2 * 5
    assert sweep.keys == ("network.hidden", "seed", "task.fold")
    assert [run.parameters["task.fold"] for run in runs[:5]] == ["1/5", "2/5", "3/5", "4/5", "5/5"]
    for run in runs:
        assert run.config.task.fold == run.parameters["task.fold"]
    tested = []
    for run in runs[:5]:
        seed = np.random.SeedSequence(run.config.seed).spawn(3)[0]
        tested += run.config.task.load(seed, None).rows.test.tolist()
    assert sorted(tested) == list(range(2, 25))


def test_folds_are_repeats_of_what_is_drawn(sweep_of, table):
    text = f"{FOLDED}cross: {{training.beta: {{from: 0.1, to: 0.9}}}}\nfolds: 4\n"
    runs = sweep_of(f"{text}search: {{method: random, runs: 8}}\n").runs()
    assert [run.parameters["task.fold"] for run in runs] == ["1/4", "2/4", "3/4", "4/4"] * 2
    assert len({run.parameters["training.beta"] for run in runs}) == 2


@pytest.mark.parametrize("given", ["1", "five", "true", "1001", "2.5", "[1, 2]"])
def test_folds_that_make_no_sense(problems_of, table, given):
    (problem,) = problems_of(f"{FOLDED}folds: {given}\n")
    assert problem.startswith("many.yaml:4: folds: given ")
    assert problem.endswith("must be how many parts the rows are cut into, from 2 to 1,000")


def test_a_task_that_is_not_cut_has_no_folds(problems_of):
    assert any("fold" in problem for problem in problems_of(f"{INLINE}folds: 2\n"))
