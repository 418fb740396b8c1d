"""One HTML page that can be sent by mail: pictures inlined, no scripts, nothing from outside."""

import base64
from collections.abc import Sequence
from html import escape
from pathlib import Path

from cvgssl.runtime.files import write_text
from cvgssl.runtime.parsing import printable

LONG = 20  # characters of a cell beyond which its column is broken into lines
_TYPES = {".png": "image/png", ".svg": "image/svg+xml", ".jpg": "image/jpeg"}
_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; color: #1f2328; max-width: 1080px; margin: 2em auto;
  padding: 0 1em; }
h1 { font-size: 1.7em; } h2 { margin-top: 2em; border-bottom: 1px solid #d0d7de; }
h3 { margin: 1.8em 0 .3em; } p, li { max-width: 75em; } .quiet { color: #59636e; }
.wide { overflow-x: auto; } table { border-collapse: collapse; margin: .5em 0 1em; }
th, td { padding: .25em .7em; border-bottom: 1px solid #e4e8ec; text-align: right;
  white-space: nowrap; }
th { border-bottom: 2px solid #59636e; } th:first-child, td:first-child { text-align: left; }
td.best { font-weight: 600; }
th.long, td.long { white-space: normal; text-align: left; } img { max-width: 100%; height: auto; }
pre { background: #f6f8fa; padding: .8em; overflow-x: auto; font-size: 13px; }
summary { cursor: pointer; color: #0b5cad; }
figcaption { color: #59636e; } figure { margin: 1em 0; }
"""


class Page:
    """Grows from top to bottom; every text given is escaped and made printable."""

    def __init__(self, title: str) -> None:
        self._title = title
        self._parts: list[str] = [f"<h1>{_shown(title)}</h1>"]
        self._contents: list[tuple[str, str]] = []

    def heading(self, text: str, level: int = 2) -> None:
        """A heading; those of level 2 are in the contents."""
        anchor = f"part-{len(self._contents) + 1}"
        if level == 2:
            self._contents.append((anchor, text))
            self._parts.append(f'<h2 id="{anchor}">{_shown(text)}</h2>')
        else:
            self._parts.append(f"<h{level}>{_shown(text)}</h{level}>")

    def text(self, text: str, quiet: bool = False) -> None:
        """A paragraph."""
        kind = ' class="quiet"' if quiet else ""
        self._parts.append(f"<p{kind}>{_shown(text)}</p>")

    def points(self, lines: Sequence[str]) -> None:
        """A list."""
        items = "".join(f"<li>{_shown(line)}</li>" for line in lines)
        self._parts.append(f"<ul>{items}</ul>")

    def table(
        self,
        columns: Sequence[str],
        rows: Sequence[Sequence[str]],
        best: frozenset[tuple[int, int]] = frozenset(),
        shades: Sequence[Sequence[float | None]] = (),
        folded: str = "",
    ) -> None:
        """A table. best: (row, column) of cells in bold. shades: 0 (red) to 1 (none) of the cells
        after the first of each row. folded: shown after a click on this text only."""
        long = [
            ' class="long"' if any(len(row[j]) > LONG for row in rows) else ""
            for j in range(len(columns))
        ]
        head = "".join(
            f"<th{kind}>{_shown(name)}</th>" for name, kind in zip(columns, long, strict=True)
        )
        lines = []
        for i, row in enumerate(rows):
            cells = []
            for j, cell in enumerate(row):
                kind = ' class="best"' if (i, j) in best else long[j]
                shade = shades[i][j - 1] if shades and j else None
                if shade is not None:
                    depth = max(0.0, min(1.0, 1 - shade))
                    kind += f' style="background: rgba(200, 60, 30, {0.55 * depth:.2f})"'
                cells.append(f"<td{kind}>{_shown(cell)}</td>")
            lines.append(f"<tr>{''.join(cells)}</tr>")
        table = (
            f'<div class="wide"><table><thead><tr>{head}</tr></thead>'
            f"<tbody>{''.join(lines)}</tbody></table></div>"
        )
        self._parts.append(self._fold(folded, table) if folded else table)

    def image(self, path: Path, caption: str) -> None:
        """The picture file `path` (PNG, SVG, JPEG), inlined."""
        data = base64.b64encode(path.read_bytes()).decode()
        self._parts.append(
            f'<figure><img alt="{_shown(caption)}" src="data:{_TYPES[path.suffix]};base64,{data}">'
            f"<figcaption>{_shown(caption)}</figcaption></figure>"
        )

    def code(self, text: str, folded: str) -> None:
        """Text as it is, shown after a click on `folded`."""
        self._parts.append(self._fold(folded, f"<pre>{_shown(text)}</pre>"))

    def write(self, path: Path) -> Path:
        """Write the page, whole or not at all."""
        links = " · ".join(
            f'<a href="#{anchor}">{_shown(text)}</a>' for anchor, text in self._contents
        )
        body = "\n".join([self._parts[0], f"<p>{links}</p>", *self._parts[1:]])
        write_text(
            path,
            "<!doctype html>\n"
            '<html lang="en"><head><meta charset="utf-8">'
            '<meta name="viewport" content="width=device-width, initial-scale=1">'
            f"<title>{_shown(self._title)}</title><style>{_STYLE}</style></head>\n"
            f"<body>\n{body}\n</body></html>\n",
        )
        return path

    @staticmethod
    def _fold(summary: str, content: str) -> str:
        return f"<details><summary>{_shown(summary)}</summary>{content}</details>"


def _shown(text: str) -> str:
    """`text` in HTML; control characters and bytes that are no UTF-8 as escapes, line by line."""
    return escape("\n".join(map(printable, text.split("\n"))))
