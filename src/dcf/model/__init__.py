"""The nouns of the project as frozen values.

Here: function spec, resources, artifact, replica states. Not here: anything that reads, writes,
waits or asks the clock.
"""
