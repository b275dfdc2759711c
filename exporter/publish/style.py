"""The look of the pages for people: one style, light and dark, down to the width of a phone; nothing from elsewhere."""

from __future__ import annotations

import base64
import hashlib
from html import escape

STYLE = """
:root{--ink:#1c2430;--soft:#5b6675;--line:#dfe4ea;--page:#f5f7f9;--card:#fff;--link:#1f5fbf;--band:#cfe0f7;
--value:#17324f;--mid:#6b8fc2;--ok:#1b7a43;--okbg:#dff3e6;--bad:#b3261e;--badbg:#fbe3e1;--odd:#8a5a00;--oddbg:#fbeecf;
color-scheme:light dark}
@media(prefers-color-scheme:dark){:root{--ink:#e6eaf0;--soft:#9aa6b5;--line:#2d3641;--page:#12171d;--card:#1a2129;
--link:#8ab8ff;--band:#2b4669;--value:#dbe8f7;--mid:#7fa6dc;--ok:#7fd6a0;--okbg:#173524;--bad:#ff8f86;--badbg:#421d1b;
--odd:#f0c766;--oddbg:#3d300f}}
*{box-sizing:border-box}
body{margin:0;background:var(--page);color:var(--ink);font:15px/1.5 system-ui,sans-serif}
header,main{max-width:72rem;margin:0 auto;padding:0 1rem}
header{display:flex;flex-wrap:wrap;align-items:baseline;gap:.25rem 1rem;padding-top:1.25rem}
h1{font-size:1.35rem;margin:0}
h2{font-size:1.02rem;margin:1.75rem 0 .5rem}
a{color:var(--link);text-decoration:none}
a:hover{text-decoration:underline}
nav{display:flex;flex-wrap:wrap;gap:.1rem 1rem;margin-left:auto}
.soft{color:var(--soft)}
.card{background:var(--card);border:1px solid var(--line);border-radius:10px;overflow-x:auto}
.card>p,.card>ul,.card>form{margin:0;padding:.8rem 1rem}
.card>ul{padding-left:2.2rem}
.card>p+p{padding-top:0}
table{border-collapse:collapse;width:100%}
th,td{text-align:left;padding:.5rem 1rem;border-top:1px solid var(--line);vertical-align:top}
tbody tr:first-child>*{border-top:0}
thead+tbody tr:first-child>*{border-top:1px solid var(--line)}
thead th{border-top:0;font-weight:500;color:var(--soft);font-size:.82rem;white-space:nowrap}
tbody th{font-weight:500}
.n{text-align:right;font-variant-numeric:tabular-nums;white-space:nowrap}
code{font:.84rem/1.45 ui-monospace,monospace;overflow-wrap:anywhere;unicode-bidi:isolate}
.long{display:block;max-height:9em;overflow-y:auto}
.chip{display:inline-block;padding:0 .5rem;margin:0 .3rem .2rem 0;border-radius:9px;font-size:.82rem;
white-space:nowrap;background:var(--oddbg);color:var(--odd)}
.chip.ok{background:var(--okbg);color:var(--ok)}
.chip.bad{background:var(--badbg);color:var(--bad)}
.verdict{font-size:1.25rem;font-weight:600;margin:1.2rem 0 .2rem}
.verdict.ok{color:var(--ok)}.verdict.bad{color:var(--bad)}.verdict.odd{color:var(--odd)}
.error{color:var(--bad);margin:.3rem 0 0;overflow-wrap:anywhere}
.text{max-width:48rem}
.text ul,.text ol{padding-left:1.4rem}
.text li{margin:.3rem 0}
svg{display:block}
svg.chart{width:100%;height:auto}
svg.narrow{display:none}
svg text{font:11px system-ui,sans-serif;fill:var(--soft)}
.axis{stroke:var(--line);fill:none}.mid{stroke:var(--soft)}
.band{fill:var(--band);stroke:var(--band);stroke-linejoin:round}
.expected{stroke:var(--mid);stroke-width:1.2;stroke-dasharray:4 3;fill:none}
.value{stroke:var(--value);stroke-width:1.3;stroke-linecap:round;stroke-linejoin:round;fill:none}
.dots{stroke:var(--bad);stroke-width:5;stroke-linecap:round;fill:none}
.score{stroke:var(--mid);fill:none}.score.over{stroke:var(--bad);stroke-width:1.6}
.limit{stroke:var(--bad);stroke-dasharray:5 4;fill:none}
.now{stroke:var(--soft);stroke-dasharray:2 3;fill:none}
.in{fill:var(--ok)}.out{fill:var(--bad)}
.judged{stroke:var(--card);stroke-width:1.5}
.score-bar{fill:var(--mid)}.score-bar.less{fill:var(--odd)}
.key{display:flex;flex-wrap:wrap;gap:.1rem 1.1rem;padding:.2rem 1rem .6rem;font-size:.82rem;color:var(--soft);margin:0}
.key svg{display:inline-block;vertical-align:middle;margin-right:.3rem}
form{display:flex;flex-wrap:wrap;gap:.5rem;align-items:end}
form label{display:flex;flex-direction:column;font-size:.82rem;color:var(--soft);min-width:0}
form label.wide{flex:1 1 20rem}
input,select,button{font:inherit;color:var(--ink);background:var(--page);border:1px solid var(--line);border-radius:6px;
padding:.3rem .5rem;max-width:100%;min-width:0}
input{width:100%}
button{cursor:pointer;color:var(--link)}
footer{max-width:72rem;margin:0 auto;padding:1.5rem 1rem 2rem;color:var(--soft);font-size:.85rem;overflow-wrap:anywhere}
@media(max-width:60rem){svg.wide text{font-size:15px}}
@media(max-width:44rem){
nav{margin-left:0;width:100%}
thead{display:none}
table,tbody,tr,td,tbody th{display:block}
td,tbody th{border:0;padding:.15rem 1rem}
thead+tbody tr:first-child>*{border:0}
tr{border-top:1px solid var(--line);padding:.6rem 0}
tbody tr:first-child{border-top:0}
td.n{text-align:left;white-space:normal}
td[data-name]::before{content:attr(data-name) " ";color:var(--soft);font-size:.82rem}
svg.wide{display:none}
svg.narrow{display:block}
}
@media print{
:root{--ink:#000;--soft:#444;--line:#bbb;--page:#fff;--card:#fff;--link:#000;--band:#d5e2f3;--value:#000;--mid:#5b7fb0;
--ok:#1b7a43;--bad:#b3261e;--odd:#8a5a00;color-scheme:light}
body{font-size:11pt;-webkit-print-color-adjust:exact;print-color-adjust:exact}
nav,form,.noprint{display:none}
section,svg,tr{break-inside:avoid}
.long{max-height:none}
}
"""

