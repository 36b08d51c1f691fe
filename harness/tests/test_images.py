"""An image is named after everything that goes into it, and is built only when the engine has none of that name."""

import io
import re
import tarfile
from typing import ClassVar

import pytest

from harness import images, livekit_server
from harness.errors import MachineError
from harness.images import LIVEKIT, PYTHON_PARTS, Recipe, is_ours, livekit_recipe, made_ready, python_recipe
from harness.settings import PROJECT_ROOT


@pytest.fixture
def checkout(tmp_path):
    for path in ("docker/requirements.txt", "docker/bridge/Dockerfile", "docker/livekit/Dockerfile"):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(f"content of {path}\n")
    reference = tmp_path / "harness" / "reference" / "bridge"
    (reference / "__pycache__").mkdir(parents=True)
    (reference / "room.py").write_text("room = 1\n")
    (reference / "__pycache__" / "room.pyc").write_bytes(b"\0")
    return tmp_path


def tag_of(checkout):
    return python_recipe("aftershock/bridge", checkout).image


def test_the_tag_follows_every_file_and_nothing_else(checkout):
    first = tag_of(checkout)
    assert first.startswith("aftershock/bridge:")
    (checkout / "harness/reference/bridge/__pycache__/room.pyc").write_bytes(b"\1")
    (checkout / "README.md").write_text("changed")
    assert tag_of(checkout) == first
    seen = {first}
    for path in ("docker/requirements.txt", "docker/bridge/Dockerfile", "harness/reference/bridge/room.py"):
        (checkout / path).write_text("changed\n")
        seen.add(tag_of(checkout))
    (checkout / "harness/reference/bridge/room.py").rename(checkout / "harness/reference/bridge/hall.py")
    seen.add(tag_of(checkout))
    assert len(seen) == 5


def test_the_context_holds_what_the_dockerfile_copies(checkout):
    recipe = python_recipe("aftershock/bridge", checkout)
    with tarfile.open(fileobj=io.BytesIO(recipe.context())) as tar:
        assert sorted(tar.getnames()) == [
            "docker/bridge/Dockerfile",
            "docker/requirements.txt",
            "harness/reference/bridge/room.py",
        ]
    assert recipe.context() == python_recipe("aftershock/bridge", checkout).context()


def test_livekits_binary_is_part_of_its_name_and_stays_executable(checkout):
    server = checkout / "server"
    server.write_bytes(b"one")
    server.chmod(0o755)
    recipe = livekit_recipe(server, checkout)
    with tarfile.open(fileobj=io.BytesIO(recipe.context())) as tar:
        assert tar.getmember("livekit-server").mode == 0o755
    first = recipe.image
    server.write_bytes(b"two")
    assert livekit_recipe(server, checkout).image != first


def test_the_real_recipes_are_whole():
    for name in PYTHON_PARTS:
        recipe = python_recipe(name)
        text = recipe.files[recipe.dockerfile].read_text()
        for line in text.splitlines():
            if line.startswith("COPY ") and "--from" not in line:
                source = line.split()[1]
                assert any(path == source or path.startswith(f"{source}/") for path in recipe.files), line


def test_only_names_without_a_tag_are_ours():
    assert is_ours("aftershock/bridge")
    assert is_ours(LIVEKIT)
    assert not is_ours("aftershock/bridge:mine")
    assert not is_ours("bridge:test")


class MadeUpEngine:
    """An engine that has some images, and notes what is asked of it."""

    have: ClassVar[set[str]] = set()
    asked: ClassVar[list[str]] = []

    def image_facts(self, image):
        return {"image": image} if image in self.have else None

    def build(self, image, context, dockerfile, *, version, labels, say):
        self.asked.append(f"build {image.partition(':')[0]}")
        self.have.add(image)

    def pull(self, image, say):
        if "nosuch" in image:
            raise MachineError(f"the image {image}", "no such host", "build it")
        self.asked.append(f"pull {image}")

    def close(self):
        pass


@pytest.fixture
def engine(monkeypatch, tmp_path):
    monkeypatch.setattr(images, "Engine", MadeUpEngine)
    monkeypatch.setattr(images, "settings", lambda: type("S", (), {"lock_dir": tmp_path / "locks"}))
    monkeypatch.setattr(MadeUpEngine, "have", {"bridge:theirs"})
    monkeypatch.setattr(MadeUpEngine, "asked", [])
    return MadeUpEngine


async def test_what_is_missing_is_built_or_pulled_once(engine):
    said: list[str] = []
    wanted = {"bridge": "bridge:theirs", "cloud": "aftershock/cloud", "second": "aftershock/cloud", "other": "other:1"}
    have = await made_ready(wanted, None, said.append)
    cloud = python_recipe("aftershock/cloud").image
    assert have == {"bridge": "bridge:theirs", "cloud": cloud, "second": cloud, "other": "other:1"}
    assert engine.asked == ["build aftershock/cloud", "pull other:1"]
    assert cloud in said[0]
    await made_ready({"cloud": "aftershock/cloud"}, None, said.append)
    assert engine.asked == ["build aftershock/cloud", "pull other:1"]


