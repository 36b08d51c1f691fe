package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	pb "aftershock.test/gobridge/bridgepb"
)

// bridge holds at most one session per user. What it does not implement is playback.
type bridge struct {
	pb.UnimplementedLiveKitBridgeServer
	refuseExisting bool
	joining        sync.Map // user id to *sync.Mutex: joins of one user take turns

	mu       sync.Mutex
	sessions map[string]*session
}

func (b *bridge) find(user string) *session {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.sessions[user]
}

// remove closes a session and forgets it, unless the user has another one by now.
func (b *bridge) remove(s *session, why string) {
	s.close(why)
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.sessions[s.user] == s {
		delete(b.sessions, s.user)
	}
}

// JoinRoom replaces a session that the user has. It goes on when the caller gives up.
func (b *bridge) JoinRoom(_ context.Context, req *pb.JoinRoomRequest) (*pb.JoinRoomResponse, error) {
	user := req.GetUserId()
	slog.Info(fmt.Sprintf("JoinRoom request: userId=%s, room=%s", user, req.GetRoomName()))
	turn, _ := b.joining.LoadOrStore(user, &sync.Mutex{})
	turn.(*sync.Mutex).Lock()
	defer turn.(*sync.Mutex).Unlock()

	if old := b.find(user); old != nil {
		if b.refuseExisting {
			slog.Warn("Session already exists for user", "user_id", user)
			return &pb.JoinRoomResponse{Error: "session already exists for this user"}, nil
		}
		slog.Info("Replacing existing bridge session", "user_id", user)
		b.remove(old, "new_join_request")
	}
	s, err := join(req)
	if err != nil {
		slog.Error("JoinRoom failed", "error", err)
		return &pb.JoinRoomResponse{Error: fmt.Sprintf("failed to connect to room: %v", err)}, nil
	}
	b.mu.Lock()
	b.sessions[user] = s
	b.mu.Unlock()
	slog.Info("Successfully joined room: userId="+user, "room", s.room.Name())
	me := s.room.LocalParticipant.Identity()
	return &pb.JoinRoomResponse{Success: true, ParticipantId: me, ParticipantCount: s.participants()}, nil
}

func (b *bridge) LeaveRoom(_ context.Context, req *pb.LeaveRoomRequest) (*pb.LeaveRoomResponse, error) {
	slog.Info("LeaveRoom request: userId="+req.GetUserId(), "reason", req.GetReason())
	s := b.find(req.GetUserId())
	if s == nil {
		return &pb.LeaveRoomResponse{Error: "session not found"}, nil
	}
	b.remove(s, req.GetReason())
	return &pb.LeaveRoomResponse{Success: true}, nil
}

func (b *bridge) HealthCheck(context.Context, *pb.HealthCheckRequest) (*pb.HealthCheckResponse, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	serving, count := pb.HealthCheckResponse_SERVING, int32(len(b.sessions))
	return &pb.HealthCheckResponse{Status: serving, ActiveSessions: count, ActiveStreams: count}, nil
}

func (b *bridge) GetStatus(_ context.Context, req *pb.BridgeStatusRequest) (*pb.BridgeStatusResponse, error) {
	s := b.find(req.GetUserId())
	if s == nil {
		return &pb.BridgeStatusResponse{ServerVersion: "1.0.0"}, nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return &pb.BridgeStatusResponse{
		Connected:            s.disconnectedAt == 0,
		ParticipantId:        s.room.LocalParticipant.Identity(),
		ParticipantCount:     s.participants(),
		LastDisconnectAt:     s.disconnectedAt,
		LastDisconnectReason: s.disconnectReason,
		ServerVersion:        s.room.ServerInfo().GetVersion(),
	}, nil
}

// StreamAudio sends what the user says until the session ends, and then ends well. If the stream breaks, so does the
// session.
func (b *bridge) StreamAudio(stream pb.LiveKitBridge_StreamAudioServer) error {
	first, err := stream.Recv()
	user := first.GetUserId()
	if err != nil || user == "" {
		return status.Error(codes.InvalidArgument, "the first chunk must name the user")
	}
	s := b.find(user)
	if s == nil {
		return status.Errorf(codes.NotFound, "session not found for user %s", user)
	}
	slog.Info("StreamAudio started: userId=" + user)
	if err := forward(stream, s); err != nil {
		slog.Error("StreamAudio error for userId="+user, "error", err)
		b.remove(s, "stream_error")
		return status.Errorf(codes.Unknown, "audio stream: %v", err)
	}
	return nil
}

// forward returns nil when the session ended, and else what broke the stream.
func forward(stream pb.LiveKitBridge_StreamAudioServer, s *session) error {
	broken := make(chan error, 1)
	go func() {
		var err error
		for err == nil {
			_, err = stream.Recv() // what the cloud says is for playback
		}
		broken <- err
	}()
	for {
		select {
		case <-s.done:
			return nil
		case err := <-broken:
			if !errors.Is(err, io.EOF) { // else it only has nothing more to say
				return err
			}
		case <-stream.Context().Done():
			return stream.Context().Err()
		case pcm := <-s.queue:
			if err := send(stream, &pb.AudioChunk{PcmData: pcm, SampleRate: 16000, Channels: 1}); err != nil {
				return err
			}
		}
	}
}

// send gives up after a while: a cloud that does not read must not hold a session for ever.
func send(stream grpc.ServerStream, chunk *pb.AudioChunk) error {
	sent := make(chan error, 1)
	go func() { sent <- stream.SendMsg(chunk) }()
	select {
	case err := <-sent:
		return err
	case <-time.After(2 * time.Second):
		return errors.New("send timeout")
	}
}