_HASH = base64.b64encode(hashlib.sha256(STYLE.encode()).digest()).decode()
# No script, no picture, no frame: only this one style, and forms that come back here.
POLICY = (
    f"default-src 'none'; style-src 'sha256-{_HASH}'; img-src data:; base-uri 'none'; form-action 'self'; "
    "frame-ancestors 'none'"
)


_PLAIN_FROM, _PLAIN_TO = 1e3, 1e12

_HIDDEN = {code: f"\\u{code:04x}" for code in (*range(32), 127, *range(0x80, 0xA0), 0x200E, 0x200F, 0x061C,
                                              *range(0x2028, 0x202F), *range(0x2066, 0x206A), 0xFEFF)}  # fmt: skip
_HIDDEN_IN_LINES = {code: text for code, text in _HIDDEN.items() if code not in (9, 10)}


def visible(text: str) -> str:
    """A text from outside with what can't be seen but changes how the rest is read, such as right-to-left marks,
    spelled out."""
    return text.translate(_HIDDEN)


def shown(text: str) -> str:
    """A text from outside, visible, as markup."""
    return escape(visible(text))


def shown_labels(text: str) -> str:
    """The same for labels as a selector writes them: a line may end between two of them, and a copy has no blanks."""
    return shown(text).replace("&quot;,", "&quot;,<wbr>")


def shown_lines(text: str) -> str:
    """The same for a text that may have lines."""
    return escape(text.translate(_HIDDEN_IN_LINES))


def number_text(x: float) -> str:
    """Four digits, or all before the point: enough to see, few enough to read."""
    return f"{x:,.0f}" if _PLAIN_FROM <= abs(x) < _PLAIN_TO else f"{x:.4g}"


def document(title: str, head: str, body: str, foot: str) -> str:
    """A whole page. `title` is any text; `head`, `body` and `foot` are markup."""
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{escape(title)}</title>'
        '<meta name="viewport" content="width=device-width,initial-scale=1"><link rel="icon" href="data:,">'
        f"<style>{STYLE}</style></head><body>\n<header>{head}</header>\n<main>{body}</main>\n"
        f"<footer>{foot}</footer></body></html>\n"
    )


def section(title: str, body: str) -> str:
    """A card with a title; `body` is markup."""
    return f'<section><h2>{escape(title)}</h2><div class="card">{body}</div></section>\n'
