"""Profiles: the built-in ones, a user's own, and one clear sentence for each mistake."""

from __future__ import annotations

from pathlib import Path

import pytest

from cri.transport import Code
from fake_cri.profiles import ProfileError, built_in_profiles, load_profile, profile_text

from .support import Client, in_virtual_time, make_client, make_runtime


def test_the_built_in_ones() -> None:
    assert built_in_profiles() == ["containerd-1.6", "containerd-1.7", "containerd-2.4", "cri-o", "cri-o-noevents"]
    for name in built_in_profiles():
        assert load_profile(name).name == name


@in_virtual_time
async def test_a_copied_and_changed_profile(tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text(profile_text("containerd-2.4").replace("unknown_id_stop: OK", "unknown_id_stop: DATA_LOSS"))
    profile = load_profile(str(file))
    assert profile.name == "mine"
    assert profile.errors.unknown_id_stop is Code.DATA_LOSS
    client = make_client()
    changed = Client(type(client.runtime)(profile, clock=client.runtime.clock))
    assert await changed.code("StopContainer", container_id="abc") is Code.DATA_LOSS
    assert await client.code("StopContainer", container_id="abc") is Code.OK


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("order: random", "order: sorted", "field lists.order: input should be 'random', 'newest-first' or 'creation'"),
        ("missing_image: NOT_FOUND", "missing_image: NOPE", "field errors.missing_image: must be a gRPC code by name"),
        ("missing_image: NOT_FOUND", "missing_image: 5", "field errors.missing_image: must be a gRPC code by name"),
        ("  stream_chunk: 5000", "  stream_chunks: 5000", "field lists.stream_chunk: field required"),
        ("default: {base: 600}", "default: {base: 0}", "field costs.default.base: input should be greater than 0"),
        ("spread: [0.6, 2.0]", "spread: [2.0, 3.0]", "spread must be [least, most]"),
        ("event: [500, 9000]", "event: [9000, 500]", "event must be [least, most]"),
        ("pull_milliseconds: [20, 80]", "pull_milliseconds: [80, 20]", "field images.pull_milliseconds: must be"),
        ("unimplemented: []", "unimplemented: [Nope]", "field unimplemented: 'Nope' is no rpc of CRI v1"),
        ("    ListContainers: {", "    ListPods: {", "field costs.calls: 'ListPods' is no rpc of CRI v1"),
        ("sandbox_run: [CREATED", "sandbox_run: [MADE", "field events.sandbox_run.0: input should be 'CREATED'"),
        ("runtime:\n", "extra: 1\nruntime:\n", "field extra: extra inputs are not permitted"),
    ],
)
def test_mistakes_get_one_sentence_with_file_and_field(tmp_path: Path, old: str, new: str, says: str) -> None:
    file = tmp_path / "mine.yaml"
    text = profile_text("containerd-2.4")
    assert old in text
    file.write_text(text.replace(old, new, 1))
    with pytest.raises(ProfileError) as caught:
        load_profile(str(file))
    assert says in str(caught.value)
    assert "mine.yaml" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_files_that_are_no_profiles(tmp_path: Path) -> None:
    with pytest.raises(ProfileError, match=r"no runtime 'dockershim': choose containerd-1.6, .*, or name a YAML file"):
        load_profile("dockershim")
    with pytest.raises(ProfileError, match=r"cannot read the profile .*none.yaml: No such file"):
        load_profile(str(tmp_path / "none.yaml"))
    with pytest.raises(ProfileError, match="cannot read the profile"):
        load_profile(str(tmp_path) + "/")
    (tmp_path / "broken.yaml").write_text("runtime:\n  name: [1\n")
    with pytest.raises(ProfileError, match=r"broken.yaml is no YAML, line \d"):
        load_profile(str(tmp_path / "broken.yaml"))
    (tmp_path / "list.yaml").write_text("- 1\n")
    with pytest.raises(ProfileError, match="must be a mapping"):
        load_profile(str(tmp_path / "list.yaml"))
    (tmp_path / "bytes.yaml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ProfileError, match="is no text"):
        load_profile(str(tmp_path / "bytes.yaml"))
    (tmp_path / "code.yaml").write_text("!!python/object/apply:os.getcwd []\n")
    with pytest.raises(ProfileError, match="is no YAML"):
        load_profile(str(tmp_path / "code.yaml"))


@in_virtual_time
async def test_costs_are_never_zero_and_follow_the_number_of_objects() -> None:
    for name in built_in_profiles():
        costs = make_runtime(name).costs(1)
        few = [costs.call("ListContainers", 1) for _ in range(200)]
        many = [costs.call("ListContainers", 1000) for _ in range(200)]
        assert min(few) > 0
        assert sum(many) > 2 * sum(few)
        assert all(500_000 <= costs.event() <= 9_000_000 for _ in range(200))
        assert all(400_000 <= costs.call("PodSandboxStatus", 0) <= 1_900_000 for _ in range(200))
