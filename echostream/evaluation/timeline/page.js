"use strict";
const data = JSON.parse(document.getElementById("data").textContent);
const runs = data.runs, utterances = data.utterances;
const seconds = (ms) => `${(ms / 1000).toFixed(2)} s`;
const number = (value, digits) => (value === null || value === undefined ? "" : value.toFixed(digits));

function element(name, attributes = {}, text = null, kind = null) {
  const made = kind === "svg"
    ? document.createElementNS("http://www.w3.org/2000/svg", name) : document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  if (text !== null) made.textContent = text;
  return made;
}
const svg = (name, attributes, text = null) => element(name, attributes, text, "svg");

const titleOf = (run) => (runs.length > 1 ? `${"AB"[runs.indexOf(run)]} · ${run.name}` : run.name);

// ---------------------------------------------------------------- the runs and the table
for (const run of runs) {
  const scores = [["BLEU", number(run.bleu, 1)], ...data.metrics.map((m) => [m, number(run[m], 0)])]
    .filter(([, value]) => value !== "").map(([name, value]) => `${name} ${value}`).join(" · ");
  const about = [run.about, scores].filter(Boolean).join(" · ");
  document.getElementById("runs").append(element("p", {}, `${titleOf(run)}: ${about || "no reference"}`));
}

const columns = [{ title: "utterance", value: (u) => u.name }, { title: "s", digits: 1, value: (u) => u.ms / 1000 }];
runs.forEach((run, r) => {
  const mark = runs.length > 1 ? ` ${"AB"[r]}` : "";
  const of = (pick) => (u) => (u.runs[r] === null ? null : pick(u.runs[r]));
  columns.push({ title: `BLEU${mark}`, digits: 0, value: of((one) => one.bleu) });
  for (const metric of runs.length > 1 ? ["LAAL"] : data.metrics) // room for both runs
    columns.push({ title: `${metric}${mark}`, digits: 0, value: of((one) => one.lags[metric]) });
  if (runs.length === 1) columns.push({ title: "words", digits: 0, value: of((one) => one.words.length) });
});
let order = utterances.map((_, index) => index), sorted = null, falling = false, chosen = 0;

const head = document.querySelector("#list thead"), body = document.querySelector("#list tbody");
const headRow = head.appendChild(element("tr"));
columns.forEach((column, index) => {
  const cell = headRow.appendChild(element("th", { scope: "col" }));
  const button = cell.appendChild(element("button", { type: "button" }, column.title));
  button.addEventListener("click", () => sort(index));
});
const rows = utterances.map((utterance, index) => {
  const row = element("tr");
  columns.forEach((column, place) => {
    const value = column.value(utterance);
    const cell = row.appendChild(element("td"));
    if (place === 0) cell.append(element("button", { type: "button" }, value));
    else cell.textContent = number(value, column.digits);
  });
  row.addEventListener("click", () => show(index));
  return row;
});

function sort(index) {
  falling = sorted === index ? !falling : false;
  sorted = index;
  const value = (at) => columns[index].value(utterances[at]);
  order.sort((a, b) => {
    const [x, y] = [value(a), value(b)];
    if (x === y) return a - b;
    if (x === null || y === null) return x === null ? 1 : -1; // unknown values last
    return (x < y ? -1 : 1) * (falling ? -1 : 1);
  });
  [...headRow.children].forEach((cell, place) => {
    if (place === index) cell.setAttribute("aria-sort", falling ? "descending" : "ascending");
    else cell.removeAttribute("aria-sort");
  });
  body.replaceChildren(...order.map((at) => rows[at]));
}
body.replaceChildren(...rows);
document.querySelector("nav").addEventListener("keydown", (event) => {
  const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
  if (!step) return;
  event.preventDefault();
  const place = order.indexOf(chosen) + step;
  if (place < 0 || place >= order.length) return;
  show(order[place]);
  rows[chosen].querySelector("button").focus();
});

// ---------------------------------------------------------------- one utterance
const detail = document.getElementById("detail");

