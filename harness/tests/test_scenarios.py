"""The scenario files' own tables and words: none is forgotten, and what is lacking is said."""

import pytest

from harness.story import registry
from scenarios.test_containers import ELSEWHERE, GATES, stories
from scenarios.test_pm2 import said_by_npm


def test_every_scenario_is_played_over_containers():
    """By the list of all of them, or in a file of its own; a rare variant only when somebody asks for it."""
    ids = {one for name, info in registry().items() if name not in ELSEWHERE for one in info.ids()}
    assert ids - set(stories()) == {"zombies-over-time[100]"}
    assert set(GATES) <= set(stories())


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
