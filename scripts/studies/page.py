"""The tables of docs/guide/studies/vision_language.md, from docs/results/study_*.json and nothing else.

    scripts/study page            fills them
    scripts/study page --check    names the studies whose table is another; exit 1"""
import importlib
import json
import pathlib
import re
import sys

NAMES = ("projectors", "token_budget", "anyres", "stages", "caption_noise")
ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
PAGE = ROOT / "docs/guide/studies/vision_language.md"
RESULTS = ROOT / "docs/results"


def block(name, results=RESULTS):
    """A study's table and plots; a sentence where it has no result."""
    path = results / f"study_{name}.json"
    if not path.exists():
        return "Not run so far."
    plots = [f"![{plot.stem}](../../results/{plot.name})" for plot in sorted(results.glob(f"study_{name}*.svg"))]
    return "\n".join([*importlib.import_module(name).lines(json.loads(path.read_text())), *(["", *plots] if plots else [])])


def filled(text, results=RESULTS):
    """The page with what stands between `<!-- name -->` and `<!-- end -->` replaced."""
    for name in NAMES:
        text, count = re.subn(rf"(<!-- {name} -->\n).*?(<!-- end -->)", lambda found: f"{found[1]}{block(name, results)}\n{found[2]}", text, flags=re.S)
        if count != 1:
            sys.exit(f"{PAGE.name}: {count} places for {name}, expected one")
    return text


def fill():
    PAGE.write_text(filled(PAGE.read_text()))


def main():
    text = PAGE.read_text()
    if "--check" in sys.argv:
        wrong = [name for name in NAMES if f"<!-- {name} -->\n{block(name)}\n<!-- end -->" not in text]
        print(f"{PAGE.relative_to(ROOT)}: not what docs/results hold: {', '.join(wrong)}; scripts/study page" if wrong else "tables and results agree")
        sys.exit(bool(wrong))
    fill()


if __name__ == "__main__":
    main()
