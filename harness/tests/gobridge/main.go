// Command gobridge carries the PCM of LiveKit data packets to a cloud over gRPC. README.md says what it is for.
package main

import (
	"cmp"
	"context"
	"log/slog"
	"net"
	"os"
	"os/signal"
	"syscall"

	"github.com/go-logr/logr"
	lklogger "github.com/livekit/protocol/logger"
	lksdk "github.com/livekit/server-sdk-go/v2"
	"google.golang.org/grpc"
	"google.golang.org/grpc/health"
	"google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/reflection"

	pb "aftershock.test/gobridge/bridgepb"
)

func main() {
	handler := slog.NewJSONHandler(os.Stderr, nil)
	slog.SetDefault(slog.New(handler))
	lksdk.SetLogger(lklogger.LogRLogger(logr.FromSlogHandler(handler)))
	if err := serve(); err != nil {
		slog.Error("bridge failed", "error", err)
		os.Exit(1)
	}
}

func serve() error {
	address := net.JoinHostPort(cmp.Or(os.Getenv("BIND_ADDRESS"), "0.0.0.0"), cmp.Or(os.Getenv("PORT"), "9090"))
	listener, err := net.Listen("tcp", address)
	if err != nil {
		return err
	}
	server := grpc.NewServer(grpc.MaxRecvMsgSize(10<<20), grpc.MaxSendMsgSize(10<<20))
	pb.RegisterLiveKitBridgeServer(server, &bridge{
		refuseExisting: os.Getenv("REFUSE_EXISTING") == "1",
		sessions:       make(map[string]*session),
	})
	healthy := health.NewServer()
	healthy.SetServingStatus(pb.LiveKitBridge_ServiceDesc.ServiceName, grpc_health_v1.HealthCheckResponse_SERVING)
	grpc_health_v1.RegisterHealthServer(server, healthy)
	reflection.Register(server)

	asked, cancel := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer cancel()
	context.AfterFunc(asked, server.GracefulStop) // which waits for every open stream
	slog.Info("LiveKit gRPC Bridge listening on TCP port: "+address, "livekit", os.Getenv("LIVEKIT_URL"))
	return server.Serve(listener)
}
