"""Training methods: one trainer a file, one protocol (`sheafcli.core.training.protocol`)."""