function show(index) {
  chosen = index;
  rows.forEach((row, at) => row.setAttribute("aria-selected", String(at === index)));
  const utterance = utterances[index];
  detail.replaceChildren(element("h2", {}, utterance.name));
  if (utterance.reference !== null) detail.append(element("p", {}, `Reference: ${utterance.reference}`));
  const panels = detail.appendChild(element("div", { class: "panels" }));
  const span = spanOf(utterance);
  const places = runs.map(() => panels.appendChild(element("section", { class: "panel" })));
  places.forEach((panel, r) => {
    const one = utterance.runs[r];
    panel.append(element("h3", {}, titleOf(runs[r])));
    if (one === null) return void panel.append(element("p", {}, "not in this run"));
    const lags = data.metrics.filter((m) => one.lags[m] !== null).map((m) => `${m} ${number(one.lags[m], 0)} ms`);
    const scores = [one.bleu === null ? [] : [`BLEU ${number(one.bleu, 1)}`], lags].flat();
    panel.append(element("p", {}, scores.join(" · ")));
    panel.append(draw(utterance, one, span, Math.max(300, panel.clientWidth)));
    panel.append(wordTable(one));
  });
}

// The time that all panels of an utterance show.
function spanOf(utterance) {
  const ends = utterance.runs.filter(Boolean).flatMap((one) => [...one.delays, ...one.elapsed]);
  return Math.max(utterance.ms, ...ends.slice(-400), 1) * 1.02;
}

function draw(utterance, one, span, width) {
  const x = (ms) => 8 + (ms / span) * (width - 90), rowHeight = 19, trace = one.trace;
  const waveTop = 18, waveHeight = 44;
  let top = waveTop + waveHeight + 6;
  const spikeTop = top;
  if (trace) top += 62;
  const wordTop = top, numRows = Math.max(one.words.length, one.reference_words || 0, 1);
  top += numRows * rowHeight + 10;
  const stripTop = top;
  top += 26;
  const countTop = top;
  if (trace) top += 84;
  const label = `${utterance.name}: ${one.words.join(" ")}`;
  const picture = svg("svg", { viewBox: `0 0 ${width} ${top}`, height: top, role: "img", "aria-label": label });
  const add = (name, attributes, text = null) => picture.appendChild(svg(name, attributes, text));

  const step = [0.5, 1, 2, 5, 10, 30, 60, 300].find((s) => (x(1000 * s) - x(0)) > 46) || 600;
  for (let s = 0; 1000 * s <= span; s += step) {
    add("line", { class: "grid", x1: x(1000 * s), x2: x(1000 * s), y1: 14, y2: top });
    add("text", { class: "small", x: x(1000 * s) + 2, y: 11 }, `${s} s`);
  }
  add("line", { class: "end", x1: x(utterance.ms), x2: x(utterance.ms), y1: 14, y2: top });

  const peaks = utterance.peaks, middle = waveTop + waveHeight / 2;
  const loudest = Math.max(...peaks, 1e-6);
  if (peaks.length) {
    const at = (i, sign) =>
      `${x((utterance.ms * (i + 0.5)) / peaks.length).toFixed(1)},${(middle + sign * (0.5 + (waveHeight / 2 - 1) * peaks[i] / loudest)).toFixed(1)}`;
    const up = peaks.map((_, i) => at(i, -1)), down = peaks.map((_, i) => at(i, 1)).reverse();
    add("path", { class: "wave", d: `M${[...up, ...down].join("L")}Z` });
  }

  if (trace) {
    [["asr", trace.asr, spikeTop], ["st", trace.st, spikeTop + 31]].forEach(([kind, spikes, y]) => {
      let free = -1e9;
      for (const [ms, text] of spikes) {
        const line = add("line", { class: kind, x1: x(ms), x2: x(ms), y1: y + 13, y2: y + 25 });
        line.append(svg("title", {}, `${kind === "asr" ? "source" : "target"} “${text.trim()}”, frame at ${seconds(ms)}`));
        if (x(ms) < free) continue; // no room for its text; the tick has it
        add("text", { class: `small ${kind}`, x: x(ms), y: y + 10 }, text.trim());
        free = x(ms) + 6.2 * (text.trim().length + 1);
      }
    });
  }

  const references = one.reference_words;
  if (references) {
    const y = wordTop + references * rowHeight;
    add("path", { class: "ideal", d: `M${x(0)},${wordTop}L${x(utterance.ms)},${y}` });
  }
  one.words.forEach((word, i) => {
    const y = wordTop + (i + 0.6) * rowHeight, written = one.delays[i];
    const waits = waitsOf(one, i);
    for (const [kind, from, to] of waits)
      if (to > from) add("line", { class: `bar ${kind}`, x1: x(from), x2: x(to), y1: y, y2: y });
    const dot = add("circle", { class: "dot", cx: x(written), cy: y, r: 3.5 });
    dot.append(svg("title", {}, story(one, i)));
    if (one.elapsed.length) add("circle", { class: "ring", cx: x(one.elapsed[i]), cy: y, r: 5.5 });
    const right = x(Math.max(written, one.elapsed[i] || 0)) + 10;
    const fits = right + 7 * word.length < width;
    const start = Math.min(...waits.map(([, from]) => x(from)), x(written)) - 8;
    add("text", { x: fits ? right : start, y: y + 4, "text-anchor": fits ? "start" : "end" }, word);
  });

  add("rect", { class: "read", x: x(0), y: stripTop + 6, width: x(utterance.ms) - x(0), height: 6 });
  [...new Set(one.delays)].forEach((ms) => {
    const size = one.delays.filter((other) => other === ms).length;
    const mark = add("rect", { class: "write", x: x(ms) - 2, y: stripTop, width: 4, height: 18 });
    mark.append(svg("title", {}, `WRITE of ${size} at ${seconds(ms)}`));
  });
  add("text", { class: "small", x: width - 78, y: stripTop + 13 }, "READ / WRITE");

  if (trace && trace.groups.length) {
    const most = Math.max(1, ...trace.groups.map((group) => Math.max(group[1], group[2], group[3])));
    const y = (value) => countTop + 74 - (66 * value) / most;
    [[1, "asr", "source"], [2, "st", "target"], [3, "written", "allowed"]].forEach(([place, kind, name], line) => {
      let path = `M${x(0)},${y(0)}`, last = 0;
      for (const group of trace.groups) {
        path += `H${x(group[0]).toFixed(1)}`;
        if (group[place] !== last) path += `V${y((last = group[place])).toFixed(1)}`;
      }
      add("path", { class: `count ${kind}`, d: path });
      add("text", { class: `small ${kind === "written" ? "" : kind}`, x: width - 78, y: countTop + 14 + 14 * line }, `${name} ${last}`);
    });
    add("text", { class: "small", x: 10, y: countTop + 12 }, "tokens");
  }
  return picture;
}

