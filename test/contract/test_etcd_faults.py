"""The traps of a real etcd: restarts, dead and silent connections, expired tokens, lost answers, compaction."""

from __future__ import annotations

import http.server
import socket
import threading
import time
import uuid
from types import SimpleNamespace

import pytest

from drone_orchestrator.bringup.etcd_process import EtcdProcess
from drone_orchestrator.core.changes import Fate
from drone_orchestrator.core.types import Kind
from drone_orchestrator.ports import FateUnknown, StoreDenied, StoreUnavailable
from drone_orchestrator.store import EtcdStore, watch
from drone_orchestrator.store.keys import range_end

pytestmark = pytest.mark.etcd

DEADLINE_S = 60.0
#: Each lost answer costs this much (s). A call that is answered takes less, even on a busy machine.
TIMEOUT_S = 1.5
#: A simple token that etcd never issued. (A restart alone may remember real ones: etcd replays the end of its log.)
FORGOTTEN = "kXlPzZzQwErTyUiO.1"
#: Its log index is in the future, as after a restore from a backup: etcd waits for the index instead of refusing it.
FROM_ANOTHER_HISTORY = "kXlPzZzQwErTyUiO.999999999"


@pytest.fixture
def own_etcd(etcd_binary):
    with EtcdProcess() as process:
        yield process


@pytest.fixture
def connect():
    """Make stores of one region that are closed at the end."""
    region = f"test-{uuid.uuid4().hex[:12]}"
    stores = []

    def make_store(*endpoints, **options):
        options = {"timeout_s": TIMEOUT_S, **options}
        store = EtcdStore(list(endpoints), region, **options)
        stores.append(store)
        return store

    yield make_store
    for store in stores:
        store.close()


@pytest.fixture
def proxy(etcd, make):
    proxy = make.proxy(int(etcd.endpoints[0].rpartition(":")[2]))
    yield proxy
    proxy.close()


# --- a member that goes away -----------------------------------------------------------------------------------------


def test_without_etcd_calls_fail_soon_and_a_watch_resumes_without_a_gap(own_etcd, connect, make):
    store = connect(*own_etcd.endpoints)
    epoch = store.campaign(make.leader(), 60.0)
    begin = store.snapshot().revision
    watching = make.watching(store, begin)
    watching.until(lambda w: w.health == [True])
    own_etcd.kill_member(0)
    watching.until(lambda w: w.health == [True, False])
    started = time.monotonic()
    results = store.commit(epoch, [make.accepting(make.order(), epoch, drone=f"d{i}") for i in range(100)])
    assert {result.fate for result in results} == {Fate.UNAVAILABLE}
    with pytest.raises(StoreUnavailable, match=own_etcd.endpoints[0].rpartition("/")[2]):
        store.submit(make.order())
    assert store.status()["reachable"] is False
    assert time.monotonic() - started < 10 * TIMEOUT_S
    _restart(make, own_etcd, 0)
    writer = connect(*own_etcd.endpoints)
    for _ in range(20):
        writer.submit(make.order())
    watching.until(lambda w: len(w.changes) == 20)
    assert watching.revisions == list(range(begin + 1, begin + 21))
    assert watching.health == [True, False, True]
    assert watching.snapshots == []


def test_the_first_call_after_a_members_death_succeeds(etcd_binary, connect, make):
    with EtcdProcess(members=3) as cluster:
        store = connect(*cluster.endpoints, timeout_s=3.0)
        epoch = store.campaign(make.leader(), 60.0)
        # The watch has a separate connection: otherwise it would lead the calls away from the dead member.
        watching = make.watching(connect(*cluster.endpoints), epoch)
        watching.until(lambda w: w.health)
        for call in ("commit", "submit", "snapshot"):
            current = store._driver._connection.current().name
            victim = next(i for i, e in enumerate(cluster.endpoints) if e.endswith(current))
            cluster.kill_member(victim)
            make.eventually(lambda: _has_leader(cluster, victim), "the others have elected a leader")  # noqa: B023
            if call == "commit":
                [result] = store.commit(epoch, [make.accepting(make.order(), epoch)])
                assert result.fate is Fate.SUCCEEDED
            elif call == "submit":
                assert store.submit(make.order()).created
            else:
                assert store.snapshot().entries
            _restart(make, cluster, victim)
        watching.until(lambda w: len(w.changes) == 2)
        assert watching.revisions == [epoch + 1, epoch + 2]


