"""What only plain chains can do yet, refused for other networks in words."""

from __future__ import annotations

from sheafcli.core.chain.network import Network
from sheafcli.core.network import AnyNetwork, plain_chain
from sheafcli.errors import InputError


def chain_for(network: AnyNetwork, what: str) -> Network:
    """Return a network that is a plain chain as it is; InputError says that `what` needs one."""
    try:
        return plain_chain(network, what)
    except ValueError as error:
        raise InputError(str(error)) from None
