"""A system file, the words over it, and the sentences for what is wrong in them."""

import json
from pathlib import Path

import pytest

from harness.errors import SystemFileError, UsageError
from harness.reference.cloud.timers import Timers, parse_timers
from harness.system import RIG_VALUES, Places, System, known_systems, load_system, made_secrets, resolve, uses

SMALL = """
[components.livekit]
ports = { signal = 7880, rtc = 7882 }
udp = ["rtc"]
process = ["{livekit.server}"]

[components.bridge]
needs = ["livekit"]
ports = { grpc = 9090 }
process = ["/bin/bridge", "--port", "{self.grpc}", "{{literal}}"]
ready = { grpc_health = "grpc", within_s = 5 }
ours = true

[components.bridge.env]
LIVEKIT_URL = "{livekit.signal}"
TIMERS = "{timers.json}"
DEFECTS = "{defects}"

[links]
"bridge->livekit" = "signal"
"phone->livekit" = "signal"
"phone->cloud" = "http"

[values]
app.package = "com.example"

[secrets]
livekit.key = "known"
livekit.secret = ""
cloud.jwt_secret = ""

[profiles.short.timers.bridge]
send_timeout_s = 2
[profiles.short.timers.cloud]
grace_s = 8
[profiles.short.budgets]
steady_s = 3
resumes_s = 6
drain_s = 2
restart_s = 5
[profiles.short.phone]
retry_s = 1

[components.cloud]
ports = { http = 80 }
image = "cloud:1"
"""


@pytest.fixture
def write(tmp_path):
    def write(text: str) -> str:
        path = tmp_path / "mine.toml"
        path.write_text(text)
        return str(path)

    return write


def places(system: System) -> Places:
    return Places(
        fronts={name: ("127.16.0.1", 20000 + number) for number, name in enumerate(system.links)},
        hosts={name: component.external or "127.16.0.1" for name, component in system.components.items()},
        ports={
            name: component.ports
            if component.external
            else {port: 30000 + number for number, port in enumerate(component.ports)}
            for name, component in system.components.items()
        },
        values={**made_secrets(system), **{name: f"<{name}>" for name in RIG_VALUES}},
    )


def test_the_reference_system_reads_and_resolves_in_both_profiles():
    assert "reference" in known_systems()
    for profile in ("short", "real-timers"):
        system = load_system("reference", profile=profile)
        assert system.start_order() == ("livekit", "bridge", "cloud")
        cloud = resolve(system, system.components["cloud"], places(system))
        # A timer that the cloud does not know would end it at its start.
        parse_timers(cloud.env["REFERENCE_TIMERS"])
        assert cloud.env["LIVEKIT_URL"] == "ws://127.16.0.1:20002"
        assert cloud.env["LIVEKIT_GRPC_BRIDGE_URL"] == "127.16.0.1:20003"
        assert json.loads(cloud.env["REFERENCE_APPS"])[0]["publicUrl"] == "http://127.16.0.1:20005"
        assert cloud.env["APP_WS_URL"] == "ws://127.16.0.1:20006/app-ws"
        assert cloud.env["ROOM_TEMPLATE"] == "{user}"
        assert "{" not in cloud.env["SONIOX_ENDPOINT"]


def test_real_timers_are_the_production_values():
    timers = load_system("reference", profile="real-timers").profile.timers_of["cloud"]
    assert parse_timers(json.dumps(timers)) == Timers()
    assert set(timers) == set(load_system("reference").profile.timers_of["cloud"])


def test_templates_give_own_ports_fronts_timers_and_doubled_braces(write):
    system = load_system(write(SMALL), defects=["refuse-existing-session", "bridge:mute"])
    bridge = resolve(system, system.components["bridge"], places(system))
    assert bridge.argv == ("/bin/bridge", "--port", "30000", "{literal}")
    assert bridge.env["LIVEKIT_URL"] == "ws://127.16.0.1:20000"
    assert json.loads(bridge.env["TIMERS"]) == {"send_timeout_s": 2.0}
    assert bridge.env["DEFECTS"] == "refuse-existing-session,mute"
    assert uses(system.components["livekit"], "livekit.server")


def test_secrets_left_empty_differ_from_run_to_run_and_stay_out_of_the_printed_form(write):
    system = load_system(write(SMALL))
    first, second = made_secrets(system), made_secrets(system)
    assert first["livekit.key"] == "known"
    assert len(first["livekit.secret"]) >= 32
    assert first["livekit.secret"] != second["livekit.secret"]
    filled = resolve(system, system.components["bridge"], places(system))
    assert "LIVEKIT_URL" not in repr(filled)


