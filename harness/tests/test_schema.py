"""The published schema, the sentence for every mistake in a system's file, and files that are any how wrong."""

import copy
import json
import tomllib

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from harness.errors import SystemFileError, UsageError
from harness.system import known_kinds, known_systems, load_system, starter
from harness.system.layers import SYSTEMS_DIR
from harness.system.mistakes import Problem
from harness.system.schema import SCHEMA_FILE, check

SCHEMA = json.loads(SCHEMA_FILE.read_text("utf-8"))
REFERENCE = (SYSTEMS_DIR / "reference.toml").read_text("utf-8")

BASED = """\
base = "reference"

[components.bridge]
process = ["./mine"]

[components.bridge.env]
A = "1"
"""


@pytest.fixture
def write(tmp_path):
    def write(text: str, name: str = "mine.toml") -> str:
        path = tmp_path / name
        path.write_text(text)
        return str(path)

    return write


def wrong(path: str, **options) -> str:
    with pytest.raises(SystemFileError) as raised:
        load_system(path, **options)
    return str(raised.value)


def test_the_schema_is_one_and_says_something_of_every_key():
    Draft202012Validator.check_schema(SCHEMA)
    bare = [where for where, entry in keys_of(SCHEMA) if not described(entry)]
    assert bare == []


def keys_of(schema, where=""):
    """Walk every key that a file may have, with its schema (not the rules on top, which describe nothing new)."""
    for name, below in schema.get("properties", {}).items():
        yield f"{where}.{name}", below
        yield from keys_of(below, f"{where}.{name}")
    other = schema.get("additionalProperties")
    if isinstance(other, dict):
        yield f"{where}.*", other
        yield from keys_of(other, f"{where}.*")
    for name in ("component", "commands", "ready") if not where else ():
        yield from keys_of(SCHEMA["$defs"][name], f"${name}")


def described(entry) -> bool:
    meant = SCHEMA["$defs"][entry["$ref"].rpartition("/")[2]] if "$ref" in entry else {}
    return bool(entry.get("description") or meant.get("description")) and bool(entry.get("title") or meant.get("title"))


@pytest.mark.parametrize("path", sorted(SYSTEMS_DIR.rglob("*.toml")), ids=lambda path: path.stem)
def test_every_shipped_file_names_the_schema_and_follows_it(path):
    text = path.read_text("utf-8")
    head = text.partition("\n")[0]
    assert head.startswith("#:schema ")
    assert (path.parent / head.removeprefix("#:schema ")).resolve() == SCHEMA_FILE
    assert list(Draft202012Validator(SCHEMA).iter_errors(tomllib.loads(text))) == []
    load_system(str(path))


# -- mistakes ----------------------------------------------------------------------------------------------------------

