// The page that reports of records are: one HTML file that needs nothing else, in light and dark. Pure.

const STYLE = `:root{color-scheme:light dark;--ink:#1b1f24;--dim:#5b6570;--line:#d5dae0;--back:#fff;--bar:#dfe4ea}
@media(prefers-color-scheme:dark){:root{--ink:#e8eaed;--dim:#9aa4af;--line:#3a424b;--back:#14171a;--bar:#2a3138}}
*{box-sizing:border-box}body{margin:0 auto;max-width:72rem;padding:1rem;background:var(--back);color:var(--ink);font:15px/1.5 system-ui,sans-serif;overflow-wrap:anywhere}
h1{font-size:1.5rem}h2{font-size:1.05rem;margin:2rem 0 .5rem}p{max-width:48rem}.dim{color:var(--dim)}.scroll{overflow-x:auto}
table{border-collapse:collapse;font-size:.85rem;font-variant-numeric:tabular-nums}th,td{padding:.2rem .6rem;text-align:right;border-bottom:1px solid var(--line);white-space:nowrap}th{color:var(--dim);font-weight:600}
th:nth-child(-n+2),td:nth-child(-n+2){text-align:left}svg{display:block;width:100%;height:auto;max-width:44rem}svg text{fill:var(--ink);font:12px system-ui,sans-serif}svg .dim{fill:var(--dim)}.wrong{color:#c0392b}`;

/** The page; `title` is its headline too, `body` is HTML. */
export const pageHtml = (title: string, body: readonly string[]): string =>
  [
    '<!doctype html>',
    `<html lang="en"><head><meta charset="utf-8"/><meta name="viewport" content="width=device-width, initial-scale=1"/><title>${title}</title>`,
    `<style>${STYLE}</style></head><body>`,
    `<h1>${title}</h1>`,
    ...body,
    '</body></html>',
    '',
  ].join('\n');
