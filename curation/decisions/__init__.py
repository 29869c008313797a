"""From issues to decisions: policies, the append-only log, and its replay."""