def test_set_replaces_the_runtime_and_the_part_is_no_longer_ours(write, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = write(SMALL)
    byhand = load_system(path, sets=["bridge.process=./b --name 'two words' {self.grpc}"]).components["bridge"]
    assert byhand.process == (str(tmp_path / "b"), "--name", "two words", "{self.grpc}")
    assert not byhand.ours
    image = load_system(path, sets=["bridge.image=bridge:1.5", "bridge.env.LEVEL=5", "bridge.ready.within_s=9"])
    bridge = image.components["bridge"]
    assert (bridge.runtime, bridge.image, bridge.process) == ("container", "bridge:1.5", None)
    assert bridge.env["LEVEL"] == "5"
    assert bridge.ready is not None
    assert (bridge.ready.kind, bridge.ready.within_s) == ("grpc_health", 9.0)
    commands = load_system(path, sets=["bridge.commands.start=pm2 start x", "bridge.commands.kill=pm2 kill"])
    assert commands.components["bridge"].commands == {"start": ("pm2", "start", "x"), "kill": ("pm2", "kill")}
    tcp = load_system(path, sets=["bridge.ready.tcp=grpc", "bridge.ports.grpc=7000"]).components["bridge"]
    assert tcp.ready is not None
    assert (tcp.ready.kind, tcp.ports, tcp.ours) == ("tcp", {"grpc": 7000}, True)


@pytest.mark.parametrize(
    ("sets", "says"),
    [
        (["brige.process=x"], 'did you mean "bridge"?'),
        (["bridge=x"], "--set component.key=value"),
        (["bridge.process="], "expected a command line"),
        (["bridge.process='x"], "close the quotes"),
        (["bridge.proces=x"], 'did you mean "process"?'),
        (["bridge.ports.grpc=many"], "a port from 1 to 65535"),
        (["bridge.process.x=y"], "takes a value itself"),
        (["bridge.env.A={self.grp}"], 'did you mean "self.grpc"?'),
        (["bridge.commands.stop=x"], "start in [components.bridge.commands]"),
        (["secrets.nope.x=$HOME"], "a secret that something uses in [secrets]; saw 'nope.x'"),
        (["secrets.livekit.secert=$HOME"], 'did you mean "livekit.secret"?'),
        (
            ["secrets.livekit=$HOME"],
            "saw secrets.livekit, which is a table; write secrets.livekit.key or secrets.livekit.secret",
        ),
        (["bridge.limits.cpus=1"], "limits of an image only, in [components.bridge]"),
        (["cloud.limits.cpus=1", "cloud.process=/bin/x"], "limits of an image only, in [components.cloud]"),
    ],
)
def test_a_set_that_cannot_be_used_is_wrong_use(write, sets, says):
    with pytest.raises(UsageError) as raised:
        load_system(write(SMALL), sets=sets)
    assert says in str(raised.value)
    assert raised.value.exit_code == 64


def test_a_defect_needs_a_part_of_ours(write):
    path = write(SMALL)
    for defects, sets, says in [
        (["bridge:refuse-existing-sesion"], [], 'did you mean "bridge:refuse-existing-session"?'),
        (["bridge:mute"], ["bridge.process=/bin/true"], "bridge is not ours here"),
        (["cloud:no-getstatus"], [], "cloud is not ours here"),
    ]:
        with pytest.raises(UsageError) as raised:
            load_system(path, sets=sets, defects=defects)
        assert says in str(raised.value)
    assert load_system(path, defects=["phone:no-room-retry"]).defects_of("phone") == ("no-room-retry",)


def test_unknown_names_are_wrong_use(write):
    for name, says in [("referense", 'did you mean "reference"?'), ("./not-there.toml", "no file ./not-there.toml")]:
        with pytest.raises(UsageError) as raised:
            load_system(name)
        assert says in str(raised.value)
    with pytest.raises(UsageError, match='did you mean "short"'):
        load_system(write(SMALL), profile="shrt")


@pytest.mark.parametrize(
    ("old", "new", "line", "says"),
    [
        ("udp = [", "udpp = [", 4, 'did you mean "udp"?'),
        ('udp = ["rtc"]', 'udp = "rtc"', 4, 'a list of texts, like ["a", "b"]'),
        ('udp = ["rtc"]', 'udp = ["rtcc"]', 4, 'did you mean "rtc"?'),
        ('needs = ["livekit"]', 'needs = ["livkit"]', 8, 'did you mean "livekit"?'),
        ('needs = ["livekit"]', 'needs = ["bridge"]', 8, "bridge -> bridge"),
        ("grpc = 9090", "grpc = 90900", 9, "a port from 1 to 65535"),
        ("ours = true", "ours = 1", 12, "true or false"),
        ("within_s = 5", 'within_s = "5"', 11, "a number of 0 or more"),
        ('grpc_health = "grpc", ', "", 11, "keep exactly one"),
        ("{livekit.signal}", "{livekit.signl}", 15, 'did you mean "livekit.signal"?'),
        ("{livekit.signal}", "{livekit.rtc}", 15, "parts dial links only"),
        ("{defects}", "{defects", 17, "double a brace that is meant"),
        ('"bridge->livekit" = "signal"', '"bridge->livkit" = "signal"', 20, 'did you mean "bridge->livekit"?'),
        ('"bridge->livekit" = "signal"', '"bridge->livekit" = "sig"', 20, 'did you mean "signal"?'),
        ("[profiles.short.timers.bridge]", "[profiles.short.timers.brid]", 32, 'did you mean "bridge"?'),
        ("send_timeout_s = 2", "send_timeout_s = true", 33, "a number of 0 or more"),
        ("[links]", "[linkz]", 19, 'did you mean "links"?'),
    ],
)
def test_a_mistake_in_the_file_names_the_line_and_the_nearest_word(write, old, new, line, says):
    assert old in SMALL
    path = write(SMALL.replace(old, new))
    with pytest.raises(SystemFileError) as raised:
        load_system(path)
    assert f"({path}, line {line})" in str(raised.value)
    assert says in str(raised.value)
    assert raised.value.exit_code == 3


def test_a_circle_of_needs_is_named_whole(write):
    text = SMALL.replace("[components.livekit]", '[components.livekit]\nneeds = ["bridge"]')
    with pytest.raises(SystemFileError, match="livekit -> bridge -> livekit"):
        load_system(write(text))


def test_text_that_is_no_toml_is_a_sentence_with_its_line(write):
    with pytest.raises(SystemFileError, match=r"line 2"):
        load_system(write("[components]\nbridge ! 1\n"))


def test_start_order_puts_needs_first_whatever_the_files_order(write):
    head, bridge = SMALL.split("[components.bridge]")
    livekit_last = "[components.bridge]" + bridge.replace("[links]", head + "\n[links]")
    assert load_system(write(livekit_last)).start_order() == ("livekit", "bridge", "cloud")


def test_reading_leaves_no_trace_of_the_working_directory_in_absolute_programs(write):
    process = load_system(write(SMALL)).components["bridge"].process
    assert process is not None
    assert Path(process[0]) == Path("/bin/bridge")


# -- what a file adds to its base, and what depends on all that was said -----------------------------------------------

ADDED = 'base = "reference"\n'


@pytest.mark.parametrize(
    ("text", "says", "line"),
    [
        ('[components.brigde]\nprocess = ["./b"]', "saw 'brigde' ({path}, line 2); did you mean \"bridge\"?", 2),
        ('[components.xyz]\nprocess = ["./b"]', "name it in needs or [links], or remove it", 2),
        ('[secrets]\nlivekit.secert = "x"', 'did you mean "livekit.secret"?', 3),
        ('[secrets]\nlivekit = "x"', "livekit in [secrets] to be a table with key and secret; saw something else", 3),
        (f'[secrets]\nlivekit.secret = "{"x" * 31}"', "at least 32 characters, as LiveKit wants it; saw 31", 3),
        ('[components.bridge]\nneeds = ["cloud"]', "saw bridge -> cloud -> bridge", 3),
        ("[components.bridge]\nlimits = { cpus = 1 }", "limits of an image only", 3),
    ],
)
def test_what_a_file_adds_in_vain_is_refused_where_it_stands(write, text, says, line):
    path = write(ADDED + text)
    with pytest.raises(SystemFileError) as raised:
        load_system(path)
    assert says.format(path=path) in str(raised.value)
    assert f"({path}, line {line})" in str(raised.value)


@pytest.mark.parametrize(
    "text",
    [
        '[components.proxy]\nprocess = ["./p"]\n[components.bridge]\nneeds = ["livekit", "proxy"]',
        '[components.proxy]\nports = { http = 1 }\nprocess = ["./p"]\n[links]\n"cloud->proxy" = "http"',
        '[secrets]\nmy.token = "x"\n[components.bridge.env]\nTOKEN = "{my.token}"',
        '[components.livekit]\nexternal = "127.0.0.1"\n[secrets]\nlivekit.secret = "short"',
        '[components.bridge]\nimage = "b:1"\nlimits = { cpus = 1 }',
    ],
)
def test_what_a_file_adds_and_something_uses_is_taken(write, text):
    assert load_system(write(ADDED + text)).name == "mine"


def test_limits_go_with_the_image_they_were_for(write):
    path = write('base = "containers"\n[components.bridge]\nlimits = { cpus = 1 }\n')
    assert load_system(path).components["bridge"].limits.cpus == 1
    assert load_system(path, sets=["bridge.process=/bin/b"]).components["bridge"].limits.cpus == 0


def test_a_short_secret_of_livekit_is_told_by_who_said_it(write, monkeypatch):
    monkeypatch.setenv("SHORT", "x" * 31)
    with pytest.raises(UsageError, match=r"saw 31 \(by --set\); leave it"):
        load_system("reference", sets=["secrets.livekit.secret=$SHORT"])
    path = write(ADDED + '[secrets]\nlivekit.secret = "$SHORT"\n')
    with pytest.raises(SystemFileError, match=r"saw 31 \(.*line 3\)"):
        load_system(path, sets=["bridge.process=/bin/b"])
    assert load_system(path, sets=["livekit.external=127.0.0.1"]).secrets["livekit.secret"] == "x" * 31


# -- a part given only as an image, a program, commands, or an address -------------------------------------------------


@pytest.mark.parametrize("system", ["reference", "containers"])
@pytest.mark.parametrize(
    ("sets", "runtime", "port"),
    [
        (["bridge.image=mine:1"], "container", "30000"),
        (["bridge.process=/bin/mine --fast"], "process", "30000"),
        (["bridge.commands.start=up", "bridge.commands.kill=down"], "commands", "30000"),
        (["bridge.external=127.0.0.1", "bridge.ports.grpc=7000"], "external", "7000"),
        (["bridge.external=127.0.0.1", "bridge.commands.kill=down"], "external", "9090"),
    ],
)
def test_a_part_is_given_by_a_word_or_two_whatever_the_system(system, sets, runtime, port):
    read = load_system(system, sets=sets)
    bridge = read.components["bridge"]
    assert (bridge.runtime, bridge.ours) == (runtime, False)
    assert (bridge.image, bridge.external) == (
        "mine:1" if runtime == "container" else None, "127.0.0.1" if runtime == "external" else None
    )  # fmt: skip
    assert (bridge.process is None) == (runtime != "process")
    resolved = resolve(read, bridge, places(read))
    assert (resolved.env["PORT"], resolved.env["LIVEKIT_URL"]) == (port, "ws://127.16.0.1:20002")
    assert resolved.argv == (("/bin/mine", "--fast") if runtime == "process" else ())
    told = {"commands": {"start": ("up",), "kill": ("down",)}, "external": {"kill": ("down",)}}
    assert resolved.commands == (told[runtime] if "commands" in sets[-1] else {})
    assert bridge.ready == load_system("reference").components["bridge"].ready


def test_livekit_may_run_already():
    sets = ["livekit.external=127.0.0.1", "livekit.ports.signal=7885", "livekit.env.URL={self.host}:{self.signal}"]
    system = load_system("reference", sets=sets)
    livekit = system.components["livekit"]
    assert (livekit.runtime, livekit.ports["signal"]) == ("external", 7885)
    assert resolve(system, livekit, places(system)).env["URL"] == "127.0.0.1:7885"


def test_the_scratch_directory_of_a_container_is_inside_but_that_of_its_mounts():
    system = load_system("reference", sets=["cloud.image=mine:1", "cloud.mounts./x={scratch.dir}/x"])
    cloud = resolve(system, system.components["cloud"], places(system))
    assert cloud.env["DATABASE_PATH"] == "/tmp/cloud.sqlite"
    assert cloud.mounts == {"/x": "<scratch.dir>/x"}
    back = load_system("containers", sets=["cloud.process=/bin/cloud"])
    assert resolve(back, back.components["cloud"], places(back)).env["DATABASE_PATH"] == "<scratch.dir>/cloud.sqlite"


def test_a_part_that_is_said_to_be_ours_stays_ours_wherever_that_is_said():
    for sets in (["bridge.ours=true", "bridge.image=b"], ["bridge.image=b", "bridge.ours=true"]):
        assert load_system("reference", sets=sets).components["bridge"].ours
