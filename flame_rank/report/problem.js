const LARGE = 24, ROWS = 200;  // candidates of a matrix or drawing; comparisons of a table before it is asked for all
const signed = value => (Math.abs(value) < .005 ? "" : value > 0 ? "+" : "−") + Math.abs(value).toFixed(2);
const wins = value => 1 / (1 + Math.exp(-value));

function showProblem(problem) {
  const place = [];  // candidate -> rank from 0
  problem.order.forEach((candidate, rank) => place[candidate] = rank);
  const parts = [make("h2", {}, problem.name || "Problem"), facts(problem)];
  if (!problem.decided) parts.push(make("p", {class: "notice"}, "Undecided: too few judgements were valid to name a winner."));
  for (const reason of problem.reasons) parts.push(make("p", {class: "notice"}, `Left out: ${reason}`));
  parts.push(make("details", {open: problem.prompt.length < 3000}, make("summary", {}, "Prompt"), make("pre", {class: "text", tabindex: 0}, problem.prompt)));
  parts.push(make("h3", {}, "Candidates, best first"));
  problem.order.forEach((candidate, rank) => parts.push(showCandidate(problem, candidate, rank)));
  if (problem.words) parts.push(make("h3", {}, "The judge's words"), make("p", {class: "text"}, problem.words));
  if (problem.asked && problem.asked.length) {
    parts.push(make("h3", {}, "Log-odds"), matrix(problem), make("h3", {}, "Schedule"), schedule(problem, place));
    parts.push(make("h3", {}, "Who beat whom"), comparisons(problem, place, ROWS));
  } else if (problem.comparisons === 0) {
    parts.push(make("p", {class: "legend"}, "Nothing was asked: all candidates are one."));
  } else {
    parts.push(make("p", {class: "legend"}, "The comparisons of this problem were not kept."));
  }
  return parts;
}

function facts(problem) {
  const line = make("p", {class: "legend"});
  line.append(`${problem.texts.length} candidates, ${problem.comparisons} comparisons, strategy ${problem.strategy}`);
  if (problem.verdict_mass !== null) line.append(`, P(A) + P(B) ${problem.verdict_mass}`);
  if (problem.truncated) line.append(`, ${problem.truncated} too long and cut`);
  if (problem.flips.length) line.append(" ", make("span", {class: "mark"}, `${problem.flips.length} ${problem.flips.length === 1 ? "flip" : "flips"} by order`));
  if (problem.tied.length) line.append(" ", make("span", {class: "mark"}, `${problem.tied.length} tied at the top`));
  return line;
}

function showCandidate(problem, candidate, rank) {
  const p = problem.p_best[candidate], best = rank === 0 && problem.decided;
  const meter = make("span", {class: "meter", role: "img", "aria-label": `P(best) ${p.toFixed(3)}`}, make("i", {style: `width:${100 * p}%`}), make("b", {}, p.toFixed(3)));
  const first = problem.texts[candidate].split("\n").find(line => line.trim()) || "(empty)";
  const start = make("span", {class: "start"}, `#${candidate} `, first.slice(0, 200));
  const twin = problem.order.find((other, place) => place < rank && problem.option[other] === problem.option[candidate]);
  if (twin !== undefined) start.prepend(make("span", {class: "mark"}, `same as #${twin}`));
  const summary = make("summary", {}, make("span", {class: "rank"}, `${rank + 1}.`), meter, make("span", {class: "score", title: "score in nats"}, signed(problem.scores[candidate])), start);
  return make("details", {class: best ? "candidate best" : "candidate", open: best}, summary, make("pre", {class: "text", tabindex: 0}, problem.texts[candidate]));
}

const key = (i, j) => `${i},${j}`;
const isFlip = (problem, i, j) => problem.flips.some(([a, b]) => (a === i && b === j) || (a === j && b === i));

