"""The style sheet of the page: system fonts, light and dark, from a phone to a wide screen."""

STYLE = """
:root{color-scheme:light dark;--paper:#fcfbf9;--ink:#1d1c1a;--soft:#6b6761;--faint:#a8a39b;--rule:#e6e2db;
--accent:#0b6e75;--wrong:#d62828;--rail:#e9e5de;--bar:#8a857d;
--sans:system-ui,-apple-system,"Segoe UI",Roboto,"Helvetica Neue","Noto Sans","Liberation Sans",Arial,sans-serif;
--serif:"Iowan Old Style","Palatino Linotype",Palatino,"Source Serif 4","Noto Serif","Liberation Serif",Georgia,serif}
@media (prefers-color-scheme:dark){:root{--paper:#161514;--ink:#ece9e4;--soft:#a5a099;--faint:#77726b;
--rule:#33312e;--accent:#4fc0c4;--wrong:#ff6b66;--rail:#353330;--bar:#8f8a82}}
*{box-sizing:border-box}
html{-webkit-text-size-adjust:100%}
body{margin:0;background:var(--paper);color:var(--ink);font:16px/1.55 var(--sans);font-variant-numeric:tabular-nums}
main{max-width:1180px;margin:0 auto;padding:56px 28px 72px}
h1,h2{font-family:var(--serif);font-weight:600;line-height:1.15;letter-spacing:-.01em;text-wrap:balance}
h1{font-size:clamp(1.9rem,4.4vw,2.9rem);margin:0 0 .35em}
h2{font-size:1.55rem;margin:0 0 .5em}
h3{font-size:1rem;font-weight:600;margin:0}
p{margin:0 0 1em;max-width:70ch}
section{margin-top:60px;padding-top:26px;border-top:1px solid var(--rule)}
.lead{font-size:1.13rem;color:var(--soft);max-width:62ch}
.lead b{color:var(--ink);font-weight:600}
.note{color:var(--soft);font-size:.9rem}
.stats{display:flex;flex-wrap:wrap;gap:14px 52px;margin:30px 0 0;padding:0;list-style:none}
.stats b{display:block;font:600 2.6rem/1.1 var(--serif);letter-spacing:-.02em}
.stats .first b{color:var(--accent)}
.stats small{color:var(--soft);font-size:.85rem}
.stats sup{font:500 1.1rem/1 var(--sans);color:var(--faint);margin-left:.15em;vertical-align:.7em}
.scroll{overflow-x:auto;margin:0 -28px;padding:0 28px}
table{border-collapse:collapse;width:100%;font-size:.95rem}
th{font-weight:500;color:var(--soft);font-size:.82rem;text-align:right;padding:0 0 8px 22px;vertical-align:bottom}
td{text-align:right;padding:9px 0 9px 22px;border-top:1px solid var(--rule);white-space:nowrap}
th:first-child,td:first-child{text-align:left;padding-left:0}
th.left,td.left{text-align:left}
tr.best td{font-weight:650}
tr.other td{color:var(--soft)}
td small{color:var(--soft);font-weight:400;font-size:.85em}
svg{display:block;overflow:visible}
svg text{font:11px var(--sans);fill:var(--soft)}
.mark{width:150px;height:18px}
.mark .rail{stroke:var(--rail);stroke-width:3;stroke-linecap:round}
.mark .span{stroke:var(--bar);stroke-width:3;stroke-linecap:round}
.mark circle{fill:var(--bar);stroke:var(--paper);stroke-width:2}
.mark.strong .span{stroke:var(--accent)}.mark.strong circle{fill:var(--accent)}
dl.terms{display:grid;grid-template-columns:repeat(auto-fit,minmax(235px,1fr));gap:14px 32px;margin:26px 0 0;
font-size:.88rem}
dl.terms dt{font-weight:600}
dl.terms dd{margin:2px 0 0;color:var(--soft)}
table.paper{max-width:720px;margin:0 0 26px}
h3.group{margin:44px 0 0;font:600 1.2rem/1.2 var(--serif)}
a{color:var(--accent)}
.head a{font-size:.88rem}
details .scroll{margin-top:14px}
.room{margin:34px 0 0}
.head{display:flex;flex-wrap:wrap;gap:2px 14px;align-items:baseline;margin-bottom:8px}
.head h3{overflow-wrap:anywhere}
.head span{color:var(--soft);font-size:.88rem}
.head .score{color:var(--ink)}
.grid{display:grid;gap:14px 18px}
.four{grid-template-columns:repeat(4,1fr)}
.three{grid-template-columns:repeat(3,1fr)}
figure{margin:0;min-width:0}
figure img{display:block;width:100%;height:auto}
.three img{border-radius:5px}
figcaption{font-size:.82rem;color:var(--soft);margin-top:5px}
figcaption b{font-weight:600;color:var(--ink)}
.swatch{display:inline-block;width:.78em;height:.78em;border-radius:3px;margin-right:.5em;
box-shadow:inset 0 0 0 1px #8886}
ul.legend{display:flex;flex-wrap:wrap;gap:5px 18px;list-style:none;margin:14px 0 0;padding:0;font-size:.85rem;
color:var(--soft)}
ul.bars{list-style:none;margin:0;padding:0;columns:2;column-gap:52px;font-size:.9rem}
ul.bars.one{columns:1;max-width:640px}
ul.bars li{display:grid;grid-template-columns:8.5em 1fr 7em;gap:10px;align-items:center;padding:4px 0;
break-inside:avoid}
ul.bars.one li{grid-template-columns:6em 1fr 7em}
.name{white-space:nowrap;overflow:hidden;text-overflow:ellipsis}
.track{position:relative;display:block;height:15px;border-radius:3px;background:var(--rail)}
.track b{display:block;height:100%;min-width:1px;border-radius:3px;box-shadow:inset 0 0 0 1px #0002}
.track b.plain{background:var(--accent)}
.track b.before{position:absolute;left:0;bottom:0;height:4px;background:var(--ink);opacity:.62;
border-radius:0 2px 2px 3px}
.num{text-align:right;white-space:nowrap}
.num .was{color:var(--faint);font-size:.88em}
.num strong{font-weight:600}
.confusion{width:100%;max-width:900px}
.confusion .nil{fill:var(--rail);fill-opacity:.45}
.confusion .right{fill:var(--accent)}.confusion .wrong{fill:var(--wrong)}
.confusion .cell{font-size:9.5px;text-anchor:middle;fill:var(--ink)}
.confusion .cell.on{fill:var(--paper);font-weight:600}
.confusion .axis{fill:var(--faint);font-size:10px}
.curves{grid-template-columns:repeat(auto-fit,minmax(290px,1fr));gap:30px 36px}
.curves h3{margin-bottom:8px}
.line{width:100%;height:auto;max-width:520px}
.line .grid{stroke:var(--rule);stroke-width:1}
.line polyline{fill:none;stroke:var(--bar);stroke-width:1.6;stroke-linejoin:round}
.val .line polyline{stroke:var(--accent);stroke-width:2}
.val .line circle{fill:var(--accent)}
.line circle{fill:var(--bar)}
dl.facts{display:grid;grid-template-columns:repeat(auto-fill,minmax(250px,1fr));gap:14px 32px;margin:0;font-size:.9rem}
dl.facts dt{color:var(--soft);font-size:.82rem}
dl.facts dd{margin:0;overflow-wrap:anywhere}
ul.credits{columns:3;column-gap:36px;margin:12px 0 0;padding:0;list-style:none;font-size:.8rem;color:var(--soft)}
ul.credits li{break-inside:avoid;padding:1.5px 0;overflow-wrap:anywhere}
summary{cursor:pointer;color:var(--accent);font-size:.92rem}
@media (max-width:900px){ul.credits{columns:2}.three{grid-template-columns:repeat(2,1fr)}}
@media (max-width:760px){main{padding:32px 18px 48px}.scroll{margin:0 -18px;padding:0 18px}section{margin-top:44px}
.four{grid-template-columns:repeat(2,1fr)}.grid{gap:12px}.stats{gap:14px 34px}.stats b{font-size:2.1rem}
ul.bars,ul.credits{columns:1}ul.bars li{grid-template-columns:8.6em 1fr 6.2em;gap:8px}
td.whisker,th.whisker{display:none}
td:first-child{white-space:normal}th,td{padding-left:14px}dl.facts{grid-template-columns:repeat(2,1fr);gap:12px 20px}}
@media print{section{break-inside:avoid}body{background:none}}
"""