TOP, BRIDGE = "the top level", "[components.bridge]"
WORDS = 'a list of texts, like ["a", "b"]'
PROGRAM = 'a program and its arguments, like ["./bridge", "--port", "{self.grpc}"]'
MISTAKES = [
    # An old text of reference.toml, the new one, a text of the line that must be named, the sentence without the place.
    ("[links]", "[linkz]", "[linkz]", f"a known key in {TOP}; saw 'linkz'", 'did you mean "links"?'),
    ("room_template =", "room_templat =", "room_templat", f"a known key in {TOP}; saw 'room_templat'",
     'did you mean "room_template"?'),
    ('"{user}"', '"{usr}"', "room_template", f'room_template in {TOP} to be a text with {{user}} in it; saw "{{usr}}"',
     "mend the value"),
    ('"{user}"', "7", "room_template", f"room_template in {TOP} to be a text with {{user}} in it; saw 7",
     "mend the value"),
    ("[components.bridge]", "[component.bridge]", "[component.bridge]", f"a known key in {TOP}; saw 'component'",
     'did you mean "components"?'),
    ('process = ["{python}", "-m", "harness.reference.bridge"]', 'proces = ["x"]', "proces =",
     f"a known key in {BRIDGE}; saw 'proces'", 'did you mean "process"?'),
    ('process = ["{python}", "-m", "harness.reference.bridge"]', "", "[components.bridge]",
     f"one of process, image, commands and external in {BRIDGE}; saw none of them", "say how it runs"),
    ('process = ["{python}", "-m", "harness.reference.bridge"]', 'process = ["x"]\nimage = "y"', "[components.bridge]",
     f"at most one of process, image, commands and external in {BRIDGE}; saw process and image",
     "keep exactly one (external may have commands beside it)"),
    ('process = ["{python}", "-m", "harness.reference.bridge"]', 'process = ["x"]\nexternal = "h"',
     "[components.bridge]",
     f"at most one of process, image, commands and external in {BRIDGE}; saw process and external",
     "keep exactly one (external may have commands beside it)"),
    ('process = ["{python}", "-m", "harness.reference.bridge"]', 'process = "./b"', "process =",
     f'process in {BRIDGE} to be {PROGRAM}; saw "./b"', "mend the value"),
    ('process = ["{python}", "-m", "harness.reference.bridge"]', "process = []", "process =",
     f"process in {BRIDGE} to be {PROGRAM}; saw []", "mend the value"),
    ('process = ["{python}", "-m", "harness.reference.bridge"]', 'process = ["b", 1]', "process =",
     f"process in {BRIDGE} to be {PROGRAM}; saw 1", "mend the value"),
    ('process = ["{python}", "-m", "harness.reference.bridge"]', 'process = [""]', "process =",
     f'process in {BRIDGE} to be {PROGRAM}; saw ""', "mend the value"),
    ('process = ["{python}", "-m", "harness.reference.bridge"]', 'image = ""', "image =",
     f'image in {BRIDGE} to be the name of an image; saw ""', "mend the value"),
    ('process = ["{python}", "-m", "harness.reference.bridge"]', 'external = "127.0.0.1:9090"', "external =",
     (f'external in {BRIDGE} to be a host without scheme and port, like "127.0.0.1" (ports says the ports); '
     'saw "127.0.0.1:9090"'), "mend the value"),
    ('process = ["{python}", "-m", "harness.reference.bridge"]', 'commands = { kill = ["k"] }', "commands =",
     "start in [components.bridge.commands]; saw kill", "say how it is started"),
    ('process = ["{python}", "-m", "harness.reference.bridge"]', 'commands = { strat = ["k"] }', "commands =",
     "a known key in [components.bridge.commands]; saw 'strat'", 'did you mean "start"?'),
    ('process = ["{python}", "-m", "harness.reference.bridge"]', 'commands = { start = "k" }', "commands =",
     f'start in [components.bridge.commands] to be {PROGRAM}; saw "k"', "mend the value"),
    ("{ grpc = 9090 }", "{ grpc = 90900 }", "grpc = 90900",
     "grpc in [components.bridge.ports] to be a port from 1 to 65535; saw 90900", "mend the value"),
    ("{ grpc = 9090 }", "{ grpc = true }", "grpc = true",
     "grpc in [components.bridge.ports] to be a port from 1 to 65535; saw true", "mend the value"),
    ("{ grpc = 9090 }", "{ grcp = 9090 }", "grcp = 9090", "grpc in [components.bridge.ports]; saw 'grcp'",
     'did you mean "grpc"?'),
    ("{ grpc = 9090 }", "9090", "ports = 9090", f"ports in {BRIDGE} to be a table of ports; saw 9090",
     "mend the value"),
    ('udp = ["rtc"]', 'udp = "rtc"', "udp =", f'udp in [components.livekit] to be {WORDS}; saw "rtc"',
     "mend the value"),
    ('udp = ["rtc"]', 'udp = ["rct"]', "udp =", "udp of livekit to name its ports; saw 'rct'", 'did you mean "rtc"?'),
    ('needs = ["livekit"]', 'needs = ["livkit"]', "needs =", "bridge to need a component; saw 'livkit'",
     'did you mean "livekit"?'),
    ('needs = ["livekit"]', 'needs = ["cloud"]', 'needs = ["livekit", "bridge"]',
     "needs without a circle; saw bridge -> cloud -> bridge", "remove one of them"),
    ('grpc_health = "grpc", ', "", "ready = { service", ("one of http, tcp, grpc_health and log in "
     "[components.bridge.ready]; saw none of them"), "keep exactly one"),
    ('grpc_health = "grpc", ', 'grpc_health = "grpc", tcp = "grpc", ', "ready = { grpc_health", ("at most one of http, "
     "tcp, grpc_health and log in [components.bridge.ready]; saw grpc_health and tcp"), "keep exactly one"),
    ('grpc_health = "grpc", ', 'grpc_healt = "grpc", ', "grpc_healt =",
     "a known key in [components.bridge.ready]; saw 'grpc_healt'", 'did you mean "grpc_health"?'),
    ('grpc_health = "grpc", ', 'grpc_health = "grp", ', 'grpc_health = "grp"',
     "[components.bridge.ready] to name a port; saw 'grp'", 'did you mean "grpc"?'),
    ('ready = { http = "http", path = "/health", within_s = 20 }', 'ready = { log = "up(" }', "ready = { log",
     "a regex in [components.cloud.ready.log]; saw 'up(' (missing ), unterminated subpattern at position 2)",
     "mend the value"),
    ('path = "/health", within_s = 20', "within_s = -1", "within_s = -1",
     "within_s in [components.cloud.ready] to be a number of 0 or more; saw -1", "mend the value"),
    ('path = "/health", within_s = 20', "within_s = inf", "within_s = inf",
     "within_s in [components.cloud.ready] to be a finite number; saw inf", "mend the value"),
    ('PORT = "{self.grpc}"', 'PORT = "a\\u0000b"', "PORT =",
     "PORT in [components.bridge.env] to be a text without NUL; saw 'a\\x00b'", "mend the value"),
    ("ours = true # a part", 'ours = "yes" # a part', 'ours = "yes"',
     f'ours in {BRIDGE} to be true or false; saw "yes"', "mend the value"),
    ("events = false", "events = false\nlimits = { memory = 5 }", "limits =",
     "a known key in [components.livekit.limits]; saw 'memory'", 'did you mean "memory_mb"?'),
    ("events = false", 'events = false\nlimits = { cpus = "half" }', "limits =",
     'cpus in [components.livekit.limits] to be a number of 0 or more; saw "half"', "mend the value"),
    ("events = false", "events = 2026-01-01", "events =",
     'events in [components.livekit] to be true or false; saw "2026-01-01"', "mend the value"),
    ('PORT = "{self.grpc}"', "PORT = true", "PORT = true",
     "PORT in [components.bridge.env] to be a text or a number; saw true", "mend the value"),
    ('PORT = "{self.grpc}"', 'PORT = "{self.grp}"', 'PORT = "{self.grp}"', ("a known template in '{self.grp}'; "
     "saw {self.grp}"), 'did you mean "self.grpc"?'),
    ('PORT = "{self.grpc}"', 'PORT = "{self.grpc"', 'PORT = "{self.grpc"', ("a template like {self.grpc} in "
     "'{self.grpc'; saw a lone '{'"), "double a brace that is meant"),
    ('"cloud->stt" = "ws"', '"cloud-stt" = "ws"', '"cloud-stt"', ('a link to be called "dialer->target" in [links]; '
     "saw 'cloud-stt'"), 'write for example "cloud->bridge"'),
    ('"cloud->stt" = "ws"', '"cloud->sst" = "ws"', '"cloud->sst"',
     "link cloud->sst to name parts of the system; saw 'sst'", 'did you mean "stt"?'),
    ('"cloud->stt" = "ws"', '"cloud->stt" = "wss"', '"cloud->stt"', "link cloud->stt to name a port of stt; saw 'wss'",
     'did you mean "ws"?'),
    ('"cloud->stt" = "ws"', '"cloud->stt" = 5', '"cloud->stt"', ("cloud->stt in [links] to be the name of a port, or a "
     "table with port and scheme; saw 5"), "mend the value"),
    ('{ port = "http", scheme = "ws" }', '{ scheme = "ws" }', '"app->cloud"', "port in [links.app->cloud]; saw scheme",
     ("The name of the target's port. How the address is written follows from it (signal and ws: ws://, http: http://, "
     "else host:port), unless a scheme is given.")),
    ('"phone->cloud" = "http"', "", "[links]", ("phone->cloud in [links]; saw phone->livekit, bridge->livekit, "
     "cloud->bridge, cloud->stt, cloud->app, app->cloud"), "the phones and the bridge dial links only"),
    ('livekit.secret = ""', "livekit.secret = 5", "livekit.secret",
     "secret in [secrets.livekit] to be a text in quotes; saw something else", "mend the value"),
    ('livekit.secret = ""', 'livekit.secrt = ""', "livekit.secrt", "secret in [secrets.livekit]; saw 'secrt'",
     'did you mean "secret"?'),
    ('livekit.secret = ""', 'livekit.secret = "$AFTERSHOCK_NOT_SET"', "livekit.secret",
     "the environment variable AFTERSHOCK_NOT_SET for livekit.secret; saw nothing",
     "export AFTERSHOCK_NOT_SET=..."),
    ('livekit.secret = ""', 'livekit.secret = "$A-B"', "livekit.secret",
     'livekit.secret in [secrets] to be "", a text, or "$NAME"; saw another text with $ before it',
     'write "$$" for a dollar sign that is meant'),
    ('alarm = ["panic:", "Traceback"]', 'alarm = ["("]', "alarm =", ("a regex in [judging.alarm]; saw '(' "
     "(missing ), unterminated subpattern at position 0)"), "mend the value"),
    ('alarm = ["panic:", "Traceback"]', 'alarms = ["x"]', "alarms =", "a known key in [judging]; saw 'alarms'",
     'did you mean "alarm"?'),
    ("[profiles.short.timers.bridge]", "[profiles.short.timers.brige]", "timers.brige",
     "timers of a component; saw 'brige'", 'did you mean "bridge"?'),
    ("grace_s = 8", "grace_s = true", "grace_s = true",
     "grace_s in [profiles.short.timers.cloud] to be a number of 0 or more; saw true", "mend the value"),
    ("grace_s = 8", "grace = 8", "grace = 8", "grace_s in [profiles.short.timers.cloud]; saw 'grace'",
     'did you mean "grace_s"?'),
    ("resumes_s = 6", "resume_s = 6", "resume_s", "a known key in [profiles.short.budgets]; saw 'resume_s'",
     'did you mean "resumes_s"?'),
    ("room_retry_s = 1", "romo_retry_s = 1", "romo_retry_s", ("a known key in [profiles.short.phone]; saw "
     "'romo_retry_s'"), 'did you mean "room_retry_s"?'),
    ("[profiles.short.budgets]", "[profiles.short.budget]", "short.budget]",
     "a known key in [profiles.short]; saw 'budget'", 'did you mean "budgets"?'),
    ("[ears.app]", "[ears.ap]", "[ears.ap]", "a known key in [ears]; saw 'ap'", 'did you mean "app"?'),
    ("[components.cloud]", "[components.phone]\nprocess = ['x']\n[components.cloud]", "[components.phone]",
     "a part's name of letters, digits, - and _ (but not phone, self or secrets) in [components]; saw 'phone'",
     "rename it"),
    ("[components.cloud]", '[components."../x"]\nprocess = ["x"]\n[components.cloud]', '"../x"',
     "a part's name of letters, digits, - and _ (but not phone, self or secrets) in [components]; saw '../x'",
     "rename it"),
]  # fmt: skip


