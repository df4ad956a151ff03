"""Old name of ``dcf.client.async_client``: code written for 0.1 imports it. Removed after 0.2."""

from dcf.client.async_client import AsyncClient

__all__ = ["AsyncClient"]