def _restart(make, etcd, index):
    """Start one member again, on its old data and ports, and wait until it answers."""
    etcd.kill_member(index)
    etcd.start_member(index)
    make.eventually(lambda: _has_quorum(etcd.endpoints[index]), "the member is back")


def _has_leader(cluster, victim):
    return _has_quorum(next(e for i, e in enumerate(cluster.endpoints) if i != victim))


def _has_quorum(endpoint):
    store = EtcdStore([endpoint], "probe")
    try:
        return store.status()["has_quorum"]
    finally:
        store.close()


# --- answers and requests that get lost ------------------------------------------------------------------------------


def test_a_commit_whose_answer_is_lost_is_found_to_have_succeeded(etcd, proxy, connect, make):
    store = connect(proxy.endpoint, etcd.endpoints[0])
    epoch = store.campaign(make.leader(), 60.0)
    changes = [make.accepting(make.order(), epoch) for _ in range(3)]
    proxy.answers.clear()
    results = store.commit(epoch, changes)
    assert [result.fate for result in results] == [Fate.SUCCEEDED] * 3
    saga = make.entry_of(store.snapshot(), Kind.SAGA, changes[0].saga.message_id)
    assert results[0].revision == saga.mod_revision


def test_the_fate_of_a_commit_whose_request_may_still_arrive_is_unknown(etcd, proxy, connect, make):
    store = connect(proxy.endpoint, etcd.endpoints[0])
    epoch = store.campaign(make.leader(), 60.0)
    proxy.requests.clear()
    first, second = ([make.accepting(make.order(), epoch)] for _ in range(2))
    assert store.commit(epoch, first)[0].fate is Fate.UNKNOWN
    proxy.requests.set()
    assert store.commit(epoch, second)[0].fate is Fate.SUCCEEDED, "calls must go to the other member now"


def test_a_lost_commit_is_certainly_fenced_once_another_replica_leads(etcd, proxy, connect, make):
    store, rival = connect(proxy.endpoint, etcd.endpoints[0]), connect(etcd.endpoints[0])
    epoch = store.campaign(make.leader("a"), 60.0)
    rival.campaign(make.leader("b"), 60.0, over_epoch=epoch)
    proxy.requests.clear()
    assert store.commit(epoch, [make.accepting(make.order(), epoch)])[0].fate is Fate.FENCED


def test_a_commit_that_was_never_sent_is_unavailable(etcd, proxy, connect, make):
    """A member that has not answered yet gets no transaction, so a dead host causes no unknown fate."""
    epoch = connect(etcd.endpoints[0]).campaign(make.leader(), 60.0)
    proxy.requests.clear()
    assert connect(proxy.endpoint).commit(epoch, [make.accepting(make.order(), epoch)])[0].fate is Fate.UNAVAILABLE
    store = connect(proxy.endpoint, etcd.endpoints[0])
    assert store.commit(epoch, [make.accepting(make.order(), epoch)])[0].fate is Fate.SUCCEEDED


def test_the_fate_of_a_commit_that_cannot_be_resolved_is_unknown(proxy, connect, make):
    store = connect(proxy.endpoint)
    epoch = store.campaign(make.leader(), 60.0)
    proxy.answers.clear()
    assert store.commit(epoch, [make.accepting(make.order(), epoch)])[0].fate is Fate.UNKNOWN


def test_a_submission_whose_answer_is_lost_is_resolved(etcd, proxy, connect, make):
    store = connect(proxy.endpoint, etcd.endpoints[0])
    store.submit(make.order())
    proxy.answers.clear()
    order = make.order()
    answer = store.submit(order)
    assert (answer.created, answer.conflict) == (True, "")
    assert not store.submit(order).created


def test_a_submission_without_any_answer_has_an_unknown_fate_and_its_retry_succeeds(etcd, proxy, connect, make):
    store = connect(proxy.endpoint)
    store.submit(make.order())
    proxy.answers.clear()
    order = make.order()
    with pytest.raises(FateUnknown):
        store.submit(order)
    answer = connect(etcd.endpoints[0]).submit(order)
    assert (answer.created, answer.conflict) == (False, "")


