"""The watcher's HTTP server, WebSocket included."""