@pytest.mark.parametrize(("old", "new", "at", "expected", "mend"), MISTAKES, ids=range(len(MISTAKES)))
def test_a_mistake_is_a_sentence_with_its_line_and_the_nearest_word(write, old, new, at, expected, mend):
    assert old in REFERENCE
    text = REFERENCE.replace(old, new, 1)
    path = write(text)
    place = REFERENCE.index(old) + new.index(at) if at in new else text.index(at)
    line = text[:place].count("\n") + 1
    assert wrong(path) == f"expected {expected} ({path}, line {line}); {mend}"


def test_there_are_many_mistakes():
    assert len(MISTAKES) >= 40


def test_a_file_that_is_nothing_says_what_a_beginning_is(write):
    assert 'base = "reference" at the top of the file' in wrong(write(""))
    assert "brackets in brackets" in wrong(write("a = " + "[" * 5000 + "]" * 5000))


# -- a base ------------------------------------------------------------------------------------------------------------


def test_a_file_with_a_base_says_only_what_differs(write):
    mine, base = load_system(write(BASED)), load_system("reference")
    bridge = mine.components["bridge"]
    assert (bridge.runtime, bridge.ours, bridge.env["A"]) == ("process", False, "1")
    assert bridge.env.items() >= base.components["bridge"].env.items()
    assert (bridge.ready, mine.links, mine.profile) == (base.components["bridge"].ready, base.links, base.profile)
    assert mine.components["cloud"] == base.components["cloud"]
    assert mine.name == "mine"


