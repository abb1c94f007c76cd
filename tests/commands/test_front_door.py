"""``compare`` and ``power`` as a newcomer meets them: README, help, and time."""

import json
import re
import resource
import subprocess
import sys
from pathlib import Path

import pytest

README = Path(__file__).parents[2] / "README.md"


class TestFrontDoor:
    @pytest.mark.parametrize(
        "line", re.findall(r"^(?:\$ )?lightning-dna ((?:compare|power) [^#|\n]+)",
                           README.read_text(encoding="utf-8"), re.MULTILINE),
    )  # fmt: skip
    def test_commands_of_the_readme_are_understood(self, tmp_path, monkeypatch, line, run):
        """Their files are not here: that has to be all that is wrong with them."""
        monkeypatch.chdir(tmp_path)
        status, _, err = run(*line.split())
        assert status == 0 or "there is no file" in err

    def test_help_shows_examples(self, run):
        for verb in ("compare", "power"):
            status, out, _ = run(verb, "--help")
            assert status == 0
            assert f"  lightning-dna {verb} " in out.partition("Examples:")[2]

    def test_nothing_heavy_is_loaded(self, folder):
        program = (
            "import sys\nfrom lightning_dna.cli import main\n"
            "status = main(sys.argv[1:])\n"
            "heavy = ('torch', 'lightning', 'matplotlib', 'sklearn', 'pandas', 'scipy.stats')\n"
            "print([name for name in heavy if name in sys.modules], file=sys.stderr)\n"
            "raise SystemExit(status)\n"
        )
        command = [sys.executable, "-c", program, "compare", "A.csv", "B.csv", "--baseline", "A",
                   "--metrics", "accuracy,mcc", "--format", "json"]  # fmt: skip
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
        assert (done.returncode, done.stderr.splitlines()[-1]) == (0, "[]")
        assert len(json.loads(done.stdout)) == 2

    @pytest.mark.slow
    def test_twenty_thousand_examples_within_three_seconds(self, folder, models):
        """Processor time over all threads, which other programs on the machine do not change."""
        for name, frame in models(("X", "Y"), n=20_000).items():
            frame.to_csv(f"{name}.csv", index=False)
        command = [sys.executable, "-m", "lightning_dna", "compare", "X.csv", "Y.csv",
                   "--baseline", "X", "--format", "json"]  # fmt: skip
        taken = []
        for _ in range(3):  # the first may compile
            before = resource.getrusage(resource.RUSAGE_CHILDREN)
            subprocess.run(command, capture_output=True, check=True, timeout=120)
            after = resource.getrusage(resource.RUSAGE_CHILDREN)
            taken.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
        assert min(taken) < 3
