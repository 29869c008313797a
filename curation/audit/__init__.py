"""How much cleaning missed: planted defects, samples reviewed by people, and findings of peers."""
