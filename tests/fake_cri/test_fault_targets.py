"""Which calls a fault strikes: by pod and container, by time, by number, by chance; and locks that faults share."""

from __future__ import annotations

import functools
from collections.abc import Awaitable, Callable
from contextlib import suppress

import anyio
import pytest
import trio
import trio.testing

from cri.clock import SECOND, Clock
from cri.methods import METHODS
from cri.transport import Code, CriError
from cri.virtual_time import run_virtual, virtual_clock
from fake_cri.faults import parse_fault
from fake_cri.faults.locks import Gate
from fake_cri.runtime import FakeRuntime

from .support import Client, in_virtual_time, make_client, profile_named, settle


def faulty(*faults: str, seed: int = 1) -> Client:
    return make_client(faults=[parse_fault(text) for text in faults], seed=seed)


async def two_pods(client: Client) -> list[str]:
    """Two containers, app and log, in each of web-0 and web-1."""
    ids = []
    for pod in ("web-0", "web-1"):
        sandbox = await client.run(pod)
        ids += [await client.start(sandbox, name) for name in ("app", "log")]
    return ids


@pytest.mark.parametrize(
    ("selector", "struck"),
    [
        ("pod=web-0", [0, 1]),
        ("pod=ns/web-1", [2, 3]),
        ("pod=default/web-1", []),
        ("container=app", [0, 2]),
        ("pod=web-1,container=log", [3]),
        ("uid=uid-of-web-0", [0, 1]),
        ("uid=other", []),
    ],
)
@in_virtual_time
async def test_calls_of_chosen_pods_and_containers(selector: str, struck: list[int]) -> None:
    client = faulty(f"ContainerStatus[{selector}]: error(aborted)")
    ids = await two_pods(client)
    codes = [await client.code("ContainerStatus", container_id=full_id) for full_id in ids]
    assert [number for number, code in enumerate(codes) if code is Code.ABORTED] == struck


@in_virtual_time
async def test_by_the_beginning_of_an_id() -> None:
    client = make_client()
    ids = await two_pods(client)
    sandbox = client.runtime.state.containers.find(ids[2])
    assert sandbox is not None
    client.runtime.arm(parse_fault(f"ContainerStatus[id={ids[0][:9]}]: error(aborted)"))
    client.runtime.arm(parse_fault(f"ContainerStatus[id={sandbox.sandbox.id[:9]}]: error(internal)"))
    codes = [(await client.code("ContainerStatus", container_id=full_id)).name for full_id in (*ids, ids[0][:12])]
    assert codes == ["ABORTED", "OK", "INTERNAL", "INTERNAL", "ABORTED"]


@in_virtual_time
async def test_a_request_is_known_by_whatever_names_its_pod() -> None:
    struck = "RunPodSandbox CreateContainer PodSandboxStatus ListPodSandbox ListContainers StopPodSandbox"
    client = make_client()
    ids = await two_pods(client)
    sandboxes = [sandbox.id for sandbox in client.runtime.state.sandboxes]
    for rpc in struck.split():
        client.runtime.arm(parse_fault(f"{rpc}[pod=web-0]: error(aborted)"))
    with pytest.raises(CriError, match="Aborted"):
        await client.run("web-0")
    with pytest.raises(CriError, match="Aborted"):
        await client.create(sandboxes[0], "new")
    filters: list[tuple[str, dict[str, object]]] = [
        ("ListPodSandbox", {"id": sandboxes[0]}),
        ("ListContainers", {"id": ids[1]}),
        ("ListContainers", {"pod_sandbox_id": sandboxes[0]}),
        ("ListContainers", {"label_selector": {"io.kubernetes.pod.uid": "uid-of-web-0"}}),
    ]
    for rpc, wanted in filters:
        assert await client.code(rpc, filter=wanted) is Code.ABORTED
        assert await client.code(rpc) is Code.OK  # the whole list is about nobody
    assert await client.code("PodSandboxStatus", pod_sandbox_id=sandboxes[0]) is Code.ABORTED
    for rpc in ("PodSandboxStatus", "StopPodSandbox"):
        assert await client.code(rpc, pod_sandbox_id=sandboxes[1]) is Code.OK
    await client.create((await client.run("web-2")), "new")


