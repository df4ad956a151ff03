"""The catalog in SQLite: functions, revisions, API keys and events."""
