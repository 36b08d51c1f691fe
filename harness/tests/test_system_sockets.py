"""Ports that are unix sockets: what parts are told of them, and who cannot have one."""

import pytest

from harness.errors import SystemFileError
from harness.system import Places, load_system, resolve

FRONT, OWN = "/tmp/run/cloud-to-bridge.sock", "/tmp/run/bridge-grpc.sock"


def places(system):
    fronts = {name: ("127.1.2.3", 1000 + number) for number, name in enumerate(system.links)}
    fronts["cloud->bridge"] = (FRONT, 0)
    ports = {name: dict.fromkeys(part.ports, 2000) for name, part in system.components.items()}
    hosts = dict.fromkeys(system.components, "127.1.2.3")
    names = [*system.secrets, "python", "run.id", "run.dir", "scratch.dir", "livekit.server", "livekit.config"]
    return Places(fronts, hosts, ports, dict.fromkeys(names, "made up"), {"bridge": {"grpc": OWN}})


def test_both_ends_are_told_a_file():
    system = load_system("unix-socket")
    at = places(system)
    assert system.is_socket("bridge", "grpc")
    assert not system.is_socket("cloud", "http")
    assert resolve(system, system.components["bridge"], at).env["LIVEKIT_GRPC_SOCKET"] == OWN
    cloud = resolve(system, system.components["cloud"], at).env
    assert cloud["LIVEKIT_GRPC_SOCKET"] == FRONT, "the link's own, never the bridge's"
    assert OWN not in cloud.values()
    assert cloud["LIVEKIT_URL"].startswith("ws://127.1.2.3:")


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ('sockets = ["grpcc"]', 'did you mean "grpc"'),
        ('sockets = ["grpc"]\nimage = "bridge:1"', "no unix sockets of bridge"),
        ('sockets = "grpc"', "a list of texts"),
    ],
)
def test_who_cannot_have_one_is_told_so(tmp_path, words, says):
    path = tmp_path / "mine.toml"
    path.write_text(f'base = "reference"\n[components.bridge]\n{words}\n')
    with pytest.raises(SystemFileError, match=says):
        load_system(str(path))
