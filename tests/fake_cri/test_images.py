"""The catalogue: names, digests, one image under many names, pulls, removals."""

from __future__ import annotations

import re

import anyio
import pytest

from cri.transport import Code
from cri.v1 import api_pb2 as pb
from fake_cri.images import parse_reference

from .support import CRI_O, PROFILES, Client, in_virtual_time, make_client

DIGEST = "sha256:" + "a1" * 32


def spec(image: str) -> pb.ImageSpec:
    return pb.ImageSpec(image=image)


async def pull(client: Client, image: str) -> str:
    return str((await client.call("PullImage", image=spec(image))).image_ref)


async def status(client: Client, image: str) -> pb.Image:
    answer = await client.call("ImageStatus", image=spec(image))
    found: pb.Image = answer.image
    return found


@pytest.mark.parametrize(
    ("given", "normal"),
    [
        ("busybox", "docker.io/library/busybox:latest"),
        ("team/app:2", "docker.io/team/app:2"),
        ("localhost/pause:1", "localhost/pause:1"),
        ("reg.example:5000/a/b", "reg.example:5000/a/b:latest"),
        (f"reg.example/a:1@{DIGEST}", f"reg.example/a@{DIGEST}"),
        (f"busybox@{DIGEST}", f"docker.io/library/busybox@{DIGEST}"),
    ],
)
def test_names_are_normalised(given: str, normal: str) -> None:
    assert str(parse_reference(given)) == normal
    assert str(parse_reference(normal)) == normal


@pytest.mark.parametrize("name", ["", "UPPER", "a b", "a:", "a/", "/a", "a@sha256:12", "a:b:c", "x" * 600])
def test_what_is_no_name(name: str) -> None:
    with pytest.raises(ValueError, match="invalid reference format"):
        parse_reference(name)


@pytest.mark.parametrize("profile", PROFILES)
@in_virtual_time
async def test_a_pulled_image_under_all_its_names(profile: str) -> None:
    client = make_client(profile)
    image_id = await pull(client, "shop.example/app:1")
    assert re.fullmatch("[0-9a-f]{64}" if profile in CRI_O else "sha256:[0-9a-f]{64}", image_id)
    image = await status(client, "shop.example/app:1")
    assert (image.id, list(image.repo_tags)) == (image_id, ["shop.example/app:1"])
    assert image.size > 0
    (digest,) = image.repo_digests
    for name in (image_id, image_id[:20], digest, "shop.example/app:1"):
        assert await status(client, name) == image
    assert [listed.id for listed in (await client.call("ListImages")).images] == [image_id]
    assert await pull(client, "shop.example/app:1") == image_id


@in_virtual_time
async def test_pulled_by_digest_it_has_no_tag_and_that_very_digest() -> None:
    client = make_client()
    image_id = await pull(client, f"shop.example/app@{DIGEST}")
    image = await status(client, image_id)
    assert (list(image.repo_tags), list(image.repo_digests)) == ([], [f"shop.example/app@{DIGEST}"])


@in_virtual_time
async def test_tag_and_digest_of_one_image_meet_in_either_order() -> None:
    first = make_client()
    by_tag = await pull(first, "shop.example/app:1")
    (digest,) = (await status(first, by_tag)).repo_digests
    second = make_client()
    assert await pull(second, digest) == await pull(second, "shop.example/app:1") == by_tag
    assert len((await second.call("ListImages")).images) == 1


@in_virtual_time
async def test_two_registries_copies_are_one_image() -> None:
    client = make_client()
    assert await pull(client, "one.example/team/app:1") == await pull(client, "two.example/team/app:1")
    assert await pull(client, "one.example/team/app:2") != await pull(client, "one.example/team/app:1")
    first, second = (await client.call("ListImages")).images
    assert list(first.repo_tags) == ["one.example/team/app:1", "two.example/team/app:1"]
    assert len(second.repo_tags) == 1


@pytest.mark.parametrize("profile", PROFILES)
@in_virtual_time
async def test_removal_by_one_of_two_names(profile: str) -> None:
    client = make_client(profile)
    image_id = await pull(client, "one.example/app:1")
    await pull(client, "two.example/app:1")
    await client.call("RemoveImage", image=spec("one.example/app:1"))
    left = (await status(client, image_id)).repo_tags
    assert list(left) == (["two.example/app:1"] if profile in CRI_O else [])
    await client.call("RemoveImage", image=spec(image_id))
    assert (await client.call("ListImages")).images == []


@pytest.mark.parametrize("profile", PROFILES)
@in_virtual_time
async def test_removal_of_an_image_in_use(profile: str) -> None:
    client = make_client(profile)
    container = await client.start(await client.run())
    image_id = (await client.status(container)).image_id or client.runtime.state.find_container(
        container, unknown=Code.NOT_FOUND
    ).image_id  # type: ignore[union-attr]
    assert await client.code("RemoveImage", image=spec(image_id)) is (Code.UNKNOWN if profile in CRI_O else Code.OK)


@pytest.mark.parametrize("profile", PROFILES)
@in_virtual_time
async def test_a_list_filter(profile: str) -> None:
    client = make_client(profile)
    await pull(client, "a.example/app:1")
    await pull(client, "a.example/app:2")
    answer = await client.call("ListImages", filter=pb.ImageFilter(image=spec("a.example/app:2")))
    assert len(answer.images) == (1 if profile in CRI_O else 2)


@in_virtual_time
async def test_five_removals_at_once_succeed() -> None:
    client = make_client()
    image_id = await pull(client, "a.example/app:1")
    codes: list[Code] = []

    async def remove() -> None:
        codes.append(await client.code("RemoveImage", image=spec(image_id)))

    async with anyio.create_task_group() as tasks:
        for _ in range(5):
            tasks.start_soon(remove)
    assert codes == [Code.OK] * 5


@in_virtual_time
async def test_a_pull_takes_its_time_and_can_be_broken_off() -> None:
    client = make_client()
    with anyio.move_on_after(0.001) as scope:
        await pull(client, "a.example/app:1")
    assert scope.cancelled_caught
    assert (await client.call("ListImages")).images == []


@pytest.mark.parametrize("profile", PROFILES)
@in_virtual_time
async def test_image_filesystems(profile: str) -> None:
    client = make_client(profile)
    await pull(client, "a.example/app:1")
    answer = await client.call("ImageFsInfo")
    (usage,) = answer.image_filesystems
    assert usage.timestamp == client.runtime.clock.now()
    assert usage.fs_id.mountpoint == "/"
    assert usage.used_bytes.value > 0 < usage.inodes_used.value
    assert len(answer.container_filesystems) == (1 if profile in CRI_O else 0)


@in_virtual_time
async def test_a_containers_image_is_told_alike_everywhere() -> None:
    client = make_client()
    container = await client.start(await client.run())
    status_of_it = await client.status(container)
    (image,) = (await client.call("ListImages")).images
    assert status_of_it.image_id == image.id
    assert status_of_it.image_ref == image.repo_digests[0]
    assert status_of_it.image.image == image.repo_tags[0]
