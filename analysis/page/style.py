"""The style sheet of the page of reports: light, dark, narrow, print. Paper, ink and links are those of `stage=diff`.

Verdicts differ by sign and word; their colours (green, blue, vermilion, grey) are ones that no common form of colour
blindness confuses. The choice of a verdict at the top hides rows and sections with `:has()`, which takes no script.
"""

from __future__ import annotations

from analysis.page.markup import VERDICT_STYLES
from toedit.diff_style import COLOURS

_SHOW = "".join(
    f":root:has(#show-{name}:checked) :is(tr.cell:not(.{name}),section.report:not(:has(tr.{name})),"
    f"section.claim:not(.edits,:has(tr.{name}))){{display:none}}\n"
    f":root:has(#show-{name}:checked) .grid td:not(.{name})>*{{visibility:hidden}}\n"
    f":root:has(#show-{name}:checked) section.report details:has(tr.{name})::details-content"
    "{content-visibility:visible;block-size:auto}\n"
    for name, _ in VERDICT_STYLES.values()
)

_FILLS = "".join(
    f".{name}{{--fill:var(--{name}-fill);--on:var(--{name}-on)}}\n.bar .{name}{{fill:var(--{name}-bar)}}\n"
    for name, _ in VERDICT_STYLES.values()
)

