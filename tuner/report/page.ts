// gen report on journals and tables: one HTML file that needs nothing else, in light and dark, for wide and narrow pages.
import { compileSection } from './compile.ts';
import { convergenceSection, curveSection } from './convergence.ts';
import { readData, type NamedText } from './data.ts';
import { environmentSection } from './environment.ts';
import { failuresSection } from './failures.ts';
import { fieldSections } from './fields.ts';
import { paragraph, sectionHtml } from './html.ts';
import { noiseSection } from './noise.ts';
import { portabilitySection } from './portability.ts';
import { surfaceSection } from './surface.ts';
import { headlines, winnersSection } from './winners.ts';

const STYLE = `:root{color-scheme:light dark;--ink:#1b1f24;--dim:#5b6570;--line:#d5dae0;--back:#fff;--dot:#000}
@media(prefers-color-scheme:dark){:root{--ink:#e8eaed;--dim:#9aa4af;--line:#3a424b;--back:#14171a;--dot:#fff}}
*{box-sizing:border-box}body{margin:0 auto;max-width:76rem;padding:1rem;background:var(--back);color:var(--ink);font:15px/1.5 system-ui,sans-serif;overflow-wrap:anywhere}
h1{font-size:1.5rem}h2{font-size:1.15rem;margin:2.2rem 0 .5rem;border-top:1px solid var(--line);padding-top:1rem}h3{font-size:1rem;margin:1.2rem 0 .3rem}p{max-width:52rem}.dim,figcaption{color:var(--dim)}
nav a{margin-right:.9rem;color:inherit}.scroll{overflow-x:auto;margin:.5rem 0}table{border-collapse:collapse;font-size:.85rem;font-variant-numeric:tabular-nums}
th,td{padding:.2rem .6rem;text-align:left;border-bottom:1px solid var(--line);white-space:nowrap}th{color:var(--dim);font-weight:600}code{font:.85rem/1.4 ui-monospace,monospace}td code{white-space:nowrap}
details{margin:.4rem 0}summary{cursor:pointer}.grid{display:grid;grid-template-columns:repeat(auto-fill,minmax(min(100%,22rem),1fr));gap:.5rem 1.5rem}figure{margin:.4rem 0;min-width:0}figcaption{font-size:.85rem}
svg{display:block;width:100%;height:auto;max-width:30rem}svg text{fill:var(--ink);font:12px system-ui,sans-serif}svg .dim{fill:var(--dim)}svg .dot{fill:none;stroke:var(--dot);stroke-width:1.5}
.h0{fill:#f7fbff}.h1{fill:#deebf7}.h2{fill:#c6dbef}.h3{fill:#9ecae1}.h4{fill:#6baed6}.h5{fill:#3182bd}.h6{fill:#08519c}svg .hd{fill:#1b1f24}svg .hl{fill:#fff}svg rect{stroke:none}
.warn{border-left:4px solid #d55e00;padding-left:.7rem}`;

/** The page of `files`, journals and tables in any order. Throws InputError for a file that is neither, or holds nothing. */
export function tunePage(files: readonly NamedText[]): string {
  const data = readData(files);
  const modelled = data.tables.filter(({ table }) => Object.values(table.contracts).some(({ origin }) => origin === 'modelled'));
  const sections = [
    environmentSection(data),
    sectionHtml('headline', 'In short', headlines(data).map((words) => paragraph(words))),
    winnersSection(data),
    surfaceSection(data),
    ...fieldSections(data),
    convergenceSection(data),
    curveSection(data),
    compileSection(data),
    failuresSection(data),
    noiseSection(data),
    portabilitySection(data),
  ].filter((section) => section !== '');
  const links = sections.flatMap((section) => {
    const [, id, title] = /^<section id="(\w+)"><h2>([^<]*)<\/h2>/.exec(section) ?? [];
    return id === undefined ? [] : [`<a href="#${id}">${title}</a>`];
  });
  return [
    '<!doctype html>',
    '<html lang="en"><head><meta charset="utf-8"/><meta name="viewport" content="width=device-width, initial-scale=1"/><title>antkv: tuning report</title>',
    `<style>${STYLE}</style></head><body>`,
    '<h1>antkv: tuning report</h1>',
    ...(data.emulated ? ['<p class="warn"><strong>Emulated: the times mean nothing.</strong></p>'] : []),
    ...modelled.map(({ file }) => `<div class="warn">${paragraph(`${file} is modelled: computed, never measured.`)}</div>`),
    `<nav>${links.join('')}</nav>`,
    ...sections,
    '</body></html>',
    '',
  ].join('\n');
}
