"""What an author imports: Request, Reply, secret, call. Not here: what serves or schedules."""
