"""The public test kit: contract suites that every implementation of an interface must pass."""
