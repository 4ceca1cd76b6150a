const PAGE = 50;  // problems of a page of the list
const at = id => document.getElementById(id);
const [NAME, PROMPT, BEST, N, ASKED, P, MARKS, BLOCK, INDEX] = [0, 1, 2, 3, 4, 5, 6, 7, 8];  // of a line of the list
const blocks = new Map();  // those that were unpacked last
let list = [], lower = [], shown = [], page = 0, current = -1;

async function unpack(id) {
  const packed = Uint8Array.from(atob(at(id).textContent), character => character.charCodeAt(0));
  const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("deflate-raw"));
  return new Response(stream).json();
}

async function block(number) {
  if (!blocks.has(number)) {
    if (blocks.size > 20) blocks.delete(blocks.keys().next().value);
    blocks.set(number, await unpack(`b${number}`));
  }
  return blocks.get(number);
}

async function open(index, focus = false) {
  current = index;
  const line = list[index], problem = (await block(line[BLOCK]))[line[INDEX]];
  if (current !== index) return;  // another one was opened in the meantime
  at("problem").replaceChildren(...showProblem(problem));
  for (const button of at("problems").querySelectorAll("button")) button.setAttribute("aria-current", String(Number(button.dataset.index) === index));
  try { history.replaceState(null, "", `#${index + 1}`); } catch { /* of a page without an address */ }
  if (focus) at("problem").focus();
}

function draw() {
  const from = page * PAGE, pages = Math.max(1, Math.ceil(shown.length / PAGE));
  at("problems").replaceChildren(...shown.slice(from, from + PAGE).map(index => {
    const line = list[index], p = line[P] === null ? "–" : line[P].toFixed(2);
    const start = make("span", {class: "start"}, ...line[MARKS].map(mark => make("span", {class: "mark"}, mark)), line[PROMPT]);
    const button = make("button", {type: "button", "data-index": index, "aria-current": String(index === current)},
      make("span", {class: "name"}, make("span", {}, line[NAME] || `problem ${index + 1}`), make("span", {title: "P(best)"}, p)), start);
    button.onclick = () => open(index);
    return make("li", {}, button);
  }));
  at("found").textContent = `${shown.length.toLocaleString("en")} of ${list.length.toLocaleString("en")} problems`;
  at("where").textContent = `page ${page + 1} of ${pages}`;
  at("back").disabled = page === 0;
  at("on").disabled = page >= pages - 1;
}

function filter() {
  const words = at("search").value.toLowerCase().split(/\s+/).filter(Boolean), mark = at("show").value;
  shown = [];
  for (let i = 0; i < list.length; i++) {
    if ((!mark || list[i][MARKS].includes(mark)) && words.every(word => lower[i].includes(word))) shown.push(i);
  }
  const by = {p: i => list[i][P] ?? -1, asked: i => -list[i][ASKED], n: i => -list[i][N]}[at("sort").value];
  if (by) shown.sort((a, b) => by(a) - by(b) || a - b);
  page = 0;
  draw();
}

function move(step) {
  const place = Math.min(shown.length - 1, Math.max(0, shown.indexOf(current) + step));
  if (shown.length === 0) return;
  if (Math.floor(place / PAGE) !== page) { page = Math.floor(place / PAGE); draw(); }
  open(shown[place]);
  at("problems").querySelector(`[data-index="${shown[place]}"]`)?.scrollIntoView({block: "nearest"});
}

function theme(name) {
  document.documentElement.dataset.theme = name;
  try { localStorage.setItem("flame_rank theme", name); } catch { /* of a page that may keep nothing */ }
}

async function start() {
  const given = JSON.parse(at("given").textContent);
  for (const [name, value] of Object.entries(given.settings)) at("settings").append(make("dt", {}, name), make("dd", {}, value));
  at("warnings").append(...given.warnings.map(warning => make("li", {}, warning)));
  at("warnings").hidden = given.warnings.length === 0;
  list = await unpack("list");
  lower = list.map(line => `${line[NAME]} ${line[PROMPT]} ${line[BEST]}`.toLowerCase());
  const sure = list.filter(line => line[P] !== null && line[N] > 1).map(line => line[P]);
  const counts = list.map(line => line[ASKED]), asked = counts.reduce((a, b) => a + b, 0);
  const candidates = list.reduce((sum, line) => sum + line[N], 0);
  at("totals").textContent = `${list.length.toLocaleString("en")} problems, ${candidates.toLocaleString("en")} candidates, ${asked.toLocaleString("en")} comparisons`;
  at("confidence").append(histogram(sure));
  at("cost").append(curve(counts));
  filter();
  const wanted = Number(location.hash.slice(1)) - 1;
  if (list.length) await open(wanted >= 0 && wanted < list.length ? wanted : 0);
  document.body.dataset.ready = String(Math.round(performance.now()));
}

at("filters").onsubmit = event => event.preventDefault();
at("search").oninput = filter;
at("show").onchange = filter;
at("sort").onchange = filter;
at("back").onclick = () => { page -= 1; draw(); };
at("on").onclick = () => { page += 1; draw(); };
at("theme").onclick = () => {
  const dark = document.documentElement.dataset.theme === "dark" || (!document.documentElement.dataset.theme && matchMedia("(prefers-color-scheme: dark)").matches);
  theme(dark ? "light" : "dark");
};
document.addEventListener("keydown", event => {
  if (event.target.matches("input, select, textarea") || event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.key === "j") move(1);
  if (event.key === "k") move(-1);
  if (event.key === "/") { event.preventDefault(); at("search").focus(); }
});
try { const kept = localStorage.getItem("flame_rank theme"); if (kept) theme(kept); } catch { /* as above */ }
start().catch(error => { at("totals").textContent = `This page cannot be read here (${error}); it takes a browser of 2023 or newer.`; });
