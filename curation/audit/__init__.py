"""How much did cleaning miss: planted defects found blind, samples that people review, and what peers say."""
