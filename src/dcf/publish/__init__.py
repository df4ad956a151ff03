"""Makes a function ready for a deploy.

This room does not make environments, which the machine that runs the function does, and does not
talk to a gateway (``dcf.client``).
"""
