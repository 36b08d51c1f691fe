"""The reference system: a small cloud and a small bridge that speak exactly what the real ones speak.

It imports nothing else of the harness, so a real cloud or a real bridge can take either place.
"""
