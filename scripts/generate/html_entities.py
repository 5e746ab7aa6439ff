"""Writes src/tokenizers/html_entities.cpp: HTML's named characters, from Python's html.entities.

  python scripts/generate/html_entities.py > src/tokenizers/html_entities.cpp
"""
from html.entities import html5

entries = []
for name in sorted(name[:-1] for name in html5 if name.endswith(";")):
    if name in html5:
        assert html5[name] == html5[name + ";"]
    entries.append(name + ("?" if name in html5 else "") + "".join(f" {ord(c):x}" for c in html5[name + ";"]) + ";")
assert len(entries) + sum("?" in entry for entry in entries) == len(html5)

lines = [""]
for entry in entries:
    if len(lines[-1]) + len(entry) > 94:
        lines.append("")
    lines[-1] += entry
print('''// Written by scripts/generate/html_entities.py.
#include "tokenizers/html.hpp"

namespace weft::tokenizers {

const std::string_view kHtmlEntities =''')
print("\n".join(f'    "{line}"' for line in lines) + ''';

}  // namespace weft::tokenizers''')