STYLE = (
    COLOURS
    + """
:root{--card:#f6f8fa;--agrees-fill:#e1f2e8;--agrees-on:#14532f;--agrees-bar:#2f9e63;--same-fill:#e3effb;
--same-on:#174a7c;--same-bar:#4a90d0;--contradicts-fill:#fde7df;--contradicts-on:#8a2a0b;--contradicts-bar:#d9541e;
--incomparable-fill:#eceff2;--incomparable-on:#454d57;--incomparable-bar:#a4adb7;--unrun-fill:transparent;
--unrun-on:#525b66;--unrun-bar:#dfe3e8}
@media screen and (prefers-color-scheme:dark){:root{--card:#1c2127;--agrees-fill:#143524;--agrees-on:#a5e0bf;
--agrees-bar:#3fae74;--same-fill:#152f4a;--same-on:#a9d0f5;--same-bar:#4a90d0;--contradicts-fill:#482013;
--contradicts-on:#ffc2a8;--contradicts-bar:#e0662f;--incomparable-fill:#2a3037;--incomparable-on:#c3cbd4;
--incomparable-bar:#6b7580;--unrun-on:#a4adb7;--unrun-bar:#3a424b}}
*{box-sizing:border-box}
html{scroll-padding-top:1rem}
body{margin:0;background:var(--paper);color:var(--ink);font:16px/1.5 system-ui,sans-serif;overflow-wrap:anywhere}
main{max-width:66rem;margin:0 auto;padding:2rem 1.25rem 4rem}
h1{font-size:1.75rem;line-height:1.2;margin:0 0 .75rem;font-weight:650;text-wrap:balance}
h2{font-size:1.35rem;line-height:1.25;margin:0 0 .6rem;font-weight:650}
h3{font-size:1.05rem;margin:0 0 .4rem}
h3 small{display:block;font-weight:400;font-size:.95rem}
p{margin:0 0 .75rem;max-width:46rem}
small,figcaption,.caption,dt{color:var(--quiet)}
a{color:var(--link)}
:focus-visible{outline:3px solid var(--link);outline-offset:2px;border-radius:2px}
.heard{position:absolute;width:1px;height:1px;overflow:hidden;clip-path:inset(50%);white-space:nowrap}
.facts{display:grid;grid-template-columns:repeat(auto-fit,minmax(9rem,1fr));gap:.5rem 1.5rem;margin:0 0 1.25rem;
padding:.75rem 0;border-block:1px solid var(--line)}
dt{font-size:.8rem}
dd{margin:0;font-variant-numeric:tabular-nums}
.badge{display:inline-block;padding:.05em .55em;border-radius:1em;background:var(--fill);color:var(--on);
border:1px solid color-mix(in srgb,var(--on) 30%,transparent);font-size:.8rem;line-height:1.5;white-space:nowrap}
.unrun.badge{border-style:dashed}
.reading{font-weight:600}
.bar{display:block;width:100%;height:1.4rem;margin:0 0 .75rem;border-radius:4px}
.tally{display:flex;flex-wrap:wrap;gap:.35rem .5rem;align-items:center;font-size:.9rem}
.claims{list-style:none;margin:0 0 1.5rem;padding:0}
.claims li{padding:.6rem 0;border-top:1px solid var(--line)}
.claims li:last-child{border-bottom:1px solid var(--line)}
.claims p{margin:.15rem 0 0;font-size:.9rem;color:var(--quiet)}
.claims a{font-weight:600;margin-right:.5em}
fieldset{display:flex;flex-wrap:wrap;gap:.25rem 1rem;margin:0 0 1rem;padding:.4rem .9rem .6rem;font-size:.9rem;
border:1px solid var(--line);border-radius:6px}
legend{color:var(--quiet);padding:0 .3em}
label{display:flex;align-items:center;gap:.4em;min-height:1.75rem}
input{accent-color:var(--link);width:1.1em;height:1.1em;margin:0}
section.claim{margin-top:3rem;padding-top:1.5rem;border-top:2px solid var(--line)}
section.report{margin:1.75rem 0 0;padding:1rem 1.25rem;border:1px solid var(--line);border-radius:8px}
.says{font-size:1.05rem}
.scroll{position:relative;overflow-x:auto;margin:0 0 1rem}
table{border-collapse:collapse;min-width:100%;font-size:.875rem;font-variant-numeric:tabular-nums;
overflow-wrap:break-word}
.caption{font-size:.85rem;margin:0 0 .3rem}
th,td{padding:.3rem .75rem .3rem 0;border-bottom:1px solid var(--line);text-align:left;vertical-align:top}
th:last-child,td:last-child{padding-right:0}
thead th{font-weight:500;color:var(--quiet);white-space:nowrap}
tbody th{font-weight:500}
.value{text-align:right;white-space:nowrap}
th.words,td.words{min-width:14rem;max-width:26rem;font-weight:400}
.name{max-width:14rem}
.interval{display:block;color:var(--quiet)}
.reason{display:block}
thead th.value{text-align:right}
.cells td:nth-last-child(2){min-width:13rem;max-width:24rem}
.cells td:last-child{white-space:nowrap}
.cells td:last-child small{display:block}
.grid th[scope=col]{text-align:right;white-space:normal;min-width:4.75rem;vertical-align:bottom}
.grid tbody th{position:sticky;left:0;background:var(--paper);padding-right:1rem;white-space:nowrap}
.grid td{text-align:right;padding:.3rem .5rem;background:var(--fill);white-space:nowrap;
border:1px solid var(--paper);color:var(--on)}
.grid td.corner,.grid td:not([class]){background:none}
.grid td b{font-weight:600}
.grid td small{display:block;color:inherit;font-size:.8rem}
.grid .sign{display:inline-block;width:1em;text-align:center}
figure{margin:0 0 1.25rem}
figcaption{font-size:.85rem}
.picture{background:#fff;border:1px solid var(--line);border-radius:6px;padding:.5rem;margin:0 0 .4rem}
.picture img{display:block;max-width:100%;min-width:34rem;height:auto;margin:0 auto}
details{margin:0 0 .75rem;font-size:.9rem}
summary{cursor:pointer;color:var(--link);padding:.2rem 0}
details[open]>summary{margin-bottom:.4rem}
ol,ul{margin:0 0 .75rem;padding-left:1.5rem}
.command{margin:.2rem 0 .5rem;padding:.5rem .75rem;background:var(--card);border:1px solid var(--line);
border-radius:6px;white-space:pre-wrap;overflow-wrap:anywhere;user-select:all;-webkit-user-select:all;
font:.85rem/1.5 ui-monospace,monospace}
.command code{font:inherit}
li:target .command{outline:2px solid var(--link)}
iframe{display:block;width:100%;height:75vh;min-height:24rem;border:1px solid var(--line);border-radius:8px;
background:var(--paper)}
footer{margin-top:3rem;padding-top:1rem;border-top:1px solid var(--line);font-size:.85rem;color:var(--quiet)}
"""
    + _FILLS
    + _SHOW
    + """@media (max-width:40rem){main{padding:1.25rem .9rem 3rem}section.report{padding:.85rem .8rem}
h1{font-size:1.4rem}h2{font-size:1.2rem}
.grid tbody th{white-space:normal;min-width:6.5rem;max-width:7.5rem;padding-right:.6rem}
th.words,td.words{min-width:10rem}}
@media print{main{max-width:none;padding:0}body{font-size:9.5pt}fieldset,iframe,.edits{display:none}
section.report{border:0;padding:0}figure,tr,.command{break-inside:avoid}h2,h3{break-after:avoid}
.scroll{overflow:visible}.grid tbody th{position:static}.picture img{min-width:0}table{font-size:7.5pt}
.badge,.grid td,.bar{print-color-adjust:exact;-webkit-print-color-adjust:exact}
details::details-content{content-visibility:visible;block-size:auto}}
"""
)
