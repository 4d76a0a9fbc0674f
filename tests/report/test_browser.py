"""What the page's script does, in a browser where one is installed."""

from __future__ import annotations

import html
import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from run_records import leave

from mixbench.papers.cells import plan
from mixbench.papers.library import load
from mixbench.report.page import page
from mixbench.summarize.settings import collect

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
DRIVER = """<script>
const one = (path) => document.querySelector(path), all = (path) => [...document.querySelectorAll(path)];
const rows = () => all("#list tbody tr").filter((row) => !row.hidden).map((row) => row.dataset.method);
const find = (words) => { one("#find").value = words; one("#find").dispatchEvent(new Event("input")); return rows(); };
const method = one("select[name=method]");
const choose = (value) => { method.value = value; method.dispatchEvent(new Event("change")); };
const said = {all: rows(), words: find("bg-mix"), value: find("opt.rho=0.3"), nothing: find("opt.rho=7")};
said.shown = one("#shown").textContent;
said.sections = all("#runs details").filter((section) => !section.hidden).length;
one("#list a").click();
said.unfolded = all("#runs details").filter((section) => !section.hidden && section.open).map((section) => section.id);
find("");
choose("G-Mix");
said.chosen = rows();
choose("");
const boxes = all("#list input");
boxes[0].click();
said.alone = all("#compared tr").length;
boxes[1].click();
said.compared = all("#compared tr").map((row) => [...row.children].map((cell) => cell.textContent));
said.curves = all("#compared polyline").length;
boxes[2].click();
said.ticked = boxes.map((box) => box.checked);
document.body.append(Object.assign(document.createElement("pre"), {id: "said", textContent: JSON.stringify(said)}));
</script></body>"""


@pytest.mark.skipif(BROWSER is None, reason="no Chromium is installed")
def test_search_filter_and_two_runs_side_by_side(workplace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By hand, for G-Mix and BG-Mix at three rho each: what each click and word leaves on the page."""
    planned = plan(
        load("li2023/fig5"), columns=["CIFAR-100, WRN-16-4"], epochs=2, rows=["G-Mix", "BG-Mix"], seeds=1
    )
    wanted = [run for run in planned if run.config.opt.rho in (0.3, 0.4, 0.5)]
    for number, run in enumerate(wanted):
        leave(run, [10.0 + number, 20.0 + number])
    monkeypatch.setattr("mixbench.report.page.fragments", lambda *_: [])  # tables of papers
    runs = collect([workplace / "outputs"])
    methods = [run.method for run in runs]
    assert sorted(methods) == ["BG-Mix"] * 3 + ["G-Mix"] * 3
    text = re.sub(r"<meta http-equiv[^>]*>", "", page(runs))  # which allows no script but the page's own
    Path("driven.html").write_text(text.replace("</body>", DRIVER))
    done = subprocess.run(
        [
            *(
                str(BROWSER),
                "--headless",
                "--no-sandbox",
                "--disable-gpu",
                f"--user-data-dir={workplace / 'profile'}",
            ),
            *("--dump-dom", (workplace / "driven.html").as_uri()),
        ],
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    said = json.loads(html.unescape(re.search(r'<pre id="said">(.*?)</pre>', done.stdout, re.DOTALL)[1]))
    assert said["all"] == methods
    assert said["words"] == ["BG-Mix"] * 3
    assert sorted(said["value"]) == ["BG-Mix", "G-Mix"]
    assert said["nothing"] == []
    assert (said["shown"], said["sections"]) == ("0 of 6 runs", 0)
    assert said["unfolded"] == ["run1"]  # a link shows a run although the search hides it
    assert said["chosen"] == ["G-Mix"] * 3
    assert said["alone"] == 0
    heads, *lines = said["compared"]
    assert heads[1:] == [f"{run.method} ({run.id})" for run in runs[:2]]
    rho = next(line for line in lines if line[0] == "opt.rho")[1:]
    assert [float(value) for value in rho] == [run.values["opt.rho"] for run in runs[:2]]
    assert [line[0] for line in lines if line[0].startswith("opt.")] == ["opt.rho"]
    assert said["curves"] == 2
    assert said["ticked"] == [False, True, True, False, False, False]  # the first one made room for the third
