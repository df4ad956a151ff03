"""Old name of ``dcf.client.sync_stream``: code written for 0.1 imports it. Removed after 0.2."""

from dcf.client.sync_stream import OnError, Stream

__all__ = ["OnError", "Stream"]
