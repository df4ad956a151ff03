"""A function's folder as the author sees it: config.yaml, templates, names.

Here: parsing config.yaml to function specs, with the place of every problem. Not here: building or
running.
"""
