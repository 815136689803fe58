"""Connections to the members of etcd: chooses the member, bounds the time, classifies failures.

Each member's channel is an ``etcd3.Endpoint``, and the stubs are those of ``etcd3.etcdrpc``. The package's
``MultiEndpointEtcd3Client`` is not used: it authenticates once and with one member only, judges time by the wall clock,
has no deadline on streams, and cannot tell a request that was never sent from one that was not answered.

Three rules:

* A request that must not be sent twice (``ONCE``) goes only to a member that has answered before on this connection;
  any other member is asked for its status first. Therefore "cannot connect" is known to have changed nothing. It must
  also have the history that this client's watches have read (``check_history``): nothing is written to another store.
* A repeatable request that fails is repeated at the next member.
* An expired token is renewed and the request sent again: etcd refuses a bad token before it acts.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Any
from urllib.parse import urlsplit

import etcd3
import grpc
from etcd3 import etcdrpc as rpc

from ..ports import FateUnknown, StoreDenied, StoreError, StoreUnavailable
from .kv import AnotherStore, Compacted, LeaseGone

_LOOPBACK = ("127.0.0.1", "localhost", "::1")
_MAX_TOKENS_PER_CALL = 2
_BUDGET_FACTOR = 2.0  # a repeatable call may take this many time-outs in total

#: Keep-alive pings detect a connection that drops packets. etcd treats pings more often than every 5 s, or without a
#: request in flight, as abuse. With a subchannel pool of its own no client shares the back-off of another.
_CHANNEL_OPTIONS = (
    ("grpc.keepalive_time_ms", 6000),
    ("grpc.keepalive_timeout_ms", 3000),
    ("grpc.keepalive_permit_without_calls", 0),
    ("grpc.http2.max_pings_without_data", 0),
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 1500),  # effectively the time limit of one attempt to connect
    ("grpc.max_reconnect_backoff_ms", 1000),
    ("grpc.max_receive_message_length", -1),
    ("grpc.max_send_message_length", -1),
    ("grpc.use_local_subchannel_pool", 1),
    ("grpc.enable_http_proxy", 0),
)


class Safety(Enum):
    """Treatment of a request without an answer."""

    READ = "read"  # ask again; it changes nothing
    REPEATABLE = "repeatable"  # send again; idempotent
    ONCE = "once"  # report an unknown fate


class _Failure(Enum):
    NOT_DONE = "not done"  # never sent, or refused before it took effect
    UNKNOWN = "unknown"
    TOKEN = "token"
    FINAL = "final"


@dataclass
class Member:
    """One endpoint with its stubs. ``proven``: it has the history that was read, and nothing has failed since."""

    name: str
    endpoint: Any
    kv: Any = field(init=False)
    lease: Any = field(init=False)
    watch: Any = field(init=False)
    auth: Any = field(init=False)
    maintenance: Any = field(init=False)
    proven: bool = False

    def __post_init__(self) -> None:
        channel = self.endpoint.channel
        self.kv = rpc.KVStub(channel)
        self.lease = rpc.LeaseStub(channel)
        self.watch = rpc.WatchStub(channel)
        self.auth = rpc.AuthStub(channel)
        self.maintenance = rpc.MaintenanceStub(channel)


Method = Callable[[Member], Callable[..., Any]]
Metadata = tuple[tuple[str, str], ...]


class Connection:
    """All members of one cluster. Nothing is connected until the first call. Safe to use from several threads.

    ``endpoints``: ``host:port``, ``http://host:port`` or ``https://host:port``. ``timeout_s`` bounds each attempt; a
    call as a whole takes at most twice that. Raises ``ValueError`` for malformed or contradictory settings.
    """

    def __init__(
        self,
        endpoints: Sequence[str],
        *,
        user: str | None = None,
        password: str | None = None,
        ca_cert: str | None = None,
        cert: str | None = None,
        key: str | None = None,
        timeout_s: float = 2.0,
    ) -> None:
        if timeout_s <= 0:
            raise ValueError(f"timeout_s must be above 0, got {timeout_s:g}")
        if (user is None) != (password is None):
            raise ValueError("user and password must be given together")
        if (cert is None) != (key is None):
            raise ValueError("cert and key must be given together")
        self.timeout_s = timeout_s
        self._user, self._password = user, password
        self._token = ""
        self._lock = threading.Lock()
        self._auth_lock = threading.Lock()
        self._current = 0
        self.check_history: Callable[[Callable[[Any], Any]], None] = lambda ask: None
        addresses = [_parse(endpoint) for endpoint in ([endpoints] if isinstance(endpoints, str) else endpoints)]
        if not addresses:
            raise ValueError("no etcd endpoint is given")
        _check_security(addresses, user, ca_cert or cert)
        credentials = None
        if any(secure for _, _, secure in addresses):
            credentials = _credentials(ca_cert, cert, key)
        self.members = [
            Member(f"{host}:{port}", etcd3.Endpoint(host, port, secure, credentials, opts=list(_CHANNEL_OPTIONS)))
            for host, port, secure in addresses
        ]

    @property
    def names(self) -> str:
        """The endpoints, as text."""
        return ", ".join(member.name for member in self.members)

    def current(self) -> Member:
        """Return the current member."""
        with self._lock:
            return self.members[self._current]

    def failed(self, member: Member) -> None:
        """Switch to the next member, with a new token, because ``member`` failed.

        A token names a log index, and etcd waits for that index before it checks the token. After a restore from a
        backup the index is far ahead, and every call with the old token would time out.
        """
        member.proven = False
        self._token = ""
        with self._lock:
            if self.members[self._current] is member:
                self._current = (self._current + 1) % len(self.members)

    def call(self, method: Method, request: Any, safety: Safety) -> Any:
        """Send ``request`` by ``method(member)`` and return the answer.

        Raises :class:`StoreUnavailable` (nothing was changed), :class:`FateUnknown` (not for ``READ``),
        :class:`StoreDenied`, :class:`Compacted`, :class:`LeaseGone`, or plain :class:`StoreError` if etcd calls the
        request malformed.
        """
        deadline = time.monotonic() + _BUDGET_FACTOR * self.timeout_s
        attempts = max(2, len(self.members))
        tokens = uncertain = 0
        reason = "no time left"
        while attempts and (remaining_s := deadline - time.monotonic()) > 0:
            member = self.current()
            token = self._token
            try:
                timeout_s = min(self.timeout_s, remaining_s)
                if safety is Safety.ONCE and not member.proven:
                    self._prove(member, timeout_s)
                    timeout_s = min(self.timeout_s, max(deadline - time.monotonic(), 0.001))
                answer = method(member)(request, timeout=timeout_s, metadata=self.metadata())
            except _NotProven as error:
                reason = str(error)
            except grpc.RpcError as error:
                failure, reason = self._judge(error)
                if failure is _Failure.TOKEN and self._user is not None and tokens < _MAX_TOKENS_PER_CALL:
                    tokens += 1
                    self.renew_token(token)
                    continue
                if failure in (_Failure.TOKEN, _Failure.FINAL):
                    raise StoreDenied(reason) from error
                if failure is _Failure.UNKNOWN and safety is not Safety.READ:
                    uncertain += 1
                    if safety is Safety.ONCE:
                        self.failed(member)
                        break
            except ValueError as error:  # gRPC raises it for a closed channel
                raise StoreUnavailable(f"the connection to etcd ({self.names}) is closed") from error
            else:
                return answer  # an answer proves nothing: another store answers, too
            self.failed(member)
            attempts -= 1
        text = f"etcd at {self.names}: {reason}"
        raise FateUnknown(text) if uncertain else StoreUnavailable(text)

    def metadata(self) -> Metadata:
        """Return call metadata with the token; fetch the first one."""
        if self._user is None:
            return ()
        token = self._token
        if not token:
            self.renew_token("")
            token = self._token
        return (("token", token),)

    def renew_token(self, used: str | None = None) -> None:
        """Authenticate, unless another thread has already replaced the token ``used`` (``None``: always)."""
        if self._user is None:
            return
        with self._auth_lock:
            if used is not None and self._token != used:
                return
            request = rpc.AuthenticateRequest(name=self._user, password=self._password)
            reason = ""
            for _ in range(max(2, len(self.members))):
                member = self.current()
                try:
                    self._token = member.auth.Authenticate(request, timeout=self.timeout_s).token
                    return
                except grpc.RpcError as error:
                    failure, reason = self._judge(error)
                    if failure in (_Failure.TOKEN, _Failure.FINAL):
                        raise StoreDenied(f"etcd refuses user {self._user!r}: {reason}") from error
                    self.failed(member)
            raise StoreUnavailable(f"etcd at {self.names}: {reason}")

    def close(self) -> None:
        """Close all channels. Calls in flight fail."""
        for member in self.members:
            member.endpoint.close()

    def _prove(self, member: Member, timeout_s: float) -> None:
        """Query status and history of ``member``. Raises :class:`_NotProven` if it does not answer, has no leader or
        another history."""
        try:
            status = member.maintenance.Status(rpc.StatusRequest(), timeout=timeout_s, metadata=self.metadata())
        except grpc.RpcError as error:
            failure, reason = self._judge(error)
            if failure is _Failure.TOKEN or failure is _Failure.FINAL:
                return  # it answers, and will refuse the actual request as well
            raise _NotProven(reason) from error
        if not status.leader:
            raise _NotProven(f"{member.name} has no leader: no quorum")

        def ask(request: Any) -> Any:
            try:
                return member.kv.Range(request, timeout=timeout_s, metadata=self.metadata())
            except grpc.RpcError as error:
                raise _NotProven(self._judge(error)[1]) from error

        try:
            self.check_history(ask)
        except StoreError as error:
            raise _NotProven(str(error)) from error
        member.proven = True

    def _judge(self, error: grpc.RpcError) -> tuple[_Failure, str]:
        """Classify a failed call. Raises errors that concern the request, not the connection."""
        code, text = error.code(), error.details() or ""
        reason = f"{code.name.lower().replace('_', ' ')}: {text}"
        if code is grpc.StatusCode.OUT_OF_RANGE and "compacted" in text:
            raise Compacted(0) from error
        if code is grpc.StatusCode.OUT_OF_RANGE and "future" in text:
            raise AnotherStore("its history ends before a revision that was read") from error
        if code is grpc.StatusCode.NOT_FOUND and "lease" in text:
            raise LeaseGone(text) from error
        if code is grpc.StatusCode.UNAUTHENTICATED or "revision of auth store is old" in text:
            return _Failure.TOKEN, reason
        if "user name is empty" in text:
            return _Failure.TOKEN, "etcd requires a user and password"
        if code is grpc.StatusCode.PERMISSION_DENIED or "authentication" in text:
            return _Failure.FINAL, reason
        if code is grpc.StatusCode.UNIMPLEMENTED:
            return _Failure.NOT_DONE, f"the answer is not etcd's ({text})"
        if code is grpc.StatusCode.RESOURCE_EXHAUSTED:
            return _Failure.NOT_DONE, reason
        if code in (grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.FAILED_PRECONDITION):
            raise StoreError(f"etcd at {self.names} refused the request: {reason}") from error
        if code is grpc.StatusCode.UNAVAILABLE and any(sign in text for sign in _NEVER_SENT):
            return _Failure.NOT_DONE, reason
        return _Failure.UNKNOWN, reason


#: Phrases of gRPC and etcd for a request that was never sent, or was refused before it took effect.
_NEVER_SENT = ("failed to connect to all addresses", "DNS resolution failed", "etcdserver: no leader")


class _NotProven(Exception):
    """The member did not answer. Nothing that could change the store was sent to it."""


def _parse(endpoint: str) -> tuple[str, int, bool]:
    """Return ``(host, port, secure)`` of an endpoint. Raises ``ValueError`` with an example."""
    wrong = ValueError(f"etcd endpoint {endpoint!r} is not host:port, http://host:port or https://host:port")
    if not isinstance(endpoint, str):
        raise wrong
    parts = urlsplit(endpoint if "://" in endpoint else f"http://{endpoint}")
    try:
        port = parts.port
    except ValueError:
        raise wrong from None
    extra = parts.path.strip("/") or parts.query or parts.fragment or parts.username
    if parts.scheme not in ("http", "https") or not parts.hostname or not port or extra or " " in endpoint:
        raise wrong
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    return host, port, parts.scheme == "https"


def _check_security(addresses: Sequence[tuple[str, int, bool]], user: str | None, tls_file: str | None) -> None:
    plain = [f"{host}:{port}" for host, port, secure in addresses if not secure]
    if tls_file and plain:
        raise ValueError(f"with certificates every endpoint must be https, got {', '.join(plain)}")
    abroad = [f"{host}:{port}" for host, port, secure in addresses if not secure and host.strip("[]") not in _LOOPBACK]
    if user is not None and abroad:
        raise ValueError(f"the password would cross the network unencrypted: use https for {', '.join(abroad)}")


def _credentials(ca_cert: str | None, cert: str | None, key: str | None) -> grpc.ChannelCredentials:
    if ca_cert is None:
        return grpc.ssl_channel_credentials()
    try:
        return etcd3.MultiEndpointEtcd3Client.get_secure_creds(ca_cert, key, cert)
    except OSError as error:
        raise ValueError(f"certificate file {error.filename} cannot be read: {error.strerror}") from error
