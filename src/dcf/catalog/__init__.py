"""What is deployed: functions, revisions, keys and events, in SQLite."""