async def test_an_image_that_cannot_be_had_is_said(engine):
    with pytest.raises(MachineError, match="nosuch:1"):
        await made_ready({"bridge": "nosuch:1"}, None, print)


def test_a_recipe_is_a_value(tmp_path):
    file = tmp_path / "x"
    file.write_text("x")
    assert Recipe("n", {"x": file}, "d", "1").checksum == Recipe("n", {"x": file}, "d", "2").checksum


# -- docker/ -----------------------------------------------------------------------------------------------------------

DOCKER = PROJECT_ROOT / "docker"


def test_bridge_and_cloud_share_their_base_stages_to_the_letter():
    shared = [_between((DOCKER / part / "Dockerfile").read_text()) for part in ("bridge", "cloud")]
    assert shared[0] == shared[1]
    assert "FROM python:3.11-slim-bookworm" in shared[0]


def _between(text):
    found = re.search(r"^# --- the same lines .*?$(.*?)^# --- until here", text, re.MULTILINE | re.DOTALL)
    assert found, "the marks of the shared stages are gone"
    return found[1]


@pytest.mark.parametrize("part", ["livekit", "bridge", "cloud"])
def test_every_image_is_pinned_non_root_checked_and_labelled(part):
    text = (DOCKER / part / "Dockerfile").read_text()
    bases = re.findall(r"^FROM (\S+)", text, re.MULTILINE)
    assert all(base == "scratch" or re.search(r":\d", base) for base in bases), bases
    assert re.search(r"^USER 65534:65534$", text, re.MULTILINE)
    assert re.search(r"^HEALTHCHECK ", text, re.MULTILINE)
    for label in ("title", "description", "licenses", "version"):
        assert f"org.opencontainers.image.{label}=" in text
    # What the builder of older engines does not know.
    assert not re.search(r"^# syntax|--mount=", text, re.MULTILINE)


def test_compose_publishes_on_loopback_alone_and_names_its_secrets_as_what_they_are():
    text = (DOCKER / "compose.yaml").read_text()
    published = re.findall(r'^ +- "(.+:\d+/(?:tcp|udp))"$', text, re.MULTILINE)
    assert len(published) == 4
    assert all(port.startswith("127.0.0.1:") for port in published)
    assert re.findall(r"image: (\S+)", text) == [f"{name}:{images.BY_HAND}" for name in (LIVEKIT, *PYTHON_PARTS)]
    secrets = re.findall(r'_(?:SECRET|KEY): "(.*)"', text)
    assert len(secrets) == 6
    assert all(secret == "" or secret.startswith("development-") for secret in secrets)
    assert "key: development-secret-of-32-characters }" in text


def test_what_no_run_of_this_state_uses_is_told(monkeypatch, engine, tmp_path):
    bridge = python_recipe("aftershock/bridge").image
    tags = [bridge, "aftershock/bridge:0123456789ab", "aftershock/bridge:latest", "aftershock/livekit:0123456789ab",
            "other/bridge:1"]  # fmt: skip
    monkeypatch.setattr(engine, "tags_with", lambda self, label: tags, raising=False)
    monkeypatch.setattr(livekit_server, "cached_path", lambda: tmp_path / "none")
    assert images.ours_unused() == ["aftershock/bridge:0123456789ab"]
    (tmp_path / "server").write_bytes(b"x")
    monkeypatch.setattr(livekit_server, "cached_path", lambda: tmp_path / "server")
    assert images.ours_unused() == ["aftershock/bridge:0123456789ab", "aftershock/livekit:0123456789ab"]


def test_all_three_are_made_and_tagged_by_hand(monkeypatch, engine, capsys):
    tagged = []
    monkeypatch.setattr(engine, "tag", lambda self, image, name, tag: tagged.append((image, name, tag)), raising=False)

    async def server(explicit, say):
        return type("Server", (), {"path": PROJECT_ROOT / "LICENSE"})()

    monkeypatch.setattr(livekit_server, "find_or_build", server)
    assert images.main() == 0
    assert engine.asked == ["build aftershock/bridge", "build aftershock/cloud", "build aftershock/livekit"]
    assert [(name, tag) for _, name, tag in tagged] == [(name, "latest") for name in (LIVEKIT, *PYTHON_PARTS)]
    assert capsys.readouterr().out.count("(and aftershock/") == 3


def test_an_engine_that_is_missing_is_a_sentence_and_exit_3(monkeypatch, capsys):
    class Gone:
        def __init__(self):
            raise MachineError("a Docker engine that answers", "no such file", "start it")

    async def server(explicit, say):
        return type("Server", (), {"path": PROJECT_ROOT / "LICENSE"})()

    monkeypatch.setattr(images, "Engine", Gone)
    monkeypatch.setattr(livekit_server, "find_or_build", server)
    assert images.main() == 3
    assert "expected a Docker engine that answers; saw no such file; start it" in capsys.readouterr().err
