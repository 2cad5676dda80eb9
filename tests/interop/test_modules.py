"""Which network a state_dict is: PyTorch's modules are the oracle, and what may be another is refused."""

import numpy as np
import pytest
import torch
from model_files import refusal, samples
from safetensors.torch import save_file, save_model
from torch import nn
from torch.nn.utils import prune, spectral_norm
from torch_files import assert_chain, linear, saved, state

from sheafcli.errors import InputError
from sheafcli.interop.models import read_model

SQUARE = (4, 4, 4, 2)


def both(folder, content):
    """The same state_dict as PyTorch and as safetensors save it."""
    save_file(content, folder / "model.safetensors")
    return saved(folder / "model.pt", content), folder / "model.safetensors"


# The order of the layers -----------------------------------------------------------------------


@pytest.mark.parametrize(
    "names", [("layers__0", "layers__1", "layers__2"), ("m__0__0", "m__1__0", "m__2__0")]
)
def test_layers_side_by_side_have_relus_between_them_and_it_is_said(tmp_path, names):
    """Three Linear of an nn.ModuleList are no single linear map."""
    layers = linear(4, 6, 6, 2)
    for path in both(tmp_path, state(**dict(zip(names, layers, strict=True)))):
        model = assert_chain(path, layers)
        assert model.network.widths == (4, 6, 6, 2)
        assert any("ReLU is assumed" in note for note in model.notes)


def test_a_sequential_of_linear_layers_alone_has_relus_too(tmp_path):
    layers = linear(4, 6, 6, 2)
    [*_, note] = assert_chain(saved(tmp_path / "m.pt", nn.Sequential(*layers).state_dict()), layers).notes
    assert "0 and 1 stand side by side" in note


def test_layers_side_by_side_and_others_apart_are_refused(tmp_path):
    one, two, three = linear(4, 3, 5, 2)
    path = saved(tmp_path / "model.pt", nn.Sequential(one, two, nn.ReLU(), three).state_dict())
    assert "whether one is here is not in a state_dict; export the model" in refusal(path)


@pytest.mark.parametrize("order", [(1, 0, 2), (2, 1, 0), (0, 2, 1)])
def test_numbers_in_names_go_before_the_order_of_definition(tmp_path, order):
    layers = linear(*SQUARE)
    content = state(**{f"fc{i + 1}": layers[i] for i in order})
    for path in both(tmp_path, content):
        model = assert_chain(path, layers)
        assert model.notes[0].startswith("assumed network: 4 -> Linear fc1 -> ReLU -> Linear fc2 -> ReLU")
    assert any("not that of the file" in note for note in read_model(tmp_path / "model.pt").notes)


@pytest.mark.parametrize("names", ["{}", "layers.{}", "fc{}"])
def test_keys_sorted_as_text_are_sorted_as_numbers(tmp_path, names):
    layers = linear(*[4] * 13)
    content = {
        f"{names.format(2 * i)}.{key}": tensor
        for i, layer in enumerate(layers)
        for key, tensor in layer.state_dict().items()
    }
    for path in both(tmp_path, {key: content[key] for key in sorted(content)}):
        assert_chain(path, layers)


def test_named_layers_stand_as_defined_and_it_is_said_that_others_fit(tmp_path):
    layers = linear(*SQUARE)
    stem, middle, head = layers
    path = saved(tmp_path / "model.pt", state(stem=stem, middle=middle, head=head))
    notes = assert_chain(path, layers).notes
    assert any("others fit too, such as middle, stem, head" in note for note in notes)
    turned = assert_chain(path, [middle, stem, head], ["middle", "stem", "head"])
    assert not any("others fit" in note for note in turned.notes)


def test_the_only_order_that_fits_is_found(tmp_path):
    layers = linear(4, 6, 5, 2)
    stem, middle, head = layers
    for path in both(tmp_path, state(head=head, stem=stem, middle=middle)):
        assert any("only one order" in note for note in assert_chain(path, layers).notes)


def test_layers_of_which_no_order_fits_are_named(tmp_path):
    content = state(mean=nn.Linear(4, 3), spread=nn.Linear(4, 3))
    for path in both(tmp_path, content):
        assert "no order of its layers makes one chain: mean (4 -> 3), spread (4 -> 3)" in refusal(path)


