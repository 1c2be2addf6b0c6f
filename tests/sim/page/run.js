// What was recorded, unpacked: `tests/sim/trace_page.py` has the other end.

const NONE = -1;

function unpack(data) {
  const { texts, events: packed } = data;
  const processes = data.processes.map(([name, kind], number) => ({ name, kind, number }));
  const numberOf = new Map(processes.map((process) => [process.name, process.number]));
  const lives = data.lives.map(([process, began, ended, how], number) => ({ process, began, ended, how, number }));
  const messages = data.messages.map(([kind, to, said, heard, flags], number) => ({
    number, kind: texts[kind], to, said, heard, isLost: (flags & 1) > 0, isRoutine: (flags & 2) > 0,
  }));

  let at = 0;
  const counts = lives.map(() => 0);
  const events = packed.after.map((after, number) => {
    const life = packed.life[number];
    at += after;
    return {
      number, at, life,
      process: life === NONE ? NONE : lives[life].process,
      count: life === NONE ? 0 : ++counts[life],
      kind: texts[packed.kind[number]],
      text: texts[packed.text[number]],
      message: packed.message[number] === NONE ? null : messages[packed.message[number]],
      where: (packed.where[number] || []).map((name) => numberOf.get(name)).filter((each) => each !== undefined),
    };
  });
  for (const message of messages) message.from = events[message.said].process;

  const calls = data.calls.map(([process, number, text, called, ended, outcome, answer]) => ({
    process, number, text: texts[text], called, ended, outcome: texts[outcome], answer: texts[answer],
  }));
  const run = {
    ...data, processes, lives, events, messages, calls,
    pauses: data.pauses.map(([process, began, ended]) => ({ process, began, ended })),
    faults: data.faults.map(([kind, where, began, ended]) => ({ kind, where: where.map((name) => numberOf.get(name)), began, ended })),
    states: data.states.map(unpackStates),
    clocks: unpackClocks(data, events),
    ofProcess: processes.map(() => []),
    accused: new Set((data.violation ? data.violation.calls : []).map((number) => calls[number])),
  };
  for (const event of events) if (event.process !== NONE) run.ofProcess[event.process].push(event);
  return run;
}

function unpackStates(changes) {
  let state = {};
  return changes.map(([since, fresh, gone]) => {
    const before = state;
    state = { ...before, ...fresh };
    for (const key of gone) delete state[key];
    return { since, state, before };
  });
}

// For each event a vector clock: how many events of each life it knows of.
function unpackClocks(data, events) {
  const known = data.lives.map(() => null);
  // A life that remembers learns all that its first event knows from `learned`.
  return events.map((event) => {
    if (event.life === NONE) return null;
    const clock = known[event.life] ? known[event.life].slice() : new Int32Array(data.lives.length);
    const learned = data.learned[event.number] || [];
    for (let n = 0; n < learned.length; n += 2) clock[learned[n]] = learned[n + 1];
    clock[event.life] = event.count;
    return (known[event.life] = clock);
  });
}

// What may be hidden: messages without news, and what processes write in their
// logs, which is seen better otherwise.
function isRoutine(event) {
  return event.message ? event.message.isRoutine : event.kind === "log";
}

// Could one event have had an influence on the other?
function isBefore(run, one, other) {
  if (one === other || one.life === NONE || other.life === NONE) return false;
  return run.clocks[other.number][one.life] >= one.count;
}

// The last of *items*, which are in order, whose *place* is not past *limit*.
function lastUpTo(items, limit, place) {
  let low = 0, high = items.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (place(items[middle]) <= limit) low = middle + 1; else high = middle;
  }
  return low - 1;
}

// What was to be seen of a process right after an event; null: it never was.
function stateAt(run, process, number) {
  const states = run.states[process];
  const found = lastUpTo(states, number, (each) => each.since);
  return found < 0 ? null : states[found];
}

function lifeAt(run, process, number) {
  let found = null;
  for (const life of run.lives) if (life.process === process && life.began <= number) found = life;
  return found;
}

const isOver = (span, number) => span.ended !== NONE && span.ended <= number;
const isDuring = (span, number) => span.began <= number && !isOver(span, number);

function clockText(run, at, digits = 6) {
  return run.unit === "us" ? `${(at / 1e6).toFixed(digits)} s` : `step ${at}`;
}

function spanText(run, length) {
  if (run.unit !== "us") return `${length} steps`;
  if (length < 1000) return `${length} µs`;
  return length < 1e6 ? `${(length / 1000).toFixed(length < 1e4 ? 1 : 0)} ms` : `${(length / 1e6).toFixed(2)} s`;
}

// The beginning of what a message says: enough to know it by.
function brief(event) {
  const [, asked] = event.text.match(/^(?:batch|query) \d+: (.*)/) || [];
  const isAnswer = asked !== undefined && event.message && event.message.kind.endsWith("Answer");
  const text = asked === undefined ? event.text.split(/[,:;(]/)[0].trim() : (isAnswer ? "→ " : "") + asked;
  return text.length > 24 ? text.slice(0, 23) + "…" : text;
}

const FAMILIES = {
  Ping: "views", ViewIs: "views", Watch: "views", Status: "views", StatusIs: "views", Unreachable: "views",
  Attach: "copies", LogPosition: "copies", Forward: "copies", ForwardOk: "copies", Redirect: "copies",
  SnapshotPart: "copies", SnapshotPartOk: "copies",
  OpenSession: "clerks", CloseSession: "clerks", Batch: "clerks", Query: "clerks", SessionOpened: "clerks",
  SessionClosed: "clerks", BatchAnswer: "clerks", BatchRefused: "clerks", QueryAnswer: "clerks",
  Hello: "other", Goodbye: "other", DigestAt: "other", DigestIs: "other",
};

const FAULTS = new Set(["ended", "paused", "cut", "slow", "broken", "note", "violated"]);
