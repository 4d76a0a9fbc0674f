"use strict";
(() => {
  // Texts of runs are put in as text alone: nothing of them is ever parsed.
  const one = (path, from = document) => from.querySelector(path);
  const all = (path, from = document) => [...from.querySelectorAll(path)];
  const SVG = "http://www.w3.org/2000/svg";
  let ticked = [];

  function made(name, words, kind) {
    const element = document.createElement(name);
    element.textContent = words ?? "";
    if (kind) element.className = kind;
    return element;
  }

  function drawn(name, attributes) {
    const element = document.createElementNS(SVG, name);
    for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
    return element;
  }

  const rows = () => all("#list tbody tr");
  const section = (row) => document.getElementById(row.dataset.run);

  function config(row) {
    const entries = all(".config dl > div", section(row)).map((div) => [one("dt", div).textContent, one("dd", div).textContent]);
    return new Map(entries);
  }

  function fits(row, word) {
    const [key, value] = word.split("=");
    if (value === undefined) return (row.textContent + row.dataset.directory).toLowerCase().includes(word);
    return [...config(row)].some(([name, found]) => name.toLowerCase() === key && found.toLowerCase() === value);
  }

  function narrow() {
    const words = one("#find").value.toLowerCase().split(/\s+/).filter(Boolean);
    const chosen = all("#tools select").filter((select) => select.value);
    let shown = 0;
    for (const row of rows()) {
      const wanted = chosen.every((select) => row.dataset[select.name] === select.value) && words.every((word) => fits(row, word));
      row.hidden = section(row).hidden = !wanted;
      shown += wanted;
    }
    one("#shown").textContent = `${shown} of ${rows().length} runs`;
  }

  function curves(pair) {
    const lines = pair.map((row) => one("polyline", section(row)));
    if (!lines.some(Boolean)) return null;
    const known = lines.filter(Boolean).map((line) => line.dataset);
    const first = Math.min(...known.map((d) => +d.first)), last = Math.max(...known.map((d) => +d.last));
    const top = Math.max(...known.map((d) => +d.top));
    const svg = drawn("svg", {viewBox: "0 0 300 102", class: "curve", role: "img"});
    lines.forEach((line, side) => {
      if (!line) return;
      const d = line.dataset;
      const points = line.getAttribute("points").split(" ").map((point) => {
        const [x, y] = point.split(",").map(Number);
        const epoch = +d.first + (x / 300) * (d.last - d.first), accuracy = ((60 - y) / 55) * d.top;
        return `${((300 * (epoch - first)) / (last - first || 1)).toFixed(1)},${(100 - (95 * accuracy) / top).toFixed(1)}`;
      });
      svg.append(drawn("polyline", {points: points.join(" "), class: `side${side}`}));
    });
    const figure = made("figure");
    figure.append(svg, made("figcaption", `test accuracy, epochs ${first} to ${last}, highest ${top.toFixed(2)} %`));
    return figure;
  }

  function table(head, lines) {
    const frame = made("div", "", "wide"), body = made("table"), top = made("thead"), rest = made("tbody");
    const add = (to, kind, words) => {
      const line = made("tr");
      words.forEach((text, place) => line.append(made(kind, text, place ? `side${place - 1}` : "")));
      to.append(line);
    };
    add(top, "th", head);
    lines.forEach((words) => add(rest, "td", words));
    body.append(top, rest);
    frame.append(body);
    return frame;
  }

  function compare() {
    const pair = ticked.map((directory) => rows().find((row) => row.dataset.directory === directory)).filter(Boolean);
    const place = one("#compared");
    place.replaceChildren();
    if (pair.length < 2) return;
    const configs = pair.map(config);
    const keys = [...new Set(configs.flatMap((found) => [...found.keys()]))];
    const differing = keys.filter((key) => configs[0].get(key) !== configs[1].get(key));
    const heads = all("#list th").map((cell) => cell.textContent);
    const cells = pair.map((row) => all("td", row).map((cell) => cell.textContent.trim()));
    const results = heads.flatMap((head, i) => (/^(state|epochs|Test_Acc)/.test(head) ? [[head, cells[0][i], cells[1][i]]] : []));
    const lines = differing.map((key) => [key, configs[0].get(key) ?? "-", configs[1].get(key) ?? "-"]);
    const names = pair.map((row, side) => `${row.dataset.method} (${one("code", section(row)).textContent})`);
    place.append(made("h3", "Two runs side by side"), table(["", ...names], [...lines, ...results]));
    if (!differing.length) place.append(made("p", "Their configs are the same."));
    const figure = curves(pair);
    if (figure) place.append(figure);
  }

  function tick(row, box) {
    ticked = ticked.filter((directory) => directory !== row.dataset.directory);
    if (box.checked) ticked = [...ticked, row.dataset.directory].slice(-2);
    for (const other of rows()) one("input", other).checked = ticked.includes(other.dataset.directory);
    compare();
  }

  // A link to a run shows it: unfolded, and whatever the search hides.
  function unfold(address) {
    const target = document.getElementById(address.slice(1));
    if (!target?.matches("#runs details")) return;
    target.hidden = false;
    target.open = true;
  }

  function start() {
    if (!one("#list")) return;
    for (const link of all("main a[href^='#']")) link.addEventListener("click", () => unfold(link.hash));
    for (const element of all("#tools, .scripted")) element.hidden = false;
    one("#find").addEventListener("input", narrow);
    for (const select of all("#tools select")) select.addEventListener("change", narrow);
    for (const row of rows()) {
      const box = one("input", row);
      box.addEventListener("change", () => tick(row, box));
      box.checked = ticked.includes(row.dataset.directory);
    }
    narrow();
    compare();
  }

  // ---- a page that a server keeps up to date: what the reader opened, ticked and typed stays

  const folds = () => all("details").map((element) => [element.dataset.key, element.open]);
  const inputs = () => all("#tools input, #tools select");
  let mark = null;

  async function refresh() {
    const note = one("#live");
    try {
      const answer = await fetch("/", {headers: mark ? {"If-None-Match": mark} : {}});
      note.textContent = "live";
      if (answer.status !== 200) return;
      const before = mark;
      mark = answer.headers.get("ETag");
      const next = new DOMParser().parseFromString(await answer.text(), "text/html");
      if (before === null) return;
      const open = new Map(folds()), values = inputs().map((input) => input.value), focused = document.activeElement?.id;
      one("main").replaceWith(one("main", next));
      for (const element of all("details")) element.open = open.get(element.dataset.key) ?? element.open;
      inputs().forEach((input, i) => { input.value = values[i] ?? ""; });
      start();
      if (focused === "find") one("#find").focus();
    } catch {
      note.textContent = "the server has stopped; this is what it said last";
    }
  }

  start();
  unfold(location.hash);
  if (one("#live")) setInterval(refresh, 3000);
})();
