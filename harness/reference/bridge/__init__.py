"""The reference bridge: one gRPC server that sits in LiveKit rooms and hands what it hears to the cloud.

`python -m harness.reference.bridge` listens on PORT (or on the unix socket LIVEKIT_GRPC_SOCKET). It behaves as the real
bridge does after its fix, with known weaknesses mended; `harness/reference/defects.py` names what can be broken again.
"""
