"""Benchmarks: each prints its figures as JSON and runs the peers in the same run. Never timed by a test."""
