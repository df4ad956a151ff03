"""What the gateway knows and decides.

Here: the catalog (the one file that must last), one turn of the loop that makes replicas what is
wanted, as a pure function, and what users are shown of a function's condition. Not here: starting
processes, the data plane's configuration, HTTP.
"""
