"""Pure decisions: reconciliation, automatic scaling, back-off, the state of a function."""
