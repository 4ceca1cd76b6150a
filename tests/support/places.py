"""Where things lie that tests read."""

from pathlib import Path

SUPPORT = Path(__file__).parent
TESTS = SUPPORT.parent
ROOT = TESTS.parent
GOLDEN = TESTS / "golden"  # what this code's output is compared with
FIXTURES = TESTS / "fixtures"
SHARED = ROOT.parent / "shared" / "data"  # real human judgements, beside the checkout
