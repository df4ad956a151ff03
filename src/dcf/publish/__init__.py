"""From a folder to what a gateway can deploy.

Not here: making an environment, which is left to the machine that runs the function, and talking
with a gateway (``dcf.client``).
"""
