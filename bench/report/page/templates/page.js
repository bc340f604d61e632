"use strict";
// Tables that sort, and the ranked lists. All texts are set as text, never read as markup.

const SVG = "http://www.w3.org/2000/svg";
const KINDS = [
  { name: "right", sign: "✓", style: "right" },
  { name: "wrong", sign: "✗", style: "wrong" },
  { name: "left out: same person, same camera", sign: "–", style: "out" },
  { name: "right, missed among the ten nearest", sign: "✓", style: "missed" },
];
const [WRONG, LEFT_OUT, MISSED] = [1, 2, 3];
const ANY = "";
const RAMP = [[88, 106, 226], [232, 100, 130], [255, 214, 64]];

/** An element with attributes and children; strings become text. */
function make(name, attributes = {}, ...children) {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (value !== null) element.setAttribute(key, value);
  }
  element.append(...children);
  return element;
}

function draw(name, attributes, ...children) {
  const element = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  element.append(...children);
  return element;
}

// --- Tables

/** What an entry is sorted by: its first number, else its words; null for nothing measured. */
function sortKey(cell) {
  const text = [...cell.childNodes].filter((node) => node.nodeName !== "SUP").map((node) => node.textContent).join("").trim();
  if (text === "" || text === "·") return null;
  const number = /^[<>≈~]?\s*([-+−]?(?:\d[\d,]*)?\.?\d+(?:e[-+]?\d+)?)/i.exec(text);
  return number ? Number(number[1].replaceAll(",", "").replace("−", "-")) : text;
}

function compareKeys(one, other) {
  if (typeof one === "number" && typeof other === "number") return one - other;
  return String(one).localeCompare(String(other), "en", { numeric: true });
}

/** Sort by a column: numbers from the largest first, words from A; then the other way; then as it was. */
function sortBy(table, heading, position) {
  const body = table.tBodies[0];
  const rows = [...body.rows].map((row) => ({ row, key: sortKey(row.cells[position]) }));
  const known = rows.filter(({ key }) => key !== null);
  const first = known.every(({ key }) => typeof key === "number") ? "descending" : "ascending";
  const second = first === "ascending" ? "descending" : "ascending";
  const next = { none: first, [first]: second, [second]: "none" }[heading.getAttribute("aria-sort") ?? "none"];
  for (const other of table.querySelectorAll("th[aria-sort]")) other.setAttribute("aria-sort", "none");
  heading.setAttribute("aria-sort", next);
  const place = ({ row }) => Number(row.dataset.place);
  const sign = next === "ascending" ? 1 : -1;
  const order = (one, other) => sign * compareKeys(one.key, other.key) || place(one) - place(other);
  if (next === "none") rows.sort((one, other) => place(one) - place(other));
  else rows.splice(0, rows.length, ...known.sort(order), ...rows.filter(({ key }) => key === null));
  body.append(...rows.map(({ row }) => row));
}

function makeSortable(table) {
  [...table.tBodies[0].rows].forEach((row, place) => { row.dataset.place = place; });
  [...table.tHead.rows].at(-1).querySelectorAll("th").forEach((heading, position) => {
    const button = make("button", { type: "button" }, ...heading.childNodes);
    heading.replaceChildren(button);
    heading.setAttribute("aria-sort", "none");
    button.addEventListener("click", () => sortBy(table, heading, position));
  });
}

// --- Ranked lists

class Explorer {
  constructor(data) {
    this.data = data;
    this.form = document.getElementById("choices");
    this.queries = document.getElementById("queries");
    this.lists = document.getElementById("lists");
    document.getElementById("explorer-parts").hidden = false;
    const { test } = this.form.elements;
    test.append(...data.tests.map((item, place) => make("option", { value: place }, item.title)));
    test.closest("label").hidden = data.tests.length < 2;
    this.form.addEventListener("submit", (event) => event.preventDefault());
    this.form.addEventListener("change", (event) => this.change(event.target.name));
    this.queries.addEventListener("keydown", (event) => this.step(event));
    for (const matrix of document.querySelectorAll(".cameras")) this.linkCells(matrix);
    this.change("test");
  }

  /** What follows from a choice: another test set has other heads and cameras, other heads another order. */
  change(name) {
    if (name === "test") this.offer();
    this.pair = null;
    if (name === "left-out" || name === "missed") this.showLists();
    else this.list();
  }

  get heads() {
    const chosen = [...this.form.querySelectorAll("[name=head]")].map((select) => select.value);
    return [...new Set(chosen.filter((value) => value !== ANY).map(Number))];
  }

