"""The style sheet of the page that `diff_page` writes: light, dark and print.

Probability is one hue (blue) from the paper's own colour to the full tint, mixed in OKLab so that equal steps look
equal; edits are orange, which no common form of colour blindness confuses with blue, and differ by line and weight too.
"""

from string import ascii_lowercase

PROBABILITY_CLASSES = ascii_lowercase[:20]
"""One class a twentieth of probability, least probable first."""
UNSCORED = "u"

_LAST = len(PROBABILITY_CLASSES) - 1
_STEPS = "".join(
    f".{name}{{background:color-mix(in oklab,var(--tint) {round(100 * step / _LAST)}%,var(--paper))}}\n"
    for step, name in enumerate(PROBABILITY_CLASSES)
)

COLOURS = """
:root{color-scheme:light dark;--paper:#fff;--ink:#1b1f24;--quiet:#5c6570;--line:#d9dee4;--tint:#a9cdf0;
--eligible:#2a6fb0;--edit:#ffe3bd;--edit-line:#b45309;--edit-ink:#7c2d12;--link:#1d5f9e}
@media screen and (prefers-color-scheme:dark){:root{--paper:#15181c;--ink:#e4e8ec;--quiet:#98a2ad;--line:#343b43;
--tint:#204f7c;--eligible:#79b8f2;--edit:#5a3410;--edit-line:#f0a04b;--edit-ink:#ffd9a8;--link:#84bdf3}}
"""
"""Paper, ink, lines and links, light and dark: shared with the page of reports."""

STYLE = (
    COLOURS
    + """*{box-sizing:border-box}
body{margin:0;background:var(--paper);color:var(--ink);font:16px/1.5 system-ui,sans-serif}
main{max-width:62rem;margin:0 auto;padding:2rem 1.25rem 4rem}
h1{font-size:1.6rem;line-height:1.25;margin:0 0 1.25rem;font-weight:650}
h1 small{display:block;font-size:.95rem;font-weight:400;color:var(--quiet);overflow-wrap:anywhere}
h2{font-size:1.1rem;margin:0 0 .5rem;overflow-wrap:anywhere}
h2 small{font-weight:400;margin-left:.4em}
small,dt{color:var(--quiet)}
a{color:var(--link)}
.facts{display:grid;grid-template-columns:repeat(auto-fill,minmax(13rem,1fr));gap:.75rem 1.5rem;margin:0 0 1.5rem;
padding:1rem 0;border-block:1px solid var(--line)}
dt{font-size:.8rem}
dd{margin:0;font-variant-numeric:tabular-nums;overflow-wrap:anywhere}
.legend{display:flex;flex-wrap:wrap;gap:.4rem 1.5rem;align-items:center;margin:0 0 1.5rem;font-size:.85rem}
.legend,.contents,.text,.edits{print-color-adjust:exact;-webkit-print-color-adjust:exact}
.scale{white-space:pre;margin:0 .4em;outline:1px solid var(--line)}
.scale i{display:inline-block;width:.6em;height:1.1em;vertical-align:text-bottom}
table{border-collapse:collapse;width:100%;margin:0 0 2rem;font-size:.9rem;font-variant-numeric:tabular-nums}
th,td{padding:.3rem .6rem .3rem 0;border-bottom:1px solid var(--line);text-align:right;vertical-align:top}
th{font-weight:500;color:var(--quiet)}
th:nth-child(-n+2),td:nth-child(-n+2){text-align:left;overflow-wrap:anywhere}
section{margin-top:2.5rem;padding-top:1.25rem;border-top:1px solid var(--line)}
details{margin:0 0 .75rem;font-size:.9rem}
summary{cursor:pointer;color:var(--link)}
.edits{columns:16rem;margin:.5rem 0 0;padding:0;list-style:none}
.edits li{overflow-wrap:anywhere;white-space:pre-wrap;break-inside:avoid}
.text{white-space:pre-wrap;overflow-wrap:anywhere;tab-size:4;line-height:1.75;font-size:1rem}
i,b{font-style:normal;font-weight:inherit;box-decoration-break:clone;-webkit-box-decoration-break:clone;
padding:.1em 0;border-radius:2px}
b{box-shadow:inset 0 -1.5px var(--eligible)}
.u{outline:1px dotted var(--quiet);outline-offset:-1px}
del,ins{background:var(--edit);padding:.1em .15em;border-radius:2px;
box-decoration-break:clone;-webkit-box-decoration-break:clone}
del{color:var(--edit-ink);text-decoration:line-through 1.5px var(--edit-line);border-radius:2px 0 0 2px}
ins{text-decoration:none;font-weight:700;color:var(--edit-ink);box-shadow:inset 0 -2px var(--edit-line)}
.y::before{content:"\\21B5";font-weight:400}
.x:target del,.x:target ins{outline:2px solid var(--edit-line)}
s{text-decoration:none;font:.75em ui-monospace,monospace;padding:0 .2em;margin:0 1px;
border:1px solid var(--quiet);border-radius:3px}
"""
    + _STEPS
    + """@media print{main{max-width:none;padding:0}body{font-size:10pt}details{display:none}}
"""
)
