"""Dumping a configuration: loading the text again gives an equal one, whatever it holds."""

import atexit
import shutil
import tempfile
from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from sheafcli.config import Config, dump_config, load_config
from sheafcli.config.document import write, write_value
from sheafcli.core.training.protocol import MOST_STEPS

FOLDER = Path(tempfile.mkdtemp(prefix="sheafcli-dump-")).resolve()
atexit.register(shutil.rmtree, FOLDER)
FILES = [FOLDER / "data.npz", FOLDER / "yes: no #1.npz", FOLDER / "é\u2028'.npz"]
for _file in FILES:
    _file.touch()

counts = st.integers(1, 10**12)
positive = st.floats(min_value=0, exclude_min=True, allow_infinity=False, allow_nan=False)
files = st.sampled_from(FILES)
# Text that YAML would rather take for a number, a truth value, a date or a merge key.
TRICKY = ["1e5", "0o7", "1_000", "no", "null", "~", "2020-01-01", "1:30", "=", "<<", "", " a", "#a"]
text = st.sampled_from(TRICKY) | st.text(st.characters(codec="utf-8"))
names = st.sampled_from(["1e5", "0o7", "1_000", "no", "null", "2020-01-01", "0x1F"]) | st.from_regex(
    r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,99}", fullmatch=True
)
columns = text | st.integers()
tasks = st.one_of(
    st.fixed_dictionaries(
        {"kind": st.sampled_from(["paraboloid", "saddle", "circular", "blobs"])},
        optional={"n_train": st.integers(1, 1000), "n_test": st.integers(1, 1000)},
    ),
    st.fixed_dictionaries(
        {"kind": st.just("csv"), "path": files, "target": columns | st.lists(columns, min_size=1)},
        optional={
            "features": st.none() | st.lists(columns, min_size=1),
            "test_fraction": st.floats(0.01, 0.99),
            "standardize": st.booleans(),
            "delimiter": st.sampled_from(["auto", "comma", "semicolon", "tab", "bar"]),
            "decimal": st.sampled_from(["auto", "point", "comma"]),
        },
    ),
    st.fixed_dictionaries({"kind": st.just("npz"), "path": files}),
)
networks = st.fixed_dictionaries(
    {"hidden": st.lists(st.integers(1, 65536), max_size=64)},
    optional={
        "output": st.sampled_from(["identity", "sigmoid", "softmax", None]),
        "start": st.just("he") | files,
    },
)


def merged(*parts: dict) -> dict:
    return {key: value for part in parts for key, value in part.items()}


def given_alone(**kinds: st.SearchStrategy) -> st.SearchStrategy[dict]:
    """Give at most one of several keys: none, or one of them."""
    return st.just({}) | st.one_of(st.fixed_dictionaries({key: kind}) for key, kind in kinds.items())


def ends(heat: dict) -> bool:
    """Say whether no restart cuts a step short, and so many steps as are allowed come to the end."""
    dt = heat.get("dt", "auto")
    return dt == "auto" or (heat.get("reset_time", dt) >= dt and heat.get("time", dt) / dt <= MOST_STEPS)


heats = st.builds(
    merged,
    given_alone(steps=counts, time=positive),
    given_alone(reset_every=counts, reset_time=positive),
    st.fixed_dictionaries(
        {},
        optional={
            "method": st.just("heat"),
            "dt": st.just("auto") | positive,
            "alpha": positive | st.integers(1, 9),
            "beta": st.just("auto") | positive,
            "stalks": st.sampled_from(["random", "zeros", "forward"]) | files,
            "log_every": counts,
        },
    ),
).filter(ends)
baselines = st.builds(
    merged,
    given_alone(steps=counts, epochs=counts),
    st.fixed_dictionaries(
        {},
        optional={
            "optimizer": st.sampled_from(["sgd", "momentum", "adam"]),
            "learning_rate": positive,
            "schedule": st.sampled_from(["constant", "linear", "cosine"]),
            "batch_size": st.none() | counts,
            "weight_decay": st.just(0) | positive,
            "stop_when": st.fixed_dictionaries(
                {}, optional={"train_loss": st.none() | positive, "seconds": st.none() | positive}
            ),
            "precision": st.sampled_from(["auto", "double", "single"]),
            "log_every": st.just("auto") | counts,
        },
    ).filter(lambda keys: keys.get("weight_decay", 0) * keys.get("learning_rate", 0.01) < 1),
)
backprops = st.builds(lambda keys: {"method": "backprop", **keys}, baselines)
equilibria = st.builds(
    lambda gamma, keys: {"method": "equilibrium", **gamma, **keys},
    st.fixed_dictionaries({}, optional={"gamma": positive}),
    baselines,
)


