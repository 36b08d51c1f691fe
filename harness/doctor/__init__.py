"""What this machine has and lacks for runs: looked at, never changed; nothing is sent outside the machine."""

from harness.doctor.examination import examine
from harness.doctor.text import as_json, as_text, lacks_text
from harness.doctor.values import Check, Examination, Group, Status

__all__ = ["Check", "Examination", "Group", "Status", "as_json", "as_text", "examine", "lacks_text"]
