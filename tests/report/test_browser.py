"""The page in a real browser: it opens, lays out, and nothing sticks out sideways."""

import re
import shutil
import subprocess

import pytest

from lightning_dna.report.page import render

CHROMIUM = next(
    (
        path
        for name in ("chromium", "chromium-browser", "google-chrome")
        if (path := shutil.which(name))
    ),
    None,
)
FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
)  # fmt: skip
PROBE = """
<script>
const tables = [...document.querySelectorAll('.scroll')];
document.title = JSON.stringify({
  page: document.documentElement.scrollWidth - window.innerWidth,
  tables: Math.max(...tables.map(box => box.scrollWidth - box.clientWidth)),
  figures: document.querySelectorAll('figure svg').length,
  narrowest: Math.min(...[...document.querySelectorAll('figure svg')].map(f => f.clientWidth)),
  outside: [...document.querySelectorAll('figure svg')].flatMap(
    f => [...f.querySelectorAll('text')].filter(t => {
      const a = t.getBoundingClientRect(), b = f.getBoundingClientRect();
      return a.left < b.left - 1 || a.right > b.right + 1;
    })).length,
});
</script>
"""


@pytest.fixture(scope="module")
def page(study_folder, tmp_path_factory):
    return render(study_folder, tmp_path_factory.mktemp("page"))


@pytest.mark.browser
@pytest.mark.skipif(CHROMIUM is None, reason="needs headless Chromium")
@pytest.mark.parametrize("width", [1000, 1160])
def test_nothing_overflows_sideways(page, tmp_path, width):
    probe = tmp_path / "probe.html"
    probe.write_text(page.read_text(encoding="utf-8").replace("</body>", PROBE + "</body>"))
    done = subprocess.run(
        [CHROMIUM, *FLAGS, f"--user-data-dir={tmp_path / 'profile'}", f"--window-size={width},1600",
         "--dump-dom", f"file://{probe}"],
        capture_output=True, text=True, timeout=120, check=True,
    )  # fmt: skip
    title = re.search(r"<title>(\{.*?\})</title>", done.stdout)
    assert title is not None, done.stdout[:500]
    found = dict(re.findall(r'"(\w+)":(-?\d+)', title[1].replace("&quot;", '"')))
    assert int(found["page"]) <= 0
    assert int(found["tables"]) <= 0
    assert int(found["figures"]) == 6
    assert int(found["narrowest"]) > 0.9 * width
    assert int(found["outside"]) == 0