def test_where_the_first_of_two_sequentials_ends_is_said(tmp_path):
    """An encoder and a decoder: a ReLU between the two is less sure than one within them."""
    layers = linear(4, 3, 2, 3, 4)
    encoder = nn.Sequential(layers[0], nn.ReLU(), layers[1])
    decoder = nn.Sequential(layers[2], nn.ReLU(), layers[3])
    path = saved(tmp_path / "model.pt", nn.ModuleDict({"encoder": encoder, "decoder": decoder}).state_dict())
    notes = assert_chain(path, layers).notes
    assert any("says that a ReLU stands between encoder.2 and decoder.0" in note for note in notes)
    longer = nn.Sequential(layers[0], nn.ReLU(), layers[1], nn.ReLU())
    path = saved(tmp_path / "model.pt", nn.ModuleDict({"encoder": longer, "decoder": decoder}).state_dict())
    assert not any("says that a ReLU stands" in note for note in read_model(path).notes)


def test_a_function_behind_the_last_layer_is_said(tmp_path):
    module = nn.Sequential(*linear(4, 3), nn.Softmax(dim=1))
    path = saved(tmp_path / "model.pt", module.state_dict())
    assert any("module 1 stands behind the last layer" in note for note in read_model(path).notes)


def test_batch_norms_of_several_sequentials_are_folded(tmp_path):
    torch.manual_seed(0)
    body = nn.Sequential(nn.Linear(4, 6), nn.BatchNorm1d(6), nn.ReLU(), nn.Linear(6, 5), nn.BatchNorm1d(5))
    module = nn.ModuleDict({"body": body, "head": nn.Linear(5, 2)})
    for norm in (body[1], body[4]):
        nn.init.normal_(norm.running_mean)
        nn.init.uniform_(norm.running_var, 0.5, 2.0)
        nn.init.normal_(norm.weight)
    module.eval()
    X = samples(4)
    with torch.no_grad():
        expected = module["head"](torch.relu(body(torch.from_numpy(X)))).numpy()
    model = read_model(saved(tmp_path / "model.pt", module.state_dict()))
    np.testing.assert_allclose(model.network.predict(X), expected, rtol=1e-5, atol=1e-5)


# The order that is asked for -------------------------------------------------------------------


def test_one_of_several_networks_is_chosen_by_its_name(tmp_path):
    layers, copy = linear(4, 8, 4), linear(4, 8, 4)
    nn.init.normal_(copy[0].weight)
    content = state(model__0=layers[0], model__2=layers[1], ema__0=copy[0], ema__2=copy[1])
    for path in both(tmp_path, content):
        assert "several networks, model, ema" in refusal(path).replace("ema, model", "model, ema")
        model = assert_chain(path, copy, ["ema"])
        assert "left out, as no part of the network: model.0, model.2" in model.notes
        assert_chain(path, layers, ["model.0", "model.2"])


def test_a_layer_that_is_called_twice_is_named_twice(tmp_path):
    one, two = linear(4, 4, 2)
    assert_chain(
        saved(tmp_path / "model.pt", state(body=one, head=two)), [one, one, two], ["body", "body", "head"]
    )


def test_a_name_that_is_none_is_answered_with_those_there_are(tmp_path):
    path = saved(tmp_path / "model.pt", state(body=nn.Linear(4, 4)))
    with pytest.raises(InputError, match="'bodi' is no module with weights; there are body"):
        read_model(path, order=["bodi"])
    np.savez(tmp_path / "model.npz", W1=np.ones((2, 2)))
    with pytest.raises(InputError, match="names modules of a state_dict, and a npz file is none"):
        read_model(tmp_path / "model.npz", order=["W1"])


