"""Inside the bridge's container: exit 0 when its gRPC health says SERVING."""

import os
import sys

import grpc

from harness.reference.proto import health_pb2

SERVICE = "mentra.livekit.bridge.LiveKitBridge"

with grpc.insecure_channel(f"127.0.0.1:{os.environ.get('PORT', '9090')}", [("grpc.enable_http_proxy", 0)]) as channel:
    check = channel.unary_unary(
        "/grpc.health.v1.Health/Check",
        request_serializer=health_pb2.HealthCheckRequest.SerializeToString,
        response_deserializer=health_pb2.HealthCheckResponse.FromString,
    )
    answer = check(health_pb2.HealthCheckRequest(service=SERVICE), timeout=4)
sys.exit(0 if answer.status == health_pb2.HealthCheckResponse.SERVING else 1)