// What a word waited for: kind, from, to.
function waitsOf(one, i) {
  if (!one.trace) return [];
  const [, found, allowed, complete] = one.trace.words[i];
  return [
    ["policy", found === null ? allowed : found, allowed],
    ["word", allowed, complete],
    ["segment", complete, one.delays[i]],
  ];
}

function story(one, i) {
  const parts = [one.words[i]];
  if (one.trace) {
    const [, found, allowed, complete] = one.trace.words[i];
    if (found !== null) parts.push(`found ${seconds(found)}`);
    parts.push(`allowed ${seconds(allowed)}`, `complete ${seconds(complete)}`);
  }
  parts.push(`written ${seconds(one.delays[i])}`);
  if (one.elapsed.length) parts.push(`with computation ${seconds(one.elapsed[i])}`);
  return parts.join(" · ");
}

function wordTable(one) {
  const box = element("details");
  box.append(element("summary", {}, "Words and times"));
  const table = box.appendChild(element("div")).appendChild(element("table"));
  const names = ["word", ...(one.trace ? ["found", "allowed", "complete"] : []), "written"];
  if (one.elapsed.length) names.push("with computation");
  const top = table.appendChild(element("thead")).appendChild(element("tr"));
  names.forEach((name) => top.append(element("th", { scope: "col" }, name)));
  const rowsOf = table.appendChild(element("tbody"));
  one.words.forEach((word, i) => {
    const row = rowsOf.appendChild(element("tr"));
    const times = one.trace ? one.trace.words[i].slice(1) : [];
    times.push(one.delays[i]);
    if (one.elapsed.length) times.push(one.elapsed[i]);
    row.append(element("td", {}, word), ...times.map((ms) => element("td", {}, ms === null ? "" : seconds(ms))));
  });
  return box;
}

let waiting = null;
window.addEventListener("resize", () => {
  clearTimeout(waiting);
  waiting = setTimeout(() => utterances.length && show(chosen), 100);
});
if (utterances.length) show(0);
else detail.append(element("p", {}, "The run has no utterance."));
