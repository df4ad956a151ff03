"""Pure decisions: reconciling, autoscaling, back-off, the state of a function."""
