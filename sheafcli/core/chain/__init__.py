"""Plain chains of dense layers and ReLUs, the networks of Bosca & Ghrist: packed arrays, exact equilibria."""
