"""From a function's folder to something that runs: lock, environment, bundle.

Here: the content-addressed store and all that fills and frees it. Not here: config.yaml, and
starting what was built.
"""
