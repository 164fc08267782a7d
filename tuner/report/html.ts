// The few pieces of HTML that the report's sections are made of.
import { escape } from './svg.ts';

export { figures } from '../bench-table.ts';

/** A cell that is text, or HTML that was made here. */
export type CellText = string | { readonly html: string };
const inner = (cell: CellText): string => (typeof cell === 'string' ? escape(cell) : cell.html);

/** A table that scrolls by itself where it is wider than the page. */
export const tableHtml = (head: readonly string[], rows: readonly (readonly CellText[])[]): string =>
  `<div class="scroll"><table><thead><tr>${head.map((name) => `<th>${escape(name)}</th>`).join('')}</tr></thead><tbody>${rows.map((cells) => `<tr>${cells.map((cell) => `<td>${inner(cell)}</td>`).join('')}</tr>`).join('')}</tbody></table></div>`;

export const paragraph = (words: string, dim = false): string => `<p${dim ? ' class="dim"' : ''}>${escape(words)}</p>`;
export const code = (words: string): string => `<code>${escape(words)}</code>`;
/** Drawings side by side where there is room. */
export const gridHtml = (items: readonly { readonly title: string; readonly body: string }[]): string =>
  `<div class="grid">${items.map(({ title, body }) => `<figure><figcaption>${escape(title)}</figcaption>${body}</figure>`).join('')}</div>`;
/** Closed until it is asked for, but the first. */
export const detailsHtml = (summary: string, body: string, open = false): string => `<details${open ? ' open=""' : ''}><summary>${escape(summary)}</summary>${body}</details>`;

/** Nothing where the body is empty: a section without data is not there. */
export const sectionHtml = (id: string, title: string, body: readonly string[]): string => (body.every((part) => part === '') ? '' : `<section id="${id}"><h2>${escape(title)}</h2>${body.join('')}</section>`);

export const percent = (share: number, digits = 1): string => `${(100 * share).toFixed(digits)} %`;
/** 4096 as 4K, 1536 as 1.5K. */
export const tokensWord = (tokens: number): string => (tokens >= 1024 && tokens % 512 === 0 ? `${tokens / 1024}K` : String(tokens));
