"""A small OpenAI-compatible server in a thread: says what it is told to, and remembers what it was asked."""

from __future__ import annotations

import json
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


def completion(text="so 4 .", length=4, reason="stop"):
    return {"choices": [{"text": text, "finish_reason": reason}], "usage": {"completion_tokens": length}}


def chat(message, length=4, reason="stop"):
    return {"choices": [{"message": message, "finish_reason": reason}], "usage": {"completion_tokens": length}}


class FakeServer(ThreadingHTTPServer):
    """`answer(path, body, number)` gives what is sent back: a payload, or (status, payload, headers).

    Text is sent as it is, anything else as JSON; None closes the connection without a word.
    """

    daemon_threads = True
    request_queue_size = 256

    def __init__(self):
        super().__init__(("127.0.0.1", 0), _Handler)
        self.models = [{"id": "tiny", "owned_by": "someone"}]
        self.answer = lambda path, body, number: completion()
        self.bodies = []
        self.headers = []
        self.under_way = self.peak = self.dropped = 0
        self.lock = threading.Lock()
        self.url = f"http://127.0.0.1:{self.server_address[1]}/v1"

    def handle_error(self, request, client_address):
        """A client that went away, as one does after Ctrl-C."""
        self.dropped += 1


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        if self.path == "/v1/models":
            models = self.server.models
            self._send(*models) if isinstance(models, tuple) else self._send(200, {"data": models}, {})
        elif self.path == "/version":
            self._send(200, {"version": "9.9"}, {})
        else:
            self._send(404, {"detail": "Not Found"}, {})

    def do_POST(self):
        server = self.server
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        with server.lock:
            number = len(server.bodies)
            server.bodies.append((self.path, body))
            server.headers.append(dict(self.headers))
            server.under_way += 1
            server.peak = max(server.peak, server.under_way)
        try:
            answer = server.answer(self.path, body, number)
        finally:
            with server.lock:
                server.under_way -= 1
        if answer is None:
            self.close_connection = True
        else:
            self._send(*answer) if isinstance(answer, tuple) else self._send(200, answer, {})

    def _send(self, status, payload, headers):
        text = payload if isinstance(payload, str) else json.dumps(payload)
        self.send_response(status)
        for name, value in {"Content-Type": "application/json", **headers}.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(text.encode())))
        self.end_headers()
        self.wfile.write(text.encode())

    def log_message(self, *args):
        pass


@contextmanager
def fake_server():
    server = FakeServer()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
