"""What listens for us, in one process on the host: the hidden SFU listener, the STT stand-in and the captions app."""
