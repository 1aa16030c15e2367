"""Style and script of the report."""

from __future__ import annotations

__all__ = ["SCRIPT", "STYLE"]

STYLE = """
:root { color-scheme: light dark; --line: #8886; --soft: #8882; --curve: #0072b2; --mute: #666; --on: #fff; }
@media (prefers-color-scheme: dark) { :root { --curve: #56b4e9; --mute: #aaa; --on: #000; } }
body { font: 15px/1.5 system-ui, sans-serif; max-width: 1180px; margin: 0 auto; padding: 0 20px 60px; }
h1 { font-size: 1.6em; margin-bottom: 0; } h2 { margin-top: 2em; border-bottom: 1px solid var(--line); }
p.note { color: var(--mute); font-size: 0.9em; max-width: 60em; }
.wide { overflow-x: auto; } table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
th, td { padding: 4px 10px; text-align: right; border-bottom: 1px solid var(--line); white-space: nowrap; }
th:first-child, td:first-child { text-align: left; } tr.mean td { font-weight: 600; border-top: 2px solid var(--line); }
td small { display: block; color: var(--mute); font-weight: 400; }
table.sortable th { cursor: pointer; user-select: none; } th[aria-sort=ascending]::after { content: " \\25b2"; }
th[aria-sort=descending]::after { content: " \\25bc"; } th:focus-visible { outline: 2px solid var(--curve); }
#images .wide { max-height: 32em; overflow: auto; } #images thead th { position: sticky; top: 0; background: Canvas; }
.curves { display: grid; grid-template-columns: repeat(auto-fill, minmax(260px, 1fr)); gap: 12px; }
svg text { font: 10px system-ui, sans-serif; fill: currentColor; } svg text.name { font-size: 12px; font-weight: 600; }
svg .grid { stroke: var(--soft); } svg polyline { fill: none; stroke: var(--curve); stroke-width: 1.8; }
svg circle { fill: var(--curve); }
.pictures { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(340px, 100%), 1fr)); gap: 18px; }
figure { margin: 0; } figcaption { font-size: 0.9em; overflow-wrap: anywhere; }
.stack { position: relative; background: #000; line-height: 0; }
.stack img { width: 100%; } .stack img.layer { position: absolute; inset: 0; height: 100%; display: none; }
.views { display: flex; gap: 4px; margin: 4px 0; }
.views label { cursor: pointer; padding: 0 8px; border: 1px solid var(--line); }
.views input { position: absolute; opacity: 0; } .views label:has(:checked) { background: var(--curve); color: var(--on); }
.views label:has(:focus-visible) { outline: 2px solid var(--curve); outline-offset: 2px; }
@media print { #images .wide { max-height: none; overflow: visible; } .key span { print-color-adjust: exact; }
  pre { white-space: pre-wrap; overflow-wrap: anywhere; } figure { break-inside: avoid; } }
@supports not selector(:has(*)) { .stack .error { display: block; } }
figure:has([value=truth]:checked) .truth, figure:has([value=prediction]:checked) .prediction,
figure:has([value=error]:checked) .error { display: block; }
.views .large { margin-left: auto; } figure:has(.large :checked) { grid-column: 1 / -1; }
.key span { display: inline-block; width: 0.9em; height: 0.9em; margin: 0 4px 0 14px; border: 1px solid #0008; }
details { font-size: 0.85em; } details ul { padding-left: 1.5em; margin: 0; }
pre { background: var(--soft); padding: 10px; overflow-x: auto; font-size: 0.85em; }
"""

SCRIPT = """
for (const head of document.querySelectorAll("table.sortable th")) {
  const sort = () => {
    const table = head.closest("table"), column = head.cellIndex, body = table.tBodies[0];
    const down = head.getAttribute("aria-sort") === "ascending";
    for (const other of table.querySelectorAll("th")) other.removeAttribute("aria-sort");
    head.setAttribute("aria-sort", down ? "descending" : "ascending");
    const key = row => row.cells[column].textContent;
    const rows = [...body.rows].sort((a, b) => {
      const x = key(a), y = key(b);
      if (x === "" || y === "") return (x === "") - (y === "");
      const order = isNaN(x) || isNaN(y) ? x.localeCompare(y, undefined, {numeric: true}) : x - y;
      return down ? -order : order;
    });
    body.append(...rows);
  };
  head.tabIndex = 0;
  head.addEventListener("click", sort);
  head.addEventListener("keydown", event => {
    if (event.key === "Enter" || event.key === " ") { event.preventDefault(); sort(); }
  });
}
"""