@pytest.mark.parametrize("way", ['image = "b:1"', 'commands = { start = ["b"] }', 'external = "127.0.0.1"'])
def test_another_runtime_drops_the_one_of_the_base(write, way):
    bridge = load_system(write(BASED.replace('process = ["./mine"]', way))).components["bridge"]
    assert bridge.process is None
    assert not bridge.ours
    ours = load_system(write(BASED.replace('process = ["./mine"]', f"{way}\nours = true"))).components["bridge"]
    assert ours.ours


def test_another_way_of_being_ready_drops_the_one_of_the_base(write):
    ready = load_system(write(BASED.replace("[components.bridge.env]", '[components.bridge.ready]\ntcp = "grpc"')
                              .replace('A = "1"', ""))).components["bridge"].ready  # fmt: skip
    assert ready is not None
    assert (ready.kind, ready.path, ready.within_s) == ("tcp", "/", 20.0)


def test_mistakes_name_the_file_in_which_they_are(write):
    path = write(BASED.replace("A =", "A = '{self.nope}'\nB ="))
    assert f"({path}, line 7)" in wrong(path)
    own = write(REFERENCE.replace("{self.http}", "{self.htpt}"), "below.toml")
    assert f"({own}, line " in wrong(write(BASED.replace('"reference"', '"below.toml"')))


