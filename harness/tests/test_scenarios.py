"""The scenario files' own tables and words: none is forgotten, and what is lacking is said."""

from pathlib import Path

import pytest

from harness.story import registry
from scenarios.test_containers import FIRST, GATES, WHOLE, stories
from scenarios.test_pm2 import said_by_npm

BY_PROOF = {"app", "half_open", "mic", "neighbour", "people", "phone", "stt", "zombies_over_time"}
"""Files whose stories only ``make prove`` plays over containers: in them it matters little where the parts are."""
BY_ITSELF = {"containers_network"}
"""Only containers can play it, and it asks for them itself."""


def test_of_every_file_it_is_said_what_is_played_over_containers():
    """All variants, the first, or none; a rare variant only when somebody asks for it."""
    of_file: dict[str, list[tuple[str, ...]]] = {}
    for info in registry().values():
        file = Path(info.path).stem.removeprefix("test_")
        of_file.setdefault(file, []).append(info.usual_ids() if file in WHOLE else info.ids()[:1])
    kinds = (WHOLE, FIRST, BY_PROOF, BY_ITSELF)
    assert sorted(file for kind in kinds for file in kind) == sorted(of_file), "each file once"
    played = {one for file in WHOLE | FIRST for ids in of_file[file] for one in ids}
    assert sorted(stories()) == sorted(played)
    assert set(GATES) <= played


NPM = """\
npm warn Unknown user config
npm error code ECONNREFUSED
npm error errno ECONNREFUSED
npm error FetchError: request to http://127.0.0.1:9/pm2 failed, reason: connect ECONNREFUSED 127.0.0.1:9
npm error If you are behind a proxy, please make sure that the 'proxy' config is set properly.
"""


@pytest.mark.parametrize(
    ("command", "why"),
    [
        (f"cat >&2 <<'END'\n{NPM}END\nexit 1", "FetchError: request to http://127.0.0.1:9/pm2 failed"),
        ("echo npm error code E1 >&2; exit 1", "code E1"),
        ("exit 7", "it ended with code 7"),
    ],
)
def test_why_npm_failed_is_in_its_own_words(tmp_path, command, why):
    assert said_by_npm(["sh", "-c", command], tmp_path).startswith(why)
    assert said_by_npm(["true"], tmp_path) is None
