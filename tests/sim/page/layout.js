// Where things are: which events are shown, and their places along time.

// Idle stretches are pressed together: up to this much passes in full, and of
// what is longer only the logarithm counts.
const IN_FULL_US = 2000;
const STEP = 0.2;

function stretch(run, passed) {
  if (run.unit !== "us") return passed;
  if (passed <= IN_FULL_US) return passed / 1000;
  return IN_FULL_US / 1000 + 1.6 * Math.log1p((passed - IN_FULL_US) / IN_FULL_US);
}

// -> the numbers of the shown events, and for every event its place; one that is
// hidden lies between its neighbours as its time does.
function placed(run, isFiltered) {
  const shown = [], rests = new Set(), places = new Float64Array(run.events.length);
  let place = 0, before = null;
  for (const event of run.events) {
    if (isFiltered && isRoutine(event)) continue;
    const passed = before ? event.at - before.at : 0, from = place;
    place += stretch(run, passed) + STEP;
    if (run.unit === "us" && passed > 4 * IN_FULL_US) rests.add(shown.length);
    for (let n = before ? before.number + 1 : 0; n < event.number; n++) {
      const part = passed ? (run.events[n].at - before.at) / passed : 0;
      places[n] = from + part * (place - from);
    }
    places[event.number] = place;
    shown.push(event.number);
    before = event;
  }
  for (let n = before ? before.number + 1 : 0; n < run.events.length; n++) places[n] = place;
  return { shown, places, rests, end: place + 2 * STEP };
}

// The rows: each process's line, and beneath a clerk's the lanes of its calls.
function rowsOf(run, top, height) {
  const lanes = run.processes.map((process) => lanesOf(run, process.number));
  const weights = run.processes.map((process, n) => {
    if (process.kind === "server") return 1.25;
    return process.kind === "clerk" ? 0.55 + 0.24 * Math.min(lanes[n], 5) : 1.1;
  });
  const total = weights.reduce((sum, each) => sum + each, 0);
  let y = top;
  return run.processes.map((process, n) => {
    const share = (height * weights[n]) / total;
    const row = { top: y, height: share, y: y + share * (process.kind === "clerk" ? 0.3 : 0.5), lanes: lanes[n] };
    y += share;
    return row;
  });
}

// Give each call of a clerk a lane in which it is alone; -> how many there are.
function lanesOf(run, process) {
  const free = [];
  for (const call of run.calls) {
    if (call.process !== process) continue;
    let lane = free.findIndex((end) => end !== NONE && end <= call.called);
    if (lane < 0) lane = free.length;
    free[lane] = call.ended === NONE ? NONE : call.ended;
    if (call.ended === NONE) free[lane] = Infinity;
    call.lane = lane;
  }
  return free.length;
}

// The stretches in which a process plays one part.
function bandsOf(run, process) {
  const bands = [];
  const looks = { server: serverLook, views: viewsLook }[process.kind];
  if (!looks) return bands;
  const ends = run.lives.filter((life) => life.process === process.number && life.ended !== NONE).map((life) => life.ended);
  for (const { since, state } of run.states[process.number]) {
    const look = looks(state);
    const last = bands[bands.length - 1];
    const isSameLife = last && !ends.some((end) => end > last.began && end <= since);
    if (isSameLife && last.key === look.key) continue;
    if (isSameLife) last.ended = since;
    bands.push({ ...look, began: since, ended: ends.find((end) => end > since) ?? NONE });
  }
  return bands.filter((band) => band.key !== "none");
}

function serverLook({ role, view }) {
  if (role === undefined) return { key: "none" };
  if (role === "idle" && !view) return { key: "none" };
  return { key: `${role} ${view}`, colour: role, thick: THICK[role] || 3, text: `${role} · view ${view}`, brief: `${view}` };
}

function viewsLook(state) {
  if (!state.view) return { key: "none" };
  return {
    key: `${state.view} ${state.acknowledged}`, colour: "views", thick: 6, isHollow: !state.acknowledged,
    text: `view ${state.view}: ${state.primary}${state.backups ? " with " + state.backups : ""}${state.acknowledged ? " ✓" : ""}`,
    brief: `${state.view}${state.acknowledged ? "✓" : ""}`,
  };
}
