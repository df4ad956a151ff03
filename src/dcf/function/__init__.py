"""What an author imports: Request, Reply, secret. Not here: anything that serves or schedules."""