def test_a_base_that_is_none_is_a_sentence(write):
    path = write(BASED.replace('"reference"', '"referense"'))
    says = f"expected base to name a system or a TOML file; saw 'referense' ({path}, line 1); "
    assert wrong(path) == says + 'did you mean "reference"?'
    assert "saw 5 " in wrong(write(BASED.replace('"reference"', "5")))
    write('base = "other.toml"', "mine.toml")
    assert "other.toml -> mine.toml -> other.toml" in wrong(write('base = "mine.toml"', "other.toml"))
    assert "base to name" in wrong(write('base = "a\\u0000b"'))


def test_an_editor_takes_a_part_of_a_file_that_has_a_base():
    check({"base": "reference", "components": {"bridge": {"env": {"A": "1"}, "ready": {"within_s": 3}}}})
    with pytest.raises(Problem):
        check({"components": {"bridge": {"env": {"A": "1"}}}})


# -- secrets -----------------------------------------------------------------------------------------------------------


SECRET = "s3cret" * 6


def test_a_secret_comes_from_the_environment(write, monkeypatch):
    monkeypatch.setenv("MINE_SECRET", SECRET)
    path = write(BASED + '[secrets]\nlivekit.secret = "$MINE_SECRET"\nlivekit.key = "$$x"\n')
    system = load_system(path)
    assert (system.secrets["livekit.secret"], system.secrets["livekit.key"]) == (SECRET, "$x")
    assert SECRET not in repr(system)
    given = load_system("reference", sets=["secrets.livekit.secret=$MINE_SECRET"])
    assert given.secrets["livekit.secret"] == SECRET
    monkeypatch.setenv("MINE_SECRET", "")
    assert "export MINE_SECRET=..." in wrong(path)


