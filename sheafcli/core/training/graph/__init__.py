"""What training works on for any feed-forward network: the walks of `sheafcli.core.sweep`."""
