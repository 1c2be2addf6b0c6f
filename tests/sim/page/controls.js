// Keys, mouse, and the state of the page; a fragment such as
// #event=123&causal=1&filter=0&zoom=40&theme=dark sets it.

const run = unpack(JSON.parse(element("data").textContent));
const view = { chosen: run.events[run.start], process: 0, hovered: null, isFiltered: true, isCausal: false, zoom: 0, scroll: 0, layout: null };
let drawing, overview;

const shownEvents = () => view.layout.shown;
const reach = () => drawing.width - GUTTER;

function isShown(event) {
  return !view.isFiltered || !isRoutine(event);
}

function relayout() {
  view.layout = placed(run, view.isFiltered);
}

function choose(event, isFollowed = true) {
  if (!event) return;
  if (!isShown(event)) filter(false);
  view.chosen = event;
  if (event.process !== NONE) view.process = event.process;
  if (isFollowed) follow();
  show();
}

// Bring the chosen event into sight.
function follow() {
  const place = view.layout.places[view.chosen.number], wide = reach() / view.zoom;
  if (place < view.scroll + wide * 0.12 || place > view.scroll + wide * 0.88) view.scroll = place - wide * 0.5;
  bound();
}

function bound() {
  const wide = reach() / view.zoom;
  view.scroll = Math.max(-wide * 0.05, Math.min(view.scroll, view.layout.end - wide * 0.92));
}

function zoomBy(factor, x) {
  const least = reach() / (view.layout.end + 1);
  const at = x === undefined ? drawing.x(view.chosen.number) : x;
  const place = view.scroll + (at - GUTTER) / view.zoom;
  view.zoom = Math.max(least, Math.min(view.zoom * factor, 600));
  view.scroll = place - (at - GUTTER) / view.zoom;
  bound();
  show();
}

function filter(isFiltered) {
  const place = drawing ? drawing.x(view.chosen.number) : 0;
  view.isFiltered = isFiltered;
  if (!isShown(view.chosen)) view.chosen = run.events[neighbour(view.chosen, -1) ?? 0];
  relayout();
  if (drawing) view.scroll = view.layout.places[view.chosen.number] - (place - GUTTER) / view.zoom;
  bound();
}

// The number of the next shown event in that direction that is as wanted.
function neighbour(event, step, isWanted = () => true) {
  for (let n = event.number + step; n >= 0 && n < run.events.length; n += step) {
    if (isShown(run.events[n]) && isWanted(run.events[n])) return n;
  }
  return undefined;
}

function go(step, isWanted) {
  const found = neighbour(view.chosen, step, isWanted);
  if (found !== undefined) choose(run.events[found]);
}

function goProcess(step) {
  const next = view.process + step;
  if (next >= 0 && next < run.processes.length) chooseProcess(next);
}

// Another process: its event that is nearest in time.
function chooseProcess(process) {
  view.process = process;
  const places = view.layout.places, here = places[view.chosen.number];
  let best = null;
  for (const event of run.ofProcess[process]) {
    if (isShown(event) && (!best || Math.abs(places[event.number] - here) < Math.abs(places[best.number] - here))) best = event;
  }
  if (best) choose(best); else show();
}

// Faults that come in one moment are one stop.
function goFault(step) {
  go(step, (event) => FAULTS.has(event.kind) && event.at !== view.chosen.at);
}

function goOtherEnd() {
  const { message } = view.chosen;
  if (!message || message.heard === NONE) return;
  choose(run.events[view.chosen.number === message.said ? message.heard : message.said]);
}

function fit() {
  view.zoom = reach() / (view.layout.end + 1);
  view.scroll = 0;
  show();
}

function theme(name) {
  document.documentElement.dataset.theme = name;
  for (const sheet of [drawing, overview]) if (sheet) sheet.recolour();
}

