"""The simulated phone: a process of its own (``python -m harness.phone``) that behaves as the real app does."""
