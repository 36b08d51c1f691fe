package main

import (
	"log/slog"
	"sync"
	"time"

	lksdk "github.com/livekit/server-sdk-go/v2"

	pb "aftershock.test/gobridge/bridgepb"
)

// queueLength is how many packets wait for a stream; the newest are dropped when it is full.
const queueLength = 200

// session is one user's place in a room. It lasts until close, whatever becomes of the room.
type session struct {
	user, target string // only packets of target count, if it is not empty
	room         *lksdk.Room
	queue        chan []byte
	done         chan struct{}
	once         sync.Once

	mu               sync.Mutex
	disconnectedAt   int64 // milliseconds since 1970, 0 for never
	disconnectReason string
}

// join connects to the room that the token names. It does not subscribe to tracks.
func join(req *pb.JoinRoomRequest) (*session, error) {
	s := &session{user: req.GetUserId(), target: req.GetTargetIdentity()}
	s.queue, s.done = make(chan []byte, queueLength), make(chan struct{})
	callback := &lksdk.RoomCallback{OnDisconnectedWithReason: s.disconnected}
	callback.OnDataPacket = s.received
	var err error
	s.room, err = lksdk.ConnectToRoomWithToken(
		req.GetLivekitUrl(), req.GetToken(), callback, lksdk.WithAutoSubscribe(false),
	)
	return s, err
}

// received queues the PCM of a packet. An odd length means that a sequence number goes before the samples.
func (s *session) received(packet lksdk.DataPacket, params lksdk.DataReceiveParams) {
	data, ok := packet.(*lksdk.UserDataPacket)
	if !ok || (s.target != "" && params.SenderIdentity != s.target) {
		return
	}
	pcm := data.Payload
	if len(pcm)%2 == 1 {
		pcm = pcm[1:]
	}
	select {
	case s.queue <- pcm:
	default:
	}
}

func (s *session) disconnected(reason lksdk.DisconnectionReason) {
	s.mu.Lock()
	s.disconnectedAt, s.disconnectReason = time.Now().UnixMilli(), string(reason)
	s.mu.Unlock()
	slog.Info("Disconnected from LiveKit room: "+s.user, "reason", reason)
}

// participants is everybody in the room, the bridge included.
func (s *session) participants() int32 {
	return int32(len(s.room.GetRemoteParticipants())) + 1
}

// close leaves the room and ends the session's stream.
func (s *session) close(why string) {
	s.once.Do(func() {
		slog.Info("Closing room session for user "+s.user, "reason", why)
		close(s.done)
		s.room.Disconnect()
		slog.Info("Closed room session for user " + s.user)
	})
}
