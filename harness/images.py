"""The images of ``docker/``: what each is made of, the tag that says so, and building those that the engine lacks.

A system names them without a tag (``aftershock/bridge``); the tag is a checksum of everything that goes in, so whatever
is changed is built anew, and two checkouts never share an image by accident. Any other image is taken as it is named.

``python -m harness.images`` makes all three and tags them ``latest``, for ``docker/compose.yaml`` and for work by hand.
"""

from __future__ import annotations

import asyncio
import fcntl
import hashlib
import io
import os
import sys
import tarfile
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from harness import livekit_server
from harness.errors import HarnessError, MachineError
from harness.livekit_server import Progress
from harness.runtimes.container.engine import ENGINE_ERRORS, Engine, Say, why
from harness.settings import PROJECT_ROOT, settings

PREFIX = "aftershock/"
LIVEKIT = f"{PREFIX}livekit"
PYTHON_PARTS = (f"{PREFIX}bridge", f"{PREFIX}cloud")
IMAGE_LABEL = "aftershock.image"
BY_HAND = "latest"
"""The tag of ours that moves; runs never use it."""
_SKIPPED = {"__pycache__"}


@dataclass(frozen=True)
class Recipe:
    """One of our images: its name, and the files of its build context by their path in there."""

    name: str
    files: Mapping[str, Path]
    dockerfile: str
    version: str

    @cached_property
    def checksum(self) -> str:
        """12 hexadecimal digits over every path and content."""
        total = hashlib.sha256()
        for path in sorted(self.files):
            content = hashlib.sha256(self.files[path].read_bytes()).hexdigest()
            total.update(f"{path} {content}\n".encode())
        return total.hexdigest()[:12]

    @property
    def image(self) -> str:
        """The image's full name, tagged with the checksum."""
        return f"{self.name}:{self.checksum}"

    def context(self) -> bytes:
        """Return the build context as a tar in which nothing depends on when or by whom it is made."""
        buffer = io.BytesIO()
        with tarfile.open(fileobj=buffer, mode="w") as tar:
            for path in sorted(self.files):
                info = tarfile.TarInfo(path)
                content = self.files[path].read_bytes()
                info.size, info.mode = len(content), 0o755 if os.access(self.files[path], os.X_OK) else 0o644
                tar.addfile(info, io.BytesIO(content))
        return buffer.getvalue()


def is_ours(image: str) -> bool:
    """Tell whether ``image`` names one of ``docker/`` without a tag: then we build it."""
    return image in {LIVEKIT, *PYTHON_PARTS}


def python_recipe(name: str, root: Path = PROJECT_ROOT) -> Recipe:
    """Return the recipe of the bridge's or the cloud's image."""
    folder = name.removeprefix(PREFIX)
    folders = (root / "docker" / folder, root / "harness" / "reference")
    files = [root / "docker" / "requirements.txt", *(file for one in folders for file in _all_in(one))]
    return Recipe(
        name, {str(path.relative_to(root)): path for path in files}, f"docker/{folder}/Dockerfile", version="reference"
    )


def livekit_recipe(server: Path, root: Path = PROJECT_ROOT) -> Recipe:
    """Return the recipe of LiveKit's image, around the server's static binary."""
    dockerfile = root / "docker" / "livekit" / "Dockerfile"
    return Recipe(
        LIVEKIT, {"docker/livekit/Dockerfile": dockerfile, "livekit-server": server}, "docker/livekit/Dockerfile",
        version=livekit_server.VERSION,
    )  # fmt: skip


async def made_ready(images: Mapping[str, str], livekit_path: str | None, say: Progress) -> dict[str, str]:
    """Make sure that the engine has an image for each component; return component to the image's full name.

    ``images``: component to image as the system names it. What is missing is built, if it is ours, or else pulled.

    Raises:
        MachineError: no engine, or an image can be neither built nor pulled.
    """
    recipes: dict[str, Recipe] = {}
    for image in set(images.values()):
        if image == LIVEKIT:
            recipes[image] = livekit_recipe((await livekit_server.find_or_build(livekit_path, say)).path)
        elif is_ours(image):
            recipes[image] = python_recipe(image)
    loop = asyncio.get_running_loop()
    return await asyncio.to_thread(_made_ready, images, recipes, lambda text: loop.call_soon_threadsafe(say, text))


def ours_unused() -> list[str]:
    """Return our tags that this state of the files does not use, as names of images; blocks.

    LiveKit's are left out while its binary is not in the cache: nobody can tell then which of them is in use.

    Raises:
        MachineError: no engine answers.
    """
    recipes = [python_recipe(name) for name in PYTHON_PARTS]
    server = livekit_server.cached_path()
    if server.exists():
        recipes.append(livekit_recipe(server))
    used, names = {recipe.image for recipe in recipes}, {recipe.name for recipe in recipes}
    engine = Engine()
    try:
        tags = engine.tags_with(IMAGE_LABEL)
    except ENGINE_ERRORS as refused:
        raise MachineError("a list of images", why(refused), "look at `docker images`") from None
    finally:
        engine.close()
    parted = ((tag, *tag.rpartition(":")[::2]) for tag in tags)
    return [tag for tag, name, version in parted if name in names and version != BY_HAND and tag not in used]


async def make_all(say: Progress) -> dict[str, str]:
    """Make sure of all three images and tag them ``latest``; return name to the full name of this state's.

    Raises:
        MachineError: no engine, or an image cannot be built.
    """
    wanted = {name: name for name in (LIVEKIT, *PYTHON_PARTS)}
    made = await made_ready(wanted, None, say)
    await asyncio.to_thread(_tag_all, made)
    return made


def _tag_all(made: Mapping[str, str]) -> None:
    engine = Engine()
    try:
        for name, image in made.items():
            engine.tag(image, name, BY_HAND)
    finally:
        engine.close()


def main() -> int:
    """Make the images and print their names; return the exit code."""
    try:
        made = asyncio.run(make_all(lambda text: print(text, file=sys.stderr, flush=True)))
    except HarnessError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    for name, image in made.items():
        print(f"{image}  (and {name}:{BY_HAND})")
    return 0


def _made_ready(images: Mapping[str, str], recipes: Mapping[str, Recipe], say: Say) -> dict[str, str]:
    engine = Engine()
    try:
        for image in sorted(set(images.values())):
            if image in recipes:
                if engine.image_facts(recipes[image].image) is None:
                    _build(engine, recipes[image], say)
            elif engine.image_facts(image) is None:
                engine.pull(image, say)
    finally:
        engine.close()
    return {name: recipes[image].image if image in recipes else image for name, image in images.items()}


def _build(engine: Engine, recipe: Recipe, say: Say) -> None:
    """Build one image; one builder at a time on this machine, since the second then finds it made."""
    folder = settings().lock_dir
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = os.open(folder / "images", os.O_RDONLY | os.O_CREAT | os.O_CLOEXEC, 0o666)
    except OSError as refused:
        raise MachineError(f"to lock {folder / 'images'}", f"{refused.strerror}", "repair that directory") from None
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if engine.image_facts(recipe.image) is not None:
            return
        say(f"image {recipe.image}: not here, building it (the first of all takes half a minute)")
        engine.build(
            recipe.image, recipe.context(), recipe.dockerfile, version=recipe.version,
            labels={IMAGE_LABEL: recipe.name}, say=say,
        )  # fmt: skip
    finally:
        os.close(lock)


def _all_in(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file() and not _SKIPPED & set(path.parts))


if __name__ == "__main__":
    sys.exit(main())