function matrix(problem) {
  const sums = new Map();  // (i, j) -> log-odds that i is better, averaged over all that was asked in either order
  for (const [, i, j, value] of problem.asked) {
    if (value === null) continue;
    for (const [a, b, v] of [[i, j, value], [j, i, -value]]) {
      const [sum, count] = sums.get(key(a, b)) || [0, 0];
      sums.set(key(a, b), [sum + v, count + 1]);
    }
  }
  const shown = problem.order.slice(0, LARGE);
  const table = make("table", {class: "heat"});
  const legend = make("p", {class: "legend"}, "Row against column, in nats: blue and + if the row is better, orange and − if the column is. Dashed: the winner depends on the order. A dot: not asked.");
  table.append(make("tr", {}, make("td", {class: "self"}), ...shown.map(j => make("th", {scope: "col"}, `#${j}`))));
  for (const i of shown) {
    const row = make("tr", {}, make("th", {scope: "row"}, `#${i}`));
    for (const j of shown) {
      const found = sums.get(key(i, j));
      if (i === j || !found) { row.append(make("td", {class: i === j ? "self" : "none"}, i === j ? "" : "·")); continue; }
      const value = found[0] / found[1], flip = isFlip(problem, i, j);
      row.append(make("td", {class: flip ? "flip" : null, style: `background:${heat(value)}`, title: `#${i} against #${j}: ${signed(value)} nats, P ${wins(value).toFixed(3)}${flip ? ", the winner depends on the order" : ""}`}, signed(value)));
    }
    table.append(row);
  }
  const box = make("div", {class: "scroll", tabindex: 0, role: "group", "aria-label": "Matrix of log-odds"}, legend, table);
  if (problem.order.length > LARGE) box.append(make("p", {class: "legend"}, `The best ${LARGE} of ${problem.order.length} candidates.`));
  return box;
}

function schedule(problem, place) {
  const asked = problem.asked.filter(([, i, j]) => place[i] < LARGE && place[j] < LARGE).slice(0, 1500);
  const rows = Math.min(LARGE, problem.order.length), top = 24, step = 20, gap = 13, left = 48;
  let x = left, round = -1;
  const drawing = make("svg", {role: "img"});
  for (const [number, i, j, value] of asked) {
    if (number !== round) {
      x += round < 0 ? 0 : 14;
      drawing.append(make("text", {x: x + 4, y: 12}, `round ${number + 1}`), make("line", {class: "axis", x1: x - 4, x2: x - 4, y1: 16, y2: top + rows * step}));
      round = number;
      x += 8;
    }
    const y = candidate => top + place[candidate] * step + step / 2;
    const flip = isFlip(problem, i, j), winner = value === null ? null : value >= 0 ? i : j;
    const mark = candidate => make("circle", {class: candidate === winner ? "win" : "lose", cx: x, cy: y(candidate), r: 4.5});
    const label = value === null ? `#${i} against #${j}: invalid` : `#${winner} beats #${winner === i ? j : i} by ${Math.abs(value).toFixed(2)} nats${flip ? ", but not in the other order" : ""}`;
    drawing.append(make("g", {}, make("title", {}, label), make("line", {class: flip ? "pair flip" : "pair", x1: x, x2: x, y1: y(i), y2: y(j)}), mark(i), mark(j)));
    x += gap;
  }
  for (let rank = 0; rank < rows; rank++) {
    drawing.prepend(make("line", {class: "axis", x1: left - 8, x2: x, y1: top + rank * step + step / 2, y2: top + rank * step + step / 2, opacity: .6}));
    drawing.append(make("text", {x: left - 12, y: top + rank * step + step / 2 + 4, "text-anchor": "end"}, `#${problem.order[rank]}`));
  }
  const width = Math.max(x + 10, 130), height = top + rows * step + 6;
  drawing.setAttribute("viewBox", `0 0 ${width} ${height}`);
  drawing.setAttribute("aria-label", `${asked.length} comparisons in ${round + 1} rounds; the table below has each one`);
  drawing.style.width = `${width}px`; drawing.style.maxWidth = "none";
  return make("div", {}, make("p", {class: "legend"}, "Each line is a comparison; its full dot is the winner. Rows are the candidates, the best one on top."), make("div", {class: "scroll", tabindex: 0, role: "group", "aria-label": "Schedule"}, drawing));
}

function comparisons(problem, place, most) {
  const table = make("table", {class: "list"});
  table.append(make("tr", {}, ...["round", "shown first", "shown second", "log-odds", "winner", "P"].map(text => make("th", {scope: "col"}, text))));
  for (const [round, i, j, value] of problem.asked.slice(0, most)) {
    const winner = value === null ? make("span", {class: "mark"}, "invalid") : make("span", {}, `#${value >= 0 ? i : j}`);
    if (isFlip(problem, i, j)) winner.append(" ", make("span", {class: "mark"}, "flips"));
    const cells = [`${round + 1}`, `#${i}`, `#${j}`, value === null ? "" : signed(value), winner, value === null ? "" : wins(Math.abs(value)).toFixed(3)];
    table.append(make("tr", {}, ...cells.map(cell => make("td", {class: "number"}, cell))));
  }
  const box = make("div", {class: "scroll", tabindex: 0, role: "group", "aria-label": "Comparisons"}, table);
  if (problem.asked.length > most) {
    const more = make("button", {type: "button"}, `Show all ${problem.asked.length.toLocaleString("en")}`);
    more.onclick = () => box.replaceWith(comparisons(problem, place, Infinity));
    box.append(more);
  }
  return box;
}