def test_a_campaign_whose_answer_is_lost_is_known_to_be_won(etcd, proxy, connect, make):
    store = connect(proxy.endpoint, etcd.endpoints[0])
    store.snapshot()
    lease = store._driver.grant_leases(60.0, 1)[0]
    store._driver.txn((), ())  # the member has answered: the next transaction is sent at once
    proxy.answers.clear()
    store._driver.grant_leases = lambda ttl_s, count: [lease]
    epoch = store.campaign(make.leader(), 60.0)
    assert epoch == make.entry_of(store.snapshot(), Kind.LEADER, "").mod_revision
    assert store.refresh_lease(epoch)


# --- silence ---------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_connection_that_passes_nothing_is_noticed(etcd, proxy, connect, make):
    store, writer = connect(proxy.endpoint), connect(etcd.endpoints[0])
    watching = make.watching(store, store.snapshot().revision)
    watching.until(lambda w: w.health == [True])
    proxy.requests.clear()
    proxy.answers.clear()
    watching.until(lambda w: False in w.health)
    orders = [make.order() for _ in range(3)]
    for order in orders:
        writer.submit(order)
    proxy.requests.set()
    proxy.answers.set()
    watching.until(lambda w: len(w.changes) == 3)
    assert watching.health[-1] is True
    assert [c.entries[0].id for c in watching.changes] == [order.message_id for order in orders]


class WatchTime:
    """Clock of watch streams that the test advances."""

    def __init__(self, monkeypatch):
        self._now_s = self._heard_s = 0.0
        self._news = threading.Condition()
        monkeypatch.setattr(watch, "time", SimpleNamespace(monotonic=lambda: self._now_s))
        monkeypatch.setattr(watch, "PROGRESS_INTERVAL_S", 0.02)
        responses = watch.WatchStream.__iter__
        monkeypatch.setattr(watch.WatchStream, "__iter__", lambda stream: map(self._note, responses(stream)))

    def _note(self, response):
        with self._news:
            self._heard_s = self._now_s
            self._news.notify_all()
        return response

    def pass_quietly(self, seconds):
        """Advance, and wait until etcd has answered a progress request since."""
        with self._news:
            self._now_s += seconds
            assert self._news.wait_for(lambda: self._heard_s == self._now_s, DEADLINE_S), "no answer"


def test_a_quiet_watch_is_not_taken_for_a_dead_one(etcd, connect, make, monkeypatch):
    time_of_watches = WatchTime(monkeypatch)
    store = connect(etcd.endpoints[0])
    watching = make.watching(store, store.snapshot().revision)
    watching.until(lambda w: w.health == [True])
    for _ in range(3):
        time_of_watches.pass_quietly(0.5 * watch.SILENCE_LIMIT_S)
    store.submit(make.order())
    watching.until(lambda w: w.changes)
    assert watching.health == [True]


def test_compaction_while_disconnected_means_a_fresh_snapshot(own_etcd, connect, make):
    store = connect(*own_etcd.endpoints)
    proxy = make.proxy(int(own_etcd.endpoints[0].rpartition(":")[2]))
    watching = make.watching(connect(proxy.endpoint), store.snapshot().revision)
    watching.until(lambda w: w.health == [True])
    proxy.requests.clear()
    proxy.cut()
    watching.until(lambda w: w.health == [True, False])
    orders = [make.order() for _ in range(3)]
    for order in orders:
        store.submit(order)
    _compact(store)
    proxy.requests.set()
    proxy.cut()
    watching.until(lambda w: w.snapshots)
    after = store.submit(make.order())
    watching.until(lambda w: w.saw(Kind.INBOX_ORDER, after.message_id))
    proxy.close()
    assert {order.message_id for order in orders} < {e.id for e in watching.snapshots[0].entries}
    assert watching.revisions == [watching.snapshots[0].revision + 1]


def _compact(store):
    from etcd3 import etcdrpc

    request = etcdrpc.CompactionRequest(revision=store.snapshot().revision, physical=True)
    store._driver._connection.current().kv.Compact(request, timeout=5.0)


# --- authentication --------------------------------------------------------------------------------------------------