const KEYS = [
  [["ArrowLeft", "ArrowRight"], "← →", "event", (key, isShift) => go(key === "ArrowLeft" ? -1 : 1, isShift ? (event) => event.process === view.process : undefined)],
  [["ArrowUp", "ArrowDown", "k", "j"], "↑ ↓", "process", (key) => goProcess(key === "ArrowUp" || key === "k" ? -1 : 1)],
  [["Home", "End"], "Home End", "ends", (key) => choose(run.events[key === "Home" ? shownEvents()[0] : shownEvents()[shownEvents().length - 1]])],
  [["+", "=", "-", "_"], "+ −", "zoom", (key) => zoomBy(key === "+" || key === "=" ? 1.35 : 1 / 1.35)],
  [["0"], "0", "all", fit],
  [["n", "p"], "n p", "fault", (key) => goFault(key === "n" ? 1 : -1)],
  [["s"], "s", "start", () => choose(run.events[run.start])],
  [["m"], "m", "message's other end", goOtherEnd],
  [["h"], "h", "happens-before", () => (view.isCausal = !view.isCausal), () => view.isCausal],
  [["f"], "f", "hide routine", () => filter(!view.isFiltered), () => view.isFiltered],
  [["t"], "t", "dark", () => theme(document.documentElement.dataset.theme === "dark" ? "light" : "dark")],
];

function showHelp() {
  const parts = KEYS.map(([, keys, text, , isOn]) =>
    node("span", { class: isOn && isOn() ? "on" : "" }, ...keys.split(" ").map((key) => node("kbd", {}, key)), " " + text + (isOn && isOn() ? " ✓" : "")));
  const legend = [["primary", "primary"], ["backup", "backup"], ["views", "view service"], ["fault", "fault, lost"]];
  parts.push(node("span", { class: "legend" }, ...legend.map(([colour, text]) => node("span", {}, node("i", { style: `background: var(--${colour})` }), text))));
  element("help").replaceChildren(...parts);
}

// -- the whole run, small ------------------------------------------------------

function drawOverview() {
  const { context, colours, width, height } = overview;
  overview.clear();
  const x = (place) => GUTTER + (place / view.layout.end) * (width - GUTTER - 6);
  const { places } = view.layout, wide = reach() / view.zoom;
  context.fillStyle = colours.sheet;
  const left = Math.max(GUTTER, x(view.scroll)), right = Math.min(width - 1, x(view.scroll + wide));
  context.fillRect(left, 0, right - left, height);
  const led = run.processes.filter((process) => process.kind !== "clerk");
  led.forEach((process, n) => {
    const y = 12 + (n * (height - 16)) / Math.max(1, led.length);
    for (const band of drawing.bands[process.number]) {
      const from = x(places[band.began]), to = x(band.ended === NONE ? view.layout.end : places[band.ended]);
      context.fillStyle = colours[band.colour];
      context.fillRect(from, y, Math.max(1, to - from), band.colour === "idle" ? 1 : 3);
    }
  });
  for (const event of run.events) {
    if (!FAULTS.has(event.kind)) continue;
    const isViolation = event.kind === "violated";
    context.fillStyle = colours.fault;
    context.fillRect(x(places[event.number]) - (isViolation ? 1.5 : 0.5), isViolation ? 0 : 2, isViolation ? 3 : 1, isViolation ? height : 6);
  }
  context.strokeStyle = colours.soft;
  context.strokeRect(left, 0.5, right - left, height - 1);
  context.fillStyle = colours.choice;
  context.fillRect(x(places[view.chosen.number]) - 1, 0, 2, height);
  overview.text("whole run", 10, height / 2, { colour: colours.soft });
}

function goOverview(event) {
  const { left, width } = element("overview").getBoundingClientRect();
  const place = ((event.clientX - left - GUTTER) / (width - GUTTER - 6)) * view.layout.end;
  const { shown, places } = view.layout;
  choose(run.events[shown[Math.max(0, lastUpTo(shown, place, (number) => places[number]))]]);
}

// -- together -------------------------------------------------------------------

let isDue = false;

function show() {
  if (isDue) return;
  isDue = true;
  requestAnimationFrame(() => {
    isDue = false;
    showNow();
  });
}

function showNow() {
  drawing.draw();
  drawOverview();
  showChosen(run, view);
  showStates(run, view, chooseProcess);
  showHelp();
  const parts = [`event=${view.chosen.number}`, `zoom=${view.zoom.toFixed(1)}`];
  if (view.isCausal) parts.push("causal=1");
  if (!view.isFiltered) parts.push("filter=0");
  history.replaceState(null, "", "#" + parts.join("&"));
}

function readFragment() {
  const said = new URLSearchParams(location.hash.slice(1));
  const dark = matchMedia("(prefers-color-scheme: dark)");
  theme(said.get("theme") || (dark.matches ? "dark" : "light"));
  if (said.get("filter") === "0") view.isFiltered = false;
  view.isCausal = said.get("causal") === "1";
  const event = run.events[Number(said.get("event") ?? run.start)];
  return { event: event || run.events[run.start], zoom: Number(said.get("zoom")) };
}