@in_virtual_time
async def test_a_request_that_does_not_parse_is_about_nobody() -> None:
    client = faulty("ContainerStatus[container=app]: error(aborted)")
    with pytest.raises(CriError, match="Internal"):
        await client.runtime.unary(METHODS["ContainerStatus"], b"\xff")


@in_virtual_time
async def test_only_calls_that_fit_are_counted() -> None:
    client = faulty("ContainerStatus[container=app]: 1*off->1*error(aborted)")
    app, log = (await two_pods(client))[:2]
    codes = [(await client.code("ContainerStatus", container_id=full_id)).name for full_id in (log, app, log, app, app)]
    assert codes == ["OK", "OK", "OK", "ABORTED", "OK"]


async def codes_at(client: Client, *moments: int) -> list[str]:
    begin = client.runtime.clock.monotonic()
    codes = []
    for moment in moments:
        await anyio.sleep((begin - client.runtime.clock.monotonic()) / SECOND + moment)
        codes.append((await client.code("Version")).name)
    return codes


@in_virtual_time
async def test_a_span_of_time() -> None:
    client = faulty("Version @10s..40s: error(aborted)")
    assert await codes_at(client, 9, 10, 39, 40) == ["OK", "ABORTED", "ABORTED", "OK"]
    assert await codes_at(faulty("Version @..5s: error(aborted)"), 0, 4, 5) == ["ABORTED", "ABORTED", "OK"]


@in_virtual_time
async def test_a_span_counts_from_when_the_fault_was_put_into_effect() -> None:
    client = make_client()
    await anyio.sleep(100)
    client.runtime.arm(parse_fault("Version @10s: error(aborted)"))
    assert await codes_at(client, 9, 10) == ["OK", "ABORTED"]


@in_virtual_time
async def test_after_so_many_calls() -> None:
    client = faulty("Version after 2 calls: 1*error(aborted)")
    assert await codes_at(client, 0, 0, 0, 0) == ["OK", "OK", "ABORTED", "OK"]


@pytest.mark.parametrize("action", ["hang", "hang(1h)", "hold(dead)"])
@in_virtual_time
async def test_the_end_of_a_span_lets_go_what_hangs(action: str) -> None:
    client = faulty(f"Version @10s..40s: {action}")
    await anyio.sleep(20)
    await client.call("Version")
    assert client.runtime.clock.monotonic() == 40 * SECOND
    await client.call("Version")
    assert client.runtime.clock.monotonic() == 40 * SECOND


@in_virtual_time
async def test_a_probability_strikes_that_share_and_the_seed_decides_which() -> None:
    async def struck(seed: int) -> list[bool]:
        client = faulty("Version: 1000*error(aborted) p=0.1->error(internal)", seed=seed)
        codes = [await client.code("Version") for _ in range(1000)]
        assert await client.code("Version") is Code.INTERNAL
        return [code is Code.ABORTED for code in codes]

    first = await struck(1)
    assert 70 < sum(first) < 130
    assert first == await struck(1) != await struck(2)


Body = Callable[[Clock], Awaitable[None]]


def on_asyncio(body: Body) -> None:
    async def main() -> None:
        await body(virtual_clock())

    run_virtual(main)


def on_trio(body: Body) -> None:
    async def main() -> None:
        await body(Clock(lambda: round(trio.current_time() * SECOND), wall_base=SECOND))

    clock = trio.testing.MockClock(autojump_threshold=0)
    anyio.run(main, backend="trio", backend_options={"clock": clock})


