"""Style sheet and script of the report, with the policy that allows only these two.

The policy names both by their hashes, so nothing else can be loaded or run, whatever the data of a study contain.
"""

import base64
import hashlib

STYLE = """
:root{color-scheme:light dark;--bg:#fff;--panel:#f5f6f8;--text:#1b1f24;--soft:#565d67;--rule:#d5d9e0;
--accent:#1257b5;--good:#17693a;--bad:#b3261e;--default:#8a4b00;--code:#eef0f4}
@media (prefers-color-scheme:dark){:root{--bg:#14171b;--panel:#1d2127;--text:#e7eaee;--soft:#a8b0bb;--rule:#383f49;
--accent:#7fb2ff;--good:#6fd394;--bad:#ff9a90;--default:#f0b35a;--code:#232830}}
*{box-sizing:border-box}
body{margin:0;background:var(--bg);color:var(--text);font:16px/1.5 system-ui,-apple-system,"Segoe UI",sans-serif}
header,main,footer{max-width:64rem;margin:0 auto;padding:0 1.25rem}
header{padding-top:1.5rem}
h1{font-size:1.05rem;margin:0;color:var(--soft);font-weight:600;overflow-wrap:anywhere}
h2{font-size:1.3rem;margin:2.5rem 0 .5rem}
h3{font-size:1.05rem;margin:1.5rem 0 .4rem;overflow-wrap:anywhere}
p{margin:.4rem 0;overflow-wrap:anywhere}
a{color:var(--accent)}
.simulated{border:2px solid var(--bad);border-radius:4px;padding:.5rem .9rem;margin:.8rem 0;font-weight:600}
.answer{font-size:1.3rem;line-height:1.35;font-weight:600;margin:.5rem 0 1rem;overflow-wrap:anywhere}
.more{color:var(--soft)}
.gains{display:flex;flex-wrap:wrap;gap:1rem;margin:1rem 0;padding:0;list-style:none}
.gains li{background:var(--panel);border-left:4px solid var(--soft);border-radius:4px;padding:.6rem 1rem}
.gains li.better{border-color:var(--good)}.gains li.worse{border-color:var(--bad)}
.gains strong{display:block;font-size:1.9rem;line-height:1.2}
.gains span{display:block}
.small,.gains .small{font-size:.875rem;color:var(--soft)}
.pill{display:inline-block;border:1px solid var(--soft);border-radius:1rem;padding:0 .6rem;font-size:.8rem;
color:var(--text);margin-left:.4rem;font-weight:400}
.command{position:relative}
pre{background:var(--code);border:1px solid var(--rule);border-radius:4px;padding:.75rem;margin:.3rem 0;overflow-x:auto;
font:.875rem/1.5 ui-monospace,Menlo,Consolas,monospace;tab-size:4}
.command pre{white-space:pre-wrap;overflow-wrap:anywhere}
button{font:inherit;font-size:.875rem;padding:.25rem .8rem;border:1px solid var(--accent);border-radius:4px;
background:var(--bg);color:var(--accent);cursor:pointer}
:focus-visible{outline:3px solid var(--accent);outline-offset:2px}
nav ul{list-style:none;display:flex;flex-wrap:wrap;gap:.25rem 1.1rem;padding:0;margin:1.25rem 0 0;font-size:.9rem}
.caveats li{margin:.3rem 0}
.scroll{overflow:auto;max-height:38rem;border:1px solid var(--rule);border-radius:4px;margin:.5rem 0}
table{border-collapse:collapse;width:100%;font-size:.9rem;font-variant-numeric:tabular-nums}
caption{text-align:left;padding:.5rem .7rem;font-weight:600}
th,td{padding:.35rem .7rem;text-align:left;vertical-align:top;border-top:1px solid var(--rule)}
thead th{position:sticky;top:0;background:var(--panel);border-top:0;white-space:nowrap}
tbody th{font-weight:600;white-space:nowrap}
.number{text-align:right;white-space:nowrap}
.set{min-width:13rem}.slo{white-space:nowrap}
tr.best>*,tr.winner>*{background:var(--panel)}
.better{color:var(--good)}.worse{color:var(--bad)}
figure{margin:1.25rem 0;max-width:48rem}
figcaption{font-size:.9rem;color:var(--soft)}
figure svg[role=img]{display:block;width:100%;height:auto;min-width:30rem}
.plot{overflow-x:auto}
svg text{fill:var(--text);font:12px system-ui,sans-serif}
svg .axis,svg .tick{fill:var(--soft)}
.middle{text-anchor:middle}.end{text-anchor:end}
.grid{stroke:var(--rule);stroke-width:1}.row{stroke:var(--rule);stroke-dasharray:2 3}.edge{stroke:var(--soft)}
.ref{stroke-width:1.5;stroke-dasharray:6 4}.ref.default{stroke:var(--default)}.ref.slo{stroke:var(--bad)}
svg .note{font-size:12px;paint-order:stroke;stroke:var(--bg);stroke-width:4px}
.best-so-far{fill:none;stroke:var(--accent);stroke-width:1.5;opacity:.7}
.mark{stroke-width:1.6}
.mark.ok{fill:var(--accent);stroke:var(--bg);stroke-width:.8}
.mark.bad{fill:var(--bg);stroke:var(--bad)}
.mark.failed{fill:none;stroke:var(--bad);stroke-width:2}
.mark.default{fill:var(--default);stroke:var(--bg)}.mark.default-bad{fill:var(--bg);stroke:var(--default);stroke-width:2}
.mark.best{fill:var(--good);stroke:var(--bg);stroke-width:1}
.mean{stroke:var(--text);stroke-width:2.5}
.legend{list-style:none;display:flex;flex-wrap:wrap;gap:.1rem 1.1rem;padding:0;margin:.2rem 0;font-size:.85rem}
.legend li{display:flex;align-items:center;gap:.3rem}.legend svg{width:20px;height:20px;flex:none}
.bar{width:6rem;height:.85rem;vertical-align:middle;margin-right:.5rem}
.bar .track{fill:var(--rule)}.bar .fill{fill:var(--accent)}
details{border:1px solid var(--rule);border-radius:4px;padding:.4rem .8rem;margin:.5rem 0}
summary{cursor:pointer;overflow-wrap:anywhere}
footer{margin-top:3rem;padding-bottom:2rem;color:var(--soft);font-size:.875rem}
.skip{position:absolute;left:-99rem}.skip:focus{left:1rem;top:.5rem;background:var(--bg);padding:.3rem .6rem}
@media print{button,nav,.skip{display:none}.scroll{max-height:none}}
"""

SCRIPT = """
for (const button of document.querySelectorAll("button[data-copy]")) {
  const source = document.getElementById(button.dataset.copy);
  button.hidden = false;
  button.addEventListener("click", async () => {
    let copied = true;
    try {
      await navigator.clipboard.writeText(source.textContent);
    } catch {
      getSelection().selectAllChildren(source);
      copied = document.execCommand("copy");
    }
    button.textContent = copied ? "Copied" : "Press Ctrl+C";
    setTimeout(() => { button.textContent = "Copy"; }, 2000);
  });
}
"""


def _hash(text: str) -> str:
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


POLICY = (
    f"default-src 'none'; style-src 'sha256-{_hash(STYLE)}'; script-src 'sha256-{_hash(SCRIPT)}'; "
    "base-uri 'none'; form-action 'none'"
)
"""Content security policy of the page."""
