"""The receiving machine: what is accepted, in which order, and what is answered."""
