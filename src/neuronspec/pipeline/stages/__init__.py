"""The stages of a run, a module each: `plan` says what it depends on, `execute` does the work."""