  offer() {
    this.test = this.data.tests[Number(this.form.elements.test.value)];
    this.query = null;
    const { heads, queries, pictures } = this.test;
    const mean = (head) => queries.reduce((sum, query) => sum + query.under[head].ap, 0);
    const best = [...heads.keys()].sort((one, other) => mean(other) - mean(one)).map(String);
    for (const select of this.form.querySelectorAll("[name=head]")) {
      const place = Number(select.dataset.place);
      const options = heads.map((head, number) => make("option", { value: number }, head.name));
      if (place > 0) options.unshift(make("option", { value: ANY }, "none"));
      select.replaceChildren(...options);
      select.value = place < 2 ? best[place] ?? ANY : ANY;
    }
    const cameras = (found) => [...new Set(found.map((picture) => pictures[picture][2]))].sort((one, other) => one - other);
    const fill = (select, found) => select.replaceChildren(
      make("option", { value: ANY }, "any"), ...found.map((camera) => make("option", { value: camera }, String(camera))));
    fill(this.form.elements["query-camera"], cameras(queries.map((query) => query.picture)));
    fill(this.form.elements["gallery-camera"], cameras(queries.flatMap(
      (query) => query.under.flatMap((under) => mistakes(under).map(([picture]) => picture)))));
  }

  /** The queries that the cameras leave, in the order that is asked for. */
  chosen() {
    const asked = this.form.elements["query-camera"].value;
    const mistaken = this.form.elements["gallery-camera"].value;
    const camera = (picture) => String(this.test.pictures[picture][2]);
    const under = (query) => this.heads.map((head) => query.under[head]);
    const fits = (query) => (asked === ANY || camera(query.picture) === asked)
      && (mistaken === ANY || under(query).some((found) => mistakes(found).some(([picture]) => camera(picture) === mistaken)));
    const measure = ORDERS[this.form.elements.order.value];
    const weighed = this.test.queries.filter(fits).map((query) => {
      // One head cannot disagree with itself: then all of them are compared.
      const compared = this.heads.length > 1 ? under(query) : query.under;
      return { query, weight: measure(under(query), compared) };
    });
    return weighed.sort((one, other) => other.weight - one.weight).map(({ query }) => query);
  }

  list() {
    const shown = this.chosen();
    if (!shown.includes(this.query)) this.query = shown[0] ?? null;
    this.queries.replaceChildren(...shown.map((query) => make("li", {}, this.queryButton(query))));
    document.getElementById("number").textContent = shown.length === this.test.queries.length
      ? `${shown.length} queries` : `${shown.length} of ${this.test.queries.length} queries`;
    for (const matrix of document.querySelectorAll(".cameras")) {
      const own = Number(matrix.dataset.test) === Number(this.form.elements.test.value);
      matrix.hidden = !own || !this.heads.includes(Number(matrix.dataset.head));
    }
    this.showLists();
  }

  /** A share in a matrix leads to its queries, where the page shows any. */
  linkCells(matrix) {
    const test = this.data.tests[Number(matrix.dataset.test)];
    const camera = (picture) => test.pictures[picture][2];
    const shown = new Set(test.queries.flatMap((query) => mistakes(query.under[Number(matrix.dataset.head)]).map(
      ([picture]) => `${camera(query.picture)} ${camera(picture)}`)));
    for (const cell of matrix.querySelectorAll("[data-asked]")) {
      const { asked, mistaken } = cell.dataset;
      if (!shown.has(`${asked} ${mistaken}`)) continue;
      const button = make("button", { type: "button", title: `show these queries: camera ${asked} mistaken for camera ${mistaken}` },
        cell.textContent);
      cell.replaceChildren(button);
      button.addEventListener("click", () => {
        this.form.elements["query-camera"].value = asked;
        this.form.elements["gallery-camera"].value = mistaken;
        this.change("query-camera");
        this.form.scrollIntoView();
        this.form.elements["query-camera"].focus({ preventScroll: true });
      });
    }
  }

  queryButton(query) {
    const [name] = this.test.pictures[query.picture];
    const precision = this.heads.map((head) => percent(query.under[head].ap)).join(" / ");
    const button = make("button", {
      type: "button", tabindex: query === this.query ? 0 : -1, "aria-current": String(query === this.query),
    }, this.picture(query.picture, ""), make("span", { class: "facts" },
      make("span", { class: "name", title: name }, name), make("span", { class: "muted" }, `AP ${precision}`)));
    button.addEventListener("click", () => this.choose(query, button));
    return button;
  }

  choose(query, button) {
    for (const other of this.queries.querySelectorAll("button")) {
      other.tabIndex = other === button ? 0 : -1;
      other.setAttribute("aria-current", String(other === button));
    }
    this.query = query;
    this.pair = null;
    this.showLists();
  }

