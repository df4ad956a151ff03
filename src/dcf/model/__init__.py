"""The nouns of the project as frozen values.

Here: function spec, resources, artifact, replica states. Not here: anything that does I/O, waits or
reads the clock.
"""
