"""A listener on the loopback: who calls it has followed an address that was hidden in a file."""

import contextlib
import selectors
import socket
import threading


class Listener:
    """A TCP and a UDP socket on one port. `calls` has what was sent by each that called."""

    def __init__(self):
        self.calls = []
        self._tcp = socket.create_server(("127.0.0.1", 0))
        self.port = self._tcp.getsockname()[1]
        self._udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._udp.bind(("127.0.0.1", self.port))
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._listen)
        self._thread.start()

    def _listen(self):
        with selectors.DefaultSelector() as selector:
            for one in (self._tcp, self._udp):
                selector.register(one, selectors.EVENT_READ)
            while not self._over.is_set():
                for key, _ in selector.select(0.05):
                    self.calls.append(self._answer() if key.fileobj is self._tcp else self._udp.recv(500))

    def _answer(self):
        connection, _ = self._tcp.accept()
        with connection, contextlib.suppress(OSError):
            connection.settimeout(1)
            return connection.recv(500)
        return b""

    def close(self):
        self._over.set()
        self._thread.join()
        self._tcp.close()
        self._udp.close()
