"""Client of a single watcher. Not here: anything that starts or stops one."""
