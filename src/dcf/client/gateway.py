"""Old name of ``dcf.client.client``: code written for 0.1 imports it. Removed after 0.2."""

from dcf.client.client import TIMEOUT, Client

__all__ = ["TIMEOUT", "Client"]
