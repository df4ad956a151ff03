"""The API for handlers: Request, Reply, secret, call. Not here: serving or scheduling."""
