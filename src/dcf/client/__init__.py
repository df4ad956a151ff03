"""Clients: of a gateway, sync and async, and of a single watcher.

Nothing in here starts or stops a gateway or a watcher. :mod:`dcf.client.async_client` has the
methods, :mod:`dcf.client.operations` the requests behind them. All code is written once, as
coroutines over a :class:`~dcf.client.network.Network`. The sync client runs these over a network
that blocks.
"""
