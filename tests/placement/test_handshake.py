"""Workers meet before TensorFlow connects them: threads stand for them here."""

import concurrent.futures
import socket
import time

import pytest

from tests.placement.test_workers import free_ports
from tftransfer.placement.cluster import Cluster
from tftransfer.placement.handshake import meet

SAME = {"keras": "3.15.1", "tensorflow": "2.21.0"}


def gather(addresses, present, *, timeout_s=10.0, versions=None):
    """What each of the workers that are present got: None, or the error's text; and the seconds it took."""

    def one(index):
        try:
            return meet(
                Cluster(addresses, index), timeout_s=timeout_s, ours=(versions or {}).get(index, SAME)
            )
        except ValueError as error:
            return str(error)

    began = time.monotonic()
    with concurrent.futures.ThreadPoolExecutor(len(present)) as pool:
        got = list(pool.map(one, present))
    return got, time.monotonic() - began


@pytest.fixture
def addresses():
    return tuple(f"127.0.0.1:{port}" for port in free_ports(3))


def test_all_come_and_leave_their_ports_free(addresses):
    got, _ = gather(addresses, [2, 0, 1])
    assert got == [None, None, None]
    for address in addresses:
        socket.create_server(("127.0.0.1", int(address.split(":")[1]))).close()


def test_one_that_never_comes_is_named_by_all(addresses):
    got, seconds = gather(addresses, [0, 1], timeout_s=1.0)
    assert seconds < 8
    for text in got:
        assert text.startswith(f"worker 2 ({addresses[2]}) did not come up within 1 seconds; 2 of 3")


def test_a_chief_that_never_comes_is_named(addresses):
    got, seconds = gather(addresses, [1, 2], timeout_s=1.0)
    assert seconds < 8
    for text in got:
        assert (
            text.startswith(f"worker 0 (the chief, {addresses[0]}) could not be reached")
            and "refused" in text
        )


@pytest.mark.parametrize("taken", [0, 1])
def test_a_port_that_is_taken_is_named(addresses, taken):
    with socket.create_server(("127.0.0.1", int(addresses[taken].split(":")[1]))):
        got, _ = gather(addresses, [0, 1, 2], timeout_s=2.0)
    assert f"worker {taken} (" in got[taken] and "another process uses it" in got[taken]
    others = [text for index, text in enumerate(got) if index != taken]
    if taken:
        assert others == [got[1]] * 2  # the chief tells everybody
    else:
        assert all("could not be reached" in text and "listens there" in text for text in others)


def test_other_versions_are_named_by_all(addresses):
    got, seconds = gather(addresses, [0, 1, 2], versions={2: {**SAME, "keras": "3.14.0"}})
    assert seconds < 5
    words = f"worker 2 ({addresses[2]}) runs keras 3.14.0 (the chief: 3.15.1)"
    assert all(text.startswith(words) for text in got)


@pytest.mark.parametrize("index", [0, 1])
def test_what_one_cannot_do_is_told_to_all(addresses, index):
    def one(worker):
        problem = "no wish to" if worker == index else None
        with pytest.raises(ValueError) as raised:
            meet(Cluster(addresses, worker), timeout_s=10.0, problem=problem, ours=SAME)
        return str(raised.value)

    with concurrent.futures.ThreadPoolExecutor(3) as pool:
        assert set(pool.map(one, range(3))) == {f"{Cluster(addresses, 0).name(index)}: no wish to"}


def test_two_of_one_number(addresses):
    got, _ = gather(addresses, [0, 1, 1], timeout_s=5.0)
    assert "Two processes say that they are worker 1" in got[0]


def test_strangers_at_the_door_change_nothing(addresses):
    chief = ("127.0.0.1", int(addresses[0].split(":")[1]))
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        meeting = pool.submit(gather, addresses, [0])
        for _ in range(100):
            try:
                with socket.create_connection(chief) as stranger:
                    stranger.sendall(b"GET / HTTP/1.1\r\n\r\n\n")
                break
            except OSError:
                time.sleep(0.05)
        got, _ = gather(addresses, [1, 2])
        assert got == [None, None] and meeting.result()[0] == [None]


def test_an_address_without_port_is_refused():
    with pytest.raises(ValueError, match="host:port"):
        meet(Cluster(("here", "there:1"), 0), ours=SAME)