  /** Arrow keys, Home and End go from query to query. */
  step(event) {
    const buttons = [...this.queries.querySelectorAll("button")];
    const at = buttons.indexOf(document.activeElement);
    const next = {
      ArrowDown: at + 1, ArrowRight: at + 1, ArrowUp: at - 1, ArrowLeft: at - 1, Home: 0, End: buttons.length - 1,
    }[event.key];
    if (at < 0 || next === undefined) return;
    event.preventDefault();
    const button = buttons[Math.max(0, Math.min(buttons.length - 1, next))];
    button.focus();
    button.click();
  }

  showLists() {
    if (!this.query) {
      this.lists.replaceChildren(make("p", { class: "muted" }, "No query is left by these cameras."));
      return;
    }
    const [name, person, camera] = this.test.pictures[this.query.picture];
    const asked = make("div", { class: "asked" }, this.picture(this.query.picture, `query ${name}`),
      make("p", {}, make("strong", {}, name), `query: person ${person}, camera ${camera}`));
    this.lists.replaceChildren(asked, ...this.heads.map((head) => this.underHead(head)));
  }

  underHead(number) {
    const head = this.test.heads[number];
    const under = this.query.under[number];
    const part = make("section", { class: "under", "aria-label": head.name }, make("h4", {}, head.name));
    const { "left-out": leftOut, missed } = this.form.elements;
    const shown = under.entries.filter(([, , , kind]) => (kind !== LEFT_OUT || leftOut.checked) && kind !== MISSED);
    const behind = missed.checked ? under.entries.filter(([, , , kind]) => kind === MISSED) : [];
    const ranked = (entries, label) => make("ol", { class: "ranked", "aria-label": label },
      ...entries.map((entry) => this.entry(part, number, entry)));
    const [outHidden, missedHidden] = under.hidden;
    const rest = [
      ...(outHidden ? [`${outHidden} more left out above the tenth`] : []),
      ...(missedHidden ? [`${missedHidden} more missed`] : []),
    ];
    part.append(make("p", {}, `AP ${percent(under.ap)} %, first right at rank ${under.first}`
      + (rest.length ? `; not shown: ${rest.join(", ")}` : "")), ranked(shown, "the ten nearest"));
    if (behind.length) part.append(make("p", { class: "behind" }, "missed"), ranked(behind, "right ones that were missed"));
    return part;
  }

  entry(part, number, entry) {
    const [picture, score, rank, kind] = entry;
    const [name, person, camera] = this.test.pictures[picture];
    const { name: words, sign, style } = KINDS[kind];
    const place = kind === LEFT_OUT ? "" : String(rank);
    const told = `${place ? `rank ${place}, ` : ""}${words}, score ${score}, ${name}, person ${person}, camera ${camera}`;
    const button = make("button", { type: "button", class: style, "aria-pressed": "false", "aria-label": told, title: told },
      this.picture(picture, ""),
      make("span", { class: "line sign" }, `${place} ${sign}`.trim()), make("span", { class: "line" }, String(score)),
      make("span", { class: "name" }, name));
    button.addEventListener("click", () => this.showPair(part, button, number, entry));
    return make("li", {}, button);
  }

  /** A picture, or where there is none a frame with its name. */
  picture(number, alt) {
    const [name, , , thumbnail] = this.test.pictures[number];
    if (thumbnail >= 0) return make("img", { class: "picture", src: this.source(thumbnail), alt });
    return make("span", { class: "picture", title: name, "aria-hidden": alt ? null : "true" }, name);
  }

  source(thumbnail) {
    return `data:image/webp;base64,${this.data.thumbnails[thumbnail]}`;
  }

  // --- Pairs and their local matches