@pytest.fixture
def guarded_etcd(etcd_binary, tmp_path):
    """An etcd that requires a password. Tokens expire after two seconds without use, and the log says so."""
    from etcd3 import etcdrpc as rpc

    with EtcdProcess(tmp_path, extra_args=["--auth-token-ttl=2", "--log-level=debug"]) as process:
        admin = EtcdStore(process.endpoints, "admin")
        auth = admin._driver._connection.current().auth
        auth.UserAdd(rpc.AuthUserAddRequest(name="root", password="secret"), timeout=5.0)
        auth.RoleAdd(rpc.AuthRoleAddRequest(name="root"), timeout=5.0)
        auth.UserGrantRole(rpc.AuthUserGrantRoleRequest(user="root", role="root"), timeout=5.0)
        auth.UserAdd(rpc.AuthUserAddRequest(name="nobody", password="secret"), timeout=5.0)
        auth.AuthEnable(rpc.AuthEnableRequest(), timeout=5.0)
        admin.close()
        yield process


def _everything_works(store, make, epoch):
    assert store.refresh_lease(epoch)
    assert store.submit(make.order()).created
    assert store.snapshot().entries
    [result] = store.commit(epoch, [make.accepting(make.order(), epoch, drone=uuid.uuid4().hex)])
    assert result.fate is Fate.SUCCEEDED


def _has_expired(token, folder):
    log = (folder / "member0" / "etcd.log").read_text()
    return any("deleted a simple token" in line and token in line for line in log.splitlines())


def test_a_token_that_expires_is_renewed(guarded_etcd, connect, make, tmp_path):
    store = connect(*guarded_etcd.endpoints, user="root", password="secret", timeout_s=3.0)
    epoch = store.campaign(make.leader(), 60.0)
    watching = make.watching(store, epoch)
    watching.until(lambda w: w.health == [True])
    token = store._driver._connection._token
    make.eventually(lambda: _has_expired(token, tmp_path), "the unused token expires")
    _everything_works(store, make, epoch)
    assert store._driver._connection._token != token
    watching.until(lambda w: len(w.changes) == 2)
    assert watching.health == [True]


def test_a_token_that_etcd_has_forgotten_is_renewed(guarded_etcd, connect, make):
    store = connect(*guarded_etcd.endpoints, user="root", password="secret", timeout_s=3.0)
    epoch = store.campaign(make.leader(), 60.0)
    watching = make.watching(store, epoch)
    watching.until(lambda w: w.health == [True])
    store._driver._connection._token = FORGOTTEN
    guarded_etcd.kill_member(0)
    guarded_etcd.start_member(0)
    make.eventually(lambda: store.status()["has_quorum"], "etcd is back")
    _everything_works(store, make, epoch)
    watching.until(lambda w: len(w.changes) == 2)
    assert watching.snapshots == []


def test_a_token_from_another_history_does_not_stop_everything(guarded_etcd, connect, make):
    store = connect(*guarded_etcd.endpoints, user="root", password="secret")
    epoch = store.campaign(make.leader(), 60.0)
    store._driver._connection._token = FROM_ANOTHER_HISTORY
    assert store.snapshot().entries, "the second attempt has a new token"
    _everything_works(store, make, epoch)


def test_renewing_a_lease_renews_the_token_too(guarded_etcd, connect, make):
    store = connect(*guarded_etcd.endpoints, user="root", password="secret", timeout_s=3.0)
    epoch = store.campaign(make.leader(), 60.0)
    store._driver._connection._token = FORGOTTEN
    assert store.refresh_lease(epoch)
    store._driver._connection._token = FORGOTTEN
    assert store.commit(epoch, [make.accepting(make.order(), epoch, drone="d1")])[0].fate is Fate.SUCCEEDED


def test_a_watch_alone_renews_its_token(guarded_etcd, connect, make):
    """Nothing but the watch uses the connection, so no other call renews the token for it."""
    follower = connect(*guarded_etcd.endpoints, user="root", password="secret", timeout_s=3.0)
    begin = follower.snapshot().revision
    follower._driver._connection._token = FORGOTTEN
    watching = make.watching(follower, begin)
    writer = connect(*guarded_etcd.endpoints, user="root", password="secret", timeout_s=3.0)
    writer.submit(make.order())
    watching.until(lambda w: len(w.changes) == 1)
    assert follower._driver._connection._token != FORGOTTEN


@pytest.mark.parametrize(
    "options",
    [{}, {"user": "root", "password": "wrong"}, {"user": "nobody", "password": "secret"}],
    ids=["no user", "wrong password", "no permission"],
)
def test_insufficient_credentials_are_denied(guarded_etcd, connect, make, options):
    store = connect(*guarded_etcd.endpoints, timeout_s=3.0, **options)
    with pytest.raises(StoreDenied):
        store.snapshot()
    with pytest.raises(StoreDenied):
        store.submit(make.order())