@pytest.mark.parametrize(
    ("word", "says"),
    [
        ("secrets.livekit.secret=hush", "write --set 'secrets.livekit.secret=$NAME'"),
        (
            "secrets.livekit.secret=$AFTERSHOCK_NOT_SET",
            "expected the environment variable AFTERSHOCK_NOT_SET for livekit.secret; saw nothing (by --set)",
        ),
    ],
)
def test_a_secret_on_the_command_line_is_refused_and_not_repeated(word, says):
    with pytest.raises(UsageError) as raised:
        load_system("reference", sets=[word])
    assert says in str(raised.value)
    assert "hush" not in str(raised.value)


# -- anything ----------------------------------------------------------------------------------------------------------

VALUES = st.one_of(
    st.dates(), st.booleans(), st.integers(), st.floats(), st.text(max_size=8), st.lists(st.integers(), max_size=2),
    st.dictionaries(st.text(max_size=4), st.integers(), max_size=2),
)  # fmt: skip


def paths_of(table, path=()):
    for key, value in table.items():
        yield (*path, key)
        if isinstance(value, dict):
            yield from paths_of(value, (*path, key))


WHOLE = tomllib.loads(REFERENCE)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(path=st.sampled_from(list(paths_of(WHOLE))), how=st.sampled_from(["rename", "retype", "delete"]), data=st.data())
def test_a_file_changed_anywhere_loads_or_is_a_sentence(monkeypatch, path, how, data):
    raw = copy.deepcopy(WHOLE)
    table = raw
    for key in path[:-1]:
        table = table[key]
    old = table.pop(path[-1])
    if how == "rename":
        table[data.draw(st.text(max_size=6) | st.just(path[-1] + "x"))] = old
    elif how == "retype":
        table[path[-1]] = data.draw(VALUES)
    monkeypatch.setattr("harness.system.layers.tomllib.loads", lambda _: raw)
    try:
        load_system("reference")
    except SystemFileError as sentence:
        assert ", line " in str(sentence)
    except UsageError as sentence:
        assert "the name of a profile" in str(sentence)


PIECES = st.sampled_from(
    ["bridge", "livekit", "secrets", "ready", "http", "tcp", "commands", "start", "process", "image", "external",
     "ports", "grpc", "env", "limits", "cpus", "needs", "ours", "x", "", "5", "a b"]
)  # fmt: skip
WORD = st.tuples(
    st.lists(PIECES, min_size=1, max_size=4), st.sampled_from(["", "5", "nan", "true", "x", "[1]", "{a=1}", "'", "$X"])
)


@settings(max_examples=40, deadline=None)
@given(words=st.lists(WORD, min_size=1, max_size=2))
def test_any_word_over_the_file_loads_or_is_a_sentence(words):
    sets = [f"{'.'.join(path)}={value}" for path, value in words]
    try:
        load_system("containers", sets=sets)
    except UsageError as sentence:
        assert str(sentence).startswith("expected ")


def test_starters_and_systems_are_there():
    assert {"reference", "containers"} <= set(known_systems())
    assert set(known_kinds()) == {"binary", "image", "compose", "pm2", "commands"}
    assert starter("pm2").startswith("#:schema file:///")