  showPair(part, button, number, entry) {
    const pressed = button.getAttribute("aria-pressed") === "true";
    for (const other of this.lists.querySelectorAll("[aria-pressed]")) other.setAttribute("aria-pressed", "false");
    this.lists.querySelector(".pair")?.remove();
    if (pressed) return;
    button.setAttribute("aria-pressed", "true");
    const head = this.test.heads[number];
    const [picture, score, , , levels] = entry;
    const name = this.test.pictures[picture][0];
    const pair = make("div", { class: "pair", role: "group", "aria-label": `${head.name}: the query beside ${name}` });
    const parts = make("div", { class: "levels" });
    if (levels) {
      levels.forEach(([levelScore, packed], level) => {
        const matches = unpack(packed, head.grid);
        const passing = matches.filter(({ strength }) => strength > 0).length;
        const caption = `${head.levels[level]}: score ${levelScore}; of ${matches.length} matches ${passing} in colour`;
        parts.append(make("figure", {}, this.beside(picture, matches, head.grid, caption), make("figcaption", {}, caption)));
      });
    } else {
      parts.append(make("figure", {}, this.beside(picture, [], null, `query beside ${name}`), make("figcaption", {}, `score ${score}`)));
    }
    const told = levels
      ? make("p", {}, "Strength of a match: weak ", make("span", { class: "scale", "aria-hidden": "true" }), " strong. ", head.told)
      : make("p", {}, head.told);
    pair.append(parts, told);
    part.append(pair);
    pair.scrollIntoView({ block: "nearest" });
    const captions = [...parts.querySelectorAll("figcaption")].map((caption) => caption.textContent);
    document.getElementById("told").textContent = `${head.name}, the query beside ${name}. ${captions.join("; ")}. ${head.told}`;
  }

  /** Query and gallery picture with a line from place to place for each match. */
  beside(picture, matches, grid, label) {
    const [width, height, gap] = [100, 200, 40];
    const svg = draw("svg", { viewBox: `0 0 ${2 * width + gap} ${height}`, role: "img", "aria-label": label });
    [this.query.picture, picture].forEach((number, side) => {
      const [name, , , thumbnail] = this.test.pictures[number];
      const x = side * (width + gap);
      if (thumbnail >= 0) {
        svg.append(draw("image", { href: this.source(thumbnail), x, y: 0, width, height, preserveAspectRatio: "none" }));
        return;
      }
      svg.append(draw("rect", { class: "frame", x: x + 0.5, y: 0.5, width: width - 1, height: height - 1 }));
      for (let start = 0; start < name.length && start < 88; start += 11) {
        svg.append(draw("text", { class: "frame-text", x: x + 6, y: 16 + start }, name.slice(start, start + 11)));
      }
    });
    const centre = (cell, side) => [
      side * (width + gap) + ((cell % grid[1]) + 0.5) * width / grid[1],
      (Math.floor(cell / grid[1]) + 0.5) * height / grid[0],
    ];
    for (const { query, gallery, strength } of matches) {
      const [[x1, y1], [x2, y2]] = [centre(query, 0), centre(gallery, 1)];
      const look = strength > 0
        ? { class: "match passing", stroke: shade(strength), "stroke-width": 1 + strength }
        : { class: "match", stroke: "#a8a8a8", "stroke-width": 0.7, "stroke-opacity": 0.8, "stroke-dasharray": "2 1.5" };
      svg.append(draw("line", { x1, y1, x2, y2, ...look }));
      if (strength > 0) {
        svg.append(...[[x1, y1], [x2, y2]].map(([cx, cy]) => draw("circle", { cx, cy, r: 1.8, fill: shade(strength) })));
      }
    }
    return svg;
  }
}

/** The nearest picture that counts, if it is a wrong one. */
function mistakes(under) {
  return under.entries.filter(([, , rank, kind]) => rank === 1 && kind === WRONG);
}

/** By what queries are ordered, largest first; `under`: the heads shown, `compared`: those that may disagree. */
const ORDERS = {
  disagreement: (under, compared) => {
    const found = compared.map(({ ap }) => ap);
    return Math.max(...found) - Math.min(...found);
  },
  precision: (under) => -under.reduce((sum, { ap }) => sum + ap, 0) / under.length,
  mistake: (under) => Math.max(...under.map(({ confidence }) => confidence ?? -1)),
};

function percent(share) {
  return (100 * share).toFixed(1);
}

/** Matches from base64: for each the query's cell, the gallery's cell (two bytes each where a grid needs them), strength. */
function unpack(text, [rows, columns]) {
  const bytes = Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
  const size = rows * columns > 256 ? 2 : 1;
  const cell = (at) => (size === 2 ? bytes[at] + 256 * bytes[at + 1] : bytes[at]);
  const found = [];
  for (let at = 0; at < bytes.length; at += 2 * size + 1) {
    found.push({ query: cell(at), gallery: cell(at + size), strength: bytes[at + 2 * size] / 255 });
  }
  return found.sort((one, other) => one.strength - other.strength);
}

function shade(strength) {
  const at = strength * (RAMP.length - 1);
  const [low, high] = [RAMP[Math.floor(at)], RAMP[Math.ceil(at)]];
  return `rgb(${low.map((value, channel) => Math.round(value + (high[channel] - value) * (at % 1))).join(", ")})`;
}

document.querySelectorAll("table.sortable").forEach(makeSortable);
const block = document.getElementById("data");
if (block) new Explorer(JSON.parse(block.textContent));
