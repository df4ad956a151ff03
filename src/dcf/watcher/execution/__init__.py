"""How the watcher loads a handler and runs it."""
