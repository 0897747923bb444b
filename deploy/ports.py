"""Ports: whether one can be listened at."""

import socket


def is_free(host: str, port: int) -> bool:
    """Whether a server could listen at a port now."""
    with socket.socket() as probe:
        # As servers do: a port whose last connections are only fading out is free.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return False
        return True
