"""A function's folder as the author sees it: config.yaml, templates, names.

Here: text to function spec, with every fault located. Not here: building or running.
"""
