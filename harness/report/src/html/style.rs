//! The style sheet: light and dark by the reader's setting, one colour a model, readable from 360 pixels up.

/// The whole of it. Model colours are told apart by readers with any common colour blindness (after Okabe and Ito) and
/// keep a contrast of 3:1 against both backgrounds.
pub const CSS: &str = "
:root { color-scheme: light dark;
  --page: #ffffff; --soft: #f5f6f8; --text: #1b1f24; --muted: #5b6570; --line: #e4e7eb; --link: #005a9c;
  --on-strong: #fffffe; --good: #1a7f4b; --warn: #8a5a00; --warn-soft: #fff3d6; --bad: #b3261e; --bad-soft: #fdeceb;
  --process: #6b7480; --isolate: #0072b2; --wasm: #8a4fbf; --container: #00866a; --microvm: #c8500a; --remote: #b0357e;
  --null: #9a9a99; }
@media (prefers-color-scheme: dark) { :root {
  --page: #14171b; --soft: #1c2026; --text: #e6e9ed; --muted: #9ba6b2; --line: #2d343c; --link: #7cc0ff;
  --on-strong: #101316; --good: #5fcf95; --warn: #f0c060; --warn-soft: #332a14; --bad: #ff8f86; --bad-soft: #3a1e1c;
  --process: #a9b3be; --isolate: #5bb4ec; --wasm: #c59bf0; --container: #3fc7a4; --microvm: #ff9550; --remote: #f08cc4;
  --null: #8a8a89; } }
* { box-sizing: border-box; }
html { -webkit-text-size-adjust: 100%; scroll-behavior: smooth; }
body { margin: 0; background: var(--page); color: var(--text);
  font: 16px/1.55 system-ui, -apple-system, 'Segoe UI', Roboto, 'Noto Sans', 'DejaVu Sans', sans-serif; }
main { max-width: 1240px; margin: 0 auto; padding: 28px 24px 72px; }
h1 { font-size: 28px; line-height: 1.2; margin: 0 0 4px; letter-spacing: -0.01em; }
h2 { font-size: 21px; line-height: 1.3; margin: 56px 0 4px; letter-spacing: -0.005em; }
h3 { font-size: 16px; margin: 28px 0 4px; }
p { margin: 8px 0; max-width: 76ch; }
a { color: var(--link); }
code { font-family: ui-monospace, SFMono-Regular, Menlo, Consolas, 'DejaVu Sans Mono', monospace; font-size: 0.9em; }
.meta, .read, .note, figcaption { color: var(--muted); font-size: 14px; }
.read { margin: 4px 0 14px; max-width: none; }
.note { max-width: none; }
nav { font-size: 14px; margin: 12px 0 0; display: flex; flex-wrap: wrap; gap: 0 18px; } nav a, .meta a, dd a { line-height: 26px; display: inline-block; }
.answer { margin: 18px 0 0; }
.answer p { margin: 8px 0; }
.answer p.lead { font-size: 19px; line-height: 1.5; max-width: 68ch; }
.caveats { margin: 16px 0 0; padding: 10px 16px; background: var(--warn-soft); border-radius: 8px; font-size: 14.5px; }
.caveats p { margin: 3px 0; max-width: none; }
.scroll { overflow-x: auto; margin: 16px 0 0; border-top: 1px solid var(--line); border-bottom: 1px solid var(--line); }
table { border-collapse: collapse; width: 100%; font-size: 14px; line-height: 1.4; font-variant-numeric: tabular-nums; }
th, td { padding: 7px 8px; text-align: left; vertical-align: top; border-bottom: 1px solid var(--line); }
tbody tr:last-child > * { border-bottom: 0; }
thead th { color: var(--muted); font-weight: 500; font-size: 13px; vertical-align: bottom; white-space: nowrap; }
tbody th { font-weight: 600; white-space: nowrap; }
th:first-child { position: sticky; left: 0; background: var(--page); z-index: 1; }
td.n, th.n { text-align: right; white-space: nowrap; }
td.n b { font-weight: 600; }
td small, th small { display: block; color: var(--muted); font-size: 12px; font-weight: 400; }
td.text { min-width: 14em; max-width: 30em; font-size: 13px; color: var(--muted); overflow-wrap: anywhere; }
.cells { font-size: 13px; } .cells th, .cells td { padding: 7px 4px; } .cells td.text { min-width: 8em; max-width: 20em; }
.below { opacity: 0.6; font-style: italic; }
.whole, td.date { white-space: nowrap; }
td small.halves, td small.disturbed { color: var(--warn); }
td.none { color: var(--muted); }
tr.emulated td.n b { font-weight: 400; font-style: italic; }
small.compact { display: none; }
.model { display: inline-block; width: 9px; height: 9px; border-radius: 50%; margin-right: 8px; background: var(--ink); }
.emulated .model { background: none; box-shadow: inset 0 0 0 2px var(--ink); }
.tag { display: inline-block; padding: 0 7px; border-radius: 9px; font-size: 12px; line-height: 19px; white-space: nowrap;
  margin: 0 3px 2px 0; color: var(--good); border: 1px solid currentColor; }
.tag.warn { color: var(--warn); background: var(--warn-soft); }
.tag.bad { color: var(--bad); background: var(--bad-soft); }
.tag.idle { color: var(--muted); }
.plot { margin: 18px 0 0; }
.plot svg { display: block; width: 100%; height: auto; overflow: visible; }
.plot text { font-family: system-ui, -apple-system, 'Segoe UI', Roboto, 'Noto Sans', 'DejaVu Sans', sans-serif; }
.plot.narrow { display: none; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: 4px 20px; font-size: 14px; margin: 12px 0; }
dt { color: var(--muted); } dd { margin: 0; overflow-wrap: anywhere; }
details { margin: 14px 0 0; } summary { line-height: 26px; cursor: pointer; color: var(--link); font-size: 15px; }
pre { background: var(--soft); border-radius: 8px; padding: 12px 16px; overflow-x: auto; font-size: 13px; line-height: 1.5; }
ul.plain { list-style: none; margin: 12px 0 0; padding: 0; }
ul.plain li { padding: 8px 0; border-top: 1px solid var(--line); overflow-wrap: anywhere; }
ul.plain li:first-child { border-top: 0; }
.pairs { margin: 14px 0 0; border-bottom: 1px solid var(--line); }
.pair { display: grid; grid-template-columns: 23% 23% 1fr 21%; gap: 2px 16px; padding: 9px 0; border-top: 1px solid var(--line);
  align-items: center; font-size: 14px; line-height: 1.45; font-variant-numeric: tabular-nums; }
.pair.head { padding: 3px 0 0; border-top: 0; }
.pair .what { overflow-wrap: anywhere; } .pair .facts, .pair small { color: var(--muted); font-size: 12.5px; }
svg.ratio { display: block; width: 100%; overflow: visible; }
svg.ratio text { fill: var(--muted); font-size: 12px; } svg.ratio .floor { fill: var(--muted); opacity: 0.16; }
svg.ratio .tick { stroke: var(--line); } svg.ratio .one { stroke: var(--muted); }
svg.ratio .interval { stroke: currentColor; stroke-width: 5; opacity: 0.5; } svg.ratio circle { fill: currentColor; }
svg.ratio .good { color: var(--good); } svg.ratio .bad { color: var(--bad); } svg.ratio .idle { color: var(--muted); }
.strips { margin: 14px 0 0; border-bottom: 1px solid var(--line); font-size: 14px; line-height: 1.45; }
.strips .strip, .strips .rung { display: grid; grid-template-columns: 21% 1fr 21%; gap: 2px 16px; align-items: center; padding: 2px 0; }
.strips .group { padding: 8px 0 2px; border-top: 1px solid var(--line); font-weight: 600; }
.strips .group small { color: var(--muted); font-weight: 400; font-size: 12.5px; margin-left: 6px; }
.strips .rung { grid-template-columns: 12% 1fr 11% 16% 32%; align-items: start; padding: 9px 0; border-top: 1px solid var(--line); }
.strips .rung.head, .strips .strip.head { padding: 3px 0 0; border-top: 0; }
.strips small { color: var(--muted); font-size: 12.5px; } .strips .facts { color: var(--muted); font-size: 13px; }
.strips .rung p { margin: 0 0 3px; max-width: none; } .strips .head div { color: var(--muted); font-size: 13px; }
.adds td.n { white-space: normal; } .adds td.n b { white-space: nowrap; } .strips .value { font-variant-numeric: tabular-nums; }
svg.axis { display: block; width: 100%; overflow: visible; } svg.axis text { fill: var(--muted); font-size: 12px; }
svg.axis .tick { stroke: var(--line); } svg.axis .bar { stroke: var(--ink); opacity: 0.25; stroke-width: 2; }
svg.axis .interval { stroke: var(--ink); stroke-width: 5; opacity: 0.55; } svg.axis .range { stroke: var(--ink); opacity: 0.7; }
svg.axis circle { fill: var(--ink); stroke: var(--ink); stroke-width: 2; } svg.axis .hollow { fill: var(--page); }
.matrix td { min-width: 7.5em; } .matrix td.n b { display: block; } .matrix td.n small { white-space: nowrap; }
.matrix td.n .adds { color: var(--text); font-size: 13px; display: block; } .matrix td.why { min-width: 9em; max-width: 14em; color: var(--muted); font-size: 12.5px; }
@media (max-width: 640px) {
  .strips .strip, .strips .rung { grid-template-columns: 1fr max-content; }
  .strips svg, .strips .facts, .strips .kept { grid-column: 1 / -1; } .strips .strip .value { grid-row: 1; grid-column: 2; }
  .strips .head div { display: none; } .strips .rung .cost { grid-row: 1; grid-column: 2; text-align: right; }
  .pair { grid-template-columns: 1fr; } .pair svg { margin: 4px 0; } .pair.head div { display: none; }
  main { padding: 20px 15px 48px; }
  h1 { font-size: 24px; } h2 { font-size: 19px; margin-top: 44px; }
  .answer p.lead { font-size: 17px; }
  th, td { padding: 7px 8px; } .headline td.text { min-width: 34em; max-width: 44em; }
  .headline .wide { display: none; } small.compact { display: block; margin: 2px 0 0 17px; }
  .plot.wide { display: none; } .plot.narrow { display: block; max-width: 480px; }
  dl { grid-template-columns: 1fr; gap: 0; } dd { margin-bottom: 8px; }
}
@page { size: A4 landscape; margin: 10mm; }
@media print {
  main { max-width: none; padding: 0; } body, .answer p.lead { font-size: 11pt; } h2 { margin-top: 20pt; }
  .scroll, pre { overflow: visible; } pre { white-space: pre-wrap; overflow-wrap: anywhere; }
  details::details-content { content-visibility: visible; block-size: auto; } summary { color: var(--text); list-style: none; }
  h2, h3, summary, .read, thead { break-after: avoid; } svg, tr, .pair, .rung, .strip, li { break-inside: avoid; }
  table { font-size: 8.5pt; } th, td, .cells th, .cells td { padding: 3px 4px; } td small, th small, td.text { font-size: 7.5pt; }
  thead th { white-space: normal; } th:first-child { position: static; }
  td.text, .cells td.text, .matrix td, .matrix td.why { min-width: 0; }
}
";
