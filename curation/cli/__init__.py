"""The ``curate`` command: one module a family of verbs; what it prints, completes and shows as examples."""
