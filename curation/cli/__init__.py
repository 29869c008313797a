"""The ``curate`` command: one module per family of verbs; what it prints, completes and shows as examples."""