// About as many events as can be told apart, and the fault before the event.
function usualZoom(event) {
  const { shown, places } = view.layout, place = lastUpTo(shown, event.number, (number) => number);
  let first = Math.max(0, Math.min(place - 34, shown.length - 68));
  const fault = neighbour(event, -1, (each) => FAULTS.has(each.kind));
  if (fault !== undefined && !run.violation) {
    const before = lastUpTo(shown, fault, (number) => number) - 6;
    if (before > place - 90) first = Math.max(0, Math.min(first, before));
  }
  const half = Math.max(places[event.number] - places[shown[first]], places[shown[Math.min(shown.length - 1, place + 34)]] - places[event.number]);
  const wide = run.violation ? places[shown[Math.min(shown.length - 1, first + 68)]] - places[shown[first]] : 2 * half;
  return Math.max(4, Math.min(150, reach() / Math.max(6, Math.min(wide, view.layout.end * 1.1))));
}

function begin() {
  showVerdict(run, choose);
  const said = readFragment();
  if (!isShown(said.event)) view.isFiltered = false;
  relayout();
  view.chosen = said.event;
  if (said.event.process !== NONE) view.process = said.event.process;
  showHelp();
  drawing = new Drawing(element("canvas"), run, view);
  overview = new Sheet(element("overview"));
  overview.fill();
  view.zoom = said.zoom || usualZoom(said.event);
  view.scroll = view.layout.places[said.event.number] - reach() / view.zoom / 2;
  bound();
  showNow();
  const canvas = element("canvas"), tip = element("tip");
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const found = KEYS.find(([keys]) => keys.includes(event.key));
    if (!found) return;
    event.preventDefault();
    found[3](event.key, event.shiftKey);
    show();
  });
  canvas.addEventListener("wheel", (event) => {
    event.preventDefault();
    if (event.ctrlKey) zoomBy(event.deltaY < 0 ? 1.15 : 1 / 1.15, event.offsetX);
    else {
      view.scroll += (event.deltaX + event.deltaY) / view.zoom;
      bound();
      show();
    }
  }, { passive: false });
  let grip = null;
  canvas.addEventListener("pointerdown", (event) => { grip = { x: event.offsetX, scroll: view.scroll, isMoved: false }; });
  canvas.addEventListener("pointermove", (event) => {
    if (grip && event.buttons) {
      grip.isMoved ||= Math.abs(event.offsetX - grip.x) > 4;
      if (grip.isMoved) view.scroll = grip.scroll - (event.offsetX - grip.x) / view.zoom;
      bound();
      show();
      return;
    }
    hover(drawing.eventAt(event.offsetX, event.offsetY), event);
  });
  canvas.addEventListener("pointerup", (event) => {
    if (grip && !grip.isMoved) click(event);
    grip = null;
  });
  canvas.addEventListener("pointerleave", () => hover(null));
  element("overview").addEventListener("pointerdown", goOverview);
  element("overview").addEventListener("pointermove", (event) => event.buttons && goOverview(event));
  new ResizeObserver(() => { drawing.resize(); overview.fill(); bound(); showNow(); }).observe(canvas);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", (event) => { theme(event.matches ? "dark" : "light"); show(); });
  addEventListener("hashchange", () => { const next = readFragment(); choose(next.event); });

  function hover(found, event) {
    canvas.style.cursor = found ? "pointer" : "default";
    tip.hidden = !found;
    if (found) {
      tip.replaceChildren(node("b", {}, headline(run, found)), found.message ? node("div", {}, found.text) : "", node("div", {}, clockText(run, found.at) + (found.message ? ", " + messageText(run, found) : "")));
      tip.style.left = `${Math.min(event.offsetX + 14, drawing.width - tip.offsetWidth - 8)}px`;
      tip.style.top = `${Math.min(event.offsetY + 14, drawing.height - tip.offsetHeight - 8)}px`;
    }
    if (found !== view.hovered) {
      view.hovered = found;
      show();
    }
  }

  function click(event) {
    const found = drawing.eventAt(event.offsetX, event.offsetY);
    if (found) choose(found, false);
    else {
      const row = drawing.rows.findIndex((each) => event.offsetY >= each.top && event.offsetY < each.top + each.height);
      if (row >= 0) chooseProcess(row);
    }
  }
}

begin();
