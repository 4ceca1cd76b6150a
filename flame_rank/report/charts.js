"use strict";
// Elements are made with textContent only: a candidate's text is never read as HTML.
function make(tag, attributes = {}, ...children) {
  const svg = ["svg", "rect", "line", "circle", "path", "text", "g", "title"].includes(tag);
  const element = svg ? document.createElementNS("http://www.w3.org/2000/svg", tag) : document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value !== null && value !== undefined && value !== false) element.setAttribute(name, value);
  }
  for (const child of children) if (child !== null) element.append(child);
  return element;
}

const WIDTH = 380, HEIGHT = 170, LEFT = 48, BOTTOM = 26, TOP = 8;

function axes(label, xs, ys) {
  const chart = make("svg", {viewBox: `0 0 ${WIDTH} ${HEIGHT}`, width: WIDTH, role: "img", "aria-label": label});
  const x = share => LEFT + share * (WIDTH - LEFT - 10), y = share => HEIGHT - BOTTOM - share * (HEIGHT - BOTTOM - TOP);
  chart.append(make("line", {class: "axis", x1: x(0), x2: x(1), y1: y(0), y2: y(0)}));
  xs.forEach((text, i) => chart.append(
    make("text", {x: x(i / (xs.length - 1)), y: HEIGHT - 8, "text-anchor": i ? (i === xs.length - 1 ? "end" : "middle") : "start"}, text)));
  ys.forEach((text, i) => chart.append(
    make("line", {class: "axis", x1: x(0), x2: x(1), y1: y(i / (ys.length - 1)), y2: y(i / (ys.length - 1)), opacity: .5}),
    make("text", {x: LEFT - 6, y: y(i / (ys.length - 1)) + 4, "text-anchor": "end"}, text)));
  return {chart, x, y};
}

function histogram(values) {
  const bins = new Array(20).fill(0);
  for (const value of values) bins[Math.min(19, Math.floor(value * 20))] += 1;
  const most = Math.max(1, ...bins), mean = values.reduce((a, b) => a + b, 0) / (values.length || 1);
  const label = `Histogram of P(best) of ${values.length} winners, from 0 to 1; ${mean.toFixed(2)} on average`;
  const {chart, x, y} = axes(label, ["0", "0.25", "0.5", "0.75", "1"], ["0", most.toLocaleString("en")]);
  bins.forEach((count, i) => {
    const bar = make("rect", {class: "bar", x: x(i / 20) + 1, width: x(.05) - x(0) - 2, y: y(count / most), height: y(0) - y(count / most)});
    bar.append(make("title", {}, `P(best) ${(i / 20).toFixed(2)} to ${((i + 1) / 20).toFixed(2)}: ${count}`));
    chart.append(bar);
  });
  return chart;
}

function curve(counts) {
  let total = 0;
  const sums = counts.map(count => total += count), n = counts.length;
  const label = `${total.toLocaleString("en")} comparisons over ${n.toLocaleString("en")} problems, ${(total / (n || 1)).toFixed(1)} a problem`;
  const {chart, x, y} = axes(label, ["0", `${n.toLocaleString("en")} problems`], ["0", total.toLocaleString("en")]);
  const step = Math.max(1, Math.floor(n / 300));
  let path = `M${x(0)} ${y(0)}`;
  for (let i = 0; i < n; i += step) path += `L${x((i + 1) / n).toFixed(1)} ${y(sums[i] / (total || 1)).toFixed(1)}`;
  if (n) path += `L${x(1)} ${y(total ? 1 : 0)}`;
  chart.append(make("path", {class: "curve", d: path}));
  return chart;
}

// Blue: the row's candidate is the better one; orange: the column's. Both are readable under dark text.
function heat(value) {
  const strength = Math.min(1, Math.abs(value) / 4);
  const [r, g, b] = value >= 0 ? [74, 152, 230] : [240, 152, 66];
  const mix = channel => Math.round(245 + (channel - 245) * strength);
  return `rgb(${mix(r)}, ${mix(g)}, ${mix(b)})`;
}
