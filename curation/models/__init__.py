"""Models on versions of the manifest: runs, evaluation and comparison."""
