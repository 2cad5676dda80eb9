"""Training of plain chains on packed arrays, which the methods of `sheafcli.core.training` take for them."""
