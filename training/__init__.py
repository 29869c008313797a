"""Fit and evaluate expression models on frames of (path, label, split, weight)."""
