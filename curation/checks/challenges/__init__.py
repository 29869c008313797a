"""Challenges of face photographs: what is laid over them, what is before the face, and what is no person's face."""