@pytest.mark.parametrize(
    ("names", "words"),
    [
        (("model__0", "model__2", "teacher__0", "teacher__2"), "several networks, model, teacher"),
        (("net__fc__0", "net__fc__2", "net__target__0", "net__target__2"), "several networks"),
        (("student", "teacher"), "student is the name of a network of its own"),
        (("one__0", "one__2", "other__0", "other__2"), "layers of the same names and shapes"),
        (("actor__0", "actor__2", "critic__0", "critic__2"), "actor is the name of a network"),
        (("blocks__0__fc1", "blocks__0__fc2", "blocks__1__fc1", "blocks__1__fc2"), "residual network"),
        (("stem", "block__fc1", "block__fc2", "head"), "block is a block that gives as many values"),
        (("layer1__0", "layer1__2", "layer2__0", "layer2__2"), "layer1 is a block"),
        (("fc1", "shortcut", "fc2"), "'shortcut' is, by its name, a shortcut around other layers"),
        (("fc1", "downsample__0", "fc2"), "a shortcut around other layers"),
        (("fc1", "skip", "fc2"), "a shortcut around other layers"),
        (("attn__proj", "fc1"), "part of an attention layer"),
        (("self_attn__q_proj", "fc1"), "part of an attention layer"),
        (("trunk", "mu", "logvar"), "'logvar' is, by its name, one of two branches"),
        (("gate_proj", "up_proj", "down_proj"), "a gate, which multiplies"),
    ],
)
def test_names_of_what_is_no_row_of_layers_are_refused(tmp_path, names, words):
    """All layers are square, so that their shapes would chain."""
    for path in both(tmp_path, state(**{name: nn.Linear(4, 4) for name in names})):
        assert words in refusal(path).replace("teacher, student", "student, teacher")
    layers = [nn.Linear(4, 4) for _ in names]
    path = saved(tmp_path / "model.pt", state(**dict(zip(names, layers, strict=True))))
    assert_chain(path, layers, [name.replace("__", ".") for name in names])


def test_an_embedding_is_no_linear_layer_without_a_bias(tmp_path):
    path = saved(tmp_path / "model.pt", state(embedding=nn.Embedding(9, 4), fc=nn.Linear(4, 9)))
    assert "'embedding' is, by its name, an embedding" in refusal(path)
    layers = linear(4, 5, 2)
    assert_chain(saved(tmp_path / "model.pt", state(embed=layers[0], head=layers[1])), layers)


def test_the_same_weights_under_two_names_are_one_layer_or_two(tmp_path):
    one, two = linear(4, 4, 4)
    content = state(layers__0=one, layers__1=two, head=two)
    assert "layers.1 and head have the same weights" in refusal(saved(tmp_path / "model.pt", content))
    assert_chain(tmp_path / "model.pt", [one, two], ["layers"])


class Tied(nn.Module):
    def __init__(self, first, second):
        super().__init__()
        self.first, self.second = first, second


def test_tensors_that_a_safetensors_file_holds_once_are_given_back(tmp_path):
    """save_model keeps one copy of what is shared, and the other names in the metadata."""
    shared, last = linear(4, 4, 2)
    tied = linear(4, 4, 4, 2)
    tied[1].weight = tied[0].weight
    biased = linear(4, 4, 4, 2)
    biased[1].bias = biased[0].bias
    for layers in ([shared, shared, last], tied, biased):
        module = nn.Sequential(layers[0], nn.ReLU(), layers[1], nn.ReLU(), layers[2])
        save_model(module, str(tmp_path / "model.safetensors"))
        notes = assert_chain(tmp_path / "model.safetensors", layers).notes
        assert any("is not in the file: it is 0." in note for note in notes)
        assert_chain(saved(tmp_path / "model.pt", module.state_dict()), layers)


# Remedies --------------------------------------------------------------------------------------


def normed(layer):
    return nn.Sequential(layer, nn.ReLU(), nn.Linear(6, 2))


