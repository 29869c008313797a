"""Pages and figures made from tables; computes no statistics of its own."""