@pytest.mark.parametrize("run", [on_asyncio, on_trio], ids=["asyncio", "trio"])
def test_a_hang_lasts_until_the_fault_is_removed(run: Callable[[Body], None]) -> None:
    async def body(clock: Clock) -> None:
        runtime = FakeRuntime(profile_named("containerd-2.4"), clock=clock)
        armed = runtime.arm(parse_fault("Version: hang"))
        begin = clock.monotonic()
        async with anyio.create_task_group() as tasks:
            for _ in range(3):
                tasks.start_soon(functools.partial(runtime.unary, METHODS["Version"], b""))
            await anyio.sleep(7)
            runtime.disarm(armed)
        assert clock.monotonic() - begin == pytest.approx(7 * SECOND)
        await runtime.unary(METHODS["Version"], b"")

    run(body)


@pytest.mark.parametrize("run", [on_asyncio, on_trio], ids=["asyncio", "trio"])
def test_one_held_lock_blocks_all_that_need_it(run: Callable[[Body], None]) -> None:
    async def body(clock: Clock) -> None:
        faults = ("ContainerStatus: 1*hold(dead,30s)->off", "ListContainers: lock(dead)", "Status: lock(other)")
        runtime = FakeRuntime(
            profile_named("containerd-2.4"), clock=clock, faults=[parse_fault(text) for text in faults]
        )
        begin = clock.monotonic()
        ended: dict[str, float] = {}

        async def call(rpc: str) -> None:
            with suppress(CriError):  # of the ids, which nobody gave
                await runtime.unary(METHODS[rpc], b"")
            ended[rpc] = round((clock.monotonic() - begin) / SECOND, 3)

        await call("ListContainers")
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(call, "ContainerStatus")
            await anyio.sleep(1)
            assert runtime.locks.held() == ["dead"]
            for rpc in ("ListContainers", "Status", "ListPodSandbox"):
                tasks.start_soon(call, rpc)
        assert ended == {"ContainerStatus": 30, "ListContainers": 30, "Status": 1, "ListPodSandbox": 1}
        assert runtime.locks.held() == []

    run(body)


@in_virtual_time
async def test_a_client_that_gives_up_leaves_the_lock_held() -> None:
    client = make_client()
    holder = client.runtime.arm(parse_fault("StopContainer: hold(dead)"))
    client.runtime.arm(parse_fault("ListContainers: lock(dead)"))
    with anyio.move_on_after(2) as gave_up:
        await client.call("StopContainer")
    with anyio.move_on_after(3600) as waited:
        await client.call("ListContainers")
    assert gave_up.cancelled_caught
    assert waited.cancelled_caught
    client.runtime.disarm(holder)
    await settle()
    assert await client.code("ListContainers") is Code.OK


@pytest.mark.parametrize("waiting", ["lock(dead)", "latency(1h)", "hang(1h)"])
@in_virtual_time
async def test_what_waits_goes_on_when_its_own_fault_is_removed(waiting: str) -> None:
    client = make_client()
    client.runtime.locks.take("dead", Gate(), None)
    armed = client.runtime.arm(parse_fault(f"Version: {waiting}"))
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(client.call, "Version")
        await anyio.sleep(5)
        client.runtime.disarm(armed)
    assert client.runtime.clock.monotonic() == 5 * SECOND


@in_virtual_time
async def test_a_span_ends_the_wait_for_a_lock() -> None:
    client = faulty("Version @10s..40s: lock(dead)")
    client.runtime.locks.take("dead", Gate(), None)
    await anyio.sleep(20)
    await client.call("Version")
    assert client.runtime.clock.monotonic() == 40 * SECOND


@in_virtual_time
async def test_a_lock_with_two_holders_is_free_after_both() -> None:
    client = faulty("Version: hold(dead,10s)->off", "Status: hold(dead,25s)->off", "ListContainers: lock(dead)")
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(client.call, "Version")
        tasks.start_soon(client.call, "Status")
        await settle()
        begin = client.runtime.clock.monotonic()
        await client.call("ListContainers")
        assert client.runtime.clock.monotonic() - begin == 25 * SECOND