def pruned(parameter):
    module = normed(nn.Linear(4, 6))
    prune.l1_unstructured(module[0], parameter, 0.5)
    return module.state_dict()


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: normed(spectral_norm(nn.Linear(4, 6))).state_dict(), "utils.remove_spectral_norm(model[0])"),
        (
            lambda: normed(nn.utils.weight_norm(nn.Linear(4, 6))).state_dict(),
            "utils.remove_weight_norm(model[0])",
        ),
        (
            lambda: normed(nn.utils.parametrizations.spectral_norm(nn.Linear(4, 6))).state_dict(),
            'parametrize.remove_parametrizations(model[0], "weight")',
        ),
        (lambda: pruned("weight"), 'prune.remove(model[0], "weight")'),
        (lambda: pruned("bias"), 'prune.remove(model[0], "bias")'),
        (lambda: normed(nn.LazyLinear(6)).state_dict(), "uninitialised parameter"),
        (lambda: normed(nn.LazyBatchNorm1d()).state_dict(), "run the model once on a batch"),
        (
            lambda: torch.ao.quantization.quantize_dynamic(normed(nn.Linear(4, 6)), {nn.Linear}).state_dict(),
            "a quantised layer; save the network that it was made from",
        ),
        (lambda: {"fc.weight": torch.ones(2, 4), "fc.SCB": torch.ones(2)}, "a quantised layer"),
        (lambda: {"fc.qweight": torch.ones(2, 4), "fc.qzeros": torch.ones(2, 4)}, "a quantised layer"),
        (
            lambda: {"fc.lora_A.weight": torch.ones(2, 4), "fc.lora_B.weight": torch.ones(4, 2)},
            "merge_and_unload()",
        ),
        (lambda: {"Dense_0.kernel": torch.ones(4, 2)}, "Keras or Flax"),
    ],
)
def test_what_is_no_plain_layer_is_answered_with_what_to_do(tmp_path, make, words):
    assert words in refusal(saved(tmp_path / "model.pt", make()))


@pytest.mark.parametrize("name", ["tanh", "gelu1", "leaky_relu", "act_elu", "silu"])
def test_modules_without_parameters_may_name_another_activation(tmp_path, name):
    module = nn.ModuleDict({"fc1": nn.Linear(4, 3), name: nn.Module(), "fc2": nn.Linear(3, 2)})
    path = saved(tmp_path / "model.pt", module.state_dict())
    assert f"module {name!r} is, by its name, another activation than ReLU" in refusal(path)


# What wraps a network --------------------------------------------------------------------------


@pytest.mark.parametrize(
    "wrapped",
    [
        "module.{}",
        "module.module.{}",
        "_orig_mod.{}",
        "module._orig_mod.{}",
        "_fsdp_wrapped_module.{}",
        "net._orig_mod.{}",
    ],
)
def test_what_wraps_a_network_is_taken_off(tmp_path, wrapped):
    layers = linear(4, 6, 2)
    content = {wrapped.format(key): tensor for key, tensor in state(fc1=layers[0], fc2=layers[1]).items()}
    for path in both(tmp_path, content):
        assert "Linear" in assert_chain(path, layers).notes[0]
        assert "module" not in read_model(path).notes[0]


@pytest.mark.parametrize(
    "beside",
    [
        {"criterion.weight": torch.tensor([0.3, 0.7])},
        {"criterion.pos_weight": torch.tensor(3.2)},
        {"loss_fn.weight": torch.ones(2), "ce.weight": torch.ones(2)},
        {"class_weights": torch.ones(2)},
        {"n_averaged": torch.tensor(5)},
        {"global_step": torch.tensor(700)},
    ],
)
def test_what_belongs_to_the_loss_or_counts_is_left_out_aloud(tmp_path, beside):
    layers = linear(4, 6, 2)
    content = state(module__0=layers[0], module__2=layers[1]) | beside
    for path in both(tmp_path, content):
        [note] = [note for note in assert_chain(path, layers).notes if note.startswith("left out")]
        assert all(name in note for name in beside)


# Bounds ----------------------------------------------------------------------------------------


def test_a_state_dict_of_very_many_modules_is_refused(tmp_path):
    content = {f"{2 * i}.weight": torch.ones(1, 1) for i in range(1001)}
    for path in both(tmp_path, content):
        assert "it has 1,001 modules with weights, and at most 1,000 are read" in refusal(path)


def test_a_long_network_is_spelt_out_at_both_ends(tmp_path):
    layers = linear(*[3] * 101)
    path = saved(tmp_path / "model.pt", state(**{f"fc{i}": layer for i, layer in enumerate(layers)}))
    note = assert_chain(path, layers).notes[0]
    assert "-> Linear fc99 -> 3" in note
    assert len(note) < 400
