"""The proxy between a process and etcd: it passes, resets, withholds or delays data, and then recovers."""

from __future__ import annotations

import socket
import socketserver
import threading
import time
from collections.abc import Iterator
from urllib.parse import urlsplit

import pytest

from drone_orchestrator.cli.trial.tcp_proxy import Mode, TcpProxy

DEADLINE_S = 60.0
QUIET_S = 0.3


class _Echo(socketserver.BaseRequestHandler):
    def handle(self) -> None:
        while data := self.request.recv(4096):
            self.request.sendall(data)


class _Server(socketserver.ThreadingTCPServer):
    daemon_threads = True
    allow_reuse_address = True


@pytest.fixture
def target() -> Iterator[str]:
    """A server that echoes."""
    with _Server(("127.0.0.1", 0), _Echo) as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()


@pytest.fixture
def proxy() -> Iterator[TcpProxy]:
    with TcpProxy() as proxy:
        yield proxy


def dial(endpoint: str) -> socket.socket:
    parts = urlsplit(endpoint)
    sock = socket.create_connection((str(parts.hostname), int(parts.port or 0)), timeout=DEADLINE_S)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return sock


def ask(sock: socket.socket, text: bytes) -> bytes:
    sock.sendall(text)
    return sock.recv(4096)


def timed(sock: socket.socket) -> float:
    """Return the time (s) of a question and its answer."""
    began = time.monotonic()
    assert ask(sock, b"how long?") == b"how long?"
    return time.monotonic() - began


def is_silent(sock: socket.socket) -> bool:
    sock.settimeout(QUIET_S)
    try:
        sock.recv(1)
    except TimeoutError:
        return True
    finally:
        sock.settimeout(DEADLINE_S)
    return False


def is_reset(sock: socket.socket) -> bool:
    try:
        return sock.recv(1) == b""
    except ConnectionError:
        return True


def is_refused(endpoint: str) -> bool:
    """Return whether a new connection is reset, even while it is being opened."""
    try:
        sock = dial(endpoint)
    except ConnectionError:
        return True
    with sock:
        return is_reset(sock)


def test_an_undisturbed_connection_passes_data_both_ways(proxy: TcpProxy, target: str) -> None:
    [endpoint] = proxy.listen("gateway", [target])
    with dial(endpoint) as sock:
        assert ask(sock, b"one") == b"one"
        assert ask(sock, b"two") == b"two"


def test_refusing_resets_open_and_new_connections_until_it_ends(proxy: TcpProxy, target: str) -> None:
    [endpoint] = proxy.listen("gateway", [target])
    with dial(endpoint) as sock:
        assert ask(sock, b"before") == b"before"
        proxy.set("gateway", Mode.REFUSE)
        assert is_reset(sock)
    assert is_refused(endpoint)
    proxy.set("gateway", Mode.PASS)
    with dial(endpoint) as sock:
        assert ask(sock, b"after") == b"after"


def test_a_black_hole_keeps_connections_open_and_later_delivers_the_data(proxy: TcpProxy, target: str) -> None:
    [endpoint] = proxy.listen("gateway", [target])
    with dial(endpoint) as old:
        assert ask(old, b"before") == b"before"
        proxy.set("gateway", Mode.BLACKHOLE)
        old.sendall(b"into the hole")
        with dial(endpoint) as new:  # accepted, but not answered
            new.sendall(b"hello")
            assert is_silent(old) and is_silent(new)
            proxy.set("gateway", Mode.PASS)
            assert old.recv(4096) == b"into the hole"
            assert new.recv(4096) == b"hello"


def test_a_slow_connection_is_late_in_both_directions_and_loses_nothing(proxy: TcpProxy, target: str) -> None:
    [endpoint] = proxy.listen("gateway", [target])
    with dial(endpoint) as sock:
        assert ask(sock, b"quick") == b"quick"
        proxy.set("gateway", Mode.PASS, delay_s=0.15)
        assert min(timed(sock) for _ in range(3)) >= 0.3
        proxy.set("gateway", Mode.PASS)
        assert min(timed(sock) for _ in range(20)) < 0.3


def test_a_target_that_is_down_is_a_reset_connection_and_answers_again_when_it_is_back(proxy: TcpProxy) -> None:
    with socket.socket() as reserved:
        reserved.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        reserved.bind(("127.0.0.1", 0))
        port = reserved.getsockname()[1]
        [endpoint] = proxy.listen("gateway", [f"http://127.0.0.1:{port}"])
        assert is_refused(endpoint)
    with _Server(("127.0.0.1", port), _Echo) as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        with dial(endpoint) as sock:
            assert ask(sock, b"back") == b"back"
        server.shutdown()


def test_one_client_s_cut_is_not_another_s(proxy: TcpProxy, target: str) -> None:
    [cut] = proxy.listen("orchestrator_a", [target])
    first, second = proxy.listen("orchestrator_b", [target, target])
    proxy.set("orchestrator_a", Mode.REFUSE)
    for endpoint in (first, second):
        with dial(endpoint) as sock:
            assert ask(sock, b"fine") == b"fine"
    assert is_refused(cut)


def test_closing_the_proxy_closes_its_connections_even_those_in_a_black_hole(target: str) -> None:
    with TcpProxy() as proxy:
        [endpoint] = proxy.listen("gateway", [target])
        sock = dial(endpoint)
        assert ask(sock, b"before") == b"before"
        proxy.set("gateway", Mode.BLACKHOLE)
        sock.sendall(b"lost")
    with sock:
        assert is_reset(sock)
    with pytest.raises(ConnectionError):
        dial(endpoint)
