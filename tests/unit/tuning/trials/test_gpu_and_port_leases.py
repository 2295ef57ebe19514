"""Leases of ports and GPUs among the runs on a host."""

import socket
from collections.abc import Callable
from pathlib import Path

import anyio
import pytest

from autotuner.store import Store
from autotuner.study.failure import FailureCause, TrialFailedError
from autotuner.testing.fake_deployer import FakeDeployer, fake_gpus
from autotuner.tuning.trials.gpu_and_port_leases import Leases

pytestmark = pytest.mark.anyio
MakeLeases = Callable[..., Leases]


@pytest.fixture
def leases(store: Store) -> MakeLeases:
    def make(owner: str = "me", trial: int = 0, dead: tuple[str, ...] = ()) -> Leases:
        return Leases(store, owner_id=owner, study="s", trial=trial, dead=lambda: dead)

    return make


@pytest.fixture
def ports() -> range:
    """Three consecutive free ports."""
    for first in range(23000, 23900, 3):
        try:
            for port in range(first, first + 3):
                with socket.socket() as probe:
                    probe.bind(("127.0.0.1", port))
        except OSError:
            continue
        return range(first, first + 3)
    pytest.skip("no three free ports")


async def test_concurrent_leases_have_different_ports(leases: MakeLeases, ports: range, store: Store) -> None:
    async with leases("a").port(ports) as one, leases("b").port(ports) as two, leases("a").port(ports) as three:
        assert sorted((one, two, three)) == list(ports)
        with pytest.raises(TrialFailedError) as caught:
            async with leases("c").port(ports):
                pytest.fail("all ports are leased")
    assert caught.value.failure.cause is FailureCause.PORT_UNAVAILABLE
    assert [port for port in (ports[0], ports[-1]) if str(port) not in caught.value.failure.message] == []
    assert store.leases.all() == []


async def test_port_in_use_by_another_process_is_skipped(leases: MakeLeases, ports: range, store: Store) -> None:
    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        other.bind(("0.0.0.0", ports[0]))
        other.listen()
        for trial in range(3):
            async with leases(trial=trial).port(ports) as port:
                assert port in ports[1:]
                assert len(store.leases.all()) == 1


async def test_next_trial_starts_at_the_next_port(leases: MakeLeases, ports: range) -> None:
    seen = []
    for trial in range(3):
        async with leases(trial=trial).port(ports) as port:
            seen.append(port)
    first = ports.index(seen[0])
    assert seen == [*ports[first:], *ports[:first]]


async def test_empty_range_of_ports(leases: MakeLeases) -> None:
    with pytest.raises(TrialFailedError):
        async with leases().port(range(24000, 24000)):
            pytest.fail("the range is empty")


async def test_port_of_a_dead_owner_is_taken_over(leases: MakeLeases, ports: range, store: Store) -> None:
    for port in ports:
        name = f"port:{socket.gethostname()}:{port}"
        assert store.leases.take([name], owner_id="dead", study="old", trial=3, now=1.0, dead=())
    async with leases("b", dead=("dead",)).port(ports) as taken:
        store.leases.release(f"port:{socket.gethostname()}:{taken}", "dead")
        living = [lease.resource for lease in store.leases.all() if lease.owner_id == "b"]
        assert living == [f"port:{socket.gethostname()}:{taken}"], "a release by the dead owner has no effect"


async def test_runs_with_separate_stores_never_share_a_port(ports: range, tmp_path: Path, leases: MakeLeases) -> None:
    """Two users of one machine cannot see each other's leases, and their servers do not listen yet."""
    with Store.open(f"sqlite:///{tmp_path / 'another.db'}") as another:
        other = Leases(another, owner_id="other", study="t", trial=0, dead=lambda: ())
        async with leases("a").port(ports) as one, other.port(ports) as two, leases("a").port(ports) as three:
            assert sorted((one, two, three)) == list(ports)
            with pytest.raises(TrialFailedError):
                async with other.port(ports):
                    pytest.fail("all ports are leased")


async def test_runs_start_at_different_ports(leases: MakeLeases) -> None:
    first_ports = set()
    for number in range(20):
        async with leases(f"owner-{number}").port(range(20000, 30000)) as port:
            first_ports.add(port)
    assert len(first_ports) == 20


async def test_error_releases_all_leases(leases: MakeLeases, ports: range, store: Store) -> None:
    with pytest.raises(ValueError, match="within"):  # noqa: PT012 - the block is what is tested
        async with leases().gpus(2, FakeDeployer(gpus=fake_gpus(4)).gpus), leases().port(ports):
            assert len(store.leases.all()) == 3
            raise ValueError("within")
    assert store.leases.all() == []


async def test_cancellation_at_any_time_releases_all_leases(leases: MakeLeases, ports: range, store: Store) -> None:
    """Including between a transaction and its result."""

    async def hold() -> None:
        async with leases().gpus(4, FakeDeployer(gpus=fake_gpus(4)).gpus), leases().port(ports):
            await anyio.sleep_forever()

    for i in range(25):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(hold)
            await anyio.sleep(0.001 * i)
            tasks.cancel_scope.cancel()
        assert store.leases.all() == [], f"cancelled after {i} ms"
