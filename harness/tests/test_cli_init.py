"""Files that ``aftershock init`` writes: each loads as it is, and finds the schema from where it lies."""

import tomllib
from urllib.parse import urlparse

import pytest

from harness.cli import main
from harness.system import Places, known_kinds, load_system, made_secrets, resolve
from harness.system.schema import SCHEMA_FILE, check

KINDS = {"binary": "process", "image": "container", "compose": "commands", "pm2": "commands", "commands": "commands"}


@pytest.fixture(autouse=True)
def _here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def test_without_a_kind_the_kinds_are_listed_and_nothing_is_written(tmp_path, capsys):
    assert main(["init"]) == 0
    out = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in out[:-1]] == list(KINDS) == list(known_kinds())
    assert out[0] == "binary    a program on my desk"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_is_a_whole_file_that_says_what_to_do(tmp_path, capsys, kind):
    assert main(["init", kind]) == 0
    path = tmp_path / "aftershock.toml"
    assert "Wrote aftershock.toml" in capsys.readouterr().out
    text = path.read_text()
    directive, *head = text.split("\n\n")[0].splitlines()
    assert urlparse(directive.removeprefix("#:schema ")).path == str(SCHEMA_FILE)
    assert all(line.startswith("#") for line in head)
    assert any(line.startswith("# Edit: ") for line in head)
    assert "aftershock run " in head[-1]
    assert head[-1].endswith("--system aftershock.toml")
    check(tomllib.loads(text))
    part = "cloud" if kind == "pm2" else "bridge"
    component = load_system(str(path)).components[part]
    assert (component.runtime, component.ours) == (KINDS[kind], False)


def test_the_pid_of_a_compose_part_keeps_its_braces():
    assert main(["init", "compose"]) == 0
    system = load_system("aftershock.toml")
    values = {**made_secrets(system), "scratch.dir": "/s"}
    fronts = dict.fromkeys(system.links, ("127.0.0.1", 1))
    ports = {name: dict(part.ports) for name, part in system.components.items()}
    found = resolve(
        system, system.components["bridge"],
        Places(fronts, dict.fromkeys(ports, "h"), ports, values),
    )  # fmt: skip
    assert (
        found.commands["pid"][2]
        == "docker inspect -f '{{.State.Pid}}' $(docker compose -p aftershock-9090 ps -q bridge)"
    )


def test_what_is_there_is_overwritten_only_by_force(tmp_path, capsys):
    path = tmp_path / "mine.toml"
    path.write_text("precious")
    assert main(["init", "binary", "--file", "mine.toml"]) == 64
    assert capsys.readouterr().err == (
        "expected a file that is not there yet; saw mine.toml; give another --file, or --force\n"
    )
    assert path.read_text() == "precious"
    assert main(["init", "binary", "--file", "mine.toml", "--force"]) == 0
    assert "--system mine.toml" in path.read_text()


def test_the_command_in_a_file_can_be_copied_whatever_the_files_name(tmp_path):
    assert main(["init", "binary", "--file", "my file.toml"]) == 0
    text = (tmp_path / "my file.toml").read_text()
    assert "--system 'my file.toml'\n" in text
    assert text.splitlines()[1].startswith("# (Above: where this machine has the schema.")


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (["binry"], 64, "expected the kind of a system file; saw 'binry'; did you mean \"binary\"?\n"),
        (["pm2", "--file", "no/x.toml"], 3, "expected to write no/x.toml; saw No such file or directory; "),
        (["pm2", "--file", ".", "--force"], 3, "expected to write .; saw Is a directory; give another --file\n"),
    ],
)
def test_what_cannot_be_written_is_a_sentence(capsys, words, code, says):
    assert main(["init", *words]) == code
    assert says in capsys.readouterr().err