# --- endpoints -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "endpoint",
    ["", "nonsense", "localhost:", "http://:2379", "ftp://h:1", "h:99999", "http://h:1/path", "a b:1", "h:x"],
)
def test_a_malformed_endpoint_is_refused(endpoint):
    with pytest.raises(ValueError, match=r"host:port"):
        EtcdStore([endpoint], "r")


@pytest.mark.parametrize(
    ("endpoints", "options", "message"),
    [
        ([], {}, "no etcd endpoint"),
        (["h:1"], {"user": "u"}, "together"),
        (["h:1"], {"user": "u", "password": "p"}, "https"),
        (["h:1"], {"ca_cert": "/tmp/ca.pem"}, "https"),
        (["https://h:1"], {"ca_cert": "/does/not/exist.pem"}, "cannot be read"),
        (["https://h:1"], {"cert": "/tmp/c.pem"}, "together"),
        (["h:1"], {"timeout_s": 0.0}, "timeout_s"),
        (["h:1"], {"reservation_ttl_s": 1.0}, "reservation_ttl_s"),
    ],
)
def test_settings_that_contradict_each_other_are_refused(endpoints, options, message):
    with pytest.raises(ValueError, match=message):
        EtcdStore(endpoints, "r", **options)


@pytest.mark.parametrize("kind", ["nothing listens", "not etcd", "silent"])
def test_a_wrong_endpoint_is_one_clear_line(kind, connect):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        endpoint = f"127.0.0.1:{listener.getsockname()[1]}"
        server = None
        if kind != "silent":
            listener.close()
        if kind == "not etcd":
            port = int(endpoint.rpartition(":")[2])
            server = http.server.ThreadingHTTPServer(("127.0.0.1", port), http.server.SimpleHTTPRequestHandler)
            threading.Thread(target=server.serve_forever, daemon=True).start()
        store = connect(endpoint)
        started = time.monotonic()
        with pytest.raises(StoreUnavailable, match=endpoint) as error:
            store.snapshot()
        assert "\n" not in str(error.value)
        assert time.monotonic() - started < 3 * TIMEOUT_S
        if server is not None:
            server.shutdown()
            server.server_close()


def test_a_closed_store_is_unavailable(etcd, connect):
    store = connect(etcd.endpoints[0])
    store.snapshot()
    store.close()
    with pytest.raises(StoreUnavailable, match="closed"):
        store.snapshot()


def test_a_role_limited_to_the_region_is_enough_even_if_that_is_empty(guarded_etcd, connect, make):
    """Each watch and each write after a broken connection asks for proof of identity, with no record read yet."""
    from etcd3 import etcdrpc as rpc

    admin = connect(*guarded_etcd.endpoints, user="root", password="secret", timeout_s=3.0)
    limited = connect(*guarded_etcd.endpoints, user="pilot", password="secret", timeout_s=3.0)
    connection, prefix = admin._driver._connection, limited.keys.prefix
    auth, options = connection.current().auth, {"timeout": 5.0}
    with_token = {**options, "metadata": connection.metadata()}
    auth.RoleAdd(rpc.AuthRoleAddRequest(name="region"), **with_token)
    span = {"key": prefix.encode(), "range_end": range_end(prefix).encode(), "permType": 2}  # read and write
    auth.RoleGrantPermission(rpc.AuthRoleGrantPermissionRequest(name="region", perm=span), **with_token)
    auth.UserAdd(rpc.AuthUserAddRequest(name="pilot", password="secret"), **with_token)
    auth.UserGrantRole(rpc.AuthUserGrantRoleRequest(user="pilot", role="region"), **with_token)
    watching = make.watching(limited, limited.snapshot().revision)
    watching.until(lambda w: w.health == [True])
    limited._driver._connection.failed(limited._driver._connection.current())
    epoch = limited.campaign(make.leader(), 60.0)
    _everything_works(limited, make, epoch)
    watching.until(lambda w: len(w.changes) == 3)
    assert watching.snapshots == [] and watching.health == [True]
    with pytest.raises(StoreDenied):
        limited._driver.read(["/drone_orchestrator/"])
