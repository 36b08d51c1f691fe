"""The reference cloud: a small stand-in that speaks the real cloud's wire contract.

It behaves like the fixed system; each historical defect is one named switch.
Start it with `python -m harness.reference.cloud`.
"""