implicits = st.fixed_dictionaries(
    {"method": st.just("implicit")},
    optional={
        "steps": counts,
        "kappa": st.just(0) | positive,
        "weight_decay": st.just(0) | positive,
        "regularise": st.none() | st.just("evidence"),
        "log_every": counts,
    },
).filter(lambda keys: not (keys.get("regularise") and keys.get("weight_decay")))


def config(training: dict, multiple: int | None, **keys: object) -> Config:
    """Make a configuration that is diagnosed every so many rows of history, where they are steps apart."""
    log_every = training.get("log_every", 60 if training.get("method") == "implicit" else "auto")
    if log_every == "auto":
        log_every = None if training.get("batch_size") else 1000
    every = multiple * log_every if multiple and log_every else None
    return Config.model_validate(keys | {"training": training, "diagnostics": {"every": every}})


configs = st.builds(
    config,
    training=heats | equilibria | implicits | backprops,
    multiple=st.none() | st.integers(1, 9),
    name=names,
    seed=st.integers(0, 2**63 - 1),
    task=tasks,
    network=networks,
    baseline=st.none() | baselines,
)


@settings(max_examples=150, deadline=None)
@given(configs)
def test_loading_what_was_dumped_gives_an_equal_configuration(config):
    path = FOLDER / "elsewhere.yaml"
    path.write_bytes(dump_config(config).encode())
    assert load_config(path) == config


@settings(max_examples=50, deadline=None)
@given(configs)
def test_other_yaml_readers_see_the_same_values(config):
    theirs = yaml.safe_load(dump_config(config))
    assert theirs == config.model_dump(mode="json")


@pytest.mark.parametrize("text", ["\x85", "a\u2028b", " \u2029", "a\x85\n b"])
def test_what_breaks_lines_elsewhere_is_escaped(text):
    written = write({"target": text})
    assert yaml.safe_load(written) == {"target": text}
    assert yaml.safe_load(f"target: {write_value(text)}") == {"target": text}


def test_defaults_are_filled_in_and_read_from_the_top():
    config = Config.model_validate(
        {"name": "a", "task": {"kind": "blobs"}, "network": {"hidden": [3, 4]}, "baseline": {}}
    )
    assert dump_config(config) == (
        "name: a\n"
        "seed: 0\n"
        "task:\n"
        "  kind: blobs\n"
        "  n_train: 300\n"
        "  n_test: 100\n"
        "network:\n"
        "  hidden: [3, 4]\n"
        "  layers: null\n"
        "  input: null\n"
        "  output: null\n"
        "  start: he\n"
        "training:\n"
        "  method: heat\n"
        "  steps: 100000\n"
        "  time: null\n"
        "  dt: auto\n"
        "  alpha: 1.0\n"
        "  beta: auto\n"
        "  stalks: random\n"
        "  reset_every: null\n"
        "  reset_time: null\n"
        "  stop_when:\n"
        "    patience: null\n"
        "  log_every: 1000\n"
        "diagnostics:\n"
        "  every: null\n"
        "  spectrum: false\n"
        "baseline:\n"
        "  optimizer: sgd\n"
        "  learning_rate: 0.005\n"
        "  schedule: constant\n"
        "  epochs: 10000\n"
        "  steps: null\n"
        "  batch_size: null\n"
        "  weight_decay: 0.0\n"
        "  stop_when:\n"
        "    train_loss: null\n"
        "    seconds: null\n"
        "    patience: null\n"
        "  precision: auto\n"
        "  log_every: auto\n"
    )


@pytest.mark.parametrize("method", ["heat", "equilibrium", "implicit", "backprop"])
def test_a_section_says_first_what_it_is(method):
    config = Config.model_validate(
        {
            "name": "a",
            "task": {"kind": "digits"},
            "network": {"hidden": []},
            "training": {"method": method},
        }
    )
    assert "task:\n  kind: digits\n" in dump_config(config)
    assert f"training:\n  method: {method}\n" in dump_config(config)
