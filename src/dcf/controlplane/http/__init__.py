"""The control plane's HTTP interface."""
