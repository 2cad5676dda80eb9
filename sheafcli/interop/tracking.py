"""A PyTorch module under training as a network, again and again, at the cost of a copy of its parameters."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sheafcli.core.graph import Graph
from sheafcli.core.network import AnyNetwork, network_of
from sheafcli.core.types import Shape
from sheafcli.errors import InputError
from sheafcli.interop.contents import library
from sheafcli.interop.live import exported
from sheafcli.interop.models import read_model


@dataclass(frozen=True)
class _Place:
    """Where an array of the network is in the state of the module, transposed or as it is."""

    key: str
    transposed: bool
    shape: Shape

    def read(self, state: Mapping[str, Any]) -> NDArray[Any]:
        tensor = _array(state[self.key])
        return (tensor.T if self.transposed else tensor).reshape(self.shape)


class Tracked:
    """A torch.nn.Module of which `network` gives the network, as it is at evaluation.

    The module is exported once, as a copy whose parameters are random numbers. Each array of the network that
    comes of it is then found again in the copy's state by its numbers, so that later networks need no export.
    Where an exporter has combined parameters, such as a convolution with its normalisation, they are not
    found: then every network is exported (`is_quick` is false).
    """

    def __init__(self, model: Any, example: Any, output: str | None = None):
        torch = library("torch", "torch", "following a module")
        if not isinstance(model, torch.nn.Module):
            raise InputError(f"a torch.nn.Module is followed, got {type(model).__name__}")
        self._model, self._example, self._asked = model, example, output
        network, self._places = _found(torch, model, example, output)
        self._structure, self.output = network.graph, network.output

    @property
    def is_quick(self) -> bool:
        """Whether a network costs no more than a copy of the parameters."""
        return self._places is not None

    def network(self) -> AnyNetwork:
        """Return the network of the module as it stands."""
        return network_of(self.graph(), self.output)

    def graph(self) -> Graph:
        """Return the graph of that network, which is found faster."""
        if self._places is None:
            with exported(self._model, self._example) as path:
                return read_model(path, self._asked).network.graph
        state = self._model.state_dict()
        return self._structure.with_parameters(
            {
                vertex: {field: place.read(state) for field, place in fields.items()}
                for vertex, fields in self._places.items()
            }
        )


def _found(
    torch: Any, model: Any, example: Any, output: str | None
) -> tuple[AnyNetwork, dict[str, dict[str, _Place]] | None]:
    """Return the network of a copy with random parameters, and where each of its arrays comes from."""
    probe = copy.deepcopy(model)
    draw = torch.Generator().manual_seed(0)  # the user's generator is left as it is
    with torch.no_grad():
        for tensor in probe.state_dict().values():
            if tensor.is_floating_point():
                # Positive, since variances are; float32 numbers are apart by chance.
                tensor.copy_(torch.rand(tensor.shape, generator=draw, dtype=torch.float32) + 0.5)
    with exported(probe, example) as path:
        network = read_model(path, output).network
    state = {key: _array(tensor) for key, tensor in probe.state_dict().items() if tensor.is_floating_point()}
    places: dict[str, dict[str, _Place]] = {}
    for vertex, fields in network.graph.parameters.items():
        for field, array in fields.items():
            place = _place(array, state)
            if place is None:
                return network, None
            places.setdefault(vertex, {})[field] = place
    return network, places


def _place(array: NDArray[Any], state: Mapping[str, NDArray[Any]]) -> _Place | None:
    for key, tensor in state.items():
        if tensor.size == array.size:
            for transposed in (False, True):
                if np.array_equal((tensor.T if transposed else tensor).reshape(array.shape), array):
                    return _Place(key, transposed, array.shape)
    return None


def _array(tensor: Any) -> NDArray[Any]:
    """Return a tensor as an array, which may share its memory."""
    array: NDArray[Any] = tensor.detach().cpu().float().numpy()
    return array
